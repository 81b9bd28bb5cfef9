"""Features: audio in; sections of compressed magnitudes and phase advances out, and from predictions back to an STFT.

Chapters: ``notebooks/03_representation.md``, whose equations the docstrings name. Axes: ``B`` clips, ``S`` sections,
``T`` frames of a section, ``F`` frequency bins.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.audio.streams import Stream, cut
from ast_lib.config import RepresentationConfig
from ast_lib.representation.phase import accumulate_phase, bin_rotation, phase_advance
from ast_lib.representation.spectrogram import ConstantQ, Spectrogram

SECTIONS = 256  # whose features are computed at once: 12 s of sections of 4 frames


def compress(spectrum: Tensor, power: float) -> Tensor:
    """Compressed magnitude ``|X| ** power`` (equation ``compression``) of a complex tensor of any shape; 0 stays 0."""
    parts = torch.view_as_real(spectrum)
    # The root of the sum of squares and the power in one: a third of the time of abs() ** power.
    return torch.addcmul(parts[..., 0].square(), parts[..., 1], parts[..., 1]) ** (power / 2)


def to_sections(frames: Tensor, length: int) -> Tensor:
    """Cut ``(B, T, F)`` into ``(B, S, length, F)``; the last section is filled with zeros."""
    return F.pad(frames, (0, 0, 0, -frames.shape[1] % length)).unflatten(1, (-1, length))


class SectionTensors:
    """Tensors ``(B, S, T, F)`` that belong together, the fields of a dataclass; a field may be None."""

    def map(self, function: Callable[..., Tensor], *others: Self) -> Self:
        """The same kind, whose tensors are ``function`` of this one's and of those of ``others``; None stays None."""
        names = [field.name for field in dataclasses.fields(self)]
        fields = ([getattr(each, name) for each in (self, *others)] for name in names)
        return type(self)(*(None if tensors[0] is None else function(*tensors) for tensors in fields))

    @staticmethod
    def cat(parts: "list[SectionTensors]", dim: int = 0) -> "SectionTensors":
        """Several as one: their clips, or with ``dim=1`` their sections one after the other."""
        return parts[0].map(lambda *tensors: torch.cat(tensors, dim), *parts[1:])

    def sections(self, start: int, stop: int) -> Self:
        """The sections ``start`` to ``stop``, a view."""
        return self.map(lambda tensor: tensor[:, start:stop])

    def float(self) -> Self:
        """The same in float32."""
        return self.map(Tensor.float)


@dataclasses.dataclass(frozen=True)
class Features(SectionTensors):
    """What the model reads and predicts: sections of compressed magnitudes and of phase-advance phasors.

    ``stft_magnitude`` is ``(B, S, T, 513)``, ``cqt_magnitude`` ``(B, S, T, 168)``, both compressed and non-negative;
    ``advance`` is complex ``(B, S, T, 513)`` of modulus 1. ``T`` is the frames in a section.
    """

    stft_magnitude: Tensor
    cqt_magnitude: Tensor
    advance: Tensor

    def take(self, clips: Tensor) -> Self:
        """Those of the clips with these indices ``(n,)``."""
        return self.map(lambda tensor: tensor[clips])


class Representation(nn.Module):
    """Audio to :class:`Features` and back, as one configuration describes it.

    Attributes:
        step: frames from the start of a section to that of the next.
    """

    def __init__(self, config: RepresentationConfig):
        super().__init__()
        self.config, self.step = config, config.section_frames
        self.spectrogram = Spectrogram(config.n_fft, config.hop)
        self.constant_q = ConstantQ(config.sample_rate, config.hop, config.cqt_bins_per_octave, config.cqt_octaves)
        self.register_buffer("rotation", bin_rotation(config.n_fft, config.hop), persistent=False)

    def forward(self, audio: Tensor) -> Features:
        """Audio ``(B, samples)`` to :class:`Features` of ``S = ceil(T / section_frames)`` sections."""
        if len(audio) > 1 and audio.device.type == "cpu":
            # One clip at a time: its spectra fit into the processor's cache, those of a batch do not.
            return Features.cat([self(clip) for clip in audio.split(1)])
        stft = self.spectrogram(audio)
        return self.features(stft, self.constant_q(audio)[:, : stft.shape[1]])

    def features(self, stft: Tensor, cqt: Tensor) -> Features:
        """Features of complex spectra ``(B, T, F)``."""
        length, power = self.config.section_frames, self.config.compression
        return Features(
            to_sections(compress(stft, power), length),
            to_sections(compress(cqt, power), length),
            to_sections(phase_advance(stft, self.rotation), length),
        )

    def windows(self, sound: Stream) -> Iterator[Features]:
        """As :meth:`forward`, of a stream, in blocks of up to :data:`SECTIONS` sections.

        Each is computed from as much sound around it as its transforms reach to, so that it is what the whole gives.
        """
        shape, total, hop = self.config, self.sections(sound.samples), self.step * self.config.hop
        before = -(-max(self.constant_q.reach, shape.n_fft) // hop) * hop  # samples, of whole sections
        after = before + shape.section_frames * shape.hop
        cores = [(start, min(start + SECTIONS, total)) for start in range(0, total, SECTIONS)]
        spans = [(max(start * hop - before, 0), min(stop * hop + after, sound.samples)) for start, stop in cores]
        for (start, stop), (begin, _), audio in zip(cores, spans, cut(sound.blocks(), spans), strict=True):
            yield self(audio).sections(start - begin // hop, stop - begin // hop)

    def sections(self, samples: int) -> int:
        """``S`` of so much audio."""
        return -(-(1 + samples // self.config.hop) // self.step)

    def stft_blocks(self, blocks: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        """Complex STFT ``(B, n * T, F)`` from compressed magnitudes and phasors, both ``(B, n, T, F)``, in blocks.

        Phases go on from block to block.
        """
        last = None
        for magnitude, advance in blocks:
            phase = accumulate_phase(advance.flatten(1, 2), self.rotation, last)
            last = phase[:, -1]
            yield torch.polar(magnitude.flatten(1, 2).clamp_min(0) ** (1 / self.config.compression), phase)
