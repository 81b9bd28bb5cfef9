"""Reconstruction losses: predicted and true magnitudes in; one scalar out.

Chapter: ``notebooks/09_reconstruction.md``, whose equations the docstrings name; the paper's losses on complex spectra
are in :mod:`ast_lib.published.losses`. Every loss here is the mean of a loss per clip: one clip is a batch like any
other, and classes play no part. Silence (all zeros) is an ordinary value.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.errors import AstError
from ast_lib.losses import check_positive, check_shapes, full_precision


def check_magnitudes(estimate: Tensor, truth: Tensor) -> None:
    check_shapes(estimate=estimate, truth=truth)
    if estimate.is_complex() or truth.is_complex():
        raise AstError(f"estimate, truth: found {estimate.dtype} and {truth.dtype}, accepted are real magnitudes")


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
    check_magnitudes(estimate, truth)
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
    check_magnitudes(estimate, truth)
    check_positive(floor=floor)
    difference = (20 / math.log(10)) * ((estimate + floor).log() - (truth + floor).log())
    # The norm's gradient is 0 at 0, where that of a root of a mean would be NaN.
    return torch.linalg.vector_norm(difference, dim=-1).mean() / math.sqrt(difference.shape[-1])
