"""Older weights: their numbers under this version's names, and a refusal of what this version cannot be."""

import json

import pytest
import safetensors.torch
import torch
from models import untrained

from ast_lib.checked import override, to_dict
from ast_lib.config import Config, DataConfig, LossConfig, ModelConfig, TrainingConfig
from ast_lib.errors import AstError
from ast_lib.networks.checkpoint import load_weights, read_metadata
from convert_weights import convert, main

CONFIG = Config(
    name="old",
    data=DataConfig(pieces_per_kind=8, development_pieces=2, validation_pieces=2, development_seconds=2.0),
    model=ModelConfig(
        content_width=64,
        style_width=32,
        decoder_width=64,
        depth=1,
        window=8,
        overlap=2,
        align_onsets=False,
        context_weight=1.0,
    ),
    loss=LossConfig(log_spectral=0.0),
    training=TrainingConfig(
        steps=24,
        batch=4,
        seconds=1.0,
        matrix_rate=0.0,
        precision="32-true",
        domain_randomisation=False,
        fader=0.0,
        third_instruments=0.0,
        validate_every=4,
    ),
)
SECTIONS = {
    "data": """{"manifest": "", "pieces_per_kind": 8, "test_pieces": 2, "validation_pieces": 2, "test_seconds": 2.0,
        "seed": 0}""",
    "representation": """{"sample_rate": 22050, "n_fft": 1024, "hop": 256, "cqt_bins_per_octave": 24, "cqt_octaves": 7,
        "compression": 0.3, "section_frames": 4, "section_overlap": 0, "join_shift": 0, "input": "magnitude",
        "output": "magnitude_advance", "statistics": "shared", "denormalise": true}""",
    "model": """{"content_width": 64, "content_size": 64, "style_width": 32, "style_size": 32, "residual_blocks": 1,
        "encoder_layers": 1, "decoder_width": 64, "decoder_layers": 1, "feed_forward": 3, "discriminator_width": 128,
        "critic_width": 96, "heads": 4, "window": 8, "overlap": 2, "content_noise": 0.0, "style_noise": 0.0,
        "style_fit": 10, "align_onsets": false, "context_weight": 1.0, "token_injection": true, "encoder": "conv1d",
        "cnn_channels": [32, 64, 128, 256, 512, 512], "style_encoder": "transformer", "decoder": "transformer",
        "memory": "2S", "discriminator": "conv", "discriminators": 1, "inference_feedback": "section",
        "input_norm": false, "head_layers": 2, "dropout": 0.0, "initial_gain": 0.0}""",
    "loss": """{"magnitude": 5.0, "log_spectral": 0.0, "phase": 0.3, "content_energy": 0.001, "agreement": 0.0,
        "style_spread": 0.0, "realism": 0.0, "mse": 1.0, "temporal": 0.3, "spectral": 0.1,
        "difference_axes": "frames_bins", "temperature": 0.1, "margin": 1.0, "margin_form": "hinge",
        "margin_relative": true, "hsic": "biased", "encoder_objective": "entropy", "style_help": 1.0}""",
    "training": """{"steps": 24, "batch": 4, "seconds": 1.0, "learning_rate": 0.001, "discriminator_rate": 0.001,
        "betas": [0.9, 0.98], "weight_decay": 0.01, "warm_up": 2, "final_rate": 0.03, "plateau": 1.0, "patience": 5,
        "clip": 1.0, "discriminator_clip": 0.0, "alternate": [0, 0], "schedule": "curriculum", "average": 0.98,
        "precision": "32-true", "equalisation": 5.0, "gain": 0.0, "decay": 0.0, "room": 0.0, "tuning": 0.0, "slow": 0.0,
        "another_voice": 0.0, "own_style": true, "timbre": 0.0, "context_drop": 0.4, "context_null": 0.3,
        "context_own": 0.5, "context_noise": 0.1, "validate_every": 4, "seed": 0}""",
}
WEIGHTS = ("contrastive", "margin", "hsic", "adversarial", "level", "back_translation")
PHASES = {
    "reconstruction": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "contrastive": (0.05, 0.05, 0.05, 0.0, 0.0, 0.0, 0.0),
    "hsic": (0.1, 0.05, 0.05, 0.05, 0.0, 0.0, 0.0),
    "adversarial": (0.15, 0.05, 0.05, 0.05, 0.1, 0.0, 0.0),
}


