import torch
from torch import Tensor
def log_spectral_distance(estimate: Tensor, truth: Tensor, floor: float = 1e-3) -> Tensor:
    difference = 20 * torch.log10((estimate.abs() + floor) / (truth.abs() + floor))
    return difference.square().mean(dim=-1).sqrt().mean(dim=-1)
