"""Optimizers: a network in; Muon for its weight matrices and AdamW for the rest out.

Chapter: ``notebooks/11_training.md``. Muon replaces the gradient of a matrix by the nearest orthogonal one, so that a
step moves all directions of a layer alike, and reaches a distance to the truth in a third of AdamW's steps.
Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); Liu et al., "Muon is scalable
for LLM training" (2025), whose scale makes its rates comparable with AdamW's.
"""

import torch
from torch import nn

from ast_lib.config import TrainingConfig


def optimizers(
    network: nn.Module, rate: float, training: TrainingConfig, fused: bool, matrix_rate: float = 0.0
) -> list[torch.optim.Optimizer]:
    """The optimizers of a network: their parameters are all of its, none twice.

    Args:
        network: to be trained.
        rate: of AdamW.
        training: for betas and weight decay.
        fused: whether AdamW takes all parameters in one kernel, on a GPU.
        matrix_rate: of Muon; 0 gives every parameter to AdamW.

    Returns:
        AdamW and, with a ``matrix_rate``, Muon. Each group keeps its ``initial_lr``, which a schedule multiplies.
    """
    matrices, rest = [], []
    for parameter in network.parameters():
        matrix = matrix_rate and parameter.ndim == 2 and min(parameter.shape) > 1
        (matrices if matrix else rest).append(parameter)
    decay = training.weight_decay
    group = {"params": rest, "initial_lr": rate}
    made = [torch.optim.AdamW([group], lr=rate, betas=training.betas, weight_decay=decay, fused=fused)]
    if matrices:
        group = {"params": matrices, "initial_lr": matrix_rate}
        made.append(torch.optim.Muon([group], lr=matrix_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    return made
