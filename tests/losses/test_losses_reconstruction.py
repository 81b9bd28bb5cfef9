"""Reconstruction losses: known magnitudes, what each is blind to, and gradients at equal and silent ones."""

import math

import pytest
import torch

from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import log_spectral_distance
from ast_lib.losses.reconstruction import log_spectral, magnitude_l1


def spectrum(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (2, 3, 4, 5)), generator=generator, dtype=torch.complex128)


def test_known_errors():
    estimate, truth = torch.tensor([[3 + 4j, 0j]]), torch.tensor([[0j, 1j]])
    assert magnitude_l1(estimate.abs(), truth.abs()).item() == pytest.approx((5 + 1) / 2)


def test_l1_grows_linearly():
    size = spectrum().abs()
    assert magnitude_l1(3 * size, 3 * size + 6).item() == pytest.approx(6)
    assert magnitude_l1(size, size).item() == 0


def test_gradients_agree_with_finite_differences():
    size = spectrum(1, 3, 2).abs()
    other = size + torch.tensor([0.5, -0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(magnitude_l1, (size.clone().requires_grad_(), other.requires_grad_()))
    inputs = size.clone().requires_grad_(), other.abs().detach().requires_grad_()
    assert torch.autograd.gradcheck(log_spectral, inputs)


def test_silent_magnitudes_have_a_finite_gradient():
    estimate = torch.zeros(2, 4, 5, requires_grad=True)
    magnitude_l1(estimate, torch.zeros(2, 4, 5)).backward()
    assert torch.equal(estimate.grad, torch.zeros(2, 4, 5))


def test_log_spectral_distance_is_known_and_that_of_the_metric():
    truth = torch.full((2, 3, 8), 0.1, dtype=torch.float64)
    assert log_spectral(10 * truth, truth, floor=1e-12).item() == pytest.approx(20)
    assert log_spectral(truth / 10, truth, floor=1e-12).item() == pytest.approx(20)
    half = torch.cat([10 * truth[..., :2], truth[..., 2:]], dim=-1)  # 20 dB in a quarter of the bins
    assert log_spectral(half, truth, floor=1e-12).item() == pytest.approx(10)
    # A mean of roots, not a root of means: one frame of three is 30 dB off.
    frames = truth.clone()
    frames[:, 0] = 10**1.5 * 0.1
    assert log_spectral(frames, truth, floor=1e-12).item() == pytest.approx(10)
    a, b = spectrum(4, 7, 65).abs(), spectrum(4, 7, 65, seed=1).abs()
    assert log_spectral(a, b).item() == pytest.approx(log_spectral_distance(a, b).mean().item(), rel=1e-12)
    assert log_spectral(5 * a, 5 * b, floor=5e-3).item() == pytest.approx(log_spectral(a, b).item())


def test_log_spectral_distance_at_equal_and_silent_spectra():
    a = spectrum(2, 3, 5).abs().float().requires_grad_()
    for truth in (a.detach(), torch.cat([a.detach()[:, :1], 2 * a.detach()[:, 1:]], dim=1)):
        a.grad = None
        loss = log_spectral(a, truth)
        loss.backward()
        assert torch.equal(a.grad[:, 0], torch.zeros(2, 5)) and torch.isfinite(a.grad).all()
        assert (loss.item() == 0) == torch.equal(a, truth)
    silence = torch.zeros(1, 2, 5, requires_grad=True)
    assert log_spectral(silence, torch.zeros(1, 2, 5)).item() == 0
    loss = log_spectral(silence, torch.ones(1, 2, 5))
    loss.backward()
    assert loss.item() == pytest.approx(20 * math.log10(1.001 / 0.001))
    # Its gradient is the steepest there is: 8.7 dB / floor, shared among the bins of a frame, in the mean of frames.
    assert silence.grad.sum().item() == pytest.approx(-20 / math.log(10) / 1e-3, rel=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 0.01), (torch.float16, 1e-3)])
def test_lower_precision_agrees(dtype, tolerance):
    a, b = spectrum(8, 16, 65).abs(), spectrum(8, 16, 65, seed=1).abs()
    for loss in (magnitude_l1, log_spectral):
        found = loss(a.to(dtype), b.to(dtype))
        assert found.item() == pytest.approx(loss(a, b).item(), rel=tolerance)
    assert magnitude_l1(a.to(dtype), b.to(dtype)).dtype == torch.float32


def test_nan_shows():
    a = spectrum()
    a[0, 0, 0, 0] = complex(math.nan, 0)
    for loss in (magnitude_l1, log_spectral):
        assert torch.isnan(loss(a.abs(), spectrum().abs()))


def test_bad_input_is_named():
    a = spectrum()
    for loss in (magnitude_l1, log_spectral):
        with pytest.raises(AstError, match="accepted are real magnitudes"):
            loss(a, a)
        with pytest.raises(AstError, match=r"truth: found shape \(2, 3, 4, 1\), accepted is the shape of estimate"):
            loss(a.abs(), a[..., :1].abs())
    with pytest.raises(AstError, match="floor: found 0, accepted is above 0"):
        log_spectral(a.abs(), a.abs(), floor=0)
