"""Encoders: normalised sections of features in; ``z_style`` or ``z_content`` out.

Chapters: ``notebooks/04_encoders.md``, ``notebooks/04b_codes.md`` (``[CLS]``, counts), whose equations are cited by
their labels. Both are a residual CNN over the sections followed by a Transformer encoder; the style encoder reads its
answer from a learnable ``[CLS]`` token, the content encoder keeps one vector per section.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.config import ModelConfig


def sinusoidal_positions(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Positional encoding ``(length, width)``, sines on even and cosines on odd channels.

    See equation ``sinusoidal-positions``; moving by ``k`` positions is a rotation, equation ``position-rotation``.

    Source: Vaswani et al., "Attention is all you need" (2017), section 3.5.
    """
    position = torch.arange(length, device=device)[:, None]
    rate = torch.exp(-math.log(10000) * torch.arange(0, width, 2, device=device) / width)
    return torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1).flatten(1)


class ResidualBlock(nn.Module):
    """``x + Conv1(GELU(Conv5(GroupNorm(x))))`` over sections: ``(B, width, S)`` to the same shape.

    See equation ``encoder-residual``. The receptive field of ``n`` blocks is ``1 + 4n`` sections (equation
    ``receptive-field``), but the statistics of the norm span all sections.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.spread = nn.Conv1d(width, width, kernel_size=5, padding=2)
        self.mix = nn.Conv1d(width, width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(F.gelu(self.spread(self.norm(x))))


class SectionEncoder(nn.Module):
    """What the two encoders share: a linear stem over one section's frames, residual blocks, a Transformer encoder.

    See equation ``encoder-stem``, equation ``attention`` and, with ``[CLS]``, equation ``cls-pooling``; equation
    ``encoder-parameters`` counts the weights.

    Args:
        inputs: values of one section, ``T * F``.
        width: channels; a multiple of 8 × heads.
        outputs: size of the code.
        sizes: number of residual blocks, of Transformer layers (pre-norm) and of attention heads.
        cls: put a learnable ``[CLS]`` token first and return its output alone.
    """

    def __init__(self, inputs: int, width: int, outputs: int, sizes: ModelConfig, cls: bool = False):
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.residual = nn.Sequential(*(ResidualBlock(width) for _ in range(sizes.residual_blocks)))
        self.cls = nn.Parameter(torch.randn(width) * 0.02) if cls else None
        layer = nn.TransformerEncoderLayer(
            width, sizes.heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, sizes.encoder_layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, outputs)

    def forward(self, sections: Tensor) -> Tensor:
        """``(B, S, T, F)`` to ``(B, outputs)`` with ``[CLS]``, else ``(B, S, outputs)``."""
        x = self.residual(self.stem(sections.flatten(2)).mT).mT
        x = x + sinusoidal_positions(x.shape[1], x.shape[2], x.device).to(x)
        if self.cls is not None:
            x = torch.cat([self.cls.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        x = self.transformer(x)
        return self.project(self.norm(x[:, 0] if self.cls is not None else x))
