"""Encoders of the published system: pictures of sections, or nothing but labels, in; ``z_style`` or ``z_content`` out.

Chapters: ``notebooks/04_encoders.md``, ``notebooks/13_published_run.md``. :class:`PictureEncoder` is the published form
of both encoders; :class:`OneHot` and an embedding stand for the style encoder where a style belongs to a voice and not
to a clip.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ast_lib.networks.encoders import sinusoidal_positions
from ast_lib.published.config import PublishedModelConfig


class PictureBlock(nn.Module):
    """The paper's residual block: two 3 × 3 convolutions on a picture and a shortcut.

    ``(B, inputs, T, F)`` to ``(B, outputs, T / stride, F / stride)``, rounded up.

    Source: the published code: spectral norm of every weight, batch norm on the path, instance norm on the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.path = nn.Sequential(
            spectral_norm(nn.Conv2d(inputs, outputs, 3, stride, padding=1)),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1)),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                spectral_norm(nn.Conv2d(inputs, outputs, 1, stride)), nn.InstanceNorm2d(outputs, affine=True)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.path(x) + self.shortcut(x))


class PictureEncoder(nn.Module):
    """The paper's encoder: a 2-D CNN on the picture of each section, positions, a post-norm Transformer encoder.

    Args:
        channels: of a picture: 2, real and imaginary part (1 for magnitudes).
        width, outputs: of the Transformer; the code is its output, projected if ``outputs`` differs.
        sizes: channels of the blocks, layers, heads and dropout. For style the first four blocks halve the picture, and
            its mean remains; for content all do, and a grid of 2 × 5 means.
        cls: put a learnable ``[CLS]`` token first (at position 0) and return its output alone.

    Source: the published code.
    """

    def __init__(self, channels: int, width: int, outputs: int, sizes: PublishedModelConfig, cls: bool):
        super().__init__()
        self.channels = channels
        cnn_channels = sizes.cnn_channels
        strides = [2 if not cls or index < 4 else 1 for index in range(len(cnn_channels))]
        blocks = zip((channels, *cnn_channels), cnn_channels, strides, strict=False)
        grid = (1, 1) if cls else (2, 5)
        self.cnn = nn.Sequential(*(PictureBlock(*block) for block in blocks), nn.AdaptiveAvgPool2d(grid), nn.Flatten())
        self.embed = nn.Linear(cnn_channels[-1] * math.prod(grid), width)
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
    """Xavier's initialisation of all matrices with a reduced gain, biases 0, as published; nothing for a gain of 0.

    Convolutions keep PyTorch's: in the published code their gain is lost, since spectral norm divides it out.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
    """
    for part in module.modules() if gain else ():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight, gain)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.MultiheadAttention):
            nn.init.xavier_uniform_(part.in_proj_weight, gain)
