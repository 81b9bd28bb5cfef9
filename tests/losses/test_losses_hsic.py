"""HSIC against its definitions by brute force, and what it sees and does not see."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib.book.statistics import permutation_test
from ast_lib.errors import AstError
from ast_lib.losses.hsic import gaussian_kernel, hsic_biased, linear_kernel, median_width
from ast_lib.published.code_losses import hsic_published, hsic_unbiased

unit_kernel = functools.partial(gaussian_kernel, width=1.0)


def codes(batch, size, seed=0):
    return torch.randn(batch, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gaussian_kernel_values():
    x = torch.tensor([[0.0, 0], [3, 4]], dtype=torch.float64)
    near = math.exp(-25 / 8)
    torch.testing.assert_close(gaussian_kernel(x, 2.0), torch.tensor([[1, near], [near, 1]], dtype=torch.float64))
    # With the median width, 5, the exponent is −1/2 whatever the scale.
    assert gaussian_kernel(100 * x)[0, 1].item() == pytest.approx(math.exp(-0.5))


def test_median_counts_each_pair_once_and_no_zeros():
    x = torch.tensor([[0.0], [1], [3], [3]])  # pairs: 1, 3, 3, 2, 2 and the duplicates' 0, left out
    assert median_width(x).item() == 2
    assert median_width(torch.tensor([[0.0], [1], [3]])).item() == 2
    # An even number of distances: 1, 2, 3, 3, 5 and 6 have the median 3; the middle of two is taken.
    assert median_width(torch.tensor([[0.0], [1], [3], [6]])).item() == 3
    assert median_width(torch.tensor([[0.0], [1], [1], [4]])).item() == 3  # 1, 1, 4, 3, 3
    assert median_width(torch.tensor([[0.0, 0], [4, 0], [4, 3]])).item() == 4


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 10**6))
def test_median_of_different_codes_is_that_of_the_pairs(batch, size, seed):
    x = codes(batch, size, seed)
    pairs = [torch.dist(a, b).item() for a, b in itertools.combinations(x, 2)]
    assert median_width(x).item() == pytest.approx(np.median(pairs))


@pytest.mark.parametrize("x", [torch.zeros(4, 3), torch.ones(3, 2), torch.randn(1, 2)])
def test_median_without_a_distance_is_one(x):
    assert median_width(x).item() == 1


def test_biased_is_its_definition():
    x, y = codes(6, 3), codes(6, 2, seed=1)
    h = torch.eye(6, dtype=torch.float64) - 1 / 6
    expected = torch.trace(gaussian_kernel(x, 1.5) @ h @ linear_kernel(y) @ h) / 25
    found = hsic_biased(x, y, functools.partial(gaussian_kernel, width=1.5), linear_kernel)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_biased_with_linear_kernels_is_the_squared_covariance():
    x, y = codes(7, 3), codes(7, 4, seed=1)
    covariance = (x - x.mean(0)).T @ (y - y.mean(0)) / 6
    found = hsic_biased(x, y, linear_kernel, linear_kernel)
    assert found.item() == pytest.approx(covariance.square().sum().item(), rel=1e-9)


def test_two_clips_by_hand():
    # H K H has the entries ±(1 − k)/2, so the trace is (1 − k)(1 − l).
    x, y = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[0.0], [2.0]]).double()
    expected = (1 - math.exp(-0.5)) * (1 - math.exp(-2.0))
    assert hsic_biased(x, y, unit_kernel, unit_kernel).item() == pytest.approx(expected)


@pytest.mark.parametrize("batch", [4, 6])
def test_unbiased_is_the_mean_over_all_quadruples(batch):
    x, y = codes(batch, 2), codes(batch, 3, seed=1)
    k, length = unit_kernel(x), gaussian_kernel(y, 2.0)
    terms = [
        k[i, j] * length[i, j] + k[i, j] * length[q, r] - 2 * k[i, j] * length[i, q]
        for i, j, q, r in itertools.permutations(range(batch), 4)
    ]
    found = hsic_unbiased(x, y, unit_kernel, functools.partial(gaussian_kernel, width=2.0))
    assert found.item() == pytest.approx(float(np.mean(terms)), rel=1e-9)


def test_mean_over_independent_batches():
    pairs = [(codes(5, 2, seed), codes(5, 2, seed + 10_000)) for seed in range(1500)]
    unbiased = np.array([hsic_unbiased(x, y, unit_kernel, unit_kernel).item() for x, y in pairs])
    biased = np.array([hsic_biased(x, y, unit_kernel, unit_kernel).item() for x, y in pairs])
    error = unbiased.std() / math.sqrt(len(pairs))
    assert abs(unbiased.mean()) < 4 * error
    assert biased.mean() > 20 * error


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 9), st.integers(1, 4), st.floats(0.01, 30), st.integers(0, 10**6))
def test_range_of_the_biased_estimate(batch, size, width, seed):
    kernel = functools.partial(gaussian_kernel, width=width)
    found = hsic_biased(codes(batch, size, seed), codes(batch, size, seed + 1), kernel, kernel).item()
    assert -1e-12 <= found <= batch**2 / (4 * (batch - 1) ** 2) + 1e-12


def test_upper_bound_is_reached_by_two_far_points():
    x = torch.tensor([[0.0], [1e6]] * 4).double()
    assert hsic_biased(x, x, unit_kernel, unit_kernel).item() == pytest.approx(64 / (4 * 49))


def test_sees_what_correlation_does_not():
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)[:, None]
    y = x.square()
    assert hsic_biased(x, y, linear_kernel, linear_kernel).item() == pytest.approx(0, abs=1e-15)
    assert hsic_biased(x, y).item() > 0.02


def test_invariances():
    x, y, order = codes(6, 3), codes(6, 3, seed=1), torch.tensor([5, 2, 0, 3, 1, 4])
    rotation = torch.linalg.qr(codes(3, 3, seed=2)).Q
    for estimate in (hsic_biased, hsic_unbiased):
        expected = estimate(x, y).item()
        for moved_x, moved_y in [(x @ rotation, y), (x + 5, 2 * y), (x[order], y[order]), (y, x)]:
            assert estimate(moved_x, moved_y).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("estimate", [hsic_biased, hsic_unbiased])
@pytest.mark.parametrize("kernel", [unit_kernel, linear_kernel])
def test_gradients_agree_with_finite_differences(estimate, kernel):
    x, y = codes(5, 3).requires_grad_(), codes(5, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: estimate(a, b, kernel, kernel), (x, y))


@pytest.mark.parametrize("estimate", [hsic_biased, hsic_unbiased])
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_collapsed_or_silent_codes_give_zero_with_a_finite_gradient(estimate, value):
    x, y = torch.full((5, 3), value, requires_grad=True), codes(5, 3).float().requires_grad_()
    loss = estimate(x, y)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert x.grad.abs().max() == 0 and torch.isfinite(y.grad).all()


def test_duplicate_codes_keep_the_gradient_finite():
    x = codes(6, 3)[[0, 0, 1, 1, 2, 2]].requires_grad_()
    hsic_biased(x, codes(6, 3, seed=1)).backward()
    assert torch.isfinite(x.grad).all()


def test_one_class_of_labels_shows_no_dependence():
    one_hot = torch.tensor([[1.0, 0.0]] * 6).double()
    assert hsic_biased(codes(6, 3), one_hot, gaussian_kernel, linear_kernel).item() == pytest.approx(0, abs=1e-12)


def test_too_few_clips_and_other_bad_input_are_named():
    x = codes(3, 2)
    with pytest.raises(AstError, match="batch: found 1 codes, accepted for this estimate of HSIC are 2 or more"):
        hsic_biased(x[:1], x[:1])
    with pytest.raises(AstError, match="batch: found 3 codes, accepted for this estimate of HSIC are 4 or more"):
        hsic_unbiased(x, x)
    with pytest.raises(AstError, match=r"y: found shape \(2,\), accepted is the shape of x, \(3,\)"):
        hsic_biased(x, x[:2])
    assert gaussian_kernel(x, 0).diagonal().isnan().all()
    with pytest.raises(AstError, match="permutations: found 0"):
        permutation_test(x, x, 0, seed=0)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_lower_precision_agrees(dtype, tolerance):
    x, y = codes(8, 6), codes(8, 6, seed=1)
    y = y + x
    for estimate in (hsic_biased, hsic_unbiased, hsic_published):
        found = estimate(x.to(dtype), y.to(dtype))
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(estimate(x, y).item(), rel=tolerance, abs=tolerance / 100)


def test_autocast_does_not_lower_the_precision():
    x = codes(8, 6).float()
    expected = hsic_biased(x, x, linear_kernel, linear_kernel)
    with torch.autocast("cpu", torch.bfloat16):
        assert hsic_biased(x, x, linear_kernel, linear_kernel) == expected


def test_nan_shows():
    x, y = codes(5, 2), codes(5, 2, seed=1)
    x[2, 1] = math.nan
    for estimate in (hsic_biased, hsic_unbiased, hsic_published):
        assert torch.isnan(estimate(x, y)) and torch.isnan(estimate(y, x))
    assert torch.isnan(median_width(x))
    assert all(math.isnan(value) for value in permutation_test(x, y, 5, seed=0))


def test_permutation_test_finds_dependence():
    x = codes(30, 1)
    statistic, p_value = permutation_test(x, x.square(), 99, seed=0)
    assert statistic == pytest.approx(hsic_biased(x, x.square()).item())
    assert p_value == pytest.approx(1 / 100)


def test_permutation_test_of_independent_codes_is_uniform():
    p_values = [permutation_test(codes(8, 2, s), codes(8, 2, s + 1000), 19, seed=s)[1] for s in range(200)]
    # With 19 shuffles the p-value takes the values 0.05, 0.1, ..., 1, each with the probability 0.05.
    assert np.mean(p_values) == pytest.approx(0.525, abs=4 * 0.29 / math.sqrt(200))
    assert np.mean(np.array(p_values) <= 0.05) < 0.05 + 4 * 0.0155


def test_permutation_test_is_reproducible_and_certain_of_nothing_for_constants():
    x, y = codes(10, 2), codes(10, 2, seed=1)
    assert permutation_test(x, y, 50, seed=3) == permutation_test(x, y, 50, seed=3)
    assert permutation_test(x, y, 200, seed=3) != permutation_test(x, y, 200, seed=4)
    for constant in (torch.zeros(10, 1), torch.full((10, 1), 0.1)):
        for kernel in (gaussian_kernel, linear_kernel):
            assert permutation_test(x, constant, 20, 0, kernel, kernel)[1] == 1


def test_permutations_of_two_clips_always_reach_the_statistic():
    x = codes(2, 3)
    assert permutation_test(x, 3 * x, 25, seed=0)[1] == 1
