"""Adversarial losses: a discriminator learns to read the instrument, the encoders remove it from the content.

Chapter: ``notebooks/08_adversary.md``, whose equations the docstrings name. The discriminator minimises
:func:`discriminator_cross_entropy` on style, prototypes and content; the encoders minimise it on style, and on content
the objective below it.
"""

from torch import Tensor
from torch.nn import functional as F

from ast_lib.losses import check_shapes, full_precision


@full_precision
def discriminator_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of ``−log p(label)`` over all positions, in nats (equation ``adv-cross-entropy``).

    The best discriminator reaches the conditional entropy of the class given the code (equation ``adv-optimal``).

    Args:
        logits: ``(B, K)``, or with further axes between, such as ``(B, S, K)``, that share their clip's label.
        labels: ``(B,)`` integers in ``0..K − 1``; -100 for a clip that is of no class and does not count.

    Returns:
        scalar of at least 0; log K when the logits are all equal, 0 when no clip counts. A batch of one clip or one
        class is a mean like any other; a single class (K = 1) gives 0.

    Raises:
        AstError: for a number of labels other than B.

    Source: Goodfellow et al., "Generative adversarial nets" (2014), eq. 1, for K classes.
    """
    check_shapes(clips=logits.flatten(1)[:, 0], labels=labels)
    positions = logits.reshape(-1, logits.shape[-1])
    labels = labels.repeat_interleave(len(positions) // len(labels))
    return F.cross_entropy(positions, labels, ignore_index=-100, reduction="sum") / (labels >= 0).sum().clamp_min(1)


@full_precision
def negative_entropy(logits: Tensor) -> Tensor:
    """Mean over all positions of ``Σ_k p_k log p_k``: what the encoders minimise on content (the paper's objective).

    See equation ``adv-objectives``; its gradient is equation ``adv-gradients``.

    Args:
        logits: ``(..., K)``.

    Returns:
        scalar in ``−log K``..0, lowest where the discriminator finds all classes equally likely. Where it is sure, the
        gradient vanishes, whether it is right or wrong. A single class (K = 1) gives 0; logits of zeros give −log K.

    Source: Roy and Boddeti, "Mitigating information leakage in image representations: a maximum entropy approach"
    (2019), MaxEnt-ARL; the published code (commit 5f6d593, losses.py:119) adds 1e-8 inside the logarithm, which
    log-softmax makes unnecessary.
    """
    log_probability = F.log_softmax(logits, dim=-1)
    return (log_probability.exp() * log_probability).sum(dim=-1).mean()
