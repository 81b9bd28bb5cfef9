"""Configurations: presets, round trips, text overrides, and one sentence for everything that is wrong with one."""

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ast_lib.checked import from_values
from ast_lib.config import (
    Config,
    DataConfig,
    LossConfig,
    ModelConfig,
    Phase,
    RepresentationConfig,
    TrainingConfig,
    override,
    preset,
    to_dict,
)
from ast_lib.errors import AstError

PRESETS = ("smoke", "quick", "full")
SECTIONS = {
    "data": DataConfig,
    "representation": RepresentationConfig,
    "model": ModelConfig,
    "loss": LossConfig,
    "training": TrainingConfig,
}


@contextlib.contextmanager
def refused(*parts):
    """Context that must end with an AstError of one line that holds all the parts."""
    with pytest.raises(AstError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message and all(part in message for part in parts), message


def field_names(kind) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


# --- Presets and round trips


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_dictionaries_and_json(name):
    config = preset(name)
    assert config.name == name
    assert from_values(Config, to_dict(config)) == config
    assert from_values(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_a_dictionary_holds_plain_json_values_only():
    values = to_dict(preset("quick"))
    assert values == json.loads(json.dumps(values))
    assert values["instruments"] == ["piano", "violin"] and values["training"]["learning_rate"] == 1e-3
    assert values["curriculum"][0]["name"] == "reconstruction"


def test_what_a_dictionary_leaves_out_has_its_default():
    assert from_values(Config, {"name": "x"}) == Config("x")
    assert from_values(Config, {"name": "x", "model": {"depth": 2}}).model == ModelConfig(depth=2)


def test_an_unknown_preset_is_refused():
    with refused("profile: found 'huge'", "smoke, quick, full"):
        preset("huge")


def test_there_are_52_fields_at_most():
    assert sum(len(field_names(kind)) for kind in (Config, Phase, *SECTIONS.values())) <= 52


def changes(config: Config) -> dict:
    """The fields of a configuration, by name, that are not the defaults."""
    values, default = to_dict(config), to_dict(Config("x"))
    sections = [{f"{s}.{n}": v for n, v in values[s].items() if v != default[s][n]} for s in SECTIONS]
    others = {n: values[n] for n in values.keys() - SECTIONS.keys() if values[n] != default[n]}
    return {name: value for table in (*sections, others) for name, value in table.items()}


def test_presets_differ_where_they_say_so():
    assert changes(preset("quick")) == {"name": "quick"}
    assert changes(preset("smoke")) == {
        "name": "smoke",
        "data.pieces_per_kind": 8,
        "data.performances": 4,
        "data.development_pieces": 2,
        "data.validation_pieces": 2,
        "data.development_seconds": 2.0,
        "model.content_width": 64,
        "model.style_width": 32,
        "model.decoder_width": 64,
        "model.depth": 1,
        "training.steps": 8,
        "training.batch": 4,
        "training.seconds": 1.0,
        "training.validate_every": 4,
    }
    assert changes(preset("full")) == {
        "name": "full",
        "soundfonts": ["TimGM6mb", "FluidR3_GM", "MuseScore_General"],
        "data.performances": 3072,
        "model.content_width": 224,
        "model.style_width": 96,
        "training.steps": 1500,
        "training.batch": 64,
        "training.validate_every": 250,
    }


# --- What follows from the fields


def test_voices_are_every_instrument_on_every_soundfont_the_first_soundfonts_first():
    config = Config("x", instruments=("piano", "violin"), soundfonts=("a", "b"), training=TrainingConfig(batch=12))
    assert config.voices == (("piano", "a"), ("violin", "a"), ("piano", "b"), ("violin", "b"))
    assert override(config, "data.manifest=x.csv").voices == (("piano", "recordings"), ("violin", "recordings"))


@pytest.mark.parametrize(
    ("soundfonts", "manifest", "shares"),
    [(("a",), "", (1,)), (("a", "b"), "", (2, 1)), (("a", "b", "c"), "", (2, 1, 1)), (("a", "b"), "x.csv", (1,))],
)
def test_the_default_soundfont_of_several_counts_twice(soundfonts, manifest, shares):
    groups = 2 * sum(shares)
    data, training = DataConfig(manifest=manifest), TrainingConfig(batch=4 * groups)
    config = Config("x", soundfonts=soundfonts, data=data, training=training)
    assert config.soundfont_shares == shares
    for batch in (groups, 4 * groups + 2 if groups > 2 else 5):  # a clip of each is too few
        with refused(f"training.batch: found {batch}, accepted is a multiple of {groups} "):
            override(config, f"training.batch={batch}")


def test_sizes_that_follow_from_others():
    shape = preset("quick").representation
    assert (shape.stft_bins, shape.cqt_bins) == (513, 168)


@pytest.mark.parametrize(("depth", "layers"), [(1, (1, 1, 1)), (2, (2, 1, 2)), (3, (3, 2, 3))])
def test_depth_is_that_of_all_networks(depth, layers):
    model = ModelConfig(depth=depth)
    assert (model.residual_blocks, model.encoder_layers, model.decoder_layers) == layers


@pytest.mark.parametrize(("steps", "warm_up"), [(8, 0), (160, 13), (1500, 125), (4000, 200)])
def test_the_rate_warms_up_over_a_twelfth_of_the_steps_but_never_long(steps, warm_up):
    assert TrainingConfig(steps=steps).warm_up == warm_up


# --- Overrides


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("training.steps=50", ("training", "steps"), 50),
        ("training.learning_rate=0.002", ("training", "learning_rate"), 0.002),
        ("training.learning_rate=1e-3", ("training", "learning_rate"), 1e-3),
        ("training.learning_rate=1", ("training", "learning_rate"), 1.0),  # an integer is a float too
        ("training.precision=32-true", ("training", "precision"), "32-true"),
        ('training.precision="32-true"', ("training", "precision"), "32-true"),
        ("model.token_injection=false", ("model", "token_injection"), False),
        ('instruments=["piano", "flute"]', ("instruments",), ("piano", "flute")),
        ('soundfonts=["a=b.sf2"]', ("soundfonts",), ("a=b.sf2",)),  # only the first = separates
    ],
)
def test_an_override_changes_one_field(assignment, path, value):
    before = preset("quick")
    after = override(before, assignment)
    found = after
    for name in path:
        found = getattr(found, name)
    assert found == value and type(found) is type(value)
    if len(path) == 2:
        table = dataclasses.replace(getattr(before, path[0]), **{path[1]: value})
        assert after == dataclasses.replace(before, **{path[0]: table})
    assert before == preset("quick")


