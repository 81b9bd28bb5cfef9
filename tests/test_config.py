"""Configurations: round trips, text overrides, and one sentence for everything that is wrong with one."""

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ast_lib.config import Config, ModelConfig, Phase, TrainingConfig, from_dict, override, preset, to_dict
from ast_lib.errors import AstError

PRESETS = ("smoke", "quick", "full", "paper")


@contextlib.contextmanager
def refused(*parts):
    """Context that must end with an AstError of one line that holds all the parts."""
    with pytest.raises(AstError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message and all(part in message for part in parts), message


# --- Presets and round trips


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_dictionaries_and_json(name):
    config = preset(name)
    assert config.name == name
    assert from_dict(to_dict(config)) == config
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_a_dictionary_holds_plain_json_values_only():
    values = to_dict(preset("quick"))
    assert values == json.loads(json.dumps(values))
    assert values["instruments"] == ["piano", "violin"] and values["training"]["betas"] == [0.9, 0.98]
    assert values["curriculum"][0]["name"] == "reconstruction"


def test_what_a_dictionary_leaves_out_has_its_default():
    assert from_dict({"name": "x"}) == Config("x")
    assert from_dict({"name": "x", "model": {"heads": 2}}).model == ModelConfig(heads=2)


def test_an_unknown_preset_is_refused():
    with refused("profile: found 'huge'", "smoke, quick, full, paper"):
        preset("huge")


def test_voices_are_every_instrument_on_every_soundfont_the_first_soundfonts_first():
    config = Config("x", instruments=("piano", "violin"), soundfonts=("a", "b"))
    assert config.voices == (("piano", "a"), ("violin", "a"), ("piano", "b"), ("violin", "b"))
    with refused("training.batch: found 10", "multiples of 4 (instruments × soundfonts × their shares)"):
        Config("x", soundfonts=("a", "b"), training=TrainingConfig(batch=10))


def test_sizes_that_follow_from_others():
    shape = preset("quick").representation
    assert (shape.stft_bins, shape.cqt_bins) == (513, 168)


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
        ("training.betas=[0.8, 0.9]", ("training", "betas"), (0.8, 0.9)),
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
    config = override(preset("quick"), 'curriculum=[{"name": "all", "start": 0, "reconstruction": 1, "hsic": 0.5}]')
    assert config.curriculum == (Phase("all", 0.0, 1.0, hsic=0.5),)


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("training.steps", ("variant: found 'training.steps'", "field=value")),
        ("", ("variant: found ''", "field=value")),
        ("training.stepps=5", ("training.stepps: unknown field", "steps")),
        ("trainning.steps=5", ("trainning: unknown field",)),
        ("training.steps.more=5", ("training.steps: unknown field",)),
        ("steps=5", ("steps: unknown field", "training")),
        ("training.steps=5.0", ("training.steps: found 5.0 (float)", "int")),
        ("training.steps=true", ("training.steps: found True (bool)", "int")),
        ("training.learning_rate=true", ("training.learning_rate: found True (bool)", "float")),
        ("training.learning_rate=fast", ("training.learning_rate: found 'fast' (str)", "float")),
        ("training.learning_rate=null", ("training.learning_rate: found None", "float")),
        ("model.token_injection=1", ("model.token_injection: found 1 (int)", "bool")),
        ("name=3", ("name: found 3 (int)", "str")),
        ("training.betas=[0.9]", ("training.betas: found 1 values", "2")),
        ("training.betas=[0.9, 0.98, 0.99]", ("training.betas: found 3 values", "2")),
        ("training.betas=0.9", ("training.betas: found 0.9", "list")),
        ('training.betas=[0.9, "a"]', ("training.betas[1]: found 'a' (str)", "float")),
        ("instruments=piano", ("instruments: found 'piano'", "list")),
        ("training=5", ("training: found 5", "steps")),
        ('curriculum=[{"name": "a", "start": 0}]', ("curriculum[0].reconstruction: missing",)),
        ('curriculum=[{"name": "a", "start": 0, "reconstruction": 1, "sic": 1}]', ("curriculum[0].sic: unknown",)),
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
        (5, ("configuration: found 5", "instruments")),
        ([], ("configuration: found []",)),
        ({}, ("name: missing",)),
        ({"name": "x", "colour": 1}, ("colour: unknown field", "instruments")),
        ({"name": "x", "model": None}, ("model: found None", "heads")),
        ({"name": "x", "model": {"heads": "4"}}, ("model.heads: found '4' (str)", "int")),
        ({"name": "x", "instruments": {"piano": 1, "violin": 2}}, ("instruments: found {", "list")),
    ],
)
def test_what_a_dictionary_is_refused_for(values, parts):
    with refused(*parts):
        from_dict(values)


# --- Rules


