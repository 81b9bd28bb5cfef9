"""Published losses: known spectra, what each is blind to, and the published axes, identities and width."""

import functools
import math

import pytest
import torch

from ast_lib.errors import AstError
from ast_lib.losses.hsic import gaussian_kernel, hsic_biased, median_width
from ast_lib.published.code_losses import hsic_published, median_width_published
from ast_lib.published.losses import (
    complex_mse,
    magnitude_mse,
    magnitude_phase_consistency,
    magnitude_phase_consistency_published,
    spectral_difference,
    spectral_difference_published,
    temporal_difference,
    temporal_difference_published,
)

COMPLEX = [
    complex_mse,
    magnitude_mse,
    temporal_difference,
    spectral_difference,
    temporal_difference_published,
    spectral_difference_published,
]
DIFFERENCES = [
    (temporal_difference, -2),
    (spectral_difference, -1),
    (temporal_difference_published, 1),
    (spectral_difference_published, -2),
]


def spectrum(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (2, 3, 4, 5)), generator=generator, dtype=torch.complex128)


def codes(batch, size, seed=0):
    return torch.randn(batch, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_channel_mse(a, b):
    """The squared error as the published code takes it, over real and imaginary parts as channels."""
    return (torch.view_as_real(a) - torch.view_as_real(b)).square().mean().item()


def test_known_errors():
    estimate, truth = torch.tensor([[3 + 4j, 0j]]), torch.tensor([[0j, 1j]])
    assert complex_mse(estimate, truth).item() == pytest.approx((25 + 1) / 2 / 2)
    assert magnitude_mse(estimate, truth).item() == pytest.approx((25 + 1) / 2)
    assert spectral_difference(estimate, truth).item() == pytest.approx(abs(-3 - 4j - 1j) ** 2 / 2)


def test_complex_mse_is_that_of_two_channels():
    a, b = spectrum(), spectrum(seed=1)
    assert complex_mse(a, b).item() == pytest.approx(two_channel_mse(a, b))


def test_silence_wins_when_the_phase_is_random():
    truth = torch.polar(torch.ones(20_000), 2 * torch.pi * torch.rand(20_000, generator=torch.manual_seed(0)))
    losses = {size: complex_mse(torch.full_like(truth, size), truth).item() for size in (0.0, 0.25, 0.5, 1.0)}
    assert min(losses, key=losses.get) == 0
    assert losses[0.0] == pytest.approx(0.5) and losses[1.0] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("loss, axis", DIFFERENCES)
def test_differences_along_their_axis(loss, axis):
    a, b = spectrum(), spectrum(seed=1)
    assert loss(a, b).item() == pytest.approx(two_channel_mse(a.diff(dim=axis), b.diff(dim=axis)))


@pytest.mark.parametrize("loss, axis", DIFFERENCES)
def test_differences_are_blind_to_an_error_constant_along_their_axis_only(loss, axis):
    truth = spectrum()
    for other in (1, 2, 3):
        error = spectrum(seed=7).select(other, 0).unsqueeze(other)
        assert (loss(truth + error, truth).item() < 1e-30) == (other == axis % 4)


def test_published_terms_take_other_axes_than_they_say():
    truth = spectrum()
    frames = torch.arange(4).to(truth.dtype)[:, None]  # an error that grows from frame to frame
    bins = torch.arange(5).to(truth.dtype)
    assert temporal_difference(truth + frames, truth).item() == pytest.approx(0.5)
    assert temporal_difference_published(truth + frames, truth).item() == pytest.approx(0, abs=1e-30)
    assert spectral_difference_published(truth + frames, truth).item() == pytest.approx(0.5)
    assert spectral_difference(truth + bins, truth).item() == pytest.approx(0.5)
    assert spectral_difference_published(truth + bins, truth).item() == pytest.approx(0, abs=1e-30)


def test_joined_sections_count_their_seams():
    error = torch.zeros(1, 2, 3, 4, dtype=torch.complex128)
    error[:, 1] = 1  # constant inside each section, a step between them
    truth = spectrum(1, 2, 3, 4)
    assert temporal_difference(truth + error, truth).item() == pytest.approx(0, abs=1e-30)
    joined = temporal_difference((truth + error).flatten(1, 2), truth.flatten(1, 2)).item()
    assert joined == pytest.approx(0.5 / 5)  # one of five differences


@pytest.mark.parametrize("loss, axis", DIFFERENCES)
def test_an_axis_of_length_one_gives_zero_with_zero_gradient(loss, axis):
    estimate = spectrum().narrow(axis, 0, 1).clone().requires_grad_()
    value = loss(estimate, spectrum(seed=1).narrow(axis, 0, 1))
    value.backward()
    assert value.item() == 0 and estimate.grad.abs().max() == 0
    with torch.no_grad():
        estimate[0, 0, 0, 0] = complex(math.nan, 0)
    assert torch.isnan(loss(estimate, estimate))


def test_consistency_of_polar_parts():
    x = spectrum()
    assert magnitude_phase_consistency(x.abs(), x.angle() + 2 * torch.pi, x).item() == pytest.approx(0, abs=1e-28)
    # Right magnitude, opposite phase: the error is twice the spectrum.
    found = magnitude_phase_consistency(x.abs(), x.angle() + torch.pi, x).item()
    assert found == pytest.approx((2 * x.abs()).square().mean().item() / 2)
    assert magnitude_phase_consistency(0 * x.abs(), x.angle(), x).item() == pytest.approx(two_channel_mse(x, 0 * x))


@pytest.mark.parametrize("size", [0.0, 1e-5, 1e-2, 1.0, 100.0])
def test_published_consistency_is_an_identity(size):
    x = (size * spectrum()).requires_grad_()
    loss = magnitude_phase_consistency_published(x)
    loss.backward()
    assert 0 <= loss.item() <= 1e-8 * (1 + 1e-9)
    assert torch.isfinite(torch.view_as_real(x.grad)).all()
    if size == 0:
        assert loss.item() == pytest.approx(1e-8)


@pytest.mark.parametrize("loss", COMPLEX)
def test_minimum_and_scale(loss):
    a, b = spectrum(), spectrum(seed=1)
    assert loss(a, a).item() == 0
    assert loss(a, b).item() == pytest.approx(loss(b, a).item()) and loss(a, b).item() > 0
    assert loss(3 * a, 3 * b).item() == pytest.approx(9 * loss(a, b).item())


@pytest.mark.parametrize("loss", COMPLEX)
def test_common_rotation_and_order_of_clips_do_not_matter(loss):
    a, b, turn = spectrum(), spectrum(seed=1), complex(math.cos(1), math.sin(1))
    for moved_a, moved_b in [(turn * a, turn * b), (a.conj(), b.conj()), (a.flip(0), b.flip(0))]:
        assert loss(moved_a, moved_b).item() == pytest.approx(loss(a, b).item())


def test_magnitude_mse_is_blind_to_phase():
    a, turn = spectrum(), torch.polar(torch.ones(2, 3, 4, 5).double(), spectrum(seed=2).real)
    assert magnitude_mse(a * turn, a).item() == pytest.approx(0, abs=1e-28)
    assert complex_mse(a * turn, a).item() > 0.1
    size = a.abs()
    assert magnitude_mse(size, size + 2).item() == pytest.approx(4)  # real magnitudes are welcome as well


@pytest.mark.parametrize("loss", COMPLEX)
def test_gradients_agree_with_finite_differences(loss):
    a, b = spectrum(1, 2, 3, 2).requires_grad_(), spectrum(1, 2, 3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(loss, (a, b))


def test_gradient_of_the_consistency():
    x = spectrum(1, 3, 2)
    parts = x.abs().requires_grad_(), x.angle().requires_grad_(), spectrum(1, 3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(magnitude_phase_consistency, parts)


@pytest.mark.parametrize("loss", COMPLEX)
@pytest.mark.parametrize("truth", [torch.zeros(2, 3, 4, 5, dtype=torch.complex64), spectrum().to(torch.complex64)])
def test_silent_estimate_has_a_finite_value_and_gradient(loss, truth):
    estimate = torch.zeros(2, 3, 4, 5, dtype=torch.complex64, requires_grad=True)
    value = loss(estimate, truth)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(torch.view_as_real(estimate.grad)).all()
    assert (value.item() == 0) == (truth.abs().max() == 0)


@pytest.mark.parametrize("loss", COMPLEX)
def test_one_clip_is_a_batch_and_a_batch_is_the_mean_of_its_clips(loss):
    a, b = spectrum(), spectrum(seed=1)
    apart = [loss(a[i : i + 1], b[i : i + 1]).item() for i in range(2)]
    assert loss(a, b).item() == pytest.approx(sum(apart) / 2)


@pytest.mark.parametrize("loss", COMPLEX)
def test_single_precision_agrees(loss):
    a, b = spectrum(), spectrum(seed=1)
    found = loss(a.to(torch.complex64), b.to(torch.complex64))
    assert found.dtype == torch.float32 and found.item() == pytest.approx(loss(a, b).item(), rel=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 0.01), (torch.float16, 1e-3)])
def test_lower_precision_of_magnitudes_agrees(dtype, tolerance):
    a, b = spectrum(8, 16, 65).abs(), spectrum(8, 16, 65, seed=1).abs()
    for loss in (magnitude_mse, functools.partial(magnitude_phase_consistency, spectrum=spectrum(8, 16, 65))):
        found = loss(a.to(dtype), b.to(dtype))
        assert found.item() == pytest.approx(loss(a, b).item(), rel=tolerance)


@pytest.mark.parametrize("loss", COMPLEX)
def test_nan_shows(loss):
    a = spectrum()
    a[1, 2, 3, 4] = complex(0, math.nan)
    assert torch.isnan(loss(a, spectrum())) and torch.isnan(loss(spectrum(), a))


def test_nan_shows_in_the_consistency():
    a = spectrum()
    a[0, 0, 0, 0] = complex(math.nan, 0)
    assert torch.isnan(magnitude_phase_consistency(a.abs(), spectrum().angle(), spectrum()))
    assert torch.isnan(magnitude_phase_consistency_published(a))


def test_bad_input_is_named():
    a = spectrum()
    for loss in COMPLEX:
        with pytest.raises(AstError, match=r"truth: found shape \(2, 3, 4, 1\), accepted is the shape of estimate"):
            loss(a, a[..., :1])
    for loss in (complex_mse, temporal_difference, spectral_difference):
        with pytest.raises(AstError, match="accepted are complex spectra"):
            loss(a.abs(), a.abs())
    with pytest.raises(AstError, match=r"accepted is \(B, S, T, F\)"):
        temporal_difference_published(a[0], a[0])
    with pytest.raises(AstError, match="phase: found shape"):
        magnitude_phase_consistency(a.abs(), a.angle()[0], a)
    with pytest.raises(AstError, match="y: found codes of 1 values"):
        hsic_published(codes(3, 2), codes(3, 1))


# --- HSIC


def test_published_median_is_that_of_rows_indexed_by_pairs():
    x, y = codes(5, 3), codes(5, 3, seed=1) * 4
    stacked = torch.cat([x, y])
    rows = torch.cdist(stacked, stacked)[torch.triu_indices(10, 10, offset=1)]  # what the published code indexes
    assert rows.shape == (2, 45, 10)
    assert median_width_published(x, y).item() == pytest.approx(rows.median().item())


def test_published_median_counts_zeros():
    # Two clips whose codes agree: 8 of the 16 entries are 0, and so is the lower median.
    x = torch.tensor([[0.0], [1.0]])
    assert median_width_published(x, x).item() == 0
    assert median_width(x).item() == 1
    assert torch.isnan(hsic_published(x, x))


def test_gradient_of_the_published_form_runs_through_the_width():
    x, y = codes(4, 3).requires_grad_(), codes(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(hsic_published, (x, y))
    width = median_width_published(x, y)
    assert width.requires_grad and not median_width(x).requires_grad


def test_published_form_is_the_biased_one_with_its_width():
    x, y = codes(6, 3), codes(6, 3, seed=1)
    kernel = functools.partial(gaussian_kernel, width=median_width_published(x, y).item())
    assert hsic_published(x, y).item() == pytest.approx(hsic_biased(x, y, kernel, kernel).item())
