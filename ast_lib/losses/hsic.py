"""HSIC: a measure of dependence between style and content codes that sees more than correlation.

Chapter: ``notebooks/07_hsic.md``, whose equations are cited by their labels. ``K`` and ``L`` are the kernel
matrices of the two codes, ``H = I − 11ᵀ/B`` centres.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.errors import AstError
from ast_lib.losses import check_shapes, full_precision


def distances(x: Tensor) -> Tensor:
    """Euclidean distances ``(B, B)``, without the matrix product that would turn small distances into noise."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


@full_precision
@torch.no_grad()
def median_width(x: Tensor) -> Tensor:
    """Median distance between different codes: the usual width of a Gaussian kernel (equation ``hsic-median``).

    Each pair counts once; a code's distance to itself and the zero distances of duplicates do not count.

    Args:
        x: ``(B, d)``.

    Returns:
        scalar above 0, without gradient; 1 when all codes are equal (or there is only one) and no distance is left.

    Source: Gretton et al., "A kernel statistical test of independence" (2007).
    """
    apart = F.pdist(x)
    apart = apart[apart != 0]  # NaN != 0 is true: it stays and shows in the result
    return apart.quantile(0.5) if len(apart) else x.new_ones(())


@full_precision
def gaussian_kernel(x: Tensor, width: Tensor | float | None = None) -> Tensor:
    """``K_ij = exp(−‖x_i − x_j‖² / (2 width²))`` (equation ``hsic-kernel``); for its limits see ``hsic-limits``.

    Args:
        x: ``(B, d)``.
        width: above 0, in the units of ``x``; 0 gives NaN, None takes :func:`median_width`.

    Returns:
        ``(B, B)`` in 0..1, diagonal 1. Independent of rotations and shifts of ``x``; with the median width also of its
        scale.
    """
    width = median_width(x) if width is None else width
    return torch.exp(-0.5 * (distances(x) / width).square())


@full_precision
def linear_kernel(x: Tensor) -> Tensor:
    """``K_ij = x_i · x_j``, ``(B, d)`` to ``(B, B)``.

    HSIC with it sees correlation alone: the biased one is the sum of squares of the covariance matrix of the two
    codes (``hsic-linear``).
    """
    return x @ x.T


def kernels(x: Tensor, y: Tensor, kernel_x: Callable, kernel_y: Callable, fewest: int) -> tuple[Tensor, Tensor]:
    check_shapes(x=x[:, 0], y=y[:, 0])
    if len(x) < fewest:
        raise AstError(f"batch: found {len(x)} codes, accepted for this estimate of HSIC are {fewest} or more")
    return kernel_x(x), kernel_y(y)


def centre(kernel: Tensor) -> Tensor:
    """``H K H``."""
    return kernel - kernel.mean(dim=0) - kernel.mean(dim=1, keepdim=True) + kernel.mean()


@full_precision
def hsic_biased(
    x: Tensor, y: Tensor, kernel_x: Callable = gaussian_kernel, kernel_y: Callable = gaussian_kernel
) -> Tensor:
    """``tr(K H L H) / (B − 1)²``: 0 when the batch shows no dependence that the kernels can see.

    Equation ``hsic-biased``. Its bias is of order 1/B: independent codes of a small batch give ``hsic-floor``, not 0.
    For its gradient see ``hsic-gradient``, for what it means ``hsic-spectral``.

    Args:
        x, y: ``(B, dx)`` and ``(B, dy)``, row ``i`` of both from the same clip.
        kernel_x, kernel_y: ``(B, d)`` to ``(B, B)``; :func:`gaussian_kernel` (median width), :func:`linear_kernel`,
            or one with its own width, ``functools.partial(gaussian_kernel, width=2.0)``.

    Returns:
        scalar of at least 0 (up to rounding), with Gaussian kernels at most ``B² / (4 (B − 1)²)``. 0 with gradient 0
        when one of the codes is the same for all clips (collapse, or silence).

    Raises:
        AstError: for fewer than 2 clips, or unequal numbers of them.

    Source: Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt norms" (2005), definition 2.
    """
    kx, ky = kernels(x, y, kernel_x, kernel_y, fewest=2)
    # tr(K H L H) = tr((H K H)(H L H)): centring both keeps the digits that centring one would cancel.
    return (centre(kx) * centre(ky)).sum() / (len(x) - 1) ** 2
