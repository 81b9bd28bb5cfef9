"""A baseline that learns nothing but two average spectra: how far does an equaliser get?

Chapter: ``notebooks/12_evaluation.md``.
"""

import torch
from torch import Tensor

from ast_lib.representation.spectrogram import Spectrogram


def average_power(spectrogram: Spectrogram, audio: Tensor) -> Tensor:
    """Long-term average spectrum of clips ``(B, samples)``: mean of ``|X|²`` over clips and frames, ``(F,)``."""
    return spectrogram(audio).abs().square().mean(dim=(0, 1))


def envelope_transfer(spectrogram: Spectrogram, source: Tensor, source_power: Tensor, target_power: Tensor) -> Tensor:
    """Each bin of the source scaled by the ratio of the average spectra, equation ``envelope-transfer``.

    Args:
        source: ``(B, samples)``, any number of clips; their phase is kept.
        source_power, target_power: :func:`average_power` ``(F,)`` of training clips of the two instruments, which
            need not be of the same pieces; a bin without power in the source's average is left as it is.

    Returns:
        ``(B, samples)``.
    """
    gain = torch.where(source_power > 0, (target_power / source_power).sqrt(), 1.0)
    return spectrogram.invert(spectrogram(source) * gain, source.shape[-1])