def version_01(**changes):
    """The configuration of a run as version 0.1 wrote it; ``training={"room": 0.3}`` changes one field."""
    curriculum = [
        {"name": name, "start": start, "reconstruction": 1.0, **dict(zip(WEIGHTS, weights, strict=True))}
        for name, (start, *weights) in PHASES.items()
    ]
    values = {"name": "old", "instruments": ["piano", "violin"], "soundfonts": ["TimGM6mb"], "soundfont_shares": []}
    values |= {name: json.loads(text) for name, text in SECTIONS.items()}
    values |= {"curriculum": curriculum, "regular": curriculum[-1] | {"name": "regular", "start": 0.0}}
    for name, change in changes.items():
        values[name] = values[name] | change if isinstance(change, dict) else change
    return values


def old_file(path, values):
    """A weights file as version 0.1 wrote it, in half precision, and its tensors under their names of now."""
    tensors = {name: tensor.half() for name, tensor in untrained(CONFIG).state_dict().items()}
    texts = {"config": values, "metrics": {"lsd": 1.5}, "provenance": {"commit": "abc"}}
    metadata = {name: json.dumps(value) for name, value in texts.items()}
    named = {name.replace("_std", "_deviation"): tensor for name, tensor in tensors.items()}
    assert {"stft_deviation", "cqt_deviation"} <= set(named)
    safetensors.torch.save_file(named, path, metadata)
    return tensors


def test_numbers_stay_and_names_are_those_of_now(tmp_path, capsys):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    tensors = old_file(old, version_01())
    assert main([str(old), str(new)]) == 0
    assert capsys.readouterr().out == f"{new}\n"
    model = load_weights(new)
    assert model.config == CONFIG
    assert {name: read_metadata(new)[name] for name in ("metrics", "provenance")} == {
        "metrics": {"lsd": 1.5}, "provenance": {"commit": "abc"}
    }  # fmt: skip
    stored, loaded = safetensors.torch.load_file(new), model.state_dict()
    assert set(stored) == set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        assert stored[name].dtype == torch.float16 and torch.equal(stored[name], tensor), name
        assert torch.equal(loaded[name], tensor.float()), name


def test_weights_of_version_01_are_told_how_to_become_new_ones(tmp_path):
    old_file(tmp_path / "old.safetensors", version_01())
    command = f"python tools/convert_weights.py {tmp_path / 'old.safetensors'} NEW.safetensors"
    with pytest.raises(AstError, match="made by another version") as error:
        load_weights(tmp_path / "old.safetensors")
    assert str(error.value).endswith(command)


def test_what_a_file_leaves_out_has_the_default_of_version_01():
    values = version_01()
    later = {"model": ("align_onsets", "context_weight"), "loss": ("log_spectral",)}
    for section, names in later.items():
        for name in names:
            del values[section][name]
    assert convert(values) == CONFIG


@pytest.mark.parametrize(("spread", "own"), [(0.0, True), (5.0, False)])
def test_how_styles_were_trained_is_forgotten_whatever_it_was(spread, own):
    assert convert(version_01(loss={"style_spread": spread}, training={"own_style": own})) == CONFIG
    now = to_dict(CONFIG)
    before = now | {"loss": now["loss"] | {"style_spread": spread}, "training": now["training"] | {"own_style": own}}
    assert convert(before) == CONFIG


# --- Fields that became one


def test_rates_of_the_context_become_teacher_forcing():
    nothing = {f"context_{name}": 0.0 for name in ("own", "null", "drop", "noise")}
    assert convert(version_01(training=nothing)) == override(CONFIG, "training.teacher_forcing=true")


def test_shares_of_changed_clips_become_domain_randomisation():
    changed = {"room": 0.3, "tuning": 0.3, "slow": 0.25, "another_voice": 0.5, "timbre": 6.0}
    assert convert(version_01(training=changed)) == override(CONFIG, "training.domain_randomisation=true")


def test_test_pieces_are_development_pieces_and_adamw_moved_every_weight():
    found = convert(version_01(data={"test_pieces": 6, "test_seconds": 3.5}))
    assert (found.data.development_pieces, found.data.development_seconds) == (6, 3.5)
    assert found.training.matrix_rate == 0 and found.training.third_instruments == 0
    with pytest.raises(AstError, match="data.development_pieces: found 1, accepted is a whole number of 2 or more"):
        convert(version_01(data={"test_pieces": 1}))


def test_shares_of_soundfonts_are_those_that_follow_from_their_number():
    values = version_01(soundfonts=["a", "b"], soundfont_shares=[2, 1], training={"batch": 12})
    assert convert(values).soundfont_shares == (2, 1)
    with pytest.raises(AstError, match=r"soundfont_shares: found \[1, 1\], accepted is \(2, 1\)"):
        convert(version_01(soundfonts=["a", "b"], training={"batch": 12}))


# --- Ingredients that were removed

