"""InfoNCE on style codes: clips of one instrument attract each other, all others repel.

Chapter: ``notebooks/05_infonce.md``, whose equations are cited by their labels. Codes are compared by the cosine of
their angle, so their length plays no part: the gradient is orthogonal to a code (``nce-gradient``).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.losses import check_positive, check_shapes, full_precision, zero

# Below this length a code has no direction: it is divided by this instead, which bounds the gradient at silence.
SHORTEST = 1e-6


@full_precision
def info_nce(anchors: Tensor, positives: Tensor, temperature: float = 0.1) -> Tensor:
    """Mean cross-entropy of picking, among all positives of the batch, the one that belongs to the anchor.

    With ``s_ij`` the cosine of anchor ``i`` and positive ``j``: ``L = −1/B Σ_i log(exp(s_ii/τ) / Σ_j exp(s_ij/τ))``
    (equation ``nce-loss``). The best τ is the noise of the positives, ``nce-temperature``.

    Args:
        anchors, positives: ``(B, d)``; row ``i`` of both belongs together, the other rows are the negatives.
        temperature: τ, above 0.

    Returns:
        scalar within :func:`info_nce_range` (``nce-range``); log B when all cosines are equal.
        One pair (B = 1) leaves nothing to choose and gives 0. A code of zeros has the cosine 0 with everything.

    Raises:
        AstError: for shapes that differ or a temperature that is not above 0.

    Source: van den Oord, Li and Vinyals, "Representation learning with contrastive predictive coding" (2018), eq. 4,
    with ``f = exp(cosine / τ)`` as in Chen et al., "SimCLR" (2020), eq. 1.
    """
    check_shapes(anchors=anchors, positives=positives)
    check_positive(temperature=temperature)
    similarity = F.normalize(anchors, dim=1, eps=SHORTEST) @ F.normalize(positives, dim=1, eps=SHORTEST).T
    return F.cross_entropy(similarity / temperature, torch.arange(len(anchors), device=anchors.device))


@full_precision
def supervised_info_nce(z: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """InfoNCE in which every other clip of the same class is a positive; the form that the published code uses.

    ``L = −mean_i 1/|P(i)| Σ_{p in P(i)} log(exp(s_ip/τ) / Σ_{a ≠ i} exp(s_ia/τ))``, with ``s`` the cosine and ``P(i)``
    the other clips of the class of clip ``i`` (equation ``nce-supervised``).

    Args:
        z: ``(B, d)``.
        labels: ``(B,)`` integers.
        temperature: τ, above 0.

    Returns:
        scalar of at least 0 and at most ``log(B − 1) + 2/τ``. It does not reach 0: with ``P`` positives an anchor it is
        at least log P (the positives share the probability, ``nce-log-p``), reached as τ → 0 when each class is one
        point of its own; for K balanced classes at least ``log(P + N exp(−K / ((K−1) τ)))``, ``nce-supervised-range``.
        All codes equal gives log(B − 1). Anchors without a positive are left out of the mean (the published code counts
        them as 0; the two agree on balanced batches). No anchor with a positive (one clip, or all labels different)
        gives 0 with gradient 0. A single class still pulls the clips into one point. A code of zeros has cosine 0.

    Raises:
        AstError: for a number of labels other than B or a temperature that is not above 0.

    Source: Khosla et al., "Supervised contrastive learning" (2020), eq. 2 (``L_out``).
    """
    check_shapes(codes=z[:, 0], labels=labels)
    check_positive(temperature=temperature)
    if len(z) < 2:
        return zero(z)
    unit = F.normalize(z, dim=1, eps=SHORTEST)
    similarity = unit @ unit.T / temperature
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    log_probability = similarity - similarity.masked_fill(own, -torch.inf).logsumexp(dim=1, keepdim=True)
    # A product, not a mask: NaN must come through even from pairs that do not count.
    positive = ((labels[:, None] == labels) & ~own).to(z.dtype)
    count = positive.sum(dim=1)
    per_anchor = -(log_probability * positive).sum(dim=1) / count.clamp_min(1)
    return per_anchor.sum() / (count > 0).sum().clamp_min(1)
