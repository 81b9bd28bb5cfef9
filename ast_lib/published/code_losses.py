"""Losses of the published system and its variants on codes: prototypes, codes or logits in; one scalar out.

Chapters: ``notebooks/06_margin.md``, ``notebooks/07_hsic.md``, ``notebooks/08_adversary.md``, whose equations are cited
by their labels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ast_lib.errors import AstError
from ast_lib.losses import full_precision, zero
from ast_lib.losses.adversarial import discriminator_cross_entropy
from ast_lib.losses.hsic import distances, gaussian_kernel, hsic_biased, kernels
from ast_lib.losses.margin import shortfall


@full_precision
def prototype_margin_squared(prototypes: Tensor, margin: float, relative: bool = False) -> Tensor:
    """Mean over pairs of ``relu(margin − ‖p_i − p_j‖)²``, the form of the published code (margin 2.0, not relative).

    Equation ``margin-squared``. Its gradient fades as the margin is approached, where that of
    :func:`prototype_margin` keeps its size: against a pull it gives way (``margin-equilibrium``). Codes of the
    published length, 16, meet the margin 2.0 at an angle of 7 degrees (``margin-angle``).

    Args, errors and special cases: as :func:`prototype_margin`.

    Returns:
        scalar in 0..margin².

    Source: Hadsell, Chopra and LeCun, "Dimensionality reduction by learning an invariant mapping" (2006), eq. 4, the
    term of dissimilar pairs without its factor ½.
    """
    missing = shortfall(prototypes, margin, relative)
    return missing.square().mean() if len(missing) else zero(prototypes)


@full_precision
def median_width_published(x: Tensor, y: Tensor) -> Tensor:
    """The width of the published code, mistakes included; kept to show what they do, see :func:`median_width`.

    One width for both codes: the median of *all* entries of the distance matrix of ``x`` and ``y`` stacked, so the 2B
    zeros of the diagonal and every pair twice (the code indexes rows where it means pairs), and distances between a
    style and a content code, which mean nothing. The gradient runs through the width.
    Where the two clouds of codes lie apart it is the largest distance of the wider one (``hsic-published-width``).

    Args:
        x, y: ``(B, d)`` both.

    Returns:
        scalar of at least 0.

    Raises:
        AstError: for codes of different length, which cannot be stacked.
    """
    if x.shape[1] != y.shape[1]:
        raise AstError(f"y: found codes of {y.shape[1]} values, accepted is the length of x, {x.shape[1]}")
    return distances(torch.cat([x, y])).median()


@full_precision
def hsic_published(x: Tensor, y: Tensor) -> Tensor:
    """HSIC as in the published code: biased, Gaussian kernels, one :func:`median_width_published` for both codes.

    Args:
        x, y: ``(B, d)`` both.

    Returns:
        scalar as :func:`hsic_biased`; NaN when the median distance is 0 (half of the codes alike), as there.

    Raises:
        AstError: for fewer than 2 clips, unequal numbers of them, or codes of different length.
    """
    width = median_width_published(x, y)
    return hsic_biased(x, y, lambda codes: gaussian_kernel(codes, width), lambda codes: gaussian_kernel(codes, width))


@full_precision
def hsic_unbiased(
    x: Tensor, y: Tensor, kernel_x: Callable = gaussian_kernel, kernel_y: Callable = gaussian_kernel
) -> Tensor:
    """The unbiased estimate: its mean over batches of independent codes is 0 at any batch size, for a fixed width.

    With ``K̃``, ``L̃`` the kernel matrices with their diagonals set to 0:
    ``[tr(K̃L̃) + 1ᵀK̃1 1ᵀL̃1 / ((B−1)(B−2)) − 2/(B−2) 1ᵀK̃L̃1] / (B(B−3))`` (equation ``hsic-unbiased``).

    Args:
        x, y, kernel_x, kernel_y: as in :func:`hsic_biased`.

    Returns:
        scalar that may be below 0; as a loss it has no minimum of 0 to come to rest at. 0 when one of the codes is
        the same for all clips (up to rounding).

    Raises:
        AstError: for fewer than 4 clips, or unequal numbers of them.

    Source: Song et al., "Feature selection via dependence maximization" (2012), eq. 5.
    """
    kx, ky = kernels(x, y, kernel_x, kernel_y, fewest=4)
    n = len(x)
    off_diagonal = 1 - torch.eye(n, dtype=kx.dtype, device=kx.device)
    kx, ky = kx * off_diagonal, ky * off_diagonal
    rows_x, rows_y = kx.sum(dim=1), ky.sum(dim=1)
    total = (kx * ky).sum() + rows_x.sum() * rows_y.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows_x @ rows_y)
    return total / (n * (n - 3))


@full_precision
def negative_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The encoders' other objective on content: minus :func:`discriminator_cross_entropy`, as gradient reversal does.

    See equation ``adv-objectives``. Its gradient (equation ``adv-gradients``) is strongest where the discriminator is
    wrong already; unlike :func:`negative_entropy` it has no minimum at confusion but falls without bound as the
    discriminator is led to the *other* instrument.

    Args:
        logits, labels: as in :func:`discriminator_cross_entropy`.

    Returns:
        scalar of at most 0, not bounded below; ``−log K`` at confusion.

    Raises:
        AstError: for a number of labels other than B.

    Source: Ganin et al., "Domain-adversarial training of neural networks" (2016), section 4.
    """
    return -discriminator_cross_entropy(logits, labels)
