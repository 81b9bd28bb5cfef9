"""Augmentation: features, audio or a context in; the same with random changes that training must not depend on out.

Chapters: ``notebooks/11_training.md``, ``notebooks/10_decoder.md`` (the context). Equalisation hides part of the
timbre from the content encoder; a corrupted context keeps the decoder from copying its past, so that it also works when
the past is its own (free-running). Chance belongs to a clip's index in the global batch (``part``), so that it is the
same for any number of processes.
"""

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.config import RepresentationConfig
from ast_lib.processes import ALONE, Part
from ast_lib.representation.features import Features
from ast_lib.representation.spectrogram import F_MIN

# Domain randomisation (training.domain_randomisation)
ROOM = 0.3  # share of clips that the content encoder hears in a random room, with noise
TIMBRE = 6.0  # dB of the random smooth equalisation of target and style, one curve for all clips of a group
RIDE = 0.5  # seconds between the random gains of a fader


def equalise(
    features: Features,
    shape: RepresentationConfig,
    decibels: float,
    generator: torch.Generator,
    groups: int | None = None,
    part: Part = ALONE,
) -> Features:
    """A random smooth equalisation of each clip: ten gains from C1 to the Nyquist frequency, interpolated.

    Both magnitudes of a clip get the same curve, in the compressed domain; the phase advance stays.

    Args:
        features: of B clips.
        shape: their representation.
        decibels: standard deviation of the gains; 0 changes nothing.
        generator: on the CPU, whatever the device of the features.
        groups: when given, clips ``i`` and ``i + groups`` share a curve, half of the groups keep the curve 0, and each
            clip keeps its energy: another voice of the same instrument, not another loudness.
        part: which clips of the global batch these are.
    """
    if decibels == 0:
        return features
    clips, device = len(features.stft_magnitude), features.stft_magnitude.device
    if groups is None:
        gains = decibels * part.draw(torch.randn, clips, 1, 10, generator=generator)
    else:
        gains = decibels * torch.randn(groups, 1, 10, generator=generator)
        gains *= torch.rand(groups, 1, 1, generator=generator) < 0.5
        gains = part.own(gains[torch.arange(clips * part.count) % groups])
    position = cqt_positions(shape, device)
    curve = F.interpolate(gains.to(device), 2 + int(position[-1]), mode="linear", align_corners=True)[:, 0]
    lower, share = position.long(), position.frac()
    stft_curve = curve[:, lower] * (1 - share) + curve[:, lower + 1] * share
    cqt_curve = curve[:, : shape.cqt_bins]
    if groups is not None:
        power = (features.stft_magnitude ** (2 / shape.compression)).mean(dim=(1, 2))  # per bin
        changed = (power * 10 ** (stft_curve / 10)).sum(dim=1) / power.sum(dim=1).clamp_min(1e-20)
        level = 10 * torch.log10(changed.clamp_min(1e-20))[:, None]
        stft_curve, cqt_curve = stft_curve - level, cqt_curve - level
    factors = [10 ** (shape.compression / 20 * each) for each in (stft_curve, cqt_curve)]
    stft, cqt = (factor[:, None, None] for factor in factors)
    louder = {"stft_magnitude": features.stft_magnitude * stft, "cqt_magnitude": features.cqt_magnitude * cqt}
    return dataclasses.replace(features, **louder)


def cqt_positions(shape: RepresentationConfig, device: torch.device) -> Tensor:
    """Where the STFT's bins lie among the CQT's, whose grid goes on above its highest octave: ``(F,)``."""
    frequency = torch.arange(shape.stft_bins, device=device) * shape.sample_rate / shape.n_fft
    return torch.log2(frequency.clamp_min(F_MIN) / F_MIN) * shape.cqt_bins_per_octave


def ride_fader(
    audio: Tensor, sample_rate: int, decibels: float, generator: torch.Generator, part: Part = ALONE
) -> Tensor:
    """Clips as if a hand rode the fader: a random gain every :data:`RIDE` seconds, straight in dB between them.

    The level that is heard then does not reveal whether a note dies away or holds; the instrument does.

    Args:
        audio: ``(B, samples)``.
        sample_rate: Hz.
        decibels: standard deviation of the gains; 0 changes nothing.
        generator: on the CPU, whatever the device of the audio.
        part: which clips of the global batch these are.

    Returns:
        ``(B, samples)``, each clip at the root mean square it had.
    """
    if decibels == 0:
        return audio
    clips, samples = audio.shape
    gains = decibels * part.draw(torch.randn, clips, 1, 2 + int(samples / sample_rate / RIDE), generator=generator)
    curve = F.interpolate(gains.to(audio), samples, mode="linear", align_corners=True)[:, 0]
    changed = audio * 10 ** (curve / 20)
    power, before = (each.square().mean(dim=1, keepdim=True) for each in (changed, audio))
    return changed * (before / power.clamp_min(1e-20)).sqrt()


class ContextRates(NamedTuple):
    """How the decoder's context is corrupted in training."""

    own: float = 0.5  # share of clips whose context is the model's own prediction, not the truth
    null: float = 0.3  # share of clips whose whole context is replaced by the null token
    drop: float = 0.4  # share of context tokens replaced by it
    noise: float = 0.1  # standard deviation of noise on the true context, in normalised units


RATES = ContextRates()


def corrupt_context(
    truth: Tensor, own: Tensor, generator: torch.Generator, part: Part = ALONE, rates: ContextRates = RATES
) -> tuple[Tensor, Tensor]:
    """The decoder's context in training: part truth with noise, part its own prediction, part nothing.

    Args:
        truth, own: normalised magnitudes ``(B, S, T, F)``; ``own`` was predicted without any context.
        generator: on the CPU, whatever the device of the tensors.
        part: which clips of the global batch these are.
        rates: of each kind of corruption.

    Returns:
        context ``(B, S, T, F)`` and ``keep``, bool ``(B, S)``, false where the null token stands for it.
    """
    clips, sections = truth.shape[:2]
    uniform = part.draw(torch.rand, clips, sections + 2, generator=generator).to(truth.device)
    noise = part.noise(truth, generator)
    is_own = uniform[:, 0] < rates.own
    context = torch.where(is_own[:, None, None, None], own, truth + rates.noise * noise)
    keep = (uniform[:, 2:] >= rates.drop) & (uniform[:, 1:2] >= rates.null)
    return context, keep
