"""Prototypes and their margin: known distances, where the loss is at rest, and batches without a pair of classes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib.errors import AstError
from ast_lib.losses.margin import class_prototypes, prototype_margin
from ast_lib.published.code_losses import prototype_margin_squared

FORMS = [prototype_margin, prototype_margin_squared]


def codes(batch, size, seed=0):
    return torch.randn(batch, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_prototypes_are_means_of_their_class():
    z = torch.tensor([[1.0, 0], [3, 2], [10, 10], [5, 4]])
    found = class_prototypes(z, torch.tensor([1, 1, 0, 1]), 2)
    assert torch.equal(found, torch.tensor([[10.0, 10], [3, 2]]))


def test_prototype_of_one_clip_is_its_code():
    z = codes(1, 4)
    assert torch.equal(class_prototypes(z, torch.tensor([0]), 1), z)


def test_every_clip_has_its_share_of_the_gradient():
    z = codes(5, 2).requires_grad_()
    class_prototypes(z, torch.tensor([0, 0, 1, 1, 1]), 2).sum().backward()
    torch.testing.assert_close(z.grad[:, 0], torch.tensor([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3], dtype=torch.float64))


def test_prototypes_follow_the_labels_not_the_order_of_clips():
    z, labels, order = codes(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(class_prototypes(z[order], labels[order], 3), class_prototypes(z, labels, 3))


def test_prototype_batches_that_cannot_be_are_named():
    z = codes(3, 2)
    with pytest.raises(AstError, match="class 1 is not in the batch"):
        class_prototypes(z, torch.tensor([0, 0, 2]), 3)
    with pytest.raises(RuntimeError, match="Class values must be smaller than num_classes"):
        class_prototypes(z, torch.tensor([0, 1, 2]), 2)
    with pytest.raises(AstError, match="labels: found shape"):
        class_prototypes(z, torch.tensor([0, 1]), 2)


def test_known_distances():
    # A triangle with sides 3, 4 and 5: with a margin of 4.5 the pairs lack 1.5, 0.5 and nothing.
    triangle = torch.tensor([[0.0, 0], [3, 0], [0, 4]], dtype=torch.float64)
    assert prototype_margin(triangle, 4.5).item() == pytest.approx((1.5 + 0.5) / 3)
    assert prototype_margin_squared(triangle, 4.5).item() == pytest.approx((1.5**2 + 0.5**2) / 3)


def test_relative_margin_is_in_units_of_the_mean_norm():
    opposite = torch.tensor([[8.0, 0], [-8, 0]], dtype=torch.float64)  # 16 apart, which is 2 norms
    assert prototype_margin(opposite, 2.5, relative=True).item() == pytest.approx(0.5)
    assert prototype_margin_squared(opposite, 2.5, relative=True).item() == pytest.approx(0.25)
    # As published: a margin of 2.0 on codes of norm 16 is met from the start and teaches nothing.
    assert prototype_margin_squared(2 * opposite, 2.0).item() == 0


@pytest.mark.parametrize("form", FORMS)
def test_at_rest_beyond_the_margin(form):
    prototypes = torch.tensor([[0.0, 0], [3, 0]], requires_grad=True)
    loss = form(prototypes, 2.0)
    loss.backward()
    assert loss.item() == 0 and torch.equal(prototypes.grad, torch.zeros(2, 2))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.floats(0.1, 5), st.booleans(), st.integers(0, 10**6))
def test_range(classes, margin, relative, seed):
    prototypes = codes(classes, 3, seed)
    assert 0 <= prototype_margin(prototypes, margin, relative).item() <= margin
    assert 0 <= prototype_margin_squared(prototypes, margin, relative).item() <= margin**2


@pytest.mark.parametrize("form, highest", [(prototype_margin, 2.0), (prototype_margin_squared, 4.0)])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_coinciding_prototypes_cost_the_most_and_keep_the_gradient_finite(form, highest, relative, value):
    prototypes = torch.full((3, 4), value, requires_grad=True)
    loss = form(prototypes, 2.0, relative=relative)
    loss.backward()
    assert loss.item() == pytest.approx(highest) and torch.isfinite(prototypes.grad).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("relative", [False, True])
def test_single_class_gives_zero_with_zero_gradient(form, relative):
    prototypes = codes(1, 3).requires_grad_()
    loss = form(prototypes, 1.0, relative=relative)
    loss.backward()
    assert loss.item() == 0 and torch.equal(prototypes.grad, torch.zeros_like(prototypes))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("relative", [False, True])
def test_gradient_agrees_with_finite_differences(form, relative):
    prototypes = codes(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: form(p, 1.9, relative), (prototypes,))


def test_gradient_of_the_hinge_keeps_its_size_and_that_of_its_square_fades():
    for distance in (0.5, 1.9):
        prototypes = torch.tensor([[0.0], [distance]], dtype=torch.float64, requires_grad=True)
        (plain,) = torch.autograd.grad(prototype_margin(prototypes, 2.0), prototypes)
        (squared,) = torch.autograd.grad(prototype_margin_squared(prototypes, 2.0), prototypes)
        assert plain[:, 0].tolist() == pytest.approx([1, -1])
        assert squared[1, 0].item() == pytest.approx(-2 * (2 - distance))


@pytest.mark.parametrize("form", FORMS)
def test_invariances(form):
    prototypes = codes(4, 3)
    rotation = torch.linalg.qr(codes(3, 3, seed=1)).Q
    expected = form(prototypes, 2.5).item()
    for moved in (prototypes @ rotation, prototypes + 3, prototypes[[2, 0, 3, 1]]):
        assert form(moved, 2.5).item() == pytest.approx(expected)
    relative = form(prototypes, 2.5, relative=True).item()
    for moved in (100 * prototypes, prototypes @ rotation):
        assert form(moved, 2.5, relative=True).item() == pytest.approx(relative)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_lower_precision_agrees(form, dtype, tolerance):
    z, labels = codes(12, 8), torch.tensor([0, 1, 2] * 4)
    found = form(class_prototypes(z.to(dtype), labels, 3), 5.0)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(form(class_prototypes(z, labels, 3), 5.0).item(), rel=tolerance)


@pytest.mark.parametrize("form", FORMS)
def test_nan_shows(form):
    prototypes = codes(3, 2)
    prototypes[1, 0] = math.nan
    assert torch.isnan(form(prototypes, 1.0)) and torch.isnan(form(prototypes, 1.0, relative=True))
    assert torch.isnan(form(prototypes[1:2], 1.0))
    assert torch.isnan(class_prototypes(prototypes, torch.tensor([0, 1, 1]), 2)).any()


@pytest.mark.parametrize("margin", [0, -1.0, math.nan])
def test_margin_must_be_above_zero(margin):
    with pytest.raises(AstError, match="margin: found"):
        prototype_margin(codes(2, 2), margin)
