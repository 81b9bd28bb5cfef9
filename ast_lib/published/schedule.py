"""Schedule of the published run: a step and the losses so far in; who learns, and how fast, out.

Chapter: ``notebooks/13_published_run.md``.
"""

import math
from collections.abc import Sequence


def plateau_factor(totals: Sequence[float], length: int, factor: float, patience: int) -> float:
    """What is left of the learning rate after every plateau so far: ``factor`` to the power of their number.

    Args:
        totals: a network's loss at every step so far from which it learnt.
        length: their number in an epoch; the means of whole epochs are watched.
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
