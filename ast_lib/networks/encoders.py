"""Style and content encoders: sections of features to ``z_style`` and ``z_content``.

Chapter: ``notebooks/04_encoders.md``, whose equations are cited by their labels. Both are a residual CNN over the
sections followed by a Transformer encoder; the style encoder reads its answer from a learnable ``[CLS]`` token, the
content encoder keeps one vector per section. :class:`PictureEncoder` is the published form of both;
:class:`OneHot` and an embedding stand for the style encoder where a style belongs to a voice and not to a clip.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


def sinusoidal_positions(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Positional encoding ``(length, width)``, sines on even and cosines on odd channels.

    See equation ``sinusoidal-positions``; moving by ``k`` places is a rotation, equation ``position-rotation``.

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
        blocks, layers, heads: residual blocks, Transformer layers (pre-norm), attention heads.
        cls: put a learnable ``[CLS]`` token first and return its output alone.
    """

    def __init__(self, inputs: int, width: int, outputs: int, blocks: int, layers: int, heads: int, cls: bool):
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.residual = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.cls = nn.Parameter(torch.randn(width) * 0.02) if cls else None
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
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
        cnn_channels: of the blocks. For style the first four halve the picture, and its mean remains; for content all
            do, and a grid of 2 × 5 means.
        width, outputs, layers, heads: of the Transformer; the code is its output, projected if ``outputs`` differs.
        dropout: in the Transformer.
        cls: put a learnable ``[CLS]`` token first (at position 0) and return its output alone.

    Source: the published code.
    """

    def __init__(
        self,
        channels: int,
        cnn_channels: tuple[int, ...],
        width: int,
        outputs: int,
        layers: int,
        heads: int,
        dropout: float,
        cls: bool,
    ):
        super().__init__()
        self.channels = channels
        strides = [2 if not cls or index < 4 else 1 for index in range(len(cnn_channels))]
        sizes = zip((channels, *cnn_channels), cnn_channels, strides, strict=False)
        grid = (1, 1) if cls else (2, 5)
        self.cnn = nn.Sequential(*(PictureBlock(*size) for size in sizes), nn.AdaptiveAvgPool2d(grid), nn.Flatten())
        self.embed = nn.Linear(cnn_channels[-1] * math.prod(grid), width)
        self.cls = nn.Parameter(torch.randn(width)) if cls else None
        self.norm = nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
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
