"""Convert older weights: ``python tools/convert_weights.py OLD.safetensors NEW.safetensors``.

The numbers stay. A field of the configuration that became a constant, belongs to the published system alone, or
switched on an ingredient that this version does not have, goes; a file in which it has another value than the constant,
or in which the ingredient is on, is refused. What was renamed gets its new name. Older are weights of version 0.1, and
those of the code after it whose configuration has a field of :data:`REMOVED` or :data:`FORGOTTEN`.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

import safetensors.torch

from ast_lib.checked import from_values, to_dict
from ast_lib.config import Config
from ast_lib.errors import AstError
from ast_lib.files import write_bytes
from ast_lib.networks import checkpoint
from ast_lib.published.config import PublishedConfig
from ast_lib.training.augment import RATES

SECTIONS = ("data", "representation", "model", "loss", "training")
RENAMED = {
    "test_pieces": "development_pieces",
    "test_seconds": "development_seconds",
}
# Ingredients that this version does not have: the values that switch them off.
REMOVED = {
    "representation": {"join_shift": 0},
    "model": {"content_noise": 0.0, "style_noise": 0.0, "discriminator": "conv"},
    "loss": {"agreement": 0.0, "realism": 0.0},
    "training": {"gain": 0.0, "decay": 0.0},
    "curriculum": {"envelope": 0.0, "level": 0.0, "back_translation": 0.0},  # of each phase
}
# How styles were trained, whatever the value: the weights are used as others are.
FORGOTTEN = {"loss": {"style_spread"}, "training": {"own_style"}}
# What version 0.1 did where it had no field, or a file leaves it out; the defaults of now are others.
ABSENT = {
    "model": {"align_onsets": False, "context_weight": 1.0},
    "loss": {"log_spectral": 0.0},
    "training": {"fader": 0.0, "third_instruments": 0.0},
}
# Fields of training that are one field now: their values where it is true; they were 0 where it is false.
RANDOMISED = {"room": 0.3, "tuning": 0.3, "slow": 0.25, "another_voice": 0.5, "timbre": 6.0}
CORRUPTED = {f"context_{name}": rate for name, rate in RATES._asdict().items()}


def convert(old: dict) -> Config:
    """This version's configuration from an older one, as dictionaries.

    Raises:
        AstError: for a value that this version has no field for.
    """
    plain = _without_removed(old)
    if "soundfont_shares" in old:
        return _from_version_01(plain)
    if plain == old:
        raise AstError("configuration: found none of an older version, accepted is one with a field that was removed")
    plain["training"] = {"fader": 0.0} | plain["training"]
    return from_values(Config, plain)


def _without_removed(old: dict) -> dict:
    """A configuration without the fields of :data:`REMOVED`, which must be off, and of :data:`FORGOTTEN`."""
    values = dict(old)
    for section, off in REMOVED.items():
        tables = old[section] if section == "curriculum" else [old[section]]
        for table in tables:
            for field in off.keys() & table.keys():
                if table[field] != off[field]:
                    accepted = f"accepted is {off[field]!r}: this version has no such ingredient"
                    raise AstError(f"{section}.{field}: found {table[field]!r}, {accepted}")
        gone = off.keys() | FORGOTTEN.get(section, set())
        kept = [{field: value for field, value in table.items() if field not in gone} for table in tables]
        values[section] = kept if section == "curriculum" else kept[0]
    values["model"].pop("critic_width", None)  # of a network that training alone had
    return values


def _from_version_01(old: dict) -> Config:
    """This version's configuration from that of version 0.1, without the fields of :data:`REMOVED`."""
    values = {name: old[name] for name in ("name", "instruments", "soundfonts")}
    for name in SECTIONS:
        fields = [field.name for field in dataclasses.fields(getattr(Config("default"), name))]
        known = {field: value for field, value in _renamed(old[name]).items() if field in fields}
        values[name] = ABSENT.get(name, {}) | known
    values["model"]["depth"] = old["model"]["decoder_layers"]
    values["training"]["matrix_rate"] = 0.0  # AdamW moved every weight
    values["training"]["domain_randomisation"] = old["training"]["room"] > 0
    values["training"]["teacher_forcing"] = old["training"]["context_own"] == 0
    values["curriculum"] = [dict(phase) for phase in old["curriculum"]]
    for phase in values["curriculum"]:
        _require("curriculum.reconstruction", phase.pop("reconstruction"), 1.0)
    config = from_values(Config, values)
    off = dict.fromkeys(RANDOMISED, 0.0), dict.fromkeys(CORRUPTED, 0.0)
    training = config.training
    merged = (RANDOMISED if training.domain_randomisation else off[0]) | (
        off[1] if training.teacher_forcing else CORRUPTED
    )
    _require("soundfont_shares", old["soundfont_shares"] or [1] * len(config.soundfonts), config.soundfont_shares)
    for name in SECTIONS:
        sections = getattr(config, name), getattr(PublishedConfig("default"), name)
        for field, value in _renamed(old[name]).items():
            if field == "average":  # a choice of training that follows from the number of steps
                continue
            constants = [getattr(section, field) for section in sections if hasattr(section, field)]
            if not constants and field not in merged:
                raise AstError(f"{name}.{field}: unknown field")
            _require(f"{name}.{field}", value, merged[field] if field in merged else constants[0])
    return config


def _renamed(fields: dict) -> dict:
    """A section with this version's names."""
    return {RENAMED.get(field, field): value for field, value in fields.items()}


def _require(field: str, found: object, accepted: object) -> None:
    """Raise :class:`AstError` where a field has another value than this version works with."""
    if found != json.loads(json.dumps(accepted)):
        raise AstError(f"{field}: found {found!r}, accepted is {accepted!r}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Convert older weights to this version.")
    parser.add_argument("old", type=pathlib.Path, metavar="OLD")
    parser.add_argument("new", type=pathlib.Path, metavar="NEW")
    options = parser.parse_args(arguments)
    try:
        metadata = checkpoint.read_metadata(options.old)
        metadata["config"] = to_dict(convert(metadata["config"]))
        tensors = safetensors.torch.load_file(options.old)
        tensors = {name.replace("_deviation", "_std"): tensor for name, tensor in tensors.items()}
        text = {name: json.dumps(value) for name, value in metadata.items()}
        write_bytes(options.new, safetensors.torch.save(tensors, text))
        checkpoint.load_weights(options.new)
    except AstError as error:
        print(f"convert_weights: {options.old}: {error}", file=sys.stderr)
        return 1
    print(options.new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
