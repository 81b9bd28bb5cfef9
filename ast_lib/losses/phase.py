"""Phase losses: the wrapped angle between two spectra, and the circular loss of the phase advance.

Chapter: ``notebooks/09_reconstruction.md``, whose equations the docstrings name. Angles are in radians. A weight,
usually the true magnitude, is divided by its mean, so that a loss keeps its range; where all weights are 0 (silence)
the loss is 0. Every loss here is a mean over bins: one clip is a batch like any other, and classes play no part.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ast_lib.losses import check_shapes, full_precision

# A spectrum this small has no phase worth a gradient: that of an angle is 1 / |X|.
FAINTEST = 1e-6


def total_weight(weight: Tensor) -> Tensor:
    """Sum of the weights, but never 0."""
    return weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


class _PhaseAdvance(torch.autograd.Function):
    """The value and gradient of :func:`phase_advance_loss` in a third fewer passes over memory than autograd needs."""

    @staticmethod
    def forward(ctx, cosine, sine, truth, weight):
        total = total_weight(weight)
        inverse = torch.addcmul(cosine * cosine, sine, sine).add_(FAINTEST**2).rsqrt_()
        agreement = torch.addcmul(cosine * truth.real, sine, truth.imag).mul_(inverse)  # cos of the angle between
        ctx.save_for_backward(cosine, sine, truth, weight, inverse, agreement, total)
        return torch.addcmul(weight, weight, agreement, value=-1).sum() / total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        cosine, sine, truth, weight, inverse, agreement, total = ctx.saved_tensors
        # d agreement / d cosine = (Re truth − cosine · agreement / norm) / norm, and so for the sine.
        along = inverse * agreement
        scale = (weight * inverse).mul_(-gradient / total)
        d_cosine = torch.addcmul(truth.real, cosine, along, value=-1).mul_(scale)
        d_sine = torch.addcmul(truth.imag, sine, along, value=-1).mul_(scale)
        return d_cosine, d_sine, None, None


@full_precision
def phase_advance_loss(cosine: Tensor, sine: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of ``1 − cos(angle between (cosine, sine) and the true phasor)``.

    ``Σ w (1 − u · t / √(|u|² + 1e-12)) / Σ w`` with ``u`` the predicted direction, of any length but 0, and ``t`` the
    true phasor. Unlike an angle it needs no wrapping, and its gradient (equation ``recon-phase-loss``) has no jump. A
    second derivative is not available.

    Args:
        cosine, sine: real, any shape.
        truth: complex of modulus 1, the same shape. No gradient reaches it.
        weight: non-negative, the same shape, such as the true magnitude; divided by its mean. No gradient reaches it.

    Returns:
        scalar in 0..2 (up to rounding): 0 for equal directions, 1 for random ones or a prediction of length 0, 2 for
        opposite ones. Rotating both, scaling the prediction or the weight changes nothing. 0 when all weights are 0.

    Raises:
        AstError: for different shapes.
        RuntimeError: for a truth that is not complex.

    Source: the von Mises negative log-likelihood without its concentration, Takamichi et al., "Phase reconstruction
    from amplitude spectrograms based on von-Mises-distribution deep neural network" (2018), here on the phase advance.
    """
    check_shapes(cosine=cosine, sine=sine, truth=truth, weight=weight)
    return _PhaseAdvance.apply(cosine, sine, truth, weight)
