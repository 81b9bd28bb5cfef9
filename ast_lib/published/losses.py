"""Losses of the published system on spectra: predicted and true complex spectra in; one scalar out, flaws included.

Chapter: ``notebooks/09_reconstruction.md``, whose equations the docstrings name; those on codes are in
:mod:`ast_lib.published.code_losses`. Spectra are complex ``(B, T, F)`` or ``(B, S, T, F)``. Squared errors of complex
numbers are means over both channels, ``½ |error|²`` a bin, as in the paper. Every loss on spectra is the mean of a loss
per clip.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.errors import AstError
from ast_lib.losses import check_shapes, full_precision, zero
from ast_lib.losses.phase import FAINTEST


def _error(estimate: Tensor, truth: Tensor) -> Tensor:
    """``estimate − truth`` of two spectra of one shape."""
    check_shapes(estimate=estimate, truth=truth)
    if not (estimate.is_complex() and truth.is_complex()):
        raise AstError(f"estimate, truth: found {estimate.dtype} and {truth.dtype}, accepted are complex spectra")
    return estimate - truth


def _mean_square(error: Tensor) -> Tensor:
    """Mean of squares over the real and imaginary parts."""
    return torch.view_as_real(error).square().mean()


def _mean_square_change(error: Tensor, axis: int) -> Tensor:
    """The same of the differences along an axis; 0 where its length is 1."""
    change = error.diff(dim=axis)
    return _mean_square(change) if change.numel() else zero(torch.view_as_real(error))


@full_precision
def complex_mse(estimate: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of real and imaginary parts, ``mean ½ |X̂ − X|²``.

    See equation ``recon-mse``. When the phase of X cannot be told from the input, X̂ = 0 is its minimum: silence wins
    (equation ``recon-silence``).

    Args:
        estimate, truth: complex, of one shape.

    Returns:
        scalar of at least 0, 0 for equal spectra. The same phase shift on both changes nothing.

    Raises:
        AstError: for different shapes or real spectra.

    Source: the paper, reconstruction loss, MSE.
    """
    return _mean_square(_error(estimate, truth))