def test_overrides_are_applied_together_and_checked_as_a_whole():
    # Each alone would break the rule that an overlap is at most half a window.
    assert override(preset("quick"), "model.overlap=4", "model.window=8").model.window == 8
    with refused("model.overlap: found 16", "half of model.window (8)"):
        override(preset("quick"), "model.window=8")
    assert override(preset("quick")) == preset("quick")


def test_a_curriculum_can_be_replaced():
    config = override(preset("quick"), 'curriculum=[{"name": "all", "start": 0, "hsic": 0.5}]')
    assert config.curriculum == (Phase("all", 0.0, hsic=0.5),)


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("training.steps", ("variant: found 'training.steps'", "field=value")),
        ("", ("variant: found ''", "field=value")),
        ("training.stepps=5", ("training.stepps: unknown field", "training.steps")),
        ("trainning.steps=5", ("trainning: unknown field", "training")),
        ("training.steps.more=5", ("training.steps.more: unknown field", "steps has no fields")),
        ("training.betas=[0.8, 0.9]", ("training.betas: unknown field", "learning_rate")),  # a constant
        ("steps=5", ("steps: unknown field", "training")),
        ("training.steps=5.0", ("training.steps: found 5.0", "whole number")),
        ("training.steps=true", ("training.steps: found True", "whole number")),
        ("training.learning_rate=true", ("training.learning_rate: found True", "number above 0")),
        ("training.learning_rate=fast", ("training.learning_rate: found 'fast'", "number above 0")),
        ("training.learning_rate=null", ("training.learning_rate: found None", "number above 0")),
        ("model.token_injection=1", ("model.token_injection: found 1", "bool")),
        ("name=3", ("name: found 3", "string")),
        ("instruments=piano", ("instruments: found 'piano'", "accepted")),
        ('instruments=["piano", 5]', ("instruments.1: found 5", "string")),
        ("training=5", ("training: found 5", "accepted")),
        ('curriculum=[{"start": 0}]', ("curriculum.0.name: missing", "start")),
        ('curriculum=[{"name": "a", "start": 0, "sic": 1}]', ("curriculum.0.sic: unknown",)),
    ],
)
def test_what_an_override_refuses(assignment, parts):
    with refused(*parts):
        override(preset("quick"), assignment)


