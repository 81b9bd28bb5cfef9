"""Margin on class prototypes: the mean style codes of two instruments stay at least a margin apart.

Chapters: ``notebooks/06_margin.md``, whose equations are cited by their labels; ``notebooks/04b_codes.md`` for
prototypes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.errors import AstError
from ast_lib.losses import check_positive, check_shapes, full_precision, zero


@full_precision
def class_prototypes(z: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean code of every class of the batch, ``z_class`` (equations ``prototype`` and ``margin-prototype``).

    Args:
        z: ``(B, d)``.
        labels: ``(B,)`` integers in ``0..classes − 1``.
        classes: number of classes, ``K``.

    Returns:
        ``(K, d)``, row ``k`` the mean of the codes labelled ``k``; a class of one clip has that clip's code.

    Raises:
        AstError: for a number of labels other than B, or a class that the batch does not contain.
        RuntimeError: for a label out of range, from ``torch``.

    Source: Snell, Swersky and Zemel, "Prototypical networks for few-shot learning" (2017), eq. 1.
    """
    check_shapes(codes=z[:, 0], labels=labels)
    member = F.one_hot(labels, classes).to(z.dtype)
    clips = member.sum(dim=0)
    if not clips.all():
        raise AstError(f"labels: class {clips.argmin()} is not in the batch, accepted are batches with every class")
    return (member.T @ z) / clips[:, None]


def shortfall(prototypes: Tensor, margin: float, relative: bool) -> Tensor:
    """``relu(margin − distance)`` of every pair, ``(K (K − 1) / 2,)``."""
    check_positive(margin=margin)
    # pdist has the gradient 0 where two prototypes coincide; a square root of a sum would have NaN.
    distance = F.pdist(prototypes)
    if relative:
        # The floor keeps silent codes, all zeros, finite.
        distance = distance / torch.linalg.vector_norm(prototypes, dim=1).mean().clamp_min(1e-6)
    return F.relu(margin - distance)


@full_precision
def prototype_margin(prototypes: Tensor, margin: float, relative: bool = False) -> Tensor:
    """Mean over pairs of prototypes of ``relu(margin − ‖p_i − p_j‖)`` (equation ``margin-hinge``).

    Its gradient has one size inside the margin and is the same for all clips of a class (``margin-gradient``).

    Args:
        prototypes: ``(K, d)``.
        margin: distance asked for, above 0.
        relative: measure distances in units of the mean norm of the prototypes, so that the loss does not depend on
            the scale of the codes (``margin-relative``); two opposite prototypes of equal norm are then 2 apart, those
            of independent random codes about √2 (``margin-largest``).

    Returns:
        scalar in 0..margin: 0 once all pairs are a margin apart (the gradient is 0 too: a margin below the distances
        that the codes have anyway does nothing), ``margin`` when all coincide (gradient 0 as well: there is no
        direction to part in). One class has no pair and gives 0. Prototypes of zeros coincide.

    Raises:
        AstError: for a margin that is not above 0.

    Source: the hinge of a support-vector machine on distances.
    """
    missing = shortfall(prototypes, margin, relative)
    return missing.mean() if len(missing) else zero(prototypes)
