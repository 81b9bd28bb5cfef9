"""Transforms: audio in; complex STFT or constant-Q spectra out, and from an STFT back to audio.

Chapter: ``notebooks/03_representation.md``, whose equations the docstrings name. Axes: ``B`` clips, ``T`` frames, ``F``
frequency bins. The STFT is invertible (:meth:`Spectrogram.invert`); the CQT is only read.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

F_MIN = 32.703  # Hz, C1: centre of the lowest bin of the constant-Q transform
GAIN = 256.0  # magnitude of a sinusoid of amplitude 1 there


class Spectrogram(nn.Module):
    """Complex STFT (Hann, equation ``stft``) and its inverse; reflected ends, frames centred on multiples of the hop.

    Args:
        n_fft: window and transform length in samples.
        hop: samples between frames.
    """

    def __init__(self, n_fft: int = 1024, hop: int = 256):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """``(B, samples)`` to complex ``(B, T, F)`` with ``T = 1 + samples // hop`` and ``F = n_fft // 2 + 1``.

        Fewer samples than half a window are filled up with zeros, since the reflected ends need as many.
        """
        if audio.shape[-1] <= self.n_fft // 2:
            audio = F.pad(audio, (0, self.n_fft // 2 + 1 - audio.shape[-1]))
        return torch.stft(audio, self.n_fft, self.hop, window=self.window, return_complex=True).transpose(-1, -2)

    def invert(self, stft: Tensor, samples: int) -> Tensor:
        """Complex ``(B, T, F)`` to audio ``(B, samples)``: least squares, equation ``least-squares-inverse``."""
        spectrum = stft.transpose(-1, -2)
        return torch.istft(spectrum, self.n_fft, self.hop, window=self.window, length=samples)


class ConstantQ(nn.Module):
    """Complex constant-Q transform: kernels for the top octave, applied to a signal halved again and again.

    See equation ``constant-q``. The magnitude of a sinusoid is that of the STFT's peak (amplitude × n_fft / 4 for a
    Hann window of 1024).

    Args:
        sample_rate: of the audio, Hz.
        hop: samples between frames; must be divisible by ``2 ** octaves``.
        bins_per_octave, octaves: size of the grid.

    Source: Schörkhuber and Klapuri, "Constant-Q transform toolbox for music processing" (2010), section 3.
    """

    def __init__(self, sample_rate: int = 22050, hop: int = 256, bins_per_octave: int = 24, octaves: int = 7):
        super().__init__()
        if hop % 2**octaves:
            raise ValueError(f"hop: found {hop}, accepted are multiples of {2**octaves} for {octaves} octaves")
        self.hop, self.octaves = hop, octaves
        # The top octave is read at half the sample rate, the next at a quarter, and so on.
        rate = sample_rate / 2
        if F_MIN * 2**octaves > 0.4 * rate:
            raise ValueError(f"octaves: the highest bin, {F_MIN * 2**octaves:.0f} Hz, is above {0.4 * rate:.0f} Hz")
        quality = 1 / (2 ** (1 / bins_per_octave) - 1)
        frequency = F_MIN * 2 ** (octaves - 1 + torch.arange(bins_per_octave) / bins_per_octave)
        lengths = quality * rate / frequency
        self.width = 2 ** math.ceil(math.log2(lengths.max().item()))
        time = torch.arange(self.width) - self.width // 2
        position = (time / lengths[:, None]).clamp(-0.5, 0.5)
        window = 0.5 + 0.5 * torch.cos(2 * torch.pi * position)
        window = 2 * GAIN * window / window.sum(dim=1, keepdim=True)
        angle = -2 * torch.pi * frequency[:, None] * time / rate
        kernels = torch.stack([window * torch.cos(angle), window * torch.sin(angle)], dim=1)
        self.register_buffer("kernels", kernels.flatten(0, 1).T.contiguous(), persistent=False)  # (width, 2 * bins)
        # A half-band low-pass: flat to 0.19 of the old rate, 60 dB down from 0.31.
        taps = torch.arange(-16, 17)
        low_pass = torch.sinc(taps / 2) * torch.kaiser_window(33, periodic=False, beta=5.65)
        self.register_buffer("low_pass", low_pass / low_pass.sum(), persistent=False)
        # Samples on either side that a frame sees: its window at the lowest rate, and the low-passes before it.
        self.reach = self.width // 2 * 2**octaves + 16 * (2**octaves - 1)

    def forward(self, audio: Tensor) -> Tensor:
        """``(B, samples)`` to complex ``(B, T, octaves * bins_per_octave)``, lowest bin first."""
        frames = 1 + audio.shape[-1] // self.hop
        octaves, signal, hop = [], audio, self.hop
        for _ in range(self.octaves):
            # A product of frames and taps: on a processor six times as fast as the convolution that it is.
            signal, hop = F.pad(signal, (16, 16)).unfold(-1, 33, 2) @ self.low_pass, hop // 2
            # Enough zeros after the end for the last frame's window.
            missing = max((frames - 1) * hop + self.width // 2 - signal.shape[-1], 0)
            framed = F.pad(signal, (self.width // 2, missing)).unfold(-1, self.width, hop)[:, :frames]
            octaves.append(torch.view_as_complex((framed @ self.kernels).unflatten(-1, (-1, 2)).contiguous()))
        return torch.cat(octaves[::-1], dim=-1)
