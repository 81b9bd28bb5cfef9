"""Curriculum: which loss counts how much at which step.

Chapter: ``notebooks/11_training.md``. Four phases, as in the paper: reconstruction, then contrastive (InfoNCE and
margin), then HSIC, then the adversary with a growing weight.
"""

import math
from collections.abc import Sequence

from ast_lib.config import Phase

WEIGHTS = ("reconstruction", "contrastive", "margin", "hsic", "adversarial", "level")


def phase_at(phases: Sequence[Phase], step: int, steps: int) -> int:
    """Index of the phase that step ``step`` (from 0) of ``steps`` belongs to."""
    return max(index for index, phase in enumerate(phases) if step >= phase.start * steps)


def loss_weights(phases: Sequence[Phase], step: int, steps: int) -> dict[str, float]:
    """Weight of each loss at a step; the adversarial one grows linearly over the first half of its phase."""
    index = phase_at(phases, step, steps)
    phase = phases[index]
    weights = {name: getattr(phase, name) for name in WEIGHTS}
    if index > 0:
        before = phases[index - 1].adversarial
        end = phases[index + 1].start if index + 1 < len(phases) else 1.0
        grown = (step / steps - phase.start) / (0.5 * (end - phase.start))
        weights["adversarial"] = before + (phase.adversarial - before) * min(1.0, grown)
    return weights


def learning_rate_factor(step: int, steps: int, warm_up: int, final: float) -> float:
    """Linear warm-up, then a half cosine from 1 to ``final``."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    return min(1.0, (step + 1) / warm_up if warm_up else 1.0) * (final + (1 - final) * cosine)


def plateau_factor(totals: Sequence[float], length: int, factor: float, patience: int) -> float:
    """What is left of the learning rate after every plateau so far: ``factor`` to the power of their number.

    Args:
        totals: total loss of every step so far.
        length: steps of an epoch; the means of whole epochs are watched.
        factor: what a plateau multiplies the rate by.
        patience: epochs without a fall (by 0.01 % or more) that are borne; the next one is a plateau.

    Source: ``torch.optim.lr_scheduler.ReduceLROnPlateau``, here a function of the history, so that a resumed run
    continues as it would have.
    """
    best, waited, plateaus = math.inf, 0, 0
    for start in range(0, len(totals) - length + 1, length):
        mean = sum(totals[start : start + length]) / length
        waited = 0 if mean < best * (1 - 1e-4) else waited + 1
        best = mean if waited == 0 else best
        if waited > patience:
            waited, plateaus = 0, plateaus + 1
    return factor**plateaus


def turns(alternate: tuple[int, int], step: int) -> tuple[bool, bool]:
    """Whether generator and discriminator learn at a step: some batches the one, then some the other, in turn.

    ``(0, 0)`` lets both learn from every batch.
    """
    if alternate == (0, 0):
        return True, True
    generator = step % sum(alternate) < alternate[0]
    return generator, not generator
