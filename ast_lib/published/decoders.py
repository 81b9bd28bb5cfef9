"""Decoders of the published system and of its appendix, beside the one of :mod:`ast_lib.networks.decoder`.

Chapters: ``notebooks/10_decoder.md``, ``notebooks/13_published_run.md`` (hidden states fed back).
:class:`PublishedDecoder` is our Transformer with every published choice; CNN + Transformer, GRU with attention
(:mod:`ast_lib.published.layers`) and ViT patches are it with one thing replaced.
"""

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.networks.decoder import Decoder, Prediction, small_output
from ast_lib.networks.encoders import sinusoidal_positions
from ast_lib.published.config import PublishedConfig
from ast_lib.published.layers import DropoutLayer, GruLayer, PictureToToken, TokenToPicture
from ast_lib.representation.features import SectionTensors


class _OfVoices(SectionTensors):
    """Tensors whose field ``voices`` ``(B,)`` says whose statistics normalise them; it is no tensor of sections."""

    def map(self, function, *others):
        return SectionTensors.map(dataclasses.replace(self, voices=None), function, *others)


@dataclasses.dataclass(frozen=True)
class PublishedPrediction(_OfVoices, Prediction):
    """A :class:`Prediction` of clips that may be told to be of some ``voices`` ``(B,)``."""

    voices: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class ComplexPrediction(_OfVoices):
    """Output of the decoder for ``representation.output=complex``: both ``(B, S, T, F)`` and normalised."""

    real: Tensor
    imaginary: Tensor
    voices: Tensor | None = None

    @property
    def context(self) -> Tensor:
        """What the decoder is shown of it later on: the frames of both parts, ``(B, S, 2T, F)``."""
        return torch.cat([self.real, self.imaginary], dim=2)