@pytest.mark.parametrize(
    ("assignment", "found", "accepted"),
    [
        ("instruments=[]", "()", "2 or more different names"),
        ('instruments=["piano"]', "('piano',)", "2 or more different names"),
        ('instruments=["piano", "piano"]', "('piano', 'piano')", "2 or more different names"),
        (
            'instruments=["piano", "Grand Piano"]',
            "('piano', 'Grand Piano')",
            "2 or more different names of lower-case letters",
        ),
        ("soundfonts=[]", "()", "1 or more different names"),
        ('soundfonts=["a", "a"]', "('a', 'a')", "1 or more different names"),
        ("training.room=1.5", "1.5", "0 to 1"),
        ("model.context_weight=1.5", "1.5", "0 to 1"),
        ("model.context_weight=NaN", "nan", "0 to 1"),
        ("training.tuning=-1", "-1.0", "0 or more"),
        ("model.feed_forward=0", "0", "1 or more"),
        ("training.steps=0", "0", "1 or more"),
        ("training.batch=2", "2", "multiples of 2"),
        ("training.batch=5", "5", "multiples of 2"),
        ("training.seconds=0", "0.0", "above 0"),
        ("training.seconds=-1", "-1.0", "above 0"),
        ("training.learning_rate=0", "0.0", "above 0"),
        ("training.learning_rate=NaN", "nan", "above 0"),
        ("training.precision=16-mixed", "'16-mixed'", "32-true or bf16-mixed"),
        ("training.context_drop=1.1", "1.1", "0 to 1"),
        ("training.context_null=-0.1", "-0.1", "0 to 1"),
        ("training.context_own=2", "2.0", "0 to 1"),
        ("training.average=1", "1.0", "0 to below 1"),
        ("training.validate_every=0", "0", "1 or more"),
        ("training.warm_up=-1", "-1", "0 or more"),
        ("training.clip=0", "0.0", "above 0"),
        ("training.context_noise=-1", "-1.0", "0 or more"),
        ("training.equalisation=-1", "-1.0", "0 or more"),
        ("training.seed=-1", "-1", "0 or more"),
        ("model.window=0", "0", "1 or more"),
        ("model.heads=0", "0", "1 or more"),
        ("model.content_size=0", "0", "1 or more"),
        ("model.overlap=33", "33", "half of model.window (64)"),
        ("model.overlap=-1", "-1", "half of model.window (64)"),
        ("model.content_width=100", "100", "multiples of 8 × model.heads"),
        ("model.style_width=100", "100", "multiples of 8 × model.heads"),
        ("model.decoder_width=100", "100", "multiples of 2 × model.heads"),
        ("representation.section_frames=0", "0", "1 or more"),
        ("representation.compression=0", "0.0", "above 0"),
        ("representation.sample_rate=44100", "44100", "22050"),
        ("representation.hop=200", "200", "multiples of 128"),
        ("loss.margin=0", "0.0", "above 0"),
        ("loss.temperature=0", "0.0", "above 0"),
        ("data.test_seconds=0", "0.0", "above 0"),
        ("data.test_pieces=1", "1", "2 or more"),
        ("data.validation_pieces=0", "0", "2 or more"),
        ("data.seed=-1", "-1", "0 or more"),
        ("curriculum=[]", "[]", "starts rise from 0"),
    ],
)
def test_every_rule_names_field_value_and_what_is_accepted(assignment, found, accepted):
    with refused(f"{assignment.partition('=')[0]}: found {found}", "accepted", accepted):
        override(preset("quick"), assignment)


@pytest.mark.parametrize(
    "fields", [["training.context_drop=0", "training.context_null=0"], ["model.inference_feedback=hidden"]]
)
def test_a_context_can_only_weigh_less_where_sections_are_fed_back_and_their_lack_was_learnt(fields):
    with refused("model.context_weight: found 0.5, accepted is 1 where training never leaves context out"):
        override(preset("quick"), "model.context_weight=0.5", *fields)
    assert override(preset("quick"), "model.context_weight=0.5").model.context_weight == 0.5


@pytest.mark.parametrize("starts", [(0.1,), (0, 0), (0, 0.5, 0.4), (0, 1), (0, float("nan"))])
def test_phases_start_at_0_and_rise(starts):
    with refused("curriculum: found [", "starts rise from 0"):
        Config("x", curriculum=tuple(Phase("p", start, 1.0) for start in starts))


def test_the_ends_of_the_ranges_are_inside():
    training = TrainingConfig(
        steps=1, batch=4, average=0.0, context_drop=1.0, context_null=0.0, context_own=1.0, warm_up=0, validate_every=1
    )
    model = ModelConfig(window=2, overlap=1, residual_blocks=0)
    assert Config("x", training=training, model=model).training is training
    assert Config("x", model=ModelConfig(window=1, overlap=0)).model.window == 1


def test_a_configuration_cannot_change_after_its_check():
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("smoke").training.steps = 0
