"""Graphs: a model in; the five parts that a page runs out, each a module of tensors only.

Page: ``book/play.md``. Axes: ``B`` clips or windows, ``S`` sections, ``T`` frames of a section, ``F`` bins, ``W`` width
of the decoder, ``L`` its layers, ``H`` heads, ``D`` width of a head. All shapes but the model's own are free.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.networks.decoder import Decoder
from ast_lib.networks.encoders import sinusoidal_positions
from ast_lib.networks.model import TransferModel
from ast_lib.representation.features import to_sections


class Inputs(nn.Module):
    """Audio ``(B, n)`` and the power ``(B, T, F)`` of its STFT to what the encoders read, ``(B, S, T, F + Q)``.

    The constant-Q transform is that of :class:`~ast_lib.representation.spectrogram.ConstantQ`, as convolutions.
    """

    def __init__(self, model: TransferModel):
        super().__init__()
        transform, shape = model.representation.constant_q, model.config.representation
        self.hop, self.octaves, self.width = transform.hop, transform.octaves, transform.width
        self.length, self.exponent = shape.section_frames, shape.compression / 2
        self.register_buffer("low_pass", transform.low_pass[None, None])
        self.register_buffer("kernels", transform.kernels.T[:, None])
        self.register_buffer("mean", torch.cat([model.stft_mean, model.cqt_mean]))
        self.register_buffer("scale", torch.cat([model.stft_std, model.cqt_std]))

    def forward(self, audio: Tensor, power: Tensor) -> Tensor:
        frames = power.shape[1]
        octaves, signal, hop = [], audio[:, None], self.hop
        for _ in range(self.octaves):
            signal, hop = F.conv1d(signal, self.low_pass, stride=2, padding=16), hop // 2
            # Half a window on both sides, and a hop more for the rounding of each halving.
            padded = F.pad(signal, (self.width // 2, self.width // 2 + hop))
            parts = F.conv1d(padded, self.kernels, stride=hop)[:, :, :frames].mT.unflatten(-1, (-1, 2))
            octaves.append(parts.square().sum(dim=-1))
        powers = torch.cat([power, *octaves[::-1]], dim=-1)
        sections = to_sections(powers**self.exponent, self.length)
        return (sections - self.mean) / self.scale


class Memory(nn.Module):
    """Content ``(B, S, C)`` and style ``(B, Z)`` to keys and values of the memory ``(2L, B, H, 2S, D)``."""

    def __init__(self, decoder: Decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        memory = self.decoder.memory(content, style)
        pairs = (layer.cross_attention.keys_values(memory) for layer in self.decoder.layers)
        return torch.stack([tensor for pair in pairs for tensor in pair])


class Step(nn.Module):
    """``n`` tokens after ``P`` earlier ones, as :meth:`~ast_lib.networks.decoder.Decoder.generate` computes them.

    Both passes of the context weight are this graph. The prediction without context is that of S null tokens at once
    with ``weight`` 1; the one with context then takes it as ``alone``.

    Args of the forward pass:
        tokens: ``(B, n, W)``, embedded sections.
        content: ``(B, n, C)``, that of these sections.
        style: ``(B, Z)``.
        memory: of :class:`Memory`.
        cache: ``(2L, B, H, P, D)``, keys and values so far; ``P`` may be 0.
        alone: ``(B, n, W)``, what the head would take without context.
        weight: ``(1,)``, the context weight.

    Returns:
        what the head takes, ``(B, n, W)``; the tokens of the sections after these, ``(B, n, W)``; the longer cache.
    """

    def __init__(self, decoder: Decoder):
        super().__init__()
        self.decoder = decoder
        feed = decoder._feed()
        zero = feed(torch.zeros(1, decoder.width))
        self.register_buffer("feed", feed(torch.eye(decoder.width)) - zero)
        self.register_buffer("bias", zero[0])

    def forward(
        self,
        tokens: Tensor,
        content: Tensor,
        style: Tensor,
        memory: Tensor,
        cache: Tensor,
        alone: Tensor,
        weight: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        decoder, past = self.decoder, cache.shape[3]
        end = past + tokens.shape[1]
        x = tokens + sinusoidal_positions(end, decoder.width)[past:]
        if decoder.content_token is not None:
            x = x + decoder.content_token(content) + decoder.style_token(style)[:, None]
        place = torch.arange(end)
        hidden = 1e9 * (place[None] > place[past:, None]).to(x)
        longer = []
        for index, layer in enumerate(decoder.layers):
            normed, attention = layer.norm_self(x), layer.self_attention
            pair = attention.keys_values(normed)
            keys, values = (torch.cat([cache[2 * index + i], pair[i]], dim=2) for i in (0, 1))
            longer += [keys, values]
            attended = F.scaled_dot_product_attention(attention._split(attention.query(normed)), keys, values, -hidden)
            x = x + attention.project(attended.transpose(1, 2).flatten(2))
            x = x + layer.cross_attention(layer.norm_cross(x), memory[2 * index], memory[2 * index + 1])
            x = x + layer.feed(layer.norm_feed(x))
        output = decoder._before_head(x)
        mixed = alone + weight * (output - alone)
        return mixed, mixed @ self.feed + self.bias, torch.stack(longer)


class Head(nn.Module):
    """What the head takes, ``(B, S, W)``, to magnitudes of an STFT and its phase advances, each ``(B, S * T, F)``.

    Returns:
        magnitude: decompressed, 0 or more.
        cosine, sine: of the advance, at any length.
    """

    def __init__(self, model: TransferModel):
        super().__init__()
        self.decoder, self.power = model.decoder, 1 / model.config.representation.compression
        self.register_buffer("mean", model.stft_mean)
        self.register_buffer("scale", model.stft_std)

    def forward(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        predicted = self.decoder._predict(mixed)
        magnitude = (predicted.magnitude * self.scale + self.mean).clamp_min(0) ** self.power
        return magnitude.flatten(1, 2), predicted.cosine.flatten(1, 2), predicted.sine.flatten(1, 2)
