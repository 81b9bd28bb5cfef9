"""Curriculum: a step in; the weight of every loss and the factor on the learning rates out.

Chapter: ``notebooks/11_training.md``. Four phases, as in the paper: reconstruction, then contrastive (InfoNCE and
margin), then HSIC, then the adversary with a growing weight.
"""

import math
from collections.abc import Sequence

from ast_lib.config import Phase

WEIGHTS = ("reconstruction", "contrastive", "margin", "hsic", "adversarial")


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
