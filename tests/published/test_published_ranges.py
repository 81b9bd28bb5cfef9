"""Ranges of the published configuration: each number's, and what its own fields must satisfy together."""

import dataclasses
import typing

import pytest
from models import tiny
from published_models import VOICED

from ast_lib.config import Config, override
from ast_lib.errors import AstError
from ast_lib.published.config import PublishedConfig, PublishedPhase, extend

SECTIONS = ("representation", "model", "loss", "training")
# Of each number that the core does not have: a value outside, and what is accepted.
OUTSIDE = {
    "representation.cqt_bins_per_octave": (0, "a whole number of 1 or more"),
    "representation.compression": (0, "a number above 0"),
    "representation.section_overlap": (-1, "a whole number of 0 or more"),
    "model.heads": (0, "a whole number of 1 or more"),
    "model.discriminator_width": (0, "a whole number of 1 or more"),
    "model.feed_forward": (0, "a whole number of 1 or more"),
    "model.style_fit": (-1, "a whole number of 0 or more"),
    "model.residual_blocks": (-1, "a whole number of 0 or more"),
    "model.encoder_layers": (0, "a whole number of 1 or more"),
    "model.decoder_layers": (0, "a whole number of 1 or more"),
    "model.dropout": (1, "a number from 0 to below 1"),
    "model.initial_gain": (-0.1, "a number of 0 or more"),
    "loss.magnitude": (-1, "a number of 0 or more"),
    "loss.mse": (-1, "a number of 0 or more"),
    "loss.temporal": (-1, "a number of 0 or more"),
    "loss.spectral": (-1, "a number of 0 or more"),
    "loss.temperature": (0, "a number above 0"),
    "loss.margin": (0, "a number above 0"),
    "loss.style_help": (-1, "a number of 0 or more"),
    "training.average": (1, "a number from 0 to below 1"),
    "training.weight_decay": (-1, "a number of 0 or more"),
    "training.clip": (0, "a number above 0"),
    "training.final_rate": (1.1, "a number from 0 to 1"),
    "training.warm_up": (-1, "a whole number of 0 or more"),
    "training.loss_warm_up": (-1, "a whole number of 0 or more"),
    "training.plateau": (1.1, "a number above 0, up to 1"),
    "training.patience": (0, "a whole number of 1 or more"),
    "training.discriminator_clip": (-1, "a number of 0 or more"),
}


def own_numbers() -> set[str]:
    """The fields of the published configuration that are one number and that the core does not have."""
    found = set()
    for section in SECTIONS:
        table, core = getattr(PublishedConfig("x"), section), getattr(Config("x"), section)
        ours = {field.name for field in dataclasses.fields(core)}
        for field in dataclasses.fields(table):
            number = type(getattr(table, field.name)) in (int, float)
            if number and typing.get_origin(field.type) is not typing.Literal and field.name not in ours:
                found.add(f"{section}.{field.name}")
    return found


def test_every_number_has_its_range_below():
    assert own_numbers() == set(OUTSIDE)


@pytest.mark.parametrize(("field", "outside"), OUTSIDE.items())
def test_a_value_out_of_range_is_refused(field, outside):
    value, accepted = outside
    for found in (value, "NaN", "Infinity"):
        with pytest.raises(AstError, match=rf"^{field}: found {str(found).lower()[:3]}.*, accepted is {accepted}$"):
            override(extend(tiny()), f"{field}={found}")


def test_a_phase_weighs_the_reconstruction_with_0_or_more():
    with pytest.raises(AstError, match="reconstruction: found -1.0, accepted is a number of 0 or more"):
        PublishedPhase("a", 0.0, reconstruction=-1.0)


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (
            ["model.context_weight=0.5", "model.inference_feedback=hidden"],
            "model.context_weight: found 0.5, accepted is 1 with model.inference_feedback=hidden",
        ),
        (
            ["model.align_onsets=true", "model.style_encoder=class_vectors"],
            "model.align_onsets: found True, accepted is false with class_vectors styles",
        ),
        *(
            (
                ["training.third_instruments=0.5", voiced],
                "training.third_instruments: found 0.5, accepted is 0 with representation.statistics=per_class, or",
            )
            for voiced in ("representation.statistics=per_class", "model.style_encoder=class_vectors")
        ),
    ],
)
def test_what_does_not_go_together_is_refused_and_each_alone_is_not(assignments, message):
    plain = override(extend(tiny()), "model.context_weight=1", *VOICED)
    with pytest.raises(AstError, match=message):
        override(plain, *assignments)
    for assignment in assignments:
        override(plain, assignment)
