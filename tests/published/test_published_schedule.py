"""Rates that fall on a plateau, and networks that learn in turn."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published_models import SHORT, parameters, published_tiny, trainer

from ast_lib.published.schedule import plateau_factor, turns


@given(st.lists(st.sampled_from([1.0, 0.9, 0.5, 2.0, -1.0, -2.0]), max_size=40), st.integers(1, 3))
def test_a_plateau_is_pytorchs(means, patience):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=patience)
    for mean in means:
        reference.step(mean)
    totals = [mean + offset for mean in means for offset in (-0.25, 0.25)] + [0.0]  # epochs of two steps, half of one
    assert plateau_factor(totals, 2, 0.7, patience) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_generator_and_discriminator_take_turns(dataset):
    assert [turns((5, 3), step) for step in range(9)] == [(True, False)] * 5 + [(False, True)] * 3 + [(True, False)]
    assert turns((0, 0), 3) == (True, True)
    run = trainer(
        dataset, published_tiny(*SHORT, "training.alternate=[1, 2]", "training.validate_every=3", "training.average=0")
    )
    for step in range(3):
        model, judge = parameters(run.model), parameters(run.discriminator)
        row = run.train_step(run.batch(step))
        run.step += 1
        moved = [
            any(not torch.equal(before[name], now) for name, now in module.named_parameters())
            for before, module in ((model, run.model), (judge, run.discriminator))
        ]
        assert moved == [step == 0, step > 0]
        assert ("gradient_norm" in row, "discriminator_gradient_norm" in row) == (step == 0, step > 0)
