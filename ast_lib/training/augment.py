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

LOWEST = 32.703  # Hz, the first bin of the CQT
# Domain randomisation (training.domain_randomisation): what the content encoder hears of a clip ...
ROOM = 0.3  # share of clips in a random room, with noise
TIMBRE = 6.0  # dB, and random smooth equalisation of target and style, one curve for all clips of a group


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
    return amplify(features, *(factor[:, None, None] for factor in factors))


def change_gain(
    features: Features, shape: RepresentationConfig, decibels: float, generator: torch.Generator, part: Part = ALONE
) -> Features:
    """A random slow change of each clip's loudness: gains every half second (standard deviation ``decibels``), joined.

    A piano's notes decay and a violin's need not: a content encoder that hears its loudness drift at random cannot
    pass on how a note's energy develops, so that the decoder takes that from the style.
    """
    if decibels == 0:
        return features
    clips, sections, frames = features.stft_magnitude.shape[:3]
    knots = 2 + round(sections * frames * shape.hop / shape.sample_rate / 0.5)
    gains = decibels * part.draw(torch.randn, clips, 1, knots, generator=generator)
    gains = gains.to(features.stft_magnitude.device)
    curve = F.interpolate(gains, sections * frames, mode="linear", align_corners=True)
    factor = (10 ** (shape.compression / 20 * curve)).view(clips, sections, frames, 1)
    return amplify(features, factor, factor)


def change_decay(
    features: Features, shape: RepresentationConfig, decibels: float, generator: torch.Generator, part: Part = ALONE
) -> Features:
    """Notes that decay faster or slower: since its last onset a clip falls or rises at a random rate in dB per second.

    A held violin note becomes one that dies away like a piano's, and a piano's one that holds, with its end where it
    was. Low notes change least, high ones most, since the high partials of strings decay first.

    Args:
        features: of B clips.
        shape: their representation.
        decibels: largest rate, in dB per second four octaves above :data:`LOWEST`; the change ends at ±30 dB. 0 changes
            nothing.
        generator: on the CPU, whatever the device of the features.
        part: which clips of the global batch these are.
    """
    if decibels == 0:
        return features
    clips, sections, frames = features.stft_magnitude.shape[:3]
    device, position = features.stft_magnitude.device, cqt_positions(shape, features.stft_magnitude.device)
    uniform = part.draw(torch.rand, clips, 2, generator=generator).to(device)
    rate, tilt = decibels * (2 * uniform[:, :1] - 1), uniform[:, 1:]
    seconds = since_onset(features.cqt_magnitude.flatten(1, 2)) * shape.hop / shape.sample_rate
    octave = torch.arange(2 + int(position[-1]), device=device) / shape.cqt_bins_per_octave
    slope = 1 + tilt * (octave / 4 - 1)  # (B, positions)
    level = ((rate * seconds)[..., None] * slope[:, None]).clamp(-30, 30)
    factor = (10 ** (shape.compression / 20 * level)).unflatten(1, (sections, frames))
    return amplify(features, factor[..., position.round().long()], factor[..., : shape.cqt_bins])


def amplify(features: Features, stft: Tensor, cqt: Tensor) -> Features:
    """Both magnitudes multiplied by factors that broadcast to them; the phase advance stays."""
    louder = {"stft_magnitude": features.stft_magnitude * stft, "cqt_magnitude": features.cqt_magnitude * cqt}
    return dataclasses.replace(features, **louder)


def since_onset(magnitude: Tensor) -> Tensor:
    """Frames since the last onset ``(B, N)``, from the start before the first: of CQT magnitudes ``(B, N, F)``.

    An onset is where the rise over two frames, summed over bins, is the largest of eleven frames and twice the clip's
    mean. A bin rises only above its neighbours' past as well, which leaves vibrato out. On validation clips of all
    trained voices, onsets within 80 ms of the score's: F1 0.98 for piano, 0.85 for violin.

    Source: Böck and Widmer, "Maximum filter vibrato suppression for onset detection" (2013).
    """
    smooth = F.avg_pool1d(magnitude.mT, 3, stride=1, padding=1, count_include_pad=False)
    past = F.max_pool2d(smooth[:, None], (3, 1), stride=1, padding=(1, 0))[:, 0]
    rise = F.pad((smooth[..., 2:] - past[..., :-2]).clamp_min(0).mean(dim=1), (1, 1))
    peak = F.max_pool1d(rise[:, None], 11, stride=1, padding=5)[:, 0]
    onset = (rise == peak) & (rise > 2 * rise.mean(dim=1, keepdim=True))
    frame = torch.arange(magnitude.shape[1], device=magnitude.device)
    return frame - torch.where(onset, frame, 0).cummax(dim=1).values


def cqt_positions(shape: RepresentationConfig, device: torch.device) -> Tensor:
    """Where the STFT's bins lie among the CQT's, whose grid goes on above its highest octave: ``(F,)``."""
    frequency = torch.arange(shape.stft_bins, device=device) * shape.sample_rate / shape.n_fft
    return torch.log2(frequency.clamp_min(LOWEST) / LOWEST) * shape.cqt_bins_per_octave


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