@given(st.text(st.characters(exclude_characters="\n"), max_size=20))
def test_any_text_is_an_override_or_one_message(text):
    try:
        found = override(preset("quick"), text)
    except AstError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(found, Config)


# --- Dictionaries that are wrong


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (5, ("configuration: found 5",)),
        ([], ("configuration: found []",)),
        ({}, ("name: missing", "instruments")),
        ({"name": "x", "colour": 1}, ("colour: unknown field", "instruments")),
        ({"name": "x", "model": None}, ("model: found None",)),
        ({"name": "x", "model": {"depth": "4"}}, ("model.depth: found '4'", "whole number")),
        ({"name": "x", "instruments": {"piano": 1, "violin": 2}}, ("instruments: found {",)),
    ],
)
def test_what_a_dictionary_is_refused_for(values, parts):
    with refused(*parts, "accepted"):
        from_values(Config, values)


# --- Ranges: of each field the values just outside, and what is accepted

COUNT, WHOLE = "a whole number of 1 or more", "a whole number of 0 or more"
POSITIVE, NOT_NEGATIVE = "a number above 0", "a number of 0 or more"
SHARE, BELOW_ONE = "a number from 0 to 1", "a number from 0 to below 1"
TWO = "a whole number of 2 or more"
BOOLEAN = "bool"
OUTSIDE = {
    TWO: (1, -2, 2.5),
    COUNT: (0, -1, 1.5),
    WHOLE: (-1, 0.5),
    POSITIVE: (0, -1, "NaN", "Infinity"),
    NOT_NEGATIVE: (-1e-9, "NaN", "Infinity"),
    SHARE: (-0.1, 1.1, "NaN"),
    BELOW_ONE: (-0.1, 1, "NaN"),
    BOOLEAN: (0, 2, "maybe"),
}
RANGES = {
    "data.pieces_per_kind": COUNT,
    "data.performances": COUNT,
    "data.development_pieces": TWO,
    "data.validation_pieces": TWO,
    "data.development_seconds": POSITIVE,
    "representation.section_frames": COUNT,
    "model.content_width": COUNT,
    "model.content_size": COUNT,
    "model.style_width": COUNT,
    "model.style_size": COUNT,
    "model.depth": COUNT,
    "model.decoder_width": COUNT,
    "model.window": COUNT,
    "model.overlap": WHOLE,
    "model.align_onsets": BOOLEAN,
    "model.context_weight": SHARE,
    "model.token_injection": BOOLEAN,
    "loss.log_spectral": NOT_NEGATIVE,
    "loss.phase": NOT_NEGATIVE,
    "loss.content_energy": NOT_NEGATIVE,
    "training.steps": COUNT,
    "training.batch": COUNT,
    "training.seconds": POSITIVE,
    "training.learning_rate": POSITIVE,
    "training.matrix_rate": NOT_NEGATIVE,
    "training.discriminator_rate": POSITIVE,
    "training.equalisation": NOT_NEGATIVE,
    "training.fader": NOT_NEGATIVE,
    "training.domain_randomisation": BOOLEAN,
    "training.third_instruments": SHARE,
    "training.teacher_forcing": BOOLEAN,
    "training.validate_every": COUNT,
    "training.seed": WHOLE,
}
PHASE_RANGES = {
    "start": BELOW_ONE,
    "contrastive": NOT_NEGATIVE,
    "margin": NOT_NEGATIVE,
    "hsic": NOT_NEGATIVE,
    "adversarial": NOT_NEGATIVE,
}
# Words and lists of words.
NAMED = {
    "data.manifest=5": "string",
    "training.precision=16-mixed": "'32-true' or 'bf16-mixed'",
    "instruments=[]": "2 or more different names",
    'instruments=["piano"]': "2 or more different names",
    'instruments=["piano", "piano"]': "2 or more different names",
    'instruments=["piano", "Grand Piano"]': "2 or more different names of lower-case letters",
    "soundfonts=[]": "1 or more different names",
    'soundfonts=["a", "a"]': "1 or more different names",
    "curriculum=[]": "rising from 0",
    "name=5": "string",
}


