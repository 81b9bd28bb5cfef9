"""InfoNCE against its definition, its bounds, and the batches in which there is nothing to contrast."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib.book.statistics import info_nce_range, mutual_information_bound
from ast_lib.errors import AstError
from ast_lib.losses.contrastive import info_nce, supervised_info_nce

TEMPERATURE = 0.1


def codes(batch, size, seed=0, dtype=torch.float64):
    return torch.randn(batch, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def supervised_by_definition(z, labels, temperature):
    unit = z / z.norm(dim=1, keepdim=True)
    terms = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        if positives:
            total = sum(math.exp(unit[i] @ unit[a] / temperature) for a in others)
            terms.append(-sum(math.log(math.exp(unit[i] @ unit[p] / temperature) / total) for p in positives))
            terms[-1] /= len(positives)
    return sum(terms) / len(terms)


def simplex(corners):
    """The corners of a regular simplex around 0: every two have the cosine −1 / (corners − 1)."""
    return torch.eye(corners, dtype=torch.float64) - 1 / corners


def test_orthogonal_pairs_have_the_closed_form():
    z = torch.eye(5, dtype=torch.float64)
    expected = math.log(1 + 4 * math.exp(-1 / TEMPERATURE))
    assert info_nce(z, 3 * z, TEMPERATURE).item() == pytest.approx(expected, rel=1e-9)


def test_equal_codes_are_at_chance():
    z = torch.ones(6, 3, dtype=torch.float64)
    assert info_nce(z, z).item() == pytest.approx(math.log(6))
    assert supervised_info_nce(z, torch.tensor([0, 0, 0, 1, 1, 1])).item() == pytest.approx(math.log(5))


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_simplex_reaches_the_lowest_value(batch):
    z = simplex(batch)
    lowest, chance, _ = info_nce_range(batch, 0.5)
    assert info_nce(z, z, 0.5).item() == pytest.approx(lowest, rel=1e-9)
    assert chance == pytest.approx(math.log(batch))


def test_swapped_opposites_reach_the_highest_value():
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert info_nce(z, -z, 0.5).item() == pytest.approx(info_nce_range(2, 0.5)[2], rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 6), st.floats(0.02, 5), st.integers(0, 10**6))
def test_stays_within_its_range(batch, size, temperature, seed):
    lowest, _, highest = info_nce_range(batch, temperature)
    loss = info_nce(codes(batch, size, seed), codes(batch, size, seed + 1), temperature).item()
    assert lowest - 1e-9 <= loss <= highest + 1e-9


def test_range_of_a_cold_batch_is_finite():
    assert info_nce_range(4, 1e-3)[2] == pytest.approx(2000 + math.log(3))
    assert info_nce_range(1) == (0, 0, 0)


def test_mutual_information_bound_cannot_exceed_log_batch():
    z = simplex(4)
    bound = mutual_information_bound(info_nce(z, z, 0.02), 4)
    assert bound.item() == pytest.approx(math.log(4), abs=1e-9)
    assert mutual_information_bound(math.log(4), 4) == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=4, max_size=8), st.integers(0, 10**6))
def test_supervised_form_is_its_definition(labels, seed):
    z = codes(len(labels), 3, seed)  # four labels of three classes: some anchor always has a positive
    expected = supervised_by_definition(z, labels, 0.3)
    assert supervised_info_nce(z, torch.tensor(labels), 0.3).item() == pytest.approx(expected, rel=1e-9)


def test_supervised_minimum_is_the_logarithm_of_the_positives():
    # Two opposite points of 4 clips each: 3 positives share the probability, 4 negatives are 2/τ away.
    labels = torch.tensor([0, 1] * 4)
    z = torch.where(labels[:, None] == 0, 1.0, -1.0).double() * torch.tensor([0.6, 0.8], dtype=torch.float64)
    expected = math.log(3 + 4 * math.exp(-2 / TEMPERATURE))
    assert supervised_info_nce(z, labels, TEMPERATURE).item() == pytest.approx(expected, rel=1e-9)


def test_supervised_form_with_pairs_of_views_is_smaller_for_better_codes():
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    crossed = apart[[0, 2, 1, 3]]
    assert supervised_info_nce(apart, labels) < supervised_info_nce(crossed, labels)


@pytest.mark.parametrize("labels", [[0], [0, 1], [2, 0, 1, 3]])
def test_no_positive_at_all_gives_zero_with_zero_gradient(labels):
    z = codes(len(labels), 4).requires_grad_()
    loss = supervised_info_nce(z, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0 and torch.equal(z.grad, torch.zeros_like(z))


def test_one_pair_gives_zero_with_zero_gradient():
    z = codes(1, 4).requires_grad_()
    loss = info_nce(z, codes(1, 4, seed=1))
    loss.backward()
    assert loss.item() == 0 and torch.equal(z.grad, torch.zeros_like(z))


def test_single_class_is_lowest_where_its_codes_agree():
    labels = torch.zeros(5, dtype=torch.int64)
    assert supervised_info_nce(torch.ones(5, 3), labels) < supervised_info_nce(codes(5, 3).float(), labels)


def test_anchor_without_positive_is_left_out_but_still_repels():
    z, labels = codes(5, 3), torch.tensor([0, 0, 1, 1, 2])
    z.requires_grad_()
    loss = supervised_info_nce(z, labels, 0.5)
    loss.backward()
    assert loss.item() == pytest.approx(supervised_by_definition(z.detach(), labels, 0.5))
    assert z.grad[4].abs().sum() > 0


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_gradients_agree_with_finite_differences(temperature):
    z, other = codes(5, 3).requires_grad_(), codes(5, 3, seed=1).requires_grad_()
    labels = torch.tensor([0, 1, 0, 1, 2])
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, temperature), (z, other))
    assert torch.autograd.gradcheck(lambda a: supervised_info_nce(a, labels, temperature), (z,))


def test_rotation_scale_and_order_do_not_matter():
    z, other, labels = codes(6, 4), codes(6, 4, seed=1), torch.tensor([0, 1, 0, 1, 0, 1])
    rotation = torch.linalg.qr(codes(4, 4, seed=2)).Q
    scale, order = torch.rand(6, 1, dtype=torch.float64) + 0.1, torch.tensor([3, 1, 5, 0, 2, 4])
    for moved_z, moved_other, moved_labels in [
        (z @ rotation, other @ rotation, labels),
        (scale * z, 7 * other, labels),
        (z[order], other[order], labels[order]),
        (z, other, 5 - labels),
    ]:
        assert info_nce(moved_z, moved_other).item() == pytest.approx(info_nce(z, other).item(), rel=1e-9)
        expected = supervised_info_nce(z, labels).item()
        assert supervised_info_nce(moved_z, moved_labels).item() == pytest.approx(expected, rel=1e-9)


def test_silent_codes_are_at_chance_with_a_finite_gradient():
    z = torch.zeros(4, 3, requires_grad=True)
    loss = info_nce(z, z) + supervised_info_nce(z, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(4) + math.log(3), rel=1e-6)
    assert torch.isfinite(z.grad).all()


def test_one_silent_code_among_others_keeps_the_gradient_finite():
    z = codes(4, 3).float()
    z[1] = 0
    z.requires_grad_()
    supervised_info_nce(z, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_lower_precision_agrees_and_is_computed_in_float32(dtype, tolerance):
    z, other, labels = codes(8, 16), codes(8, 16, seed=1), torch.tensor([0, 1] * 4)
    for loss, exact in [
        (info_nce(z.to(dtype), other.to(dtype)), info_nce(z, other)),
        (supervised_info_nce(z.to(dtype), labels), supervised_info_nce(z, labels)),
    ]:
        assert loss.dtype == torch.float32 and exact.dtype == torch.float64
        assert loss.item() == pytest.approx(exact.item(), rel=tolerance)


def test_autocast_does_not_lower_the_precision():
    z, other, labels = codes(8, 16).float(), codes(8, 16, seed=1).float(), torch.tensor([0, 1] * 4)
    expected = info_nce(z, other), supervised_info_nce(z, labels)
    with torch.autocast("cpu", torch.bfloat16):
        found = info_nce(z, other), supervised_info_nce(z, labels)
    assert found == expected


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 1, 2, 3]])
def test_nan_shows(labels):
    z = codes(4, 3)
    z[3, 0] = math.nan
    assert torch.isnan(info_nce(codes(4, 3), z))
    assert torch.isnan(supervised_info_nce(z, torch.tensor(labels)))
    assert torch.isnan(supervised_info_nce(z[3:], torch.tensor([0])))


def test_bad_input_is_named():
    z = codes(4, 3)
    with pytest.raises(AstError, match=r"positives: found shape \(3, 3\), accepted is the shape of anchors, \(4, 3\)"):
        info_nce(z, z[:3])
    with pytest.raises(AstError, match="labels: found shape"):
        supervised_info_nce(z, torch.tensor([0, 1]))
    for temperature in (0, -1.0, math.nan):
        with pytest.raises(AstError, match="temperature: found"):
            info_nce(z, z, temperature)
    with pytest.raises(AstError, match="batch: found 0"):
        info_nce_range(0)
