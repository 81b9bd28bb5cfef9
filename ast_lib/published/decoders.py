"""The decoders that the paper's appendix names and dropped: CNN + Transformer, GRU with attention, ViT patches.

Chapter: ``notebooks/10_decoder.md``. Each is :class:`~ast_lib.networks.decoder.Decoder` with one thing replaced: how a
section becomes a token and a token a section, what the layers are, or how many tokens a section has.
"""

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.config import Config
from ast_lib.networks.decoder import Attention, Decoder, DecoderLayer, Prediction, small_output


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


class CnnDecoder(Decoder):
    """CNN + Transformer: convolutions between a section and its token, as in the published ``new_decoder``."""

    @property
    def _grid(self) -> tuple[int, int]:
        return -(-self.frames // 9), 16  # 32 × 16 for the paper's 287 frames

    def _embedding(self) -> nn.Module:
        return PictureToToken((self.context_parts, self.frames, self.bins), self._grid, self.width)

    def _head(self) -> nn.Module:
        return TokenToPicture(self.width, self._grid, (self.parts, self.frames, self.bins))


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

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float = 0.0):
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


class PatchDecoder(Decoder):
    """ViT patches: a token for each patch of 16 × 16 values (or as many frames as a section has), in reading order.

    Free-running draws patch by patch, so the cost of attention grows with the square of the patches.

    Source: Dosovitskiy et al., "An image is worth 16x16 words" (2021), section 3.1.
    """

    def __init__(self, content_size: int, style_size: int, frames: int, bins: int, *args, **options):
        self.patch = (min(16, frames), 16)
        self.grid = (-(-frames // self.patch[0]), -(-bins // self.patch[1]))
        self.units = math.prod(self.grid)
        super().__init__(content_size, style_size, frames, bins, *args, **options)
        self.place = nn.Parameter(torch.randn(self.units, self.width) * 0.02)
        inside = self._patches(torch.ones(1, 1, self.context_parts * frames, bins))[0]
        self.register_buffer("inside", inside, persistent=False)  # 0 where a patch sticks out of the section

    def _embedding(self) -> nn.Module:
        return nn.Linear(self.context_parts * math.prod(self.patch), self.width)

    def _head(self) -> nn.Module:
        return small_output(nn.Linear(self.width, self.parts * math.prod(self.patch)))

    def _tokens(self, embedded: Tensor, content: Tensor, style: Tensor, position: int, norm: bool = True) -> Tensor:
        end = position + embedded.shape[1]
        first, last = position // self.units, -(-end // self.units)
        # Tokens of whole sections, of which the wanted ones are cut out.
        around = embedded.new_zeros(len(embedded), last - first, self.width)
        sections = super()._tokens(around, content[:, :last], style, first, norm=False)
        tokens = (sections[:, :, None] + self.place).flatten(1, 2)
        tokens = embedded + tokens[:, position - first * self.units : end - first * self.units]
        return self.input_norm(tokens) if norm else tokens

    def _patches(self, context: Tensor) -> Tensor:
        """``(B, S, T, F)`` to ``(B, S * units, values of a patch)``, filled up with zeros."""
        pictures = context.unflatten(2, (self.context_parts, self.frames))  # (B, S, parts, T, F)
        (rows, columns), (height, width) = self.grid, self.patch
        missing = (0, columns * width - self.bins, 0, rows * height - self.frames)
        patches = F.pad(pictures, missing).unflatten(-1, (columns, width)).unflatten(-3, (rows, height))
        return patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(1, 3)

    def _embed(self, context: Tensor) -> Tensor:
        return self.embed(self._patches(context))

    def _feed(self) -> Callable[[Tensor, int], Tensor]:
        def feed(x: Tensor, position: int) -> Tensor:
            inside = self.inside[position % self.units]
            return self.embed(self.head(x)[..., : len(inside)] * inside)

        return feed

    def _predict(self, raw: Tensor) -> Prediction:
        patches = raw.unflatten(-1, (self.parts, *self.patch)).unflatten(1, (-1, *self.grid))
        pictures = patches.permute(4, 0, 1, 2, 5, 3, 6).flatten(5).flatten(3, 4)  # (parts, B, S, T, F), padded
        return self.prediction(*pictures[..., : self.frames, : self.bins])


def build_decoder(config: Config) -> Decoder:
    """The decoder of a configuration."""
    shape, sizes = config.representation, config.model
    kind = {"cnn": CnnDecoder, "vit": PatchDecoder}.get(sizes.decoder, Decoder)
    return kind(
        sizes.content_size,
        sizes.style_size,
        shape.section_frames,
        shape.stft_bins,
        sizes.decoder_width,
        sizes.decoder_layers,
        sizes.heads,
        sizes.feed_forward,
        sizes.token_injection,
        output=shape.output,
        memory=sizes.memory,
        feedback=sizes.inference_feedback,
        input_norm=sizes.input_norm,
        head_layers=sizes.head_layers,
        dropout=sizes.dropout,
        layer=GruLayer if sizes.decoder == "gru" else DecoderLayer,
    )
