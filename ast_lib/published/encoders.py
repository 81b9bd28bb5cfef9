"""Encoders of the published system: pictures of sections, or nothing but labels, in; ``z_style`` or ``z_content`` out.

Chapters: ``notebooks/04_encoders.md``, ``notebooks/04b_codes.md`` (its cost), ``notebooks/13_published_run.md``.
:class:`PictureEncoder` is the published form of both encoders; :class:`OneHot` and an embedding stand for the style
encoder where a style belongs to a voice and not to a clip. Files and lines are those of the published repository at
commit 5f6d593.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ast_lib.networks.encoders import sinusoidal_positions
from ast_lib.published.config import PublishedModelConfig


class PictureBlock(nn.Module):
    """The paper's residual block: two 3 × 3 convolutions on a picture and a shortcut.

    ``(B, inputs, T, F)`` to ``(B, outputs, T / 2, F / 2)``, rounded up. Every convolution has spectral norm, the path
    batch norm, the shortcut instance norm.

    Source: style_encoder.py:41-84.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.path = nn.Sequential(
            spectral_norm(nn.Conv2d(inputs, outputs, 3, 2, padding=1)),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1)),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            spectral_norm(nn.Conv2d(inputs, outputs, 1, 2)), nn.InstanceNorm2d(outputs, affine=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.path(x) + self.shortcut(x))


class PictureEncoder(nn.Module):
    """The paper's encoder: a 2-D CNN on the picture of each section, positions, a post-norm Transformer encoder.

    Args:
        channels: of a picture: 2, real and imaginary part (1 for magnitudes).
        width, outputs: of the Transformer; the code is its output, projected if ``outputs`` differs.
        sizes: channels of the blocks, layers, heads and dropout. Every block halves the picture.
        cls: put a learnable ``[CLS]`` token first (at position 0) and return its output alone. That is the style
            encoder; without it, the content encoder.

    What six blocks leave of a section, 5 × 10, is averaged in two steps, to 2 × 5 and to 1 × 1. The first step's rows
    share the middle one, so it counts twice.

    Source: style_encoder.py:97-118, 181-197, 222-232; content_encoder.py:17-46, 92-97.
    """

    def __init__(self, channels: int, width: int, outputs: int, sizes: PublishedModelConfig, cls: bool):
        super().__init__()
        self.channels = channels
        blocks = zip((channels, *sizes.cnn_channels), sizes.cnn_channels, strict=False)
        mean = (nn.AdaptiveAvgPool2d((2, 5)), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())
        self.cnn = nn.Sequential(*(PictureBlock(*block) for block in blocks), *mean)
        self.embed = nn.Linear(sizes.cnn_channels[-1], width)
        self.cls = nn.Parameter(torch.randn(width)) if cls else None
        self.norm = nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, sizes.heads, 4 * width, sizes.dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, sizes.encoder_layers, enable_nested_tensor=False)
        self.project = nn.Linear(width, outputs) if outputs != width else nn.Identity()

    def forward(self, sections: Tensor) -> Tensor:
        """``(B, S, channels * T, F)`` to ``(B, outputs)`` with ``[CLS]``, else ``(B, S, outputs)``."""
        pictures = sections.unflatten(2, (self.channels, -1)).flatten(0, 1)
        x = self.embed(self.cnn(pictures)).unflatten(0, sections.shape[:2])
        if self.cls is not None:
            x = torch.cat([self.cls.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        x = self.transformer(self.norm(x + sinusoidal_positions(x.shape[1], x.shape[2], x.device).to(x)))
        return self.project(x[:, 0] if self.cls is not None else x)


class OneHot(nn.Module):
    """A style without weights: voice ``k`` is the ``k``-th unit vector, ``(B,)`` to ``(B, size)``."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, voices: Tensor) -> Tensor:
        return F.one_hot(voices, self.size).float()


def initialise(module: nn.Module, gain: float) -> None:
    """Xavier's initialisation of linear layers with a reduced gain, biases 0, as published; nothing for a gain of 0.

    Convolutions keep PyTorch's: in the published code their gain is lost, since spectral norm divides it out. The
    encoders' projections to queries, keys and values keep PyTorch's gain of 1, since ``MultiheadAttention`` holds them
    as a bare matrix, which the published function does not reach.

    Source: ``init_weights_conservative`` of train2.ipynb, readable at commit 47f6b35 only. Glorot and Bengio,
    "Understanding the difficulty of training deep feedforward neural networks" (2010).
    """
    for part in module.modules() if gain else ():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight, gain)
            nn.init.zeros_(part.bias)
