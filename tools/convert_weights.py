"""Convert weights of version 0.1: ``python tools/convert_weights.py OLD.safetensors NEW.safetensors``.

The numbers stay. In the configuration, what became a constant or belongs to the published system alone goes; a file in
which it has another value is refused. What was renamed gets its new name.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

import safetensors.torch

from ast_lib.checked import from_values
from ast_lib.config import Config
from ast_lib.data.clips import SLOW
from ast_lib.errors import AstError
from ast_lib.files import write_bytes
from ast_lib.networks import checkpoint
from ast_lib.published.config import PublishedConfig
from ast_lib.training.augment import ANOTHER_VOICE, RATES, ROOM, TIMBRE, TUNING

# Fields of training that are one field now, with their values where that is true; they were 0 where it is false.
RANDOMISED = {"room": ROOM, "tuning": TUNING, "slow": SLOW, "another_voice": ANOTHER_VOICE, "timbre": TIMBRE}
FORCED = dict.fromkeys((f"context_{name}" for name in RATES._fields), 0.0)
CORRUPTED = {f"context_{name}": rate for name, rate in RATES._asdict().items()}


def convert(old: dict) -> Config:
    """This version's configuration from that of version 0.1, as dictionaries.

    Raises:
        AstError: for a value that this version has no field for.
    """
    new = {name: value for name, value in old.items() if name not in ("regular", "soundfont_shares")}
    training = dict(old["training"])
    training["domain_randomisation"] = _one("training", training, RANDOMISED, dict.fromkeys(RANDOMISED, 0.0))
    training["teacher_forcing"] = _one("training", training, FORCED, CORRUPTED)
    model = dict(old["model"])
    model["depth"] = model["decoder_layers"]
    new |= {"training": training, "model": model}
    new["curriculum"] = [
        {"envelope" if name == "level" else name: value for name, value in phase.items()} for phase in old["curriculum"]
    ]
    kept = _without_constants(new, Config)
    config = from_values(Config, kept)
    if tuple(old.get("soundfont_shares") or config.soundfont_shares) != config.soundfont_shares:
        raise AstError(f"soundfont_shares: found {old['soundfont_shares']}, accepted is {config.soundfont_shares}")
    return config


def _one(section: str, values: dict, on: dict, off: dict) -> bool:
    """Whether the fields that are one now were on; they are taken out of ``values``."""
    found = {name: values.pop(name) for name in on}
    if found not in (on, off):
        raise AstError(f"{section}: found {found}, accepted are {on} and {off}")
    return found == on


def _without_constants(values: dict, kind: type) -> dict:
    """The sections of a configuration without what is no field of it, if that has the value that the core works with."""
    defaults, kept = PublishedConfig("default"), {}
    for name, value in values.items():
        fields = {field.name for field in dataclasses.fields(getattr(kind("default"), name))} if isinstance(value, dict) else {}
        if not fields:
            kept[name] = value
            continue
        section = getattr(defaults, name)
        for field in set(value) - fields:
            derived = field in ("residual_blocks", "encoder_layers", "decoder_layers", "warm_up", "critic_width")
            wanted = getattr(section, field, None)
            if not derived and json.loads(json.dumps(wanted)) != value[field]:
                raise AstError(f"{name}.{field}: found {value[field]!r}, accepted is {wanted!r}")
        kept[name] = {field: value[field] for field in value if field in fields}
    # A phase's weight of the reconstruction is always 1.
    for phase in kept["curriculum"]:
        if phase.pop("reconstruction", 1.0) != 1.0:
            raise AstError("curriculum: found a weight of the reconstruction other than 1, accepted is 1")
    return kept


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Convert weights of version 0.1 to this version.")
    parser.add_argument("old", type=pathlib.Path, metavar="OLD")
    parser.add_argument("new", type=pathlib.Path, metavar="NEW")
    options = parser.parse_args(arguments)
    try:
        metadata = checkpoint.read_metadata(options.old)
        config = convert(metadata["config"])
        tensors = safetensors.torch.load_file(options.old)
        tensors = {name.replace("_deviation", "_std"): tensor for name, tensor in tensors.items()}
        text = {name: json.dumps(value) for name, value in metadata.items()}
        text["config"] = json.dumps(json.loads(json.dumps(dataclasses.asdict(config))))
        write_bytes(options.new, safetensors.torch.save(tensors, text))
        checkpoint.load_weights(options.new)
    except AstError as error:
        print(f"convert_weights: {options.old}: {error}", file=sys.stderr)
        return 1
    print(options.new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