OFF = {
    "model": {"content_noise": 0.0, "style_noise": 0.0, "discriminator": "conv"},
    "loss": {"agreement": 0.0, "realism": 0.0},
    "training": {"gain": 0.0, "decay": 0.0},
}
PHASE_OFF = {"envelope": 0.0, "back_translation": 0.0}


def before_the_removal():
    """The configuration of :data:`CONFIG` as it was written while it had the removed fields."""
    values = to_dict(CONFIG)
    for name, fields in OFF.items():
        values[name] |= fields
    values["curriculum"] = [phase | PHASE_OFF for phase in values["curriculum"]]
    return values


def test_a_file_of_before_the_removal_loses_fields_that_are_off(tmp_path, capsys):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    values = before_the_removal()
    assert convert(values) == CONFIG and values == before_the_removal()
    tensors = {name: tensor.half() for name, tensor in untrained(CONFIG).state_dict().items()}
    metadata = {"config": json.dumps(values), "metrics": "{}", "provenance": "{}"}
    safetensors.torch.save_file(tensors, old, metadata)
    with pytest.raises(AstError, match="made by another version"):
        load_weights(old)
    assert main([str(old), str(new)]) == 0
    assert load_weights(new).config == CONFIG


@pytest.mark.parametrize("old", [before_the_removal, version_01])
@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("model", "content_noise", 0.6),
        ("model", "style_noise", 0.4),
        ("model", "discriminator", "conv_pooled"),
        ("loss", "agreement", 0.5),
        ("loss", "realism", 0.1),
        ("training", "gain", 4.0),
        ("training", "decay", 40.0),
    ],
)
def test_an_ingredient_that_is_on_is_refused(old, section, field, value):
    values = old()
    values[section][field] = value
    message = f"{section}.{field}: found {value!r}, accepted is {OFF[section][field]!r}: this version has no such"
    with pytest.raises(AstError, match=message):
        convert(values)


@pytest.mark.parametrize(
    ("old", "field"),
    [
        (before_the_removal, "envelope"),
        (before_the_removal, "back_translation"),
        (version_01, "level"),
        (version_01, "back_translation"),
    ],
)
def test_a_phase_with_an_ingredient_that_is_on_is_refused(old, field):
    values = old()
    values["curriculum"][3][field] = 0.2
    with pytest.raises(AstError, match=f"curriculum.{field}: found 0.2, accepted is 0.0: this version has no such"):
        convert(values)


def test_the_width_of_a_critic_does_not_matter():
    assert convert(version_01(model={"critic_width": 7})) == CONFIG


# --- What is refused


@pytest.mark.parametrize(
    ("section", "field", "value", "accepted"),
    [
        ("representation", "compression", 0.5, "0.3"),
        ("representation", "denormalise", False, "True"),
        ("model", "heads", 2, "4"),
        ("model", "residual_blocks", 2, "1"),
        ("model", "decoder", "gru", "'transformer'"),
        ("loss", "margin", 2.0, "1.0"),
        ("training", "betas", [0.5, 0.999], "(0.9, 0.98)"),
        ("training", "warm_up", 3, "2"),
        ("training", "room", 0.5, "0.3"),
        ("training", "tuning", 0.3, "0.0"),
        ("training", "context_drop", 0.2, "0.4"),
        ("training", "context_own", 0.0, None),
        ("data", "seed", 1, "0"),
    ],
)
def test_another_value_than_the_constant_is_refused(tmp_path, capsys, section, field, value, accepted):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    old_file(old, version_01(**{section: {field: value}}))
    assert main([str(old), str(new)]) == 1
    message = capsys.readouterr().err
    if accepted is None:  # without predictions of its own, no other corruption is what this version has
        assert message.startswith(f"convert_weights: {old}: training.context_")
    else:
        assert message == f"convert_weights: {old}: {section}.{field}: found {value!r}, accepted is {accepted}\n"
    assert not new.exists()


def test_another_weight_of_the_reconstruction_is_refused():
    values = version_01()
    values["curriculum"][0]["reconstruction"] = 10.0
    with pytest.raises(AstError, match="curriculum.reconstruction: found 10.0, accepted is 1.0"):
        convert(values)


def test_an_unknown_field_is_refused():
    with pytest.raises(AstError, match="model.colour: unknown field"):
        convert(version_01(model={"colour": 1}))


def test_a_file_of_this_version_and_no_file_are_refused(tmp_path, capsys):
    old, new, again = (tmp_path / f"{name}.safetensors" for name in ("old", "new", "again"))
    old_file(old, version_01())
    assert main([str(old), str(new)]) == 0
    assert main([str(new), str(again)]) == 1
    assert "configuration: found none of an older version" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), str(again)]) == 1
    assert "no file at" in capsys.readouterr().err and not again.exists()