@full_precision
def magnitude_mse(estimate: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of magnitudes, ``mean (|X̂| − |X|)²`` (equation ``recon-magnitude``); blind to phase.

    Args:
        estimate, truth: complex, or real magnitudes, of one shape.

    Returns:
        scalar of at least 0. Where X̂ is exactly 0 its gradient is 0: no phase is better than another.

    Raises:
        AstError: for different shapes.

    Source: the paper, reconstruction loss, magnitude; its code adds 1e-8 under the root, which moves magnitudes by at
    most 1e-4.
    """
    check_shapes(estimate=estimate, truth=truth)
    return F.mse_loss(estimate.abs(), truth.abs())


@full_precision
def temporal_difference(estimate: Tensor, truth: Tensor) -> Tensor:
    """Squared error of the change from frame to frame, ``mean ½ |Δ_t X̂ − Δ_t X|²`` (equation ``recon-differences``).

    On raw complex frames it weights a missing tone by its rotation in one hop (equation ``recon-transfer``).
    Differences stay inside a section; sections that do not overlap can be joined first (``flatten(1, 2)``) so that
    their seams count too.

    Args:
        estimate, truth: complex ``(..., T, F)``, of one shape.

    Returns:
        scalar of at least 0; blind to an error that is constant in time. A single frame gives 0.

    Raises:
        AstError: for different shapes or real spectra.

    Source: the paper, reconstruction loss, temporal consistency.
    """
    return _mean_square_change(_error(estimate, truth), axis=-2)


@full_precision
def spectral_difference(estimate: Tensor, truth: Tensor) -> Tensor:
    """Squared error of the change from bin to bin, ``mean ½ |Δ_f X̂ − Δ_f X|²`` (equation ``recon-differences``).

    It weights the samples of a frame by their position in it (equation ``recon-spectral``).

    Args:
        estimate, truth: complex ``(..., T, F)``, of one shape.

    Returns:
        scalar of at least 0; blind to an error that is constant along frequency. A single bin gives 0.

    Raises:
        AstError: for different shapes or real spectra.

    Source: the paper, reconstruction loss, spectral consistency.
    """
    return _mean_square_change(_error(estimate, truth), axis=-1)


@full_precision
def temporal_difference_published(estimate: Tensor, truth: Tensor) -> Tensor:
    """The "temporal" term of the published code: differences from section to section, not from frame to frame.

    It subtracts frames that lie 191 hops (2.2 s) apart, whose phases have nothing to do with each other.

    Args:
        estimate, truth: complex ``(B, S, T, F)``, of one shape.

    Returns:
        scalar of at least 0. A single section gives 0.

    Raises:
        AstError: for different shapes, real spectra or spectra without an axis of sections.
    """
    error = _error(estimate, truth)
    if error.ndim != 4:
        raise AstError(f"estimate: found shape {tuple(error.shape)}, accepted is (B, S, T, F)")
    return _mean_square_change(error, axis=1)


@full_precision
def spectral_difference_published(estimate: Tensor, truth: Tensor) -> Tensor:
    """The "spectral" term of the published code: it takes the axis of frames for that of frequency.

    The code names the axes ``(B, S, 2, F, T)`` but its tensors are ``(B, S, 2, T, F)``, so this is what
    :func:`temporal_difference` computes; no term of the published code looks along frequency.

    Args, returns and errors: as :func:`temporal_difference`.
    """
    return temporal_difference(estimate, truth)


@full_precision
def magnitude_phase_consistency(magnitude: Tensor, phase: Tensor, spectrum: Tensor) -> Tensor:
    """Squared error between ``magnitude · exp(i phase)`` and a spectrum, ``mean ½ |a e^{iφ} − X|²``.

    See equation ``recon-consistency``. It ties together parts that were predicted apart: a magnitude, a phase, and the
    complex spectrum they describe.

    Args:
        magnitude: real, linear (not compressed). phase: radians. spectrum: complex. All of one shape.

    Returns:
        scalar of at least 0, 0 when the polar parts are those of the spectrum; unchanged by 2π on the phase.

    Raises:
        AstError: for different shapes or a real spectrum.

    Source: the paper, reconstruction loss, magnitude-phase consistency.
    """
    check_shapes(magnitude=magnitude, phase=phase, spectrum=spectrum)
    return _mean_square(_error(torch.polar(magnitude, phase), spectrum))


@full_precision
def magnitude_phase_consistency_published(estimate: Tensor) -> Tensor:
    """The published code's consistency term: a spectrum against its *own* magnitude and phase.

    That is an identity (equation ``recon-identity``). What is left is the 1e-8 that it adds under the root of the
    magnitude: at most 1e-8, reached at silence, with a gradient of no use. It sums the two channels instead of
    averaging them.

    Args:
        estimate: complex, any shape.

    Returns:
        scalar in 0..1e-8, up to rounding.
    """
    magnitude = (estimate.real.square() + estimate.imag.square() + 1e-8).sqrt()
    return 2 * magnitude_phase_consistency(magnitude, estimate.angle(), estimate)


@full_precision
def wrap(angle: Tensor) -> Tensor:
    """Angles in radians, any shape, to the equal angles in (−π, π] (equation ``recon-wrap``); the gradient is 1."""
    return torch.pi - torch.remainder(torch.pi - angle, 2 * torch.pi)


@full_precision
def wrapped_phase(estimate: Tensor, truth: Tensor, squared: bool = False) -> Tensor:
    """Mean size of the angle between two spectra, ``mean |wrap(∠X̂ − ∠X)|``, or of its square.

    The published code has the square. Every bin counts alike, and most hold noise. The gradient,
    equation ``recon-wrapped``, grows as 1 / |X̂| towards silence (equation ``recon-atan2``).

    Args:
        estimate, truth: complex, of one shape.
        squared: take the square of the angle.

    Returns:
        scalar in 0..π (0..π² squared): 0 for equal phases, π/2 (π²/3) for random ones. Both spectra rotated by one
        angle or scaled give the same. Below 1e-6 a magnitude is taken for 0, whose phase is 0 and has no gradient. At
        the far side, where the angle is ±π, the gradient jumps from one direction to the other.

    Raises:
        AstError: for different shapes or real spectra.

    Source: the paper, reconstruction loss, phase (atan2, wrapped).
    """
    check_shapes(estimate=estimate, truth=truth)
    if not (estimate.is_complex() and truth.is_complex()):
        raise AstError(f"estimate, truth: found {estimate.dtype} and {truth.dtype}, accepted are complex spectra")
    # ≤ is false for NaN, which so stays visible.
    estimate, truth = (x.masked_fill(x.abs() <= FAINTEST, 0) for x in (estimate, truth))
    difference = wrap(estimate.angle() - truth.angle())
    return (difference.square() if squared else difference.abs()).mean()