def test_every_field_has_its_range_below():
    tested = {*RANGES, *(assignment.partition("=")[0] for assignment in NAMED)}
    fields = {f"{name}.{field}" for name, kind in SECTIONS.items() for field in field_names(kind)}
    assert tested == fields | (set(field_names(Config)) - set(SECTIONS))
    assert {"name", *PHASE_RANGES} == set(field_names(Phase))


@pytest.mark.parametrize(("field", "accepted"), RANGES.items())
def test_a_value_out_of_range_is_refused(field, accepted):
    for value in OUTSIDE[accepted]:
        found = {"NaN": "nan", "Infinity": "inf"}.get(value, repr(value))
        with refused(f"{field}: found {found}, accepted is ", accepted):
            override(preset("quick"), f"{field}={value}")


@pytest.mark.parametrize(("field", "accepted"), PHASE_RANGES.items())
def test_a_value_of_a_phase_out_of_range_is_refused(field, accepted):
    for value in OUTSIDE[accepted]:
        with refused(f"curriculum.0.{field}: found ", f"accepted is {accepted}"):
            override(preset("quick"), f'curriculum=[{{"name": "a", "start": 0, "{field}": {value}}}]')


def test_a_value_without_a_name_is_refused_by_its_fields():
    with refused("name: found 5, accepted is ", "string"):
        Phase(5, 0.0)
    with refused("start: found 1.5, accepted is a number from 0 to below 1"):
        Phase("a", 1.5)
    with refused("instruments.1: found 5, accepted is ", "string"):
        Config("x", ("piano", 5))
    with pytest.raises(TypeError):
        Phase("a", 0.0, name="b")
    with pytest.raises(AstError):
        Phase("a", 0.0, 0.1, 0.1, 0.1, 0.1, "one too many")


@pytest.mark.parametrize(("assignment", "accepted"), NAMED.items())
def test_a_value_that_is_none_of_those_known_is_refused(assignment, accepted):
    with refused(assignment.partition("=")[0], ": found ", "accepted is ", accepted):
        override(preset("quick"), assignment)


# --- What fields must satisfy together


@pytest.mark.parametrize(
    ("assignments", "found"),
    [
        (["training.batch=2"], "training.batch: found 2, accepted is a multiple of 2"),
        (["training.batch=5"], "training.batch: found 5, accepted is a multiple of 2"),
        (["model.overlap=33"], "model.overlap: found 33, accepted is 0 to half of model.window (64)"),
        (["model.content_width=100"], "model.content_width: found 100, accepted is a multiple of 32"),
        (["model.style_width=100"], "model.style_width: found 100, accepted is a multiple of 32"),
        (["model.decoder_width=100"], "model.decoder_width: found 100, accepted is a multiple of 8"),
        (
            ["model.context_weight=0.5", "training.teacher_forcing=true"],
            "model.context_weight: found 0.5, accepted is 1 with training.teacher_forcing",
        ),
        (
            ["training.seconds=10.1"],
            "training.seconds: found 10.1, accepted is 10 or less, the length of a performance",
        ),
        (
            ["data.performances=3", 'soundfonts=["a", "b", "c"]'],
            "data.performances: found 3, accepted is 4 or more, one for each group",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_and_each_alone_is_not(assignments, found):
    plain = override(preset("quick"), "model.context_weight=1")
    with refused(found):
        override(plain, *assignments)
    for assignment in assignments if len(assignments) > 1 else ():
        override(plain, assignment)


@pytest.mark.parametrize("starts", [(0.1,), (0.0, 0.0), (0.0, 0.5, 0.4)])
def test_phases_start_at_0_and_rise(starts):
    with refused("curriculum.start: found [", "rising from 0"):
        Config("x", curriculum=tuple(Phase("p", start) for start in starts))


def test_the_ends_of_the_ranges_are_inside():
    training = TrainingConfig(steps=1, batch=4, validate_every=1, seed=0, equalisation=0.0)
    model = ModelConfig(window=2, overlap=1, depth=1, context_weight=0.0)
    config = Config("x", training=training, model=model, curriculum=(Phase("p", 0.0, adversarial=0.0),))
    assert config.training is training
    assert Config("x", model=ModelConfig(window=1, overlap=0)).model.window == 1


def test_a_configuration_cannot_change_after_its_check():
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("smoke").training.steps = 0
