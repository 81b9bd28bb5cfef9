"""Harmonics plus noise: pitch and loudness of the source, resynthesised with the mean timbre of the target.

Chapter: ``notebooks/12_evaluation.md``. The classical core of DDSP, whose network is replaced by two averages. Source:
Engel, Hantrakul, Gu and Roberts, "DDSP: differentiable digital signal processing" (ICLR 2020), sections 3.2 to 3.5.
Clips are monophonic: of several notes, the tracker hears one.
"""

from typing import NamedTuple

import librosa
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import pitch_track
from ast_lib.representation.spectrogram import Spectrogram

HARMONICS = 40
SPECTROGRAM = Spectrogram()
BINS, WIDTH = SPECTROGRAM.n_fft // 2 + 1, SAMPLE_RATE / SPECTROGRAM.n_fft  # and Hz of a bin
NEAR = 3  # bins on either side of a harmonic that are not noise: Hann's main lobe has two
A_WEIGHTS = torch.from_numpy(10 ** (librosa.A_weighting(np.arange(1, BINS) * WIDTH) / 10)).float()  # of powers


class Timbre(NamedTuple):
    """``harmonics``: amplitudes ``(K,)`` that sum to 1. ``noise``: ``|X|`` between them ``(F,)``."""

    harmonics: Tensor
    noise: Tensor


def fundamental(audio: Tensor) -> tuple[Tensor, Tensor]:
    """Frequency in Hz at every sample of a clip ``(samples,)``, and which STFT frames have a pitch ``(T,)``, by pYIN.

    Between the tracker's frames, and where they are unvoiced, the logarithm goes in a straight line; it is 0 Hz where
    no frame is voiced.
    """
    times, frequency = pitch_track(audio, resolution=0.1)
    samples, voiced = np.arange(len(audio)) / SAMPLE_RATE, frequency > 0
    frames = np.arange(1 + len(audio) // SPECTROGRAM.hop) * SPECTROGRAM.hop / SAMPLE_RATE
    if not voiced.any():
        return torch.zeros(len(audio)), torch.zeros(len(frames), dtype=torch.bool)
    curve = np.exp(np.interp(samples, times[voiced], np.log(frequency[voiced])))
    return torch.from_numpy(curve), torch.from_numpy(np.interp(frames, times, voiced) > 0.99)


def measure_timbre(audio: Tensor) -> Timbre:
    """Mean :class:`Timbre` of clips ``(B, samples)``, of their frames that have a pitch.

    The amplitude of a harmonic is that of the highest of the three bins around it, and louder frames count more. Noise
    is what the bins have that are farther than :data:`NEAR` from every harmonic, relative to the sum of the harmonics:
    the median over frames, since another note still rings in some of them. A bin that never is so far takes the value
    of its neighbours.

    Raises:
        AstError: when no frame is voiced, or for NaN or infinite samples.
    """
    levels, residues = [torch.zeros(0, HARMONICS)], [torch.zeros(0, BINS)]
    for clip in audio:
        curve, voiced = fundamental(clip)
        magnitude = SPECTROGRAM(clip[None])[0].abs()[voiced]
        pitch = F.pad(curve, (0, 1))[:: SPECTROGRAM.hop][voiced, None].float() / WIDTH  # in bins
        bins = pitch * torch.arange(1, HARMONICS + 1)
        near = bins.round().long()[..., None] + torch.arange(-1, 2)
        peaks = magnitude.gather(1, near.clamp(max=BINS - 1).flatten(1)).unflatten(1, (HARMONICS, 3)).amax(dim=2)
        # A sinusoid of amplitude 1 has a peak of a quarter of the window's length.
        levels.append(peaks * (bins < BINS - 1) / (SPECTROGRAM.n_fft / 4))
        number = (torch.arange(BINS) / pitch).round().clamp(min=1)
        far = (torch.arange(BINS) - number * pitch).abs() > NEAR
        residues.append(torch.where(far, magnitude / levels[-1].sum(dim=1, keepdim=True), torch.nan))
    level = torch.cat(levels).sum(dim=0)
    if not level.any():
        raise AstError("audio: found no frame with a pitch, accepted are clips of single notes")
    noise = torch.cat(residues).nanmedian(dim=0).values.numpy()
    known = np.flatnonzero(np.isfinite(noise))
    return Timbre(level / level.sum(), torch.from_numpy(np.interp(np.arange(BINS), known, noise[known])).float())


def harmonic_plus_noise(source: Tensor, timbre: Timbre, seed: int = 0) -> Tensor:
    """The source's pitch and loudness with another timbre: ``(B, samples)`` to the same.

    Harmonics up to half the sample rate, at multiples of the fundamental, and filtered noise; then a gain that gives
    every frame the A-weighted power of the source's. A clip without pitch is noise alone.

    Raises:
        AstError: for NaN or infinite samples.
    """
    generator, made = torch.Generator().manual_seed(seed), []
    for clip in source:
        curve, _ = fundamental(clip)
        phase = 2 * torch.pi * (curve / SAMPLE_RATE).cumsum(0)
        hiss = SPECTROGRAM(torch.randn(1, len(clip), generator=generator)) / SPECTROGRAM.window.norm()
        sound = SPECTROGRAM.invert(hiss * timbre.noise, len(clip))[0]
        for number, amplitude in enumerate(timbre.harmonics, 1):
            audible = (curve > 0) & (number * curve < SAMPLE_RATE / 2)
            sound = sound + amplitude * audible * (number * phase).sin().float()
        wanted, found = (SPECTROGRAM(each[None])[0, :, 1:].abs().square() @ A_WEIGHTS for each in (clip, sound))
        times = np.arange(len(wanted)) * SPECTROGRAM.hop
        gain = np.interp(np.arange(len(clip)), times, (wanted / (found + 1e-12)).sqrt())
        made.append(sound * torch.from_numpy(gain).float())
    return torch.stack(made)
