"""Controls: sounds that are no transfer. A metric on which one of them does well can be fooled by it.

Chapter: ``notebooks/12_evaluation.md``. Audio is ``(B, samples)``, STFTs are ``(B, T, F)`` as of
:class:`ast_lib.representation.spectrogram.Spectrogram`.
"""

import torch
from torch import Tensor

from ast_lib.errors import AstError
from ast_lib.representation.griffin_lim import refine_phase
from ast_lib.representation.spectrogram import Spectrogram


def constant_spectrum(spectrogram: Spectrogram, power: Tensor, source: Tensor, seed: int = 0) -> Tensor:
    """The average spectrum of the target instrument, held for the whole clip: no note, no rhythm, no change at all.

    It is a sum of sinusoids in the centres of every second bin, neighbours 90° apart in phase. With a Hann window
    whose hop is a quarter of it, the two neighbours that meet in a bin between them stay 90° apart, so that the
    magnitude of every frame is the same: the spectral flux is exactly 0, but for the reflected ends. Between equal
    powers, bins are 1.5 dB above and below the average in turn.

    Args:
        spectrogram: its ``hop`` must be ``n_fft / 4``.
        power: mean of ``|X|²`` of training clips of the target, ``(F,)``
            (:func:`ast_lib.evaluation.baselines.average_power`).
        source: ``(B, samples)``, of which only length and root mean square are used.
        seed: of the signs of the 90°.

    Returns:
        ``(B, samples)``, each clip with the root mean square of its source.

    Raises:
        AstError: for another hop, or a power of another shape, negative, not finite or 0 everywhere.
    """
    n_fft, bins = spectrogram.n_fft, spectrogram.n_fft // 2 + 1
    if 4 * spectrogram.hop != n_fft:
        raise AstError(f"hop: found {spectrogram.hop}, accepted is {n_fft // 4}, a quarter of the window")
    if power.shape != (bins,) or not torch.isfinite(power).all() or power.min() < 0 or not power.any():
        raise AstError(f"power: found shape {tuple(power.shape)}, accepted are {bins} finite values, one above 0")
    signs = torch.randint(2, (n_fft // 4 - 1,), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    period = torch.zeros(bins, dtype=torch.complex64)
    amplitude = power[2:-1:2].sqrt()  # without the constant and the highest bin, which have no phase
    period[2:-1:2] = torch.polar(amplitude, torch.pi / 2 * signs.cumsum(0))
    sound = torch.fft.irfft(period, n_fft).repeat(1 + source.shape[-1] // n_fft)[: source.shape[-1]]
    level = source.square().mean(dim=-1, keepdim=True).sqrt()
    return level * sound / sound.square().mean().sqrt()


def another_piece(truth: Tensor) -> Tensor:
    """The true target of the next clip, the first for the last: the right instrument and the wrong notes.

    Args:
        truth: ``(B, samples)``; neighbours must be of different pieces.

    Raises:
        AstError: for fewer than 2 clips, since the only one would be its own truth.
    """
    if len(truth) < 2:
        raise AstError(f"truth: found {len(truth)} clips, accepted are 2 or more")
    return truth.roll(-1, dims=0)


def magnitude_only(spectrogram: Spectrogram, stft: Tensor, samples: int, steps: int = 32, seed: int = 0) -> Tensor:
    """Audio ``(B, samples)`` from magnitudes alone: Griffin-Lim from random phase, whatever phase was predicted.

    Args:
        stft: complex, or magnitudes, ``(B, T, F)``.
        steps, samples: as for :func:`ast_lib.representation.griffin_lim.refine_phase`.
        seed: of the phase.
    """
    phase = 2 * torch.pi * torch.rand(stft.shape, generator=torch.Generator().manual_seed(seed))
    return refine_phase(spectrogram, torch.polar(stft.abs(), phase), samples, steps)
