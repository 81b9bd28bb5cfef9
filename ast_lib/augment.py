"""Random changes to what the content encoder hears and to what the decoder is shown.

Chapter: ``notebooks/11_training.md``. Equalisation hides part of the timbre from the content encoder; a corrupted
context keeps the decoder from copying its past, so that it also works when the past is its own (free-running).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.config import RepresentationConfig, TrainingConfig
from ast_lib.representation import Features

LOWEST = 32.703  # Hz, the first bin of the CQT


def equalise(features: Features, shape: RepresentationConfig, decibels: float, generator: torch.Generator) -> Features:
    """A random smooth equalisation of each clip: nine gains from C1 to the top, ``decibels`` deviation, interpolated.

    Both magnitudes of a clip get the same curve, in the compressed domain; the phase advance stays.
    """
    if decibels == 0:
        return features
    clips, device = len(features.stft_magnitude), features.stft_magnitude.device
    gains = decibels * torch.randn(clips, 1, 9, generator=generator).to(device)
    cqt_curve = F.interpolate(gains, shape.cqt_bins, mode="linear", align_corners=True)[:, 0]
    frequency = torch.arange(shape.stft_bins, device=device) * shape.sample_rate / shape.n_fft
    position = torch.log2(frequency.clamp_min(LOWEST) / LOWEST) * shape.cqt_bins_per_octave
    position = position.clamp(0, shape.cqt_bins - 1.001)
    lower, share = position.long(), position.frac()
    stft_curve = cqt_curve[:, lower] * (1 - share) + cqt_curve[:, lower + 1] * share
    factor = shape.compression / 20
    return Features(
        features.stft_magnitude * (10 ** (factor * stft_curve))[:, None, None],
        features.cqt_magnitude * (10 ** (factor * cqt_curve))[:, None, None],
        features.advance,
    )


def corrupt_context(
    truth: Tensor, own: Tensor, training: TrainingConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The decoder's context in training: part truth with noise, part its own prediction, part nothing.

    Args:
        truth, own: normalised magnitudes ``(B, S, T, F)``; ``own`` was predicted without any context.
        training: ``context_own``, ``context_noise``, ``context_drop``, ``context_null``.
        generator: on the CPU, whatever the device of the tensors.

    Returns:
        context ``(B, S, T, F)`` and ``keep``, bool ``(B, S)``, false where the null token takes its place.
    """
    clips, sections = truth.shape[:2]
    uniform = torch.rand(clips, sections + 2, generator=generator).to(truth.device)
    noise = torch.randn(truth.shape, generator=generator).to(truth.device)
    is_own = uniform[:, 0] < training.context_own
    context = torch.where(is_own[:, None, None, None], own, truth + training.context_noise * noise)
    keep = (uniform[:, 2:] >= training.context_drop) & (uniform[:, 1:2] >= training.context_null)
    return context, keep
