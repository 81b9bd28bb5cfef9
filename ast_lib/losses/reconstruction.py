"""Reconstruction losses on spectra: complex error, magnitudes, differences along time and frequency.

Chapter: ``notebooks/09_reconstruction.md``, whose equations the docstrings name. Spectra are complex ``(B, T, F)`` or
``(B, S, T, F)``; the paper keeps real and imaginary parts as two channels, :func:`as_complex` joins them. Squared
errors of complex numbers are means over both channels, ``½ |error|²`` a bin, as in the paper. Every loss here is the
mean of a loss per clip: one clip is a batch like any other, and classes play no part. Silence (all zeros) is an
ordinary value.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.errors import AstError
from ast_lib.losses import check_shapes, full_precision, zero


@full_precision
def as_complex(channels: Tensor) -> Tensor:
    """The paper's two channels ``(..., 2, T, F)``, real and imaginary part, to complex ``(..., T, F)``.

    Raises:
        AstError: for another number of channels.
    """
    if channels.ndim < 3 or channels.shape[-3] != 2:
        raise AstError(f"channels: found shape {tuple(channels.shape)}, accepted is (..., 2, T, F)")
    return torch.complex(channels[..., 0, :, :], channels[..., 1, :, :])


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
def magnitude_l1(estimate: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error of magnitudes, ``mean |â − a|`` (equation ``recon-magnitude``).

    Args:
        estimate, truth: real, of one shape; compressed magnitudes ``|X|^0.3`` where quiet partials are to count.

    Returns:
        scalar of at least 0, 0 for equal magnitudes; the gradient is 0 there, and has one size everywhere else.

    Raises:
        AstError: for different shapes or complex input.

    Source: Arık, Jun and Diamos, "Fast spectrogram inversion using multi-head CNNs" (2019), its log-magnitude
    loss, with |X|^0.3 for the logarithm.
    """
    check_shapes(estimate=estimate, truth=truth)
    if estimate.is_complex() or truth.is_complex():
        raise AstError(f"estimate, truth: found {estimate.dtype} and {truth.dtype}, accepted are real magnitudes")
    return F.l1_loss(estimate, truth)


@full_precision
def log_spectral(estimate: Tensor, truth: Tensor, floor: float = 1e-3) -> Tensor:
    """Log-spectral distance ``mean_t sqrt(mean_f (20 log10((â + floor) / (a + floor)))²)`` (equation ``recon-log``).

    The same number as :func:`ast_lib.evaluation.metrics.log_spectral_distance`, as a loss.

    Args:
        estimate, truth: magnitudes of at least 0, ``(..., F)``, of one shape.
        floor: above 0; magnitude below which differences fade, which also bounds the gradient.

    Returns:
        scalar in dB of at least 0, 0 for equal magnitudes; where a frame is met exactly its gradient is 0. Both
        magnitudes and the floor scaled by one factor give the same. Two silent spectra are equal.

    Raises:
        AstError: for different shapes, complex input or a floor that is not above 0.

    Source: Gray and Markel, "Distance measures for speech processing" (1976), the log spectral deviation.
    """
    check_shapes(estimate=estimate, truth=truth)
    if estimate.is_complex() or truth.is_complex():
        raise AstError(f"estimate, truth: found {estimate.dtype} and {truth.dtype}, accepted are real magnitudes")
    if not floor > 0:
        raise AstError(f"floor: found {floor}, accepted is above 0")
    difference = (20 / math.log(10)) * ((estimate + floor).log() - (truth + floor).log())
    # The norm's gradient is 0 at 0, where that of a root of a mean would be NaN.
    return torch.linalg.vector_norm(difference, dim=-1).mean() / math.sqrt(difference.shape[-1])


@full_precision
def level_l1(estimate: Tensor, truth: Tensor, floor: float = 1e-2) -> Tensor:
    """Mean absolute error of the frames' levels, ``mean_t |10 log10((sum_f â² + floor²) / (sum_f a² + floor²))|``.

    See equation ``recon-level``. Errors of single bins that cancel in the sum cost nothing here, a frame that is too
    loud or too soft as a whole does: the envelope of a note.

    Args:
        estimate, truth: magnitudes, ``(..., F)``, of one shape.
        floor: above 0; magnitude below which differences fade.

    Returns:
        scalar in dB of at least 0. Both magnitudes and the floor scaled by one factor give the same, and so does an
        exchange of bins. Two silent spectra are equal, with gradient 0.

    Raises:
        AstError: for different shapes, complex input or a floor that is not above 0.

    Source: ours; the energy loss of text-to-speech compares the same quantity (Ren et al., "FastSpeech 2", 2021).
    """
    check_shapes(estimate=estimate, truth=truth)
    if estimate.is_complex() or truth.is_complex():
        raise AstError(f"estimate, truth: found {estimate.dtype} and {truth.dtype}, accepted are real magnitudes")
    if not floor > 0:
        raise AstError(f"floor: found {floor}, accepted is above 0")
    energy, wanted = (magnitude.square().sum(dim=-1) + floor**2 for magnitude in (estimate, truth))
    return (10 / math.log(10)) * (energy.log() - wanted.log()).abs().mean()


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

    On raw complex frames it weights a missing tone by its turn in one hop (equation ``recon-transfer``).
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

    It weights the samples of a frame by their place in it (equation ``recon-spectral``).

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
