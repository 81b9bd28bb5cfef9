"""Phase losses: wrapping at its edges, known angles, safe gradients, and the fused loss against a plain formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib.errors import AstError
from ast_lib.losses.phase import phase_advance_loss
from ast_lib.published.losses import wrap, wrapped_phase


def spectrum(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (2, 3, 4)), generator=generator, dtype=torch.complex128)


def turned(x, angle):
    return x * complex(math.cos(angle), math.sin(angle))


def directions(*shape, seed=0):
    """A prediction (cosine, sine) of any length, true phasors and weights."""
    x, truth = spectrum(*shape, seed=seed), spectrum(*shape, seed=seed + 1)
    return x.real.clone(), x.imag.clone(), truth / truth.abs(), spectrum(*shape, seed=seed + 2).abs()


def plain_phase_advance(cosine, sine, truth, weight):
    agreement = (cosine * truth.real + sine * truth.imag) / (cosine**2 + sine**2 + 1e-12).sqrt()
    return (weight * (1 - agreement)).sum() / weight.sum()


def test_wrap_at_its_edges():
    pi = math.pi
    angles = torch.tensor([0, 1, -1, pi, -pi, 3 * pi, 1.5 * pi, -1.5 * pi, 2 * pi, 7], dtype=torch.float64)
    expected = torch.tensor([0, 1, -1, pi, pi, pi, -0.5 * pi, 0.5 * pi, 0, 7 - 2 * pi], dtype=torch.float64)
    torch.testing.assert_close(wrap(angles), expected, atol=1e-14, rtol=0)


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e3, 1e3))
def test_wrap_keeps_the_direction(angle):
    x = torch.tensor(angle, dtype=torch.float64, requires_grad=True)
    found = wrap(x)
    found.backward()
    assert -math.pi - 1e-12 <= found.item() <= math.pi
    assert math.cos(found.item()) == pytest.approx(math.cos(angle), abs=1e-11)
    assert math.sin(found.item()) == pytest.approx(math.sin(angle), abs=1e-11)
    assert x.grad.item() == 1


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0, 3.1, -3.1])
def test_known_angle(angle):
    x = spectrum()
    assert wrapped_phase(turned(x, angle), x).item() == pytest.approx(abs(angle), abs=1e-12)
    assert wrapped_phase(turned(x, angle), x, squared=True).item() == pytest.approx(angle**2, abs=1e-12)


def test_wrapping_takes_the_short_way_round():
    # 170° and −170° are 20° apart, not 340°.
    a = torch.polar(torch.ones(1), torch.tensor([math.radians(170)]))
    assert wrapped_phase(a, a.conj()).item() == pytest.approx(math.radians(20), rel=1e-5)


def test_random_phases():
    a, b = spectrum(40_000), spectrum(40_000, seed=1)
    assert wrapped_phase(a, b).item() == pytest.approx(math.pi / 2, rel=0.02)
    assert wrapped_phase(a, b, squared=True).item() == pytest.approx(math.pi**2 / 3, rel=0.02)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_range_and_invariances_of_the_wrapped_phase(seed, squared):
    a, b = spectrum(seed=seed), spectrum(seed=seed + 1)
    loss = wrapped_phase(a, b, squared).item()
    assert 0 <= loss <= (math.pi**2 if squared else math.pi)
    for moved_a, moved_b in [(turned(a, 2.0), turned(b, 2.0)), (5 * a, 0.1 * b), (b, a), (a.conj(), b.conj())]:
        assert wrapped_phase(moved_a, moved_b, squared).item() == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("squared", [False, True])
def test_gradient_of_the_wrapped_phase(squared):
    a, b = spectrum().requires_grad_(), spectrum(seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: wrapped_phase(x, y, squared), (a, b))


def test_gradient_of_an_angle_is_one_over_the_magnitude():
    for size in (2.0, 0.5):
        estimate = torch.tensor([size + 0j], dtype=torch.complex128, requires_grad=True)
        wrapped_phase(estimate, torch.tensor([-1j], dtype=torch.complex128)).backward()
        assert estimate.grad.abs().item() == pytest.approx(1 / size)


@pytest.mark.parametrize("size", [0.0, 1e-8, 1e-30])
@pytest.mark.parametrize("squared", [False, True])
def test_faint_estimate_has_the_phase_zero_and_no_gradient(size, squared):
    estimate = torch.full((2, 3), size * 1j, dtype=torch.complex64, requires_grad=True)
    loss = wrapped_phase(estimate, torch.full((2, 3), 1j, dtype=torch.complex64), squared)
    loss.backward()
    assert loss.item() == pytest.approx((math.pi / 2) ** (2 if squared else 1), rel=1e-5)
    assert estimate.grad.abs().max() == 0


def test_silence_has_no_phase_error():
    estimate = torch.zeros(2, 3, 4, dtype=torch.complex64, requires_grad=True)
    silence = torch.zeros(2, 3, 4, dtype=torch.complex64)
    loss = wrapped_phase(estimate, silence) + wrapped_phase(estimate, silence, True)
    loss.backward()
    assert loss.item() == 0 and estimate.grad.abs().max() == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(7,), (2, 3), (2, 3, 2, 5)]))
def test_fused_loss_is_its_plain_formula(seed, shape):
    cosine, sine, truth, weight = directions(*shape, seed=seed)
    found, expected = phase_advance_loss(cosine, sine, truth, weight), plain_phase_advance(cosine, sine, truth, weight)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert 0 <= found.item() <= 2


@pytest.mark.parametrize("angle", [0.0, 0.5, math.pi / 2, -2.0, math.pi])
def test_known_direction(angle):
    _, _, truth, weight = directions(3, 4)
    estimate = 7 * turned(truth, angle)
    found = phase_advance_loss(estimate.real, estimate.imag, truth, weight).item()
    assert found == pytest.approx(1 - math.cos(angle), abs=1e-12)


def test_gradient_of_the_fused_loss():
    cosine, sine, truth, weight = directions(3, 4)
    inputs = cosine.requires_grad_(), sine.requires_grad_()
    assert torch.autograd.gradcheck(lambda c, s: phase_advance_loss(c, s, truth, weight), inputs)
    assert torch.autograd.gradcheck(lambda c, s: 3 * phase_advance_loss(2 * c, s, truth, weight) ** 2, inputs)
    # Beside length 0, where the floor of the norm rules: small enough steps still agree.
    near = (1e-6 * cosine.detach()).requires_grad_(), (1e-6 * sine.detach()).requires_grad_()
    found = torch.autograd.grad(phase_advance_loss(*near, truth, weight), near)
    expected = torch.autograd.grad(plain_phase_advance(*near, truth, weight), near)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_gradient_is_at_right_angles_to_the_prediction():
    cosine, sine, truth, weight = directions(3, 4)
    inputs = cosine.requires_grad_(), sine.requires_grad_()
    d_cosine, d_sine = torch.autograd.grad(phase_advance_loss(*inputs, truth, weight), inputs)
    assert (cosine * d_cosine + sine * d_sine).abs().max().item() < 1e-12
    assert (d_cosine**2 + d_sine**2).sum() > 0


def test_gradient_through_views_of_one_tensor():
    _, _, truth, weight = directions(2, 3, 4)
    raw = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.manual_seed(0)).requires_grad_()
    (found,) = torch.autograd.grad(phase_advance_loss(*raw.chunk(2, dim=-1), truth, weight), raw)
    (expected,) = torch.autograd.grad(plain_phase_advance(*raw.chunk(2, dim=-1), truth, weight), raw)
    torch.testing.assert_close(found, expected)


def test_a_second_derivative_is_refused_not_wrong():
    cosine, sine, truth, weight = directions(3)
    cosine.requires_grad_()
    (gradient,) = torch.autograd.grad(phase_advance_loss(cosine, sine, truth, weight), cosine, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        gradient.sum().backward()


def test_fused_loss_ignores_turns_lengths_and_the_scale_of_the_weight():
    cosine, sine, truth, weight = directions(4, 5)
    expected = phase_advance_loss(cosine, sine, truth, weight).item()
    both = turned(torch.complex(cosine, sine), 1.3)
    order = torch.tensor([2, 0, 3, 1])
    for arguments in [
        (both.real, both.imag, turned(truth, 1.3), weight),
        (9 * cosine, 9 * sine, truth, weight),
        (cosine, sine, truth, 1e-3 * weight),
        (cosine, -sine, truth.conj(), weight),
        (cosine[order], sine[order], truth[order], weight[order]),
    ]:
        assert phase_advance_loss(*arguments).item() == pytest.approx(expected, rel=1e-9)


def test_unheard_bins_do_not_count():
    cosine, sine, truth, weight = directions(2, 5)
    weight[1] = 0
    found = phase_advance_loss(cosine, sine, truth, weight).item()
    alone = phase_advance_loss(cosine[:1], sine[:1], truth[:1], weight[:1]).item()
    assert found == pytest.approx(alone)


def test_silent_truth_costs_nothing():
    cosine, sine, truth, weight = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in directions(2, 5))
    inputs = cosine.requires_grad_(), sine.requires_grad_()
    loss = phase_advance_loss(*inputs, truth, 0 * weight)
    gradients = torch.autograd.grad(loss, inputs)
    assert loss.item() == 0 and all(gradient.abs().max() == 0 for gradient in gradients)


def test_prediction_of_length_zero_is_worth_one_and_has_a_finite_gradient():
    _, _, truth, weight = directions(2, 5)
    truth, weight = truth.to(torch.complex64), weight.float()
    inputs = torch.zeros(2, 5, requires_grad=True), torch.zeros(2, 5, requires_grad=True)
    loss = phase_advance_loss(*inputs, truth, weight)
    d_cosine, d_sine = torch.autograd.grad(loss, inputs)
    assert loss.item() == pytest.approx(1)
    # It points away from the true phasor: a step against it leads to the truth.
    torch.testing.assert_close(d_cosine, -1e6 * truth.real * weight / weight.sum())
    torch.testing.assert_close(d_sine, -1e6 * truth.imag * weight / weight.sum())


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.01), (torch.float16, 2e-3)])
def test_lower_precision_agrees(dtype, tolerance):
    cosine, sine, truth, weight = directions(16, 33)
    found = phase_advance_loss(cosine.to(dtype), sine.to(dtype), truth.to(torch.complex64), weight.to(dtype))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(phase_advance_loss(cosine, sine, truth, weight).item(), rel=tolerance)


def test_gradient_in_bfloat16_agrees():
    cosine, sine, truth, weight = directions(16, 33)
    exact = torch.autograd.grad(phase_advance_loss(cosine.requires_grad_(), sine, truth, weight), cosine)[0]
    low = cosine.detach().bfloat16().requires_grad_()
    (found,) = torch.autograd.grad(phase_advance_loss(low, sine.bfloat16(), truth.to(torch.complex64), weight), low)
    assert found.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(found.double().flatten(), exact.flatten(), dim=0) > 0.999


def test_single_precision_of_the_wrapped_phase_agrees():
    a, b = spectrum(), spectrum(seed=1)
    found = wrapped_phase(a.to(torch.complex64), b.to(torch.complex64))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(wrapped_phase(a, b).item(), rel=1e-5)


def test_large_tensors_keep_their_digits():
    # A perfect prediction of 2 million bins: rounding must not add up to an error, nor fall below 0 by more than it.
    truth = torch.polar(torch.ones(2_000_000), torch.rand(2_000_000, generator=torch.manual_seed(0)))
    assert abs(phase_advance_loss(truth.real, truth.imag, truth, torch.rand(2_000_000)).item()) < 1e-6


@pytest.mark.parametrize("batch", [1, 2])
def test_one_clip_is_a_batch(batch):
    cosine, sine, truth, weight = directions(batch, 3)
    expected = plain_phase_advance(cosine, sine, truth, weight).item()
    assert phase_advance_loss(cosine, sine, truth, weight).item() == pytest.approx(expected)
    a = spectrum(batch, 3)
    assert wrapped_phase(turned(a, 0.5), a).item() == pytest.approx(0.5)


def test_nan_shows():
    a = spectrum()
    a[0, 1, 2] = complex(math.nan, 0)
    assert torch.isnan(wrapped_phase(a, spectrum())) and torch.isnan(wrapped_phase(spectrum(), a))
    for place in range(4):
        arguments = list(directions(3))
        arguments[place][1] = math.nan
        assert torch.isnan(phase_advance_loss(*arguments))
    assert torch.isnan(wrap(torch.tensor(math.nan)))


def test_bad_input_is_named():
    a = spectrum()
    cosine, sine, truth, weight = directions(2, 3)
    with pytest.raises(AstError, match="truth: found shape"):
        wrapped_phase(a, a[:1])
    with pytest.raises(AstError, match="accepted are complex spectra"):
        wrapped_phase(a.abs(), a.abs())
    with pytest.raises(AstError, match="weight: found shape"):
        phase_advance_loss(cosine, sine, truth, weight[:1])
    with pytest.raises(RuntimeError, match="imag is not implemented for tensors with non-complex dtypes"):
        phase_advance_loss(cosine, sine, truth.real, weight)
