"""Decoder: content, style and the sections generated so far in; the next section of the target out.

Chapters: ``notebooks/10_decoder.md``, ``notebooks/10b_decoding.md`` (generation); equations are cited by their labels.
An autoregressive Transformer with cached keys and values. The token of section ``s`` carries section ``s - 1`` of what
has been generated; the memory is ``[B, 2S, d]``: the content of the S sections, then the style repeated S times.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.config import ModelConfig
from ast_lib.networks.encoders import sinusoidal_positions
from ast_lib.representation.features import SectionTensors

# Of one layer: keys and values of the memory, and those of the tokens decoded so far, ``(B, heads, length, d)``.
Cache = tuple[Tensor, Tensor, Tensor, Tensor]


class Attention(nn.Module):
    """Multi-head attention whose keys and values are computed apart, so that they can be kept."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, L, width)`` to keys and values, each ``(B, heads, L, width / heads)``."""
        key, value = self.key_value(x).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, causal: bool = False) -> Tensor:
        """Queries from ``x`` ``(B, Q, width)``; ``causal`` lets query ``i`` see the keys 0..i only (needs Q = L).

        See equation ``attention`` of chapter 4 and equation ``causal-mask``.
        """
        attended = F.scaled_dot_product_attention(self._split(self.query(x)), keys, values, is_causal=causal)
        return self.project(attended.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Pre-norm layer: causal self-attention, cross-attention to the memory, feed-forward."""

    def __init__(self, width: int, heads: int, feed_forward: int):
        super().__init__()
        self.norm_self, self.norm_cross, self.norm_feed = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads)
        hidden = feed_forward * width
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """All tokens at once, ``(B, S, width)``, as in training."""
        normed = self.norm_self(x)
        x = x + self.self_attention(normed, *self.self_attention.keys_values(normed), causal=True)
        x = x + self.cross_attention(self.norm_cross(x), *self.cross_attention.keys_values(memory))
        return x + self.feed(self.norm_feed(x))

    def start(self, memory: Tensor, length: int) -> Cache:
        """An empty cache for up to ``length`` tokens that attend to ``memory``."""
        keys, values = self.cross_attention.keys_values(memory)
        empty = keys.new_empty(*keys.shape[:2], length, keys.shape[3])
        return keys, values, empty, torch.empty_like(empty)

    def extend(self, x: Tensor, cache: Cache, position: int) -> Tensor:
        """``(B, n, width)`` tokens at ``position``, ...: equal to :meth:`forward` for these tokens, at the cost of n.

        What that saves is equation ``cost-cached``. ``n`` above 1 is only valid at position 0 (the causal mask is
        square).
        """
        memory_keys, memory_values, keys, values = cache
        end = position + x.shape[1]
        normed = self.norm_self(x)
        keys[:, :, position:end], values[:, :, position:end] = self.self_attention.keys_values(normed)
        x = x + self.self_attention(normed, keys[:, :, :end], values[:, :, :end], causal=position == 0 and end > 1)
        x = x + self.cross_attention(self.norm_cross(x), memory_keys, memory_values)
        return x + self.feed(self.norm_feed(x))


@dataclasses.dataclass(frozen=True)
class Prediction(SectionTensors):
    """Output of the decoder, each ``(B, S, T, F)``.

    ``magnitude`` is compressed and normalised with the training split's statistics (mean 0, standard deviation 1 per
    bin); ``cosine`` and ``sine`` point, at any length, in the direction of the phase-advance phasor.
    """

    magnitude: Tensor
    cosine: Tensor
    sine: Tensor

    @property
    def context(self) -> Tensor:
        """What the decoder is shown of it later on: the magnitude."""
        return self.magnitude

    @property
    def advance(self) -> Tensor:
        """The phase advance as complex numbers; only their angle has a meaning."""
        return torch.complex(self.cosine, self.sine)


class Decoder(nn.Module):
    """Sections from content, style and the sections already generated (equation ``decoder-chain``).

    Args:
        sizes: of the codes and the Transformer. With ``token_injection`` the section's content and the style are added
            to its token, beside the cross-attention (equation ``token-injection``).
        frames, bins: of a section's STFT magnitude.
    """

    def __init__(self, sizes: ModelConfig, frames: int, bins: int):
        super().__init__()
        width, inject = sizes.decoder_width, sizes.token_injection
        self.frames, self.bins, self.width = frames, bins, width
        self.embed = nn.Linear(frames * bins, width)
        self.start_token = nn.Parameter(torch.randn(width) * 0.02)
        self.null_token = nn.Parameter(torch.randn(width) * 0.02)
        self.content_memory = nn.Linear(sizes.content_size, width)
        self.style_memory = nn.Linear(sizes.style_size, width)
        self.content_token = nn.Linear(sizes.content_size, width) if inject else None
        self.style_token = nn.Linear(sizes.style_size, width) if inject else None
        layers = (DecoderLayer(width, sizes.heads, sizes.feed_forward) for _ in range(sizes.decoder_layers))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, width)
        self.head = small_output(nn.Linear(width, 3 * frames * bins))

    def memory(self, content: Tensor, style: Tensor) -> Tensor:
        """``(B, S, content_size)`` and ``(B, style_size)`` to the memory ``(B, 2S, width)``.

        S copies of the style are one copy with ``log S`` added to its logits (equation ``memory-bias``).
        """
        sections = content.shape[1]
        positions = sinusoidal_positions(sections, self.width, content.device).to(content)
        repeated = self.style_memory(style)[:, None].expand(-1, sections, -1)
        return torch.cat([self.content_memory(content) + positions, repeated], dim=1)

    def _tokens(self, embedded: Tensor, content: Tensor, style: Tensor, position: int) -> Tensor:
        end = position + embedded.shape[1]
        tokens = embedded + sinusoidal_positions(end, self.width, embedded.device)[position:].to(embedded)
        if self.content_token is not None:
            tokens = tokens + self.content_token(content[:, position:end]) + self.style_token(style)[:, None]
        return tokens

    def _before_head(self, x: Tensor) -> Tensor:
        """Hidden states ``(B, n, width)`` as the head takes them."""
        return F.gelu(self.hidden(self.norm(x)))

    def _feed(self) -> Callable[[Tensor], Tensor]:
        """A function from what the head takes, ``(B, 1, width)``, to the next token, that of what the head predicts.

        Head and embedding are linear, so one matrix of ``width`` squared does the work of their two large ones.
        """
        rows = self.embed.in_features
        weight = self.embed.weight @ self.head.weight[:rows]
        bias = self.embed(self.head.bias[None, :rows])[0]
        return lambda x: F.linear(x, weight, bias)

    def _predict(self, x: Tensor) -> Prediction:
        """What the head makes of ``(B, S, width)``."""
        return Prediction(*(part.unflatten(-1, (self.frames, self.bins)) for part in self.head(x).chunk(3, dim=-1)))

    def _all_at_once(self, embedded: Tensor, content: Tensor, style: Tensor) -> Tensor:
        """What the head takes of all sections in one pass; the embedded context is ``(B, S, width)``."""
        memory = self.memory(content, style)
        start = self.start_token.to(embedded.dtype).expand(len(embedded), 1, -1)
        x = self._tokens(torch.cat([start, embedded[:, :-1]], dim=1), content, style, 0)
        for layer in self.layers:
            x = layer(x, memory)
        return self._before_head(x)

    def forward(self, context: Tensor, keep: Tensor, content: Tensor, style: Tensor) -> Prediction:
        """All sections at once, given a context for each (teacher forcing, where the context is the truth).

        Args:
            context: normalised magnitudes ``(B, S, T, F)``; section ``s`` of the output sees sections before ``s``.
            keep: bool ``(B, S)``; where false the null token stands for that section of the context.
            content: ``(B, S, content_size)``.
            style: ``(B, style_size)``.
        """
        embedded = self.embed(context.flatten(2))
        embedded = torch.where(keep[..., None], embedded, self.null_token.to(embedded.dtype))
        return self._predict(self._all_at_once(embedded, content, style))

    def generate(
        self, content: Tensor, style: Tensor, prefix: Tensor | None = None, context_weight: float = 1.0
    ) -> Prediction:
        """Free-running: each section from the sections generated before it, keys and values kept.

        What training on the truth alone does to it is equation ``exposure-recursion``.

        Args:
            content: ``(B, S, content_size)``.
            style: ``(B, style_size)``.
            prefix: context ``(B, P, T, F)`` of the first ``P < S`` sections, already generated.
            context_weight: of the prediction with the context, against the one without any, 0 to 1 (equation
                ``context-weight``), mixed where the head takes it.

        Returns:
            The sections ``P..S-1``.
        """
        clips, sections = content.shape[:2]
        memory, feed = self.memory(content, style), self._feed()
        caches = [layer.start(memory, sections) for layer in self.layers]
        embedded = self.start_token.to(memory.dtype).expand(clips, 1, -1)
        if prefix is not None:
            embedded = torch.cat([embedded, self.embed(prefix.flatten(2))], dim=1)
        alone = None
        if context_weight != 1:
            alone = self._all_at_once(self.null_token.to(memory.dtype).expand(clips, sections, -1), content, style)
        position, outputs = 0, []
        while position < sections:
            x = self._tokens(embedded, content, style, position)
            for layer, cache in zip(self.layers, caches, strict=True):
                x = layer.extend(x, cache, position)
            position += embedded.shape[1]
            output = self._before_head(x[:, -1:])
            if alone is not None:
                output = torch.lerp(alone[:, position - 1 : position], output, context_weight)
            outputs.append(output)
            embedded = feed(output)
        return self._predict(torch.cat(outputs, dim=1)).float()


def small_output(layer: nn.Module) -> nn.Module:
    """A layer whose first output is small, near the mean spectrum, whatever the input."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer
