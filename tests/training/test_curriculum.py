"""The curriculum: which phase a step is in, the ramp of the adversary, the learning rate over time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ast_lib.config import Phase, preset
from ast_lib.training.curriculum import WEIGHTS, learning_rate_factor, loss_weights, phase_at

PHASES = (
    Phase("reconstruction", 0.0),
    Phase("contrastive", 0.25, contrastive=0.5, margin=0.2),
    Phase("adversarial", 0.5, contrastive=0.4, adversarial=0.8),
)


@pytest.mark.parametrize(("step", "phase"), [(0, 0), (24, 0), (25, 1), (49, 1), (50, 2), (99, 2), (100, 2)])
def test_a_phase_begins_with_the_step_of_its_share(step, phase):
    assert phase_at(PHASES, step, 100) == phase


@pytest.mark.parametrize(
    ("steps", "starts"), [(500, (0, 25, 50, 75)), (20000, (0, 1000, 2000, 3000)), (8, (0, 1, 1, 2))]
)
def test_presets_enter_every_phase_on_time(steps, starts):
    phases = preset("quick").curriculum
    entered = [min(step for step in range(steps) if phase_at(phases, step, steps) >= i) for i in range(len(phases))]
    assert tuple(entered) == starts


def test_a_run_shorter_than_its_phases_has_the_first_one_first():
    assert phase_at(PHASES, 0, 1) == 0


def test_weights_are_those_of_the_phase():
    assert loss_weights(PHASES, 10, 100) == {
        "reconstruction": 1.0, "contrastive": 0.0, "margin": 0.0, "hsic": 0.0, "adversarial": 0.0
    }  # fmt: skip
    assert loss_weights(PHASES, 30, 100) == {
        "reconstruction": 1.0, "contrastive": 0.5, "margin": 0.2, "hsic": 0.0, "adversarial": 0.0
    }  # fmt: skip


@given(st.integers(0, 999))
def test_all_weights_but_the_adversarial_are_constant_within_a_phase(step):
    phase = PHASES[phase_at(PHASES, step, 1000)]
    weights = loss_weights(PHASES, step, 1000)
    assert set(weights) == set(WEIGHTS)
    assert all(weights[name] == getattr(phase, name) for name in WEIGHTS if name != "adversarial")


@pytest.mark.parametrize(
    ("step", "weight"), [(49, 0.0), (50, 0.0), (55, 0.16), (62.5, 0.4), (74, 0.768), (75, 0.8), (90, 0.8), (100, 0.8)]
)
def test_the_adversary_grows_over_the_first_half_of_its_phase(step, weight):
    # From 50 to 75 of 100 steps, from 0 to 0.8.
    assert loss_weights(PHASES, step, 100)["adversarial"] == pytest.approx(weight, abs=1e-12)


def test_a_ramp_between_two_phases_starts_from_the_first_ones_weight():
    phases = (Phase("a", 0.0, adversarial=0.1), Phase("b", 0.2, adversarial=0.5), Phase("c", 0.6))
    found = [loss_weights(phases, step, 100)["adversarial"] for step in (0, 19, 20, 30, 40, 59, 60, 70, 80, 99)]
    assert found == pytest.approx([0.1, 0.1, 0.1, 0.3, 0.5, 0.5, 0.5, 0.25, 0.0, 0.0])


def test_the_learning_rate_warms_up_linearly_and_falls_along_a_cosine():
    def factor(step):
        return learning_rate_factor(step, 1000, 10, 0.03)

    assert factor(0) == pytest.approx(0.1)  # the first step moves already
    assert factor(4) == pytest.approx(0.5 * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * 0.004))))
    assert factor(9) == pytest.approx(0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * 0.009)))
    assert factor(500) == pytest.approx(0.5 * (1 + 0.03))
    assert factor(1000) == pytest.approx(0.03) and factor(2000) == pytest.approx(0.03)


def test_without_warm_up_the_rate_starts_full():
    assert learning_rate_factor(0, 100, 0, 0.0) == 1.0


@given(st.integers(1, 500), st.integers(0, 100), st.floats(0, 1))
def test_the_rate_rises_once_and_falls_once(steps, warm_up, final):
    factors = [learning_rate_factor(step, steps, warm_up, final) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    after = factors[max(warm_up - 1, 0) :]
    assert all(a >= b - 1e-12 for a, b in zip(after, after[1:], strict=False))
