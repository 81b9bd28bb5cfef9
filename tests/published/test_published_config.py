"""The published configuration: what is accepted, and what its curriculum and its schedules weigh."""

import dataclasses
import typing

import pytest
from published_models import published_tiny

from ast_lib.checked import from_values
from ast_lib.config import override, to_dict
from ast_lib.config import preset as core_preset
from ast_lib.errors import AstError
from ast_lib.published.config import PublishedConfig, extend, preset
from ast_lib.training.curriculum import WEIGHTS, loss_weights


def choices():
    """Every field that is one of a few values, with them."""
    return [
        (f"{table}.{field.name}", typing.get_args(field.type))
        for table in ("representation", "model", "loss", "training")
        for field in dataclasses.fields(getattr(PublishedConfig("x"), table))
        if typing.get_origin(field.type) is typing.Literal
    ]


def test_choices_are_found():
    assert len(choices()) == 17


@pytest.mark.parametrize(("path", "accepted"), choices())
def test_an_unknown_choice_is_refused_with_the_accepted_ones(path, accepted):
    value = 7 if isinstance(accepted[0], int) else "other"
    *others, last = map(repr, accepted)
    with pytest.raises(AstError) as error:
        published_tiny(f"{path}={value}")
    assert str(error.value) == f"{path}: found {value!r}, accepted is {', '.join(others)} or {last}"


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["model.style_encoder=one_hot", "model.style_size=1"], "model.style_size: found 1, accepted is 2 or more"),
        (["loss.hsic=published"], r"model.style_size: found 32, accepted is model.content_size \(64\)"),
        (["model.discriminator=mlp"], r"model.style_size: found 32, accepted is model.content_size \(64\)"),
        (["representation.section_overlap=4"], "representation.section_overlap: found 4, accepted is 0 to below"),
        (
            ["loss.discriminator_weights=[1, 2]"],
            r"loss.discriminator_weights: found \(1.0, 2.0\), accepted is none or th",
        ),
        (["training.alternate=[5, 0]"], r"training.alternate: found \(5, 0\), accepted is 0, 0 or"),
        (["training.plateau=0"], "training.plateau: found 0, accepted is a number above 0, up to 1"),
        (["model.dropout=1"], "model.dropout: found 1, accepted is a number from 0 to below 1"),
        (["model.cnn_channels=[]"], r"model.cnn_channels: found \[\], accepted is one or more numbers"),
    ],
)
def test_what_does_not_go_together_is_refused(assignments, message):
    with pytest.raises(AstError, match=message):
        published_tiny(*assignments)


@pytest.mark.parametrize("name", ["smoke", "quick", "full"])
def test_a_configuration_of_the_core_means_the_same(name):
    config = core_preset(name)
    extended = extend(config)
    assert preset(name) == extended and from_values(PublishedConfig, to_dict(extended)) == extended
    for table in ("data", "representation", "model", "loss", "training"):
        core, ours = getattr(config, table), getattr(extended, table)
        shared = [name for name in dir(core) if not name.startswith("_") and name != "depth"]
        assert {name: getattr(ours, name) for name in shared} == {name: getattr(core, name) for name in shared}
    for core, ours in zip(config.curriculum, extended.curriculum, strict=True):
        assert dataclasses.asdict(ours) == dataclasses.asdict(core) | {"reconstruction": 1.0}
    # Fields that the core does not have leave its system as it is: they need not be said. Depth is three numbers here.
    values = to_dict(core_preset("quick"))
    del values["model"]["depth"]
    assert from_values(PublishedConfig, values) == preset("quick")


# --- Schedules


def test_schedules_are_two_ways_to_weigh_the_losses():
    config = preset("quick")
    at_once = override(config, "training.schedule=all_at_once").phases
    assert config.phases == config.curriculum
    for step in (0, 300, 599):
        everything = loss_weights(at_once, step, 600)
        assert everything == {name: getattr(config.regular, name) for name in WEIGHTS}
        assert all(everything[name] for name in WEIGHTS)


def test_the_papers_curriculum():
    assert preset("paper").phases == (preset("paper").regular,)
    phases = preset("paper").curriculum
    reached = [loss_weights(phases, share, 100) for share in (0, 20, 40, 80, 99)]
    table = [
        tuple(weights[name] for name in ("reconstruction", "hsic", "contrastive", "margin")) for weights in reached
    ]
    assert table == [(10, 0, 0, 0), (8, 0, 0.5, 0.5), (5, 0.5, 0.8, 1), (3, 0.3, 0.8, 1), (3, 0.3, 0.8, 1)]
    ramp = [loss_weights(phases, step, 100)["adversarial"] for step in (59, 60, 70, 80, 99)]
    assert ramp == pytest.approx([0, 0, 0.125, 0.25, 0.25])
