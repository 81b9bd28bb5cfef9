"""Representation of the published system: audio in; complex, overlapping sections out, and back.

Chapters: ``notebooks/03_representation.md``, ``notebooks/10b_decoding.md`` (seams), ``notebooks/13_published_run.md``.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ast_lib.errors import AstError
from ast_lib.losses import full_precision
from ast_lib.published.config import PublishedRepresentation
from ast_lib.representation.features import Features, Representation, compress
from ast_lib.representation.phase import accumulate_phase, direction, phase_advance


@full_precision
def as_complex(channels: Tensor) -> Tensor:
    """The paper's two channels ``(..., 2, T, F)``, real and imaginary part, to complex ``(..., T, F)``.

    Raises:
        AstError: for another number of channels.
    """
    if channels.ndim < 3 or channels.shape[-3] != 2:
        raise AstError(f"channels: found shape {tuple(channels.shape)}, accepted is (..., 2, T, F)")
    return torch.complex(channels[..., 0, :, :], channels[..., 1, :, :])


def section_count(frames: int, length: int, overlap: int = 0) -> int:
    """Sections of so many frames: the last one is filled up.

    With an overlap, a last section that would be less than half full is left out, and its frames are lost. Of 10 s, 862
    frames, the published sections of 287 with an overlap of 96 make 4 and lose 2 frames.

    Source: utilityFunctions.py:240-263 at commit 5f6d593.
    """
    step = length - overlap
    count = max(-(-(frames - overlap) // step), 1)
    short = overlap > 0 and count > 1 and 2 * (frames - (count - 1) * step) < length
    return count - short


def to_sections(frames: Tensor, length: int, overlap: int = 0) -> Tensor:
    """Cut ``(B, T, ...)`` into :func:`section_count` sections ``(B, S, length, ...)``, the last filled with zeros.

    Each section shares ``overlap`` frames with the next.
    """
    step = length - overlap
    sections = section_count(frames.shape[1], length, overlap)
    missing = (sections - 1) * step + length - frames.shape[1]
    if missing > 0:
        frames = torch.cat([frames, frames.new_zeros(frames.shape[0], missing, *frames.shape[2:])], dim=1)
    return frames.unfold(1, length, step).movedim(-1, 2) if overlap else frames.unflatten(1, (-1, length))


def join_sections(sections: Tensor, overlap: int = 0) -> Tensor:
    """The inverse of :func:`to_sections`, ``(B, S, length, ...)`` to ``(B, T, ...)``: the mean where sections overlap.

    Frames that :func:`to_sections` has left out are missing.

    With another ``overlap`` than the one that cut them the seams are misaligned (chapter 10b, equation ``seam``).
    """
    return torch.cat(list(join_blocks([sections], overlap)), dim=1)


def join_blocks(blocks: Iterable[Tensor], overlap: int = 0) -> Iterator[Tensor]:
    """As :func:`join_sections`, of sections ``(B, n, length, ...)`` that come in blocks: frames in blocks.

    Frames that sections of the next block share are held back until it is there.
    """
    shared = None  # sum and weight of what is held back
    for sections in blocks:
        if overlap == 0:
            yield sections.flatten(1, 2)
            continue
        count, length = sections.shape[1:3]
        step = length - overlap
        total = sections.new_zeros(len(sections), count * step + overlap, *sections.shape[3:])
        weight = torch.zeros(count * step + overlap, *[1] * (total.ndim - 2), device=sections.device)
        if shared is not None:
            total[:, :overlap] += shared[0]
            weight[:overlap] += shared[1]
        for index in range(count):
            total[:, index * step : index * step + length] += sections[:, index]
            weight[index * step : index * step + length] += 1
        yield total[:, : count * step] / weight[: count * step]
        shared = total[:, count * step :], weight[count * step :]
    if shared is not None:
        yield shared[0] / shared[1]


@dataclasses.dataclass(frozen=True)
class PublishedFeatures(Features):
    """Features with the directions of the complex spectra, of modulus 1, and the clips' ``voices`` ``(B,)``.

    What the configuration does not use is None, and so are voices that are not given.
    """

    advance: Tensor | None
    stft_phasor: Tensor | None = None
    cqt_phasor: Tensor | None = None
    voices: Tensor | None = None

    def spectrum(self, name: str) -> Tensor:
        """``stft`` or ``cqt``: magnitudes ``(B, S, T, F)``. ``stft_complex``, ``cqt_complex``: ``(B, S, 2, T, F)``.

        The latter are real and imaginary part of the spectrum with compressed magnitudes, the paper's two channels.
        """
        transform, _, channels = name.partition("_")
        magnitude = getattr(self, f"{transform}_magnitude")
        if not channels:
            return magnitude
        phasor = getattr(self, f"{transform}_phasor")
        return torch.stack([magnitude * phasor.real, magnitude * phasor.imag], dim=2)


class ComplexRepresentation(Representation):
    """:class:`Representation` whose sections may overlap and hold complex spectra.

    A clip has :func:`section_count` sections.
    """

    config: PublishedRepresentation

    def __init__(self, config: PublishedRepresentation):
        super().__init__(config)
        self.step = config.section_frames - config.section_overlap

    def features(self, stft: Tensor, cqt: Tensor) -> PublishedFeatures:
        length, overlap = self.config.section_frames, self.config.section_overlap
        return self._uncut(stft, cqt).map(lambda part: to_sections(part, length, overlap))

    def whole(self, audio: Tensor) -> PublishedFeatures:
        """Features of ``(B, samples)`` with a single section of all frames, of which none is lost or counted twice."""
        stft = self.spectrogram(audio)
        return self._uncut(stft, self.constant_q(audio)[:, : stft.shape[1]]).map(lambda part: part[:, None])

    def _uncut(self, stft: Tensor, cqt: Tensor) -> PublishedFeatures:
        shape = self.config
        needs_phase = "complex" in (shape.input, shape.output)
        advance = phase_advance(stft, self.rotation) if shape.output == "magnitude_advance" else None
        phasors = (direction(stft), direction(cqt)) if needs_phase else (None, None)
        return PublishedFeatures(compress(stft, shape.compression), compress(cqt, shape.compression), advance, *phasors)

    def sections(self, samples: int) -> int:
        return section_count(1 + samples // self.config.hop, self.config.section_frames, self.config.section_overlap)

    def stft_blocks(self, blocks: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        magnitudes, advances = itertools.tee(blocks)
        last = None
        joined = self._join(magnitude for magnitude, _ in magnitudes), self._join(advance for _, advance in advances)
        for magnitude, advance in zip(*joined, strict=True):
            phase = accumulate_phase(advance, self.rotation, last)
            last = phase[:, -1]
            yield torch.polar(magnitude.clamp_min(0) ** (1 / self.config.compression), phase)

    def channel_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Complex STFT ``(B, frames, F)`` from real and imaginary part ``(B, S, 2, T, F)``, the compression undone.

        Both come in blocks.
        """
        for compressed in self._join(as_complex(channels) for channels in blocks):
            yield compressed * compressed.abs().clamp_min(1e-30) ** (1 / self.config.compression - 1)

    def _join(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        return join_blocks(blocks, self.config.section_overlap)
