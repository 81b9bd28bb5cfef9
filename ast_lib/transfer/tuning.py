"""Tuning: a source in any tuning in; the same source at A = 440 Hz out, and the way back for its transfer.

Chapter: ``notebooks/16_your_own.md``. The model predicts notes in tune, whatever the tuning of its source: every target
of its training is at 440 Hz. The tuning of the source is therefore estimated, removed by resampling before the transfer
and given back by the inverse resampling after it. Both are changes of length: a source that is 50 cents flat becomes
2.8 % shorter and so higher, and its transfer as much longer and lower.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ast_lib.audio.mono import resampled
from ast_lib.audio.streams import BLOCK, Stream, cut

WINDOW, HOP = 4096, 1024  # samples of the spectra in which peaks are found: 5 Hz a bin
LOWEST, HIGHEST = 80.0, 1500.0  # Hz, of peaks: above, a piano's stretched partials are sharp of their notes
FAINT = 0.1  # of a frame's largest magnitude, below which a peak does not count
PITCHED = 0.3  # concentration: music has 0.5 and more, noise less than 0.1
IN_TUNE = 5.0  # cents, within which a source stays as it is; rendered clips of 8 s in tune are estimated within 4


def peaks(audio: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Frequencies in Hz and magnitudes of the spectral peaks in audio ``(1, n)``, two tensors ``(peaks,)``.

    A peak is larger than its neighbours; its frequency is that of a parabola through the logarithms of the three.

    Source: Smith and Serra, "PARSHL: an analysis/synthesis program for non-harmonic sounds" (1987).
    """
    window, first = torch.hann_window(WINDOW), int(LOWEST * WINDOW / sample_rate)
    spectra = torch.stft(audio[0], WINDOW, HOP, window=window, pad_mode="constant", return_complex=True).abs()
    left, middle, right = spectra[first : int(HIGHEST * WINDOW / sample_rate)].unfold(0, 3, 1).unbind(-1)
    found = (middle > left) & (middle >= right) & (middle > FAINT * middle.amax(dim=0))
    a, b, c = (magnitude[found].clamp_min(1e-9).log() for magnitude in (left, middle, right))
    place = first + 1 + found.nonzero()[:, 0] + (a - c) / (2 * (a - 2 * b + c)).clamp_max(-1e-6)
    return place * sample_rate / WINDOW, middle[found]


def deviation(sound: Stream, sample_rate: int) -> float:
    """How far a source is from the semitones of A = 440 Hz, in cents from -50 to 50; equation ``own-deviation``.

    It is the circular mean of the spectral peaks' distances to their semitones, weighted by magnitude. A source that is
    50 cents flat may be taken for 50 cents sharp, which is harmless: it is moved to the next semitone, and its transfer
    is moved back by as much. One number holds for the whole source, so a drift within it is not followed.

    Args:
        sound: one clip in blocks ``(1, n)``; memory does not grow with its length.
        sample_rate: Hz.

    Returns:
        cents, below 0 for a flat source; 0 where peaks lie anywhere (concentration below :data:`PITCHED`), as in noise,
        or where there are none, as in silence.
    """
    total, weight = 0j, 0.0
    for block in cut(sound.blocks(), [(i, min(i + BLOCK, sound.samples)) for i in range(0, sound.samples, BLOCK)]):
        frequency, magnitude = peaks(block, sample_rate)
        total += torch.polar(magnitude, 24 * math.pi * torch.log2(frequency / 440)).sum().item()
        weight += magnitude.sum().item()
    return 50 / math.pi * math.atan2(total.imag, total.real) if abs(total) > PITCHED * weight else 0.0


def stretched(sound: Stream, samples: int) -> Stream:
    """A source in blocks ``(1, n)`` resampled to exactly ``samples`` in all: shorter is higher, longer is lower."""
    if samples == sound.samples:
        return sound

    def blocks() -> Iterator[Tensor]:
        pieces = (block[0].numpy() for block in sound.blocks())
        return (torch.from_numpy(piece)[None] for piece in resampled(pieces, sound.samples, samples))

    return Stream(blocks, samples)


def in_tune(sound: Stream, sample_rate: int) -> Stream:
    """A source in blocks ``(1, n)`` at A = 440 Hz; itself where its deviation is within :data:`IN_TUNE`.

    :func:`stretched` to the source's own number of samples is the way back.
    """
    cents = deviation(sound, sample_rate)
    return stretched(sound, max(round(sound.samples * 2 ** (cents / 1200)), 1)) if abs(cents) > IN_TUNE else sound
