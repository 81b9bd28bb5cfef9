"""Phase: a complex STFT in; unit phasors of its advance from frame to frame out, and the phases that they add up to.

Chapter: ``notebooks/03_representation.md``, whose equations the docstrings name. Axes: ``B`` clips, ``T`` frames, ``F``
frequency bins.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def direction(spectrum: Tensor) -> Tensor:
    """Complex numbers of modulus 1 that point where a complex tensor of any shape does; 1 where it is 0."""
    phasor = spectrum.sgn()
    return phasor.masked_fill(phasor == 0, 1)


def bin_rotation(n_fft: int, hop: int) -> Tensor:
    """Phase ``(F,)`` in radians by which the centre frequency of each bin advances in one hop, modulo 2π."""
    bins = torch.arange(n_fft // 2 + 1)
    return 2 * torch.pi * ((bins * hop) % n_fft) / n_fft


def phase_advance(stft: Tensor, rotation: Tensor) -> Tensor:
    """Unit phasors of the phase advance between frames, the bin-centre rotation removed (equation ``phase-advance``).

    A sinusoid at a bin's centre has the phasor 1 in every frame. Where either magnitude is 0, and in the first frame,
    the phasor is 1 too.

    Args:
        stft: complex ``(B, T, F)``.
        rotation: ``(F,)`` radians, :func:`bin_rotation`.

    Returns:
        complex ``(B, T, F)`` of modulus 1.
    """
    # Few passes over memory, which is what costs time here.
    phasor = stft.sgn()
    expected = (phasor[:, :-1] * torch.polar(torch.ones_like(rotation), rotation)).conj()
    advance = torch.cat([torch.ones_like(phasor[:, :1]), phasor[:, 1:] * expected], dim=1)
    return advance.masked_fill(advance == 0, 1)


def lock_phase(stft: Tensor) -> Tensor:
    """The same magnitudes with the phases of a partial's bins locked together (equation ``phase-lock``).

    In the Hann window's main lobe neighbouring bins point in opposite directions. Phases that were accumulated bin by
    bin drift apart; here both neighbours of a peak, the largest of five bins, take the peak's phase plus π.

    Args:
        stft: complex ``(B, T, F)``; silence stays as it is.

    Source: the relation of signs that Puckette's "Phase-locked vocoder" (1995) rests on. Identity locking (Laroche and
    Dolson, 1999) would copy phase differences of an analysed spectrum, and a predicted spectrum has none.
    """
    magnitude = stft.abs()
    peak = (magnitude == F.max_pool1d(magnitude, 5, stride=1, padding=2)) & (magnitude > 0)
    opposite = torch.where(peak, -direction(stft), 0)
    from_below, from_above = F.pad(opposite[..., :-1], (1, 0)), F.pad(opposite[..., 1:], (0, 1))
    locked = torch.where(from_below != 0, from_below, from_above)  # two peaks are at least three bins apart
    return torch.where(locked != 0, magnitude * locked, stft)


def accumulate_phase(advance: Tensor, rotation: Tensor, last: Tensor | None = None) -> Tensor:
    """Phase ``(B, T, F)`` in radians whose :func:`phase_advance` is ``advance`` (complex ``(B, T, F)``).

    It begins at 0, or continues from the phase ``last`` ``(B, F)`` of the frame before.
    """
    step = advance.angle().double() + rotation.double()
    step[:, 0] = 0 if last is None else step[:, 0] + last
    return torch.remainder(torch.cumsum(step, dim=1), 2 * torch.pi).float()
