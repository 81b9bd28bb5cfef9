"""Autoregressive Transformer decoder over sections of the target, with cached keys and values.

Chapters: ``notebooks/10_decoder.md``, whose equations are cited by their labels, and ``notebooks/13_published_run.md``
(hidden states fed back). The token of section ``s`` carries
section ``s - 1`` of what has been generated; the memory is ``[B, 2S, d]``: the content of the S sections, then the
style repeated S times. The appendix's other decoders are in :mod:`ast_lib.published.decoders`.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.networks.encoders import sinusoidal_positions


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


@dataclasses.dataclass
class LayerCache:
    """Keys and values of one layer: of the memory, and of the tokens decoded so far (``(B, heads, length, d)``)."""

    memory_keys: Tensor
    memory_values: Tensor
    keys: Tensor
    values: Tensor


class DecoderLayer(nn.Module):
    """Pre-norm layer: causal self-attention, cross-attention to the memory, feed-forward."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm_self, self.norm_cross, self.norm_feed = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads)
        self.feed = nn.Sequential(
            nn.Linear(width, feed_forward * width), nn.GELU(), nn.Linear(feed_forward * width, width)
        )

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """All tokens at once, ``(B, S, width)``, as in training."""
        normed = self.norm_self(x)
        x = x + self.dropout(self.self_attention(normed, *self.self_attention.keys_values(normed), causal=True))
        x = x + self.dropout(self.cross_attention(self.norm_cross(x), *self.cross_attention.keys_values(memory)))
        return x + self.dropout(self.feed(self.norm_feed(x)))

    def start(self, memory: Tensor, length: int) -> LayerCache:
        """An empty cache for up to ``length`` tokens that attend to ``memory``."""
        keys, values = self.cross_attention.keys_values(memory)
        room = keys.new_empty(*keys.shape[:2], length, keys.shape[3])
        return LayerCache(keys, values, room, torch.empty_like(room))

    def extend(self, x: Tensor, cache: LayerCache, position: int) -> Tensor:
        """``(B, n, width)`` tokens at ``position``, ...: equal to :meth:`forward` for these tokens, at the cost of n.

        What that saves is equation ``cost-cached``. ``n`` above 1 is only valid at position 0 (the causal mask is
        square).
        """
        end = position + x.shape[1]
        normed = self.norm_self(x)
        cache.keys[:, :, position:end], cache.values[:, :, position:end] = self.self_attention.keys_values(normed)
        x = x + self.self_attention(
            normed, cache.keys[:, :, :end], cache.values[:, :, :end], causal=position == 0 and end > 1
        )
        x = x + self.cross_attention(self.norm_cross(x), cache.memory_keys, cache.memory_values)
        return x + self.feed(self.norm_feed(x))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Output of the decoder, each ``(B, S, T, F)``.

    ``magnitude`` is compressed and normalised with the training split's statistics (0 mean, unit deviation per bin);
    ``cosine`` and ``sine`` point, at any length, in the direction of the phase-advance phasor. ``voices`` ``(B,)``
    says whose statistics normalise it, where each voice has its own.
    """

    magnitude: Tensor
    cosine: Tensor
    sine: Tensor
    voices: Tensor | None = None

    @property
    def context(self) -> Tensor:
        """What the decoder is shown of it later on: the magnitude."""
        return self.magnitude

    def float(self) -> "Prediction":
        """The same in float32."""
        return join([self])

    @property
    def advance(self) -> Tensor:
        """The phase advance as complex numbers; only their angle has a meaning."""
        return torch.complex(self.cosine, self.sine)


@dataclasses.dataclass(frozen=True)
class ComplexPrediction:
    """Output of the decoder for ``representation.output=complex``: both ``(B, S, T, F)`` and normalised.

    ``voices`` as in :class:`Prediction`.
    """

    real: Tensor
    imaginary: Tensor
    voices: Tensor | None = None

    @property
    def context(self) -> Tensor:
        """What the decoder is shown of it later on: the frames of both parts, ``(B, S, 2T, F)``."""
        return torch.cat([self.real, self.imaginary], dim=2)

    def float(self) -> "ComplexPrediction":
        """The same in float32."""
        return join([self])


PREDICTIONS = {"magnitude_advance": Prediction, "complex": ComplexPrediction}


def map_parts(function: Callable, *predictions: Prediction) -> Prediction:
    """A prediction whose tensors are ``function`` of the lists of those of ``predictions``."""
    names = [field.name for field in dataclasses.fields(predictions[0]) if field.name != "voices"]
    return type(predictions[0])(*(function([getattr(each, name) for each in predictions]) for name in names))


def take(prediction: Prediction, start: int, stop: int) -> Prediction:
    """Its sections ``start`` to ``stop``, a view."""
    return map_parts(lambda tensors: tensors[0][:, start:stop], prediction)


def join(parts: list[Prediction]) -> Prediction:
    """Predictions one after the other in time, as float32."""
    return map_parts(lambda tensors: torch.cat(tensors, dim=1).float(), *parts)


class Decoder(nn.Module):
    """Sections from content, style and the sections already generated (equation ``decoder-chain``).

    Args:
        content_size, style_size: of ``z_content`` per section and of ``z_style``.
        frames, bins: of a section's STFT magnitude.
        width, layers, heads, feed_forward: of the Transformer; the last in widths.
        token_injection: add the section's content and the style to its token, beside the cross-attention (equation
            ``token-injection``).
        output: ``magnitude_advance`` or ``complex``.
        memory: ``2S`` or ``S+1``.
        feedback: what free-running feeds back, ``section`` or, as published, ``hidden`` (the hidden state, which
            then misses the ``input_norm`` too).
        input_norm: normalise tokens.
        head_layers: 2, or 1 as published.
        dropout: after every sublayer, and in the memory.
        layer: what the layers are; as :class:`DecoderLayer`.
    """

    units = 1  # tokens of a section

    def __init__(
        self,
        content_size: int,
        style_size: int,
        frames: int,
        bins: int,
        width: int,
        layers: int,
        heads: int,
        feed_forward: int,
        token_injection: bool,
        output: str = "magnitude_advance",
        memory: str = "2S",
        feedback: str = "section",
        input_norm: bool = False,
        head_layers: int = 2,
        dropout: float = 0.0,
        layer: type[nn.Module] = DecoderLayer,
    ):
        super().__init__()
        self.frames, self.bins, self.width = frames, bins, width
        self.prediction, self.memory_kind, self.feedback = PREDICTIONS[output], memory, feedback
        self.parts = 2 if output == "complex" else 3  # tensors of a prediction, of which the context are
        self.context_parts = 2 if output == "complex" else 1
        self.embed = self._embedding()
        self.start_token = nn.Parameter(torch.randn(width) * 0.02)
        self.null_token = nn.Parameter(torch.randn(width) * 0.02)
        self.content_memory = nn.Linear(content_size, width)
        self.style_memory = nn.Linear(style_size, width)
        self.content_token = nn.Linear(content_size, width) if token_injection else None
        self.style_token = nn.Linear(style_size, width) if token_injection else None
        self.input_norm = nn.LayerNorm(width) if input_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(layer(width, heads, feed_forward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, width) if head_layers == 2 else None
        self.head = self._head()

    def _embedding(self) -> nn.Module:
        """Layer from a section's context, ``(..., context_parts * T * F)``, to its token."""
        return nn.Linear(self.context_parts * self.frames * self.bins, self.width)

    def _head(self) -> nn.Module:
        """Layer from a token to a section's tensors, ``(..., parts * T * F)``."""
        return small_output(nn.Linear(self.width, self.parts * self.frames * self.bins))

    def memory(self, content: Tensor, style: Tensor) -> Tensor:
        """``(B, S, content_size)`` and ``(B, style_size)`` to the memory ``(B, 2S, width)``, or ``(B, S + 1, width)``.

        S copies of the style are one copy with ``log S`` added to its logits (equation ``memory-bias``).
        """
        sections = content.shape[1]
        positions = sinusoidal_positions(sections, self.width, content.device).to(content)
        copies = sections if self.memory_kind == "2S" else 1
        repeated = self.style_memory(style)[:, None].expand(-1, copies, -1)
        return self.dropout(torch.cat([self.content_memory(content) + positions, repeated], dim=1))

    def _tokens(self, embedded: Tensor, content: Tensor, style: Tensor, position: int, norm: bool = True) -> Tensor:
        end = position + embedded.shape[1]
        tokens = embedded + sinusoidal_positions(end, self.width, embedded.device)[position:].to(embedded)
        if self.content_token is not None:
            tokens = tokens + self.content_token(content[:, position:end]) + self.style_token(style)[:, None]
        return self.input_norm(tokens) if norm else tokens

    def _embed(self, context: Tensor) -> Tensor:
        """Context ``(B, S, T, F)`` to tokens ``(B, S * units, width)``."""
        return self.embed(context.flatten(2))

    def _before_head(self, x: Tensor) -> Tensor:
        """Hidden states ``(B, n, width)`` as the head takes them."""
        x = self.norm(x)
        return x if self.hidden is None else F.gelu(self.hidden(x))

    def _feed(self) -> Callable[[Tensor, int], Tensor]:
        """A function from what the head takes at a position, ``(B, 1, width)``, to the next token, of what it draws.

        Head and embedding are linear, so one matrix of ``width`` squared does the work of their two large ones.
        """
        if not (isinstance(self.head, nn.Linear) and isinstance(self.embed, nn.Linear)):
            return lambda x, position: self._embed(self._predict(self.head(x)).context)
        rows = self.embed.in_features
        weight = self.embed.weight @ self.head.weight[:rows]
        bias = self.embed(self.head.bias[None, :rows])[0]
        return lambda x, position: F.linear(x, weight, bias)

    def _predict(self, raw: Tensor) -> Prediction:
        """Values of ``S * units`` tokens to a prediction of S sections."""
        parts = raw.chunk(self.parts, dim=-1)
        return self.prediction(*(part.unflatten(-1, (self.frames, self.bins)) for part in parts))

    def _output(self, x: Tensor) -> Prediction:
        return self._predict(self.head(self._before_head(x)))

    def _all_at_once(self, embedded: Tensor, memory: Tensor, content: Tensor, style: Tensor) -> Tensor:
        """Hidden states of all tokens in one pass; these and the embedded context are ``(B, S * units, width)``."""
        start = self.start_token.to(embedded.dtype).expand(len(embedded), 1, -1)
        x = self._tokens(torch.cat([start, embedded[:, :-1]], dim=1), content, style, 0)
        for layer in self.layers:
            x = layer(x, memory)
        return x

    def forward(self, context: Tensor, keep: Tensor, content: Tensor, style: Tensor) -> Prediction:
        """All sections at once, given a context for each (teacher forcing, where the context is the truth).

        Args:
            context: normalised magnitudes ``(B, S, T, F)``, or for a complex output both parts ``(B, S, 2T, F)``;
                section ``s`` of the output sees sections before ``s``.
            keep: bool ``(B, S)``; where false the null token stands for that section of the context.
            content: ``(B, S, content_size)``.
            style: ``(B, style_size)``.
        """
        memory = self.memory(content, style)
        embedded = self._embed(context)
        keep = keep.repeat_interleave(self.units, dim=1)[..., None]
        embedded = torch.where(keep, embedded, self.null_token.to(embedded.dtype))
        return self._output(self._all_at_once(embedded, memory, content, style))

    def generate(
        self, content: Tensor, style: Tensor, prefix: Tensor | None = None, context_weight: float = 1.0
    ) -> Prediction:
        """Free-running: each section from the sections generated before it, keys and values kept.

        What training on the truth alone does to it is equation ``exposure-recursion``.

        Args:
            content: ``(B, S, content_size)``.
            style: ``(B, style_size)``.
            prefix: context ``(B, P, T, F)`` of the first ``P < S`` sections, already generated.
            context_weight: of what is drawn with the context, against what is drawn without any, 0 to 1 (equation
                ``context-weight``), mixed where the head takes it. Below 1 sections must be fed back.

        Returns:
            The sections ``P..S-1``.
        """
        tokens = content.shape[1] * self.units
        memory = self.memory(content, style)
        caches = [layer.start(memory, tokens) for layer in self.layers]
        embedded = self.start_token.to(memory.dtype).expand(len(content), 1, -1)
        if prefix is not None:
            embedded = torch.cat([embedded, self._embed(prefix)], dim=1)
        alone = None
        if context_weight != 1:
            null = self.null_token.to(memory.dtype).expand(len(content), tokens, -1)
            alone = self._before_head(self._all_at_once(null, memory, content, style))
        position, drawn = 0, []
        feed = self._feed() if self.feedback == "section" else None  # the hidden state itself
        while position < tokens:
            x = self._tokens(embedded, content, style, position, norm=self.feedback == "section")
            for layer, cache in zip(self.layers, caches, strict=True):
                x = layer.extend(x, cache, position)
            x = x[:, -1:]
            position += embedded.shape[1]
            drawn.append(self._before_head(x))
            if alone is not None:
                drawn[-1] = torch.lerp(alone[:, position - 1 : position], drawn[-1], context_weight)
            embedded = feed(drawn[-1], position - 1) if feed else x
        return self._predict(self.head(torch.cat(drawn, dim=1))).float()


def small_output(layer: nn.Module) -> nn.Module:
    """A layer whose first output is small, near the mean spectrum, whatever the input."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer
