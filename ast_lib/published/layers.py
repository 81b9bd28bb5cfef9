"""Layers of the published decoders: tokens in, tokens out; or a section's picture to a token and back.

Chapter: ``notebooks/10_decoder.md``.
"""

import dataclasses
import math

from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.networks.decoder import Attention, DecoderLayer, small_output


class DropoutLayer(DecoderLayer):
    """:class:`DecoderLayer` with dropout after every sublayer."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float):
        super().__init__(width, heads, feed_forward)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        normed = self.norm_self(x)
        x = x + self.dropout(self.self_attention(normed, *self.self_attention.keys_values(normed), causal=True))
        x = x + self.dropout(self.cross_attention(self.norm_cross(x), *self.cross_attention.keys_values(memory)))
        return x + self.dropout(self.feed(self.norm_feed(x)))


@dataclasses.dataclass
class GruCache:
    """Keys and values of the memory ``(B, heads, length, d)``; the state ``(1, B, width)`` after the latest token."""

    memory_keys: Tensor
    memory_values: Tensor
    state: Tensor | None = None


class GruLayer(nn.Module):
    """GRU over the tokens, attention to the memory, feed-forward: :class:`DecoderLayer` with a state for a past.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014); attention to a memory after
    Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and translate" (2015).
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm_self, self.norm_cross, self.norm_feed = (nn.LayerNorm(width) for _ in range(3))
        self.gru = nn.GRU(width, width, batch_first=True)
        self.cross_attention = Attention(width, heads)
        self.feed = nn.Sequential(
            nn.Linear(width, feed_forward * width), nn.GELU(), nn.Linear(feed_forward * width, width)
        )

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """All tokens at once, ``(B, S, width)``; inside, S steps one after another."""
        return self.extend(x, self.start(memory, x.shape[1]), 0)

    def start(self, memory: Tensor, length: int) -> GruCache:
        """A cache without a past."""
        return GruCache(*self.cross_attention.keys_values(memory))

    def extend(self, x: Tensor, cache: GruCache, position: int) -> Tensor:
        """The next ``(B, n, width)`` tokens."""
        past, cache.state = self.gru(self.norm_self(x), cache.state)
        x = x + self.dropout(past)
        attended = self.cross_attention(self.norm_cross(x), cache.memory_keys, cache.memory_values)
        x = x + self.dropout(attended)
        return x + self.dropout(self.feed(self.norm_feed(x)))


class PictureToToken(nn.Module):
    """A section's picture ``(..., channels * T * F)`` to ``(..., width)``: halving convolutions, a grid, a matrix.

    Args:
        shape: channels, frames and bins of the picture.
        grid: rows and columns of means that are left of it.
        width: of the token.
    """

    def __init__(self, shape: tuple[int, int, int], grid: tuple[int, int], width: int):
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(
            *(nn.Conv2d(shape[0], 32, 3, 2, padding=1), nn.GELU()),
            *(nn.Conv2d(32, 64, 3, 2, padding=1), nn.GELU()),
            *(nn.Conv2d(64, 64, 3, 2, padding=1), nn.GELU()),
            *(nn.AdaptiveAvgPool2d(grid), nn.Conv2d(64, 1, 1), nn.Flatten(), nn.Linear(math.prod(grid), width)),
        )

    def forward(self, values: Tensor) -> Tensor:
        """``(..., channels * T * F)`` to ``(..., width)``."""
        return self.layers(values.reshape(-1, *self.shape)).view(*values.shape[:-1], -1)


class TokenToPicture(nn.Module):
    """The way back: a matrix to the grid, four doubling transposed convolutions, a bilinear stretch to the section.

    The stretch is what the published code ends in; it makes neighbouring bins interpolations of the same values. Its
    batch norm is a norm of each picture here, so that a section does not depend on the others.
    """

    def __init__(self, width: int, grid: tuple[int, int], shape: tuple[int, int, int]):
        super().__init__()
        self.shape, self.grid = shape, grid
        self.grow = nn.Linear(width, math.prod(grid))
        channels = (1, 64, 32, 16, 8)
        doubling = (
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, padding=1), nn.GroupNorm(1, b), nn.GELU())
            for a, b in zip(channels, channels[1:], strict=False)
        )
        self.layers = nn.Sequential(*doubling, small_output(nn.Conv2d(8, shape[0], 3, padding=1)))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to ``(..., channels * T * F)``."""
        picture = self.layers(self.grow(x).reshape(-1, 1, *self.grid))
        picture = F.interpolate(picture, self.shape[1:], mode="bilinear", align_corners=False)
        return picture.reshape(*x.shape[:-1], -1)