class PublishedDecoder(Decoder):
    """:class:`Decoder` with the choices of :class:`ast_lib.published.config.PublishedModelConfig`.

    ``memory``: the style S times or once. ``inference_feedback``: what free-running feeds back, the section or, as
    published, the hidden state, which then misses the ``input_norm`` too. ``head_layers``: 2, or 1 as published.
    """

    units = 1  # tokens of a section

    def __init__(self, config: PublishedConfig):
        nn.Module.__init__(self)
        shape, sizes = config.representation, config.model
        width, inject = sizes.decoder_width, sizes.token_injection
        self.frames, self.bins, self.width = shape.section_frames, shape.stft_bins, width
        self.memory_kind, self.feedback = sizes.memory, sizes.inference_feedback
        parts = {"magnitude_advance": (PublishedPrediction, 3, 1), "complex": (ComplexPrediction, 2, 2)}
        # The kind of a prediction, the number of its tensors, and of how many of them the context consists.
        self.prediction, self.parts, self.context_parts = parts[shape.output]
        self.embed = self._embedding()
        self.start_token = nn.Parameter(torch.randn(width) * 0.02)
        self.null_token = nn.Parameter(torch.randn(width) * 0.02)
        self.content_memory = nn.Linear(sizes.content_size, width)
        self.style_memory = nn.Linear(sizes.style_size, width)
        self.content_token = nn.Linear(sizes.content_size, width) if inject else None
        self.style_token = nn.Linear(sizes.style_size, width) if inject else None
        self.input_norm = nn.LayerNorm(width) if sizes.input_norm else nn.Identity()
        self.dropout = nn.Dropout(sizes.dropout)
        layer = GruLayer if sizes.decoder == "gru" else DropoutLayer
        self.layers = nn.ModuleList(
            layer(width, sizes.heads, sizes.feed_forward, sizes.dropout) for _ in range(sizes.decoder_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, width) if sizes.head_layers == 2 else None
        self.head = self._head()

    def _embedding(self) -> nn.Module:
        """Layer from a section's context, ``(..., context_parts * T * F)``, to its token."""
        return nn.Linear(self.context_parts * self.frames * self.bins, self.width)

    def _head(self) -> nn.Module:
        """Layer from a token to a section's tensors, ``(..., parts * T * F)``."""
        return small_output(nn.Linear(self.width, self.parts * self.frames * self.bins))

    def memory(self, content: Tensor, style: Tensor) -> Tensor:
        """As of :class:`Decoder`, ``(B, 2S, width)``, or ``(B, S + 1, width)``."""
        sections = content.shape[1]
        positions = sinusoidal_positions(sections, self.width, content.device).to(content)
        copies = sections if self.memory_kind == "2S" else 1
        repeated = self.style_memory(style)[:, None].expand(-1, copies, -1)
        return self.dropout(torch.cat([self.content_memory(content) + positions, repeated], dim=1))

    def _tokens(self, embedded: Tensor, content: Tensor, style: Tensor, position: int, norm: bool = True) -> Tensor:
        tokens = super()._tokens(embedded, content, style, position)
        return self.input_norm(tokens) if norm else tokens

    def _embed(self, context: Tensor) -> Tensor:
        """Context ``(B, S, T, F)`` to tokens ``(B, S * units, width)``."""
        return self.embed(context.flatten(2))

    def _before_head(self, x: Tensor) -> Tensor:
        return self.norm(x) if self.hidden is None else super()._before_head(x)

    def _feed(self) -> Callable[[Tensor, int], Tensor]:
        """As of :class:`Decoder`; of a patch the function wants the position too."""
        if not (isinstance(self.head, nn.Linear) and isinstance(self.embed, nn.Linear)):
            return lambda x, position: self._embed(self._predict(x).context)
        feed = super()._feed()
        return lambda x, position: feed(x)

    def _predict(self, x: Tensor) -> SectionTensors:
        return self._sections(self.head(x))

    def _sections(self, raw: Tensor) -> SectionTensors:
        """Values of ``S * units`` tokens to a prediction of S sections."""
        parts = raw.chunk(self.parts, dim=-1)
        return self.prediction(*(part.unflatten(-1, (self.frames, self.bins)) for part in parts))

    def forward(self, context: Tensor, keep: Tensor, content: Tensor, style: Tensor) -> SectionTensors:
        """As of :class:`Decoder`; for a complex output the context has both parts, ``(B, S, 2T, F)``."""
        embedded = self._embed(context)
        keep = keep.repeat_interleave(self.units, dim=1)[..., None]
        embedded = torch.where(keep, embedded, self.null_token.to(embedded.dtype))
        return self._predict(self._all_at_once(embedded, content, style))

    def generate(
        self, content: Tensor, style: Tensor, prefix: Tensor | None = None, context_weight: float = 1.0
    ) -> SectionTensors:
        """As of :class:`Decoder`, token by token; with a weight below 1 sections must be fed back."""
        tokens = content.shape[1] * self.units
        memory = self.memory(content, style)
        caches = [layer.start(memory, tokens) for layer in self.layers]
        embedded = self.start_token.to(memory.dtype).expand(len(content), 1, -1)
        if prefix is not None:
            embedded = torch.cat([embedded, self._embed(prefix)], dim=1)
        alone = None
        if context_weight != 1:
            null = self.null_token.to(memory.dtype).expand(len(content), tokens, -1)
            alone = self._all_at_once(null, content, style)
        feed = self._feed() if self.feedback == "section" else None  # else the hidden state itself
        position, outputs = 0, []
        while position < tokens:
            x = self._tokens(embedded, content, style, position, norm=feed is not None)
            for layer, cache in zip(self.layers, caches, strict=True):
                x = layer.extend(x, cache, position)
            x = x[:, -1:]
            position += embedded.shape[1]
            outputs.append(self._before_head(x))
            if alone is not None:
                outputs[-1] = torch.lerp(alone[:, position - 1 : position], outputs[-1], context_weight)
            embedded = feed(outputs[-1], position - 1) if feed else x
        return self._predict(torch.cat(outputs, dim=1)).float()


class CnnDecoder(PublishedDecoder):
    """CNN + Transformer: convolutions between a section and its token, as in the published ``new_decoder``."""

    @property
    def _grid(self) -> tuple[int, int]:
        return -(-self.frames // 9), 16  # 32 × 16 for the paper's 287 frames

    def _embedding(self) -> nn.Module:
        return PictureToToken((self.context_parts, self.frames, self.bins), self._grid, self.width)

    def _head(self) -> nn.Module:
        return TokenToPicture(self.width, self._grid, (self.parts, self.frames, self.bins))


class PatchDecoder(PublishedDecoder):
    """ViT patches: a token for each patch of 16 × 16 values (or as many frames as a section has), in reading order.

    Free-running generates patch by patch, so the cost of attention grows with the square of the patches.

    Source: Dosovitskiy et al., "An image is worth 16x16 words" (2021), section 3.1.
    """

    def __init__(self, config: PublishedConfig):
        frames, bins = config.representation.section_frames, config.representation.stft_bins
        self.patch = (min(16, frames), 16)
        self.grid = (-(-frames // self.patch[0]), -(-bins // self.patch[1]))
        self.units = math.prod(self.grid)
        super().__init__(config)
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

    def _sections(self, raw: Tensor) -> SectionTensors:
        patches = raw.unflatten(-1, (self.parts, *self.patch)).unflatten(1, (-1, *self.grid))
        pictures = patches.permute(4, 0, 1, 2, 5, 3, 6).flatten(5).flatten(3, 4)  # (parts, B, S, T, F), padded
        return self.prediction(*pictures[..., : self.frames, : self.bins])


def build_decoder(config: PublishedConfig) -> PublishedDecoder:
    """The decoder of a configuration."""
    return {"cnn": CnnDecoder, "vit": PatchDecoder}.get(config.model.decoder, PublishedDecoder)(config)
