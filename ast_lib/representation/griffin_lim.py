"""Griffin-Lim: an STFT with a first guess of its phase in; audio with a more consistent phase out.

Chapter: ``notebooks/03_representation.md``. Long sound comes and goes in blocks.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ast_lib.audio.streams import cut
from ast_lib.representation.spectrogram import Spectrogram

FRAMES = 1024  # whose phases are refined at once: 12 s


def refine_phase(spectrogram: Spectrogram, stft: Tensor, samples: int, steps: int) -> Tensor:
    """Griffin-Lim from the given phase: keep the magnitude, take the phase of the nearest consistent spectrogram.

    Args:
        spectrogram: the transform pair.
        stft: complex ``(B, T, F)``: target magnitude and first guess of the phase, ``T <= 1 + samples // hop``.
        samples: length of the audio behind it.
        steps: number of iterations; 0 returns the inverse of ``stft`` itself.

    Returns:
        audio ``(B, samples)``, from windows of :data:`FRAMES` frames and as many around them as the steps reach to:
        what the whole at once gives.

    Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform" (1984); the accelerated form
    with momentum is Perraudin, Balazs and Søndergaard (2013).
    """
    return torch.cat(list(refine_blocks(spectrogram, [stft], stft.shape[1], samples, steps)), dim=1)


def refine_blocks(
    spectrogram: Spectrogram, blocks: Iterable[Tensor], frames: int, samples: int, steps: int
) -> Iterator[Tensor]:
    """As :func:`refine_phase`, of a spectrogram of ``frames`` frames that comes in blocks: audio in blocks."""
    hop = spectrogram.hop
    # A frame is consistent with those that it shares samples with, and a step spreads by as many.
    spare = (steps + 1) * (spectrogram.n_fft // hop - 1)
    cores = [(start, min(start + FRAMES, frames)) for start in range(0, frames, FRAMES)]
    spans = [(max(start - spare, 0), min(stop + spare, frames)) for start, stop in cores]
    for (start, stop), (begin, end), window in zip(cores, spans, cut(blocks, spans), strict=True):
        length = samples - begin * hop if end == frames else (end - begin - 1) * hop
        last = samples if stop == frames else stop * hop
        # One clip at a time: the working set of a clip fits into the processor's cache, that of a batch does not.
        audio = torch.cat([_refine_clip(spectrogram, clip[None], length, steps) for clip in window])
        yield audio[:, (start - begin) * hop : last - begin * hop]


def _refine_clip(spectrogram: Spectrogram, stft: Tensor, samples: int, steps: int) -> Tensor:
    magnitude = stft.abs()
    audio = spectrogram.invert(stft, samples)
    previous = None
    for _ in range(steps):
        consistent = spectrogram(audio)[:, : stft.shape[1]]
        moved = consistent if previous is None else consistent + 0.9 * (consistent - previous)
        previous = consistent
        # Division by the modulus is ten times as fast as angle and polar; the offset gives 0 the phase 0.
        direction = moved + 1e-12
        audio = spectrogram.invert(magnitude * (direction / direction.abs()), samples)
    return audio
