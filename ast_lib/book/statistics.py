"""Statistics: codes or sizes of a batch in; the range of a loss, a bound or a test of independence out.

Chapters: ``notebooks/05_infonce.md``, ``notebooks/07_hsic.md``, whose equations are cited by their labels.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ast_lib.errors import AstError
from ast_lib.losses import check_positive, full_precision
from ast_lib.losses.hsic import centre, gaussian_kernel, kernels


def info_nce_range(batch: int, temperature: float = 0.1) -> tuple[float, float, float]:
    """Lowest, chance and highest value of :func:`info_nce` for a batch.

    The lowest, ``log(1 + (B−1) exp(−B / ((B−1) τ)))``, is reached when the B pairs are the corners of a regular simplex
    (needs d ≥ B − 1); chance is log B; ``log(1 + (B−1) exp(2/τ))`` is an upper bound, reached for B = 2.

    Raises:
        AstError: for a batch below 1 or a temperature that is not above 0.

    Source: chapter 05, equation ``nce-range``, by Jensen's inequality.
    """
    check_positive(temperature=temperature)
    if batch < 1:
        raise AstError(f"batch: found {batch}, accepted is 1 or more")
    if batch == 1:
        return 0.0, 0.0, 0.0
    others = batch - 1
    lowest = math.log1p(others * math.exp(-batch / (others * temperature)))
    highest = 2 / temperature + math.log(others + math.exp(-2 / temperature))
    return lowest, math.log(batch), highest


def mutual_information_bound(loss: Tensor | float, batch: int) -> Tensor | float:
    """The bound ``I(anchor; positive) ≥ log B − L`` in nats, at most log B however good the codes are.

    Proved in chapter 05, equation ``nce-bound``, for negatives drawn independently of the anchor. The supervised form
    on balanced batches breaks that assumption and can exceed the information.

    Source: van den Oord, Li and Vinyals (2018), eq. 5; Poole et al., "On variational bounds of mutual information"
    (2019).
    """
    return math.log(batch) - loss


@full_precision
@torch.no_grad()
def permutation_test(
    x: Tensor,
    y: Tensor,
    permutations: int,
    seed: int,
    kernel_x: Callable = gaussian_kernel,
    kernel_y: Callable = gaussian_kernel,
) -> tuple[float, float]:
    """Test of independence: how often does shuffling ``y`` against ``x`` give an HSIC at least as large?

    Args:
        x, y, kernel_x, kernel_y: as in :func:`hsic_biased`.
        permutations: number of shuffles, 1 or more.
        seed: of the shuffles.

    Returns:
        :func:`hsic_biased` and the p-value, ``(1 + shuffles at least as large) / (1 + permutations)``, so from
        ``1 / (1 + permutations)`` to 1 (``hsic-pvalue``); codes that are the same for all clips give 1. NaN codes give
        NaN for both.

    Raises:
        AstError: for fewer than 2 clips, unequal numbers of them, or no permutation.

    Source: Gretton et al. (2007); the p-value that is never 0: Phipson and Smyth (2010).
    """
    if permutations < 1:
        raise AstError(f"permutations: found {permutations}, accepted is 1 or more")
    kx, ky = kernels(x.double(), y.double(), kernel_x, kernel_y, fewest=2)
    centred, scale = centre(kx), (len(x) - 1) ** 2
    # Shuffles that change nothing must count as equal, although their sums are rounded differently.
    rounding = 1e-12 * kx.norm() * ky.norm()
    statistic = (centred * ky).sum()
    generator = torch.Generator().manual_seed(seed)
    reached = 0
    for _ in range(permutations):
        order = torch.randperm(len(x), generator=generator).to(x.device)
        reached += int((centred * ky[order][:, order]).sum() >= statistic - rounding)
    p_value = (1 + reached) / (1 + permutations)
    return (statistic / scale).item(), p_value if statistic.isfinite() else torch.nan
