"""Representation: audio to complex STFT and CQT, sections, phase advance, and back to audio.

Chapters: ``notebooks/03_representation.md``, whose equations the docstrings name; for the statistics
``notebooks/02_dataset.md``. Axes: ``B`` clips, ``S`` sections, ``T`` frames, ``F`` frequency bins. The STFT is
invertible (:meth:`Spectrogram.invert`); the CQT is only read.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.audio.streams import Stream, cut
from ast_lib.config import RepresentationConfig
from ast_lib.losses.reconstruction import as_complex

SECTIONS = 256  # whose features are computed at once: 12 s of sections of 4 frames
FRAMES = 1024  # whose phases are refined at once: 12 s


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
        f_min: centre of the lowest bin, Hz.
        gain: magnitude of a sinusoid of amplitude 1.

    Source: Schörkhuber and Klapuri, "Constant-Q transform toolbox for music processing" (2010), section 3.
    """

    def __init__(
        self,
        sample_rate: int = 22050,
        hop: int = 256,
        bins_per_octave: int = 24,
        octaves: int = 7,
        f_min: float = 32.703,
        gain: float = 256.0,
    ):
        super().__init__()
        if hop % 2**octaves:
            raise ValueError(f"hop: found {hop}, accepted are multiples of {2**octaves} for {octaves} octaves")
        self.hop, self.octaves, self.bins_per_octave = hop, octaves, bins_per_octave
        # The top octave is read at half the sample rate, the next at a quarter, and so on.
        rate = sample_rate / 2
        if f_min * 2**octaves > 0.4 * rate:
            raise ValueError(f"f_min: the highest bin, {f_min * 2**octaves:.0f} Hz, is above {0.4 * rate:.0f} Hz")
        quality = 1 / (2 ** (1 / bins_per_octave) - 1)
        frequency = f_min * 2 ** (octaves - 1 + torch.arange(bins_per_octave) / bins_per_octave)
        lengths = quality * rate / frequency
        self.width = 2 ** math.ceil(math.log2(lengths.max().item()))
        time = torch.arange(self.width) - self.width // 2
        position = (time / lengths[:, None]).clamp(-0.5, 0.5)
        window = 0.5 + 0.5 * torch.cos(2 * torch.pi * position)
        window = 2 * gain * window / window.sum(dim=1, keepdim=True)
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


def compress(spectrum: Tensor, power: float) -> Tensor:
    """Compressed magnitude ``|X| ** power`` (equation ``compression``) of a complex tensor of any shape; 0 stays 0."""
    parts = torch.view_as_real(spectrum)
    # The root of the sum of squares and the power in one: a third of the time of abs() ** power.
    return torch.addcmul(parts[..., 0].square(), parts[..., 1], parts[..., 1]) ** (power / 2)


def bin_rotation(n_fft: int, hop: int) -> Tensor:
    """Phase ``(F,)`` in radians by which the centre frequency of each bin turns in one hop, modulo 2π."""
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
    turned = (phasor[:, :-1] * torch.polar(torch.ones_like(rotation), rotation)).conj()
    advance = torch.cat([torch.ones_like(phasor[:, :1]), phasor[:, 1:] * turned], dim=1)
    return advance.masked_fill(advance == 0, 1)


def lock_phase(stft: Tensor) -> Tensor:
    """The same magnitudes with the phases of a partial's bins locked together (equation ``phase-lock``).

    In the Hann window's main lobe neighbouring bins point in opposite directions. Phases that were accumulated bin by
    bin drift apart; here both neighbours of a peak, the largest of five bins, take the peak's phase plus π.

    Args:
        stft: complex ``(B, T, F)``; silence stays as it is.

    Source: Laroche and Dolson, "Improved phase vocoder time-scale modification of audio" (1999), where it is called
    identity phase locking.
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


def to_sections(frames: Tensor, length: int, overlap: int = 0) -> Tensor:
    """Cut ``(B, T, ...)`` into ``(B, S, length, ...)``; the last section is filled with zeros.

    Each section shares ``overlap`` frames with the next.
    """
    step = length - overlap
    sections = max(-(-(frames.shape[1] - overlap) // step), 1)
    missing = sections * step + overlap - frames.shape[1]
    if missing:
        frames = torch.cat([frames, frames.new_zeros(frames.shape[0], missing, *frames.shape[2:])], dim=1)
    return frames.unfold(1, length, step).movedim(-1, 2) if overlap else frames.unflatten(1, (-1, length))


def join_sections(sections: Tensor, overlap: int = 0) -> Tensor:
    """The inverse of :func:`to_sections`, ``(B, S, length, ...)`` to ``(B, T, ...)``: the mean where sections overlap.

    With another ``overlap`` than the one that cut them the seams are misaligned (chapter 10, equation ``seam``).
    """
    return torch.cat(list(join_blocks([sections], overlap)), dim=1)


def join_blocks(blocks: Iterable[Tensor], overlap: int = 0) -> Iterator[Tensor]:
    """As :func:`join_sections`, of sections ``(B, n, length, ...)`` that come in blocks: frames in blocks.

    Frames that sections of the next block share are held back until it is there.
    """
    shared = None  # sum and weight of what is held back
    for sections in blocks:
        if overlap == 0:
            yield sections.flatten(1, 2)
            continue
        count, length = sections.shape[1:3]
        step = length - overlap
        total = sections.new_zeros(len(sections), count * step + overlap, *sections.shape[3:])
        weight = torch.zeros(count * step + overlap, *[1] * (total.ndim - 2), device=sections.device)
        if shared is not None:
            total[:, :overlap] += shared[0]
            weight[:overlap] += shared[1]
        for index in range(count):
            total[:, index * step : index * step + length] += sections[:, index]
            weight[index * step : index * step + length] += 1
        yield total[:, : count * step] / weight[: count * step]
        shared = total[:, count * step :], weight[count * step :]
    if shared is not None:
        yield shared[0] / shared[1]


def direction(spectrum: Tensor) -> Tensor:
    """Complex numbers of modulus 1 that point where a complex tensor of any shape does; 1 where it is 0."""
    phasor = spectrum.sgn()
    return phasor.masked_fill(phasor == 0, 1)


@dataclasses.dataclass(frozen=True)
class Features:
    """What the model reads and predicts: sections of compressed magnitudes and of phase-advance phasors.

    ``stft_magnitude`` is ``(B, S, T, 513)``, ``cqt_magnitude`` ``(B, S, T, bins)``, both compressed and non-negative;
    ``advance`` is complex ``(B, S, T, 513)`` of modulus 1. ``T`` is the frames in a section. Where encoders or decoder
    work with complex spectra, ``stft_phasor`` and ``cqt_phasor`` are the directions of the magnitudes, of modulus 1;
    what the configuration does not use is None.
    """

    stft_magnitude: Tensor
    cqt_magnitude: Tensor
    advance: Tensor | None
    stft_phasor: Tensor | None = None
    cqt_phasor: Tensor | None = None

    def spectrum(self, name: str) -> Tensor:
        """``stft`` or ``cqt``: magnitudes ``(B, S, T, F)``. ``stft_complex``, ``cqt_complex``: ``(B, S, 2, T, F)``.

        The latter are real and imaginary part of the spectrum with compressed magnitudes, the paper's two channels.
        """
        transform, _, channels = name.partition("_")
        magnitude = getattr(self, f"{transform}_magnitude")
        if not channels:
            return magnitude
        phasor = getattr(self, f"{transform}_phasor")
        return torch.stack([magnitude * phasor.real, magnitude * phasor.imag], dim=2)

    @staticmethod
    def cat(parts: list["Features"]) -> "Features":
        """The clips of several batches as one."""
        return _each_field(lambda *tensors: torch.cat(tensors), *parts)

    def take(self, clips: Tensor) -> "Features":
        """Those of the clips with these indices ``(n,)``."""
        return _each_field(lambda tensor: tensor[clips], self)

    def put(self, clips: Tensor, features: "Features") -> "Features":
        """A copy in which the clips with these indices ``(n,)`` are those of ``features``."""
        return _each_field(lambda mine, theirs: mine.index_copy(0, clips, theirs), self, features)


def _each_field(function: Callable, *features: Features) -> Features:
    """``function`` of every tensor of some features; None where they have none."""
    names = [field.name for field in dataclasses.fields(Features)]
    fields = ([getattr(each, name) for each in features] for name in names)
    return Features(*(None if tensors[0] is None else function(*tensors) for tensors in fields))


class Representation(nn.Module):
    """Audio to :class:`Features` and back, as one configuration describes it."""

    def __init__(self, config: RepresentationConfig):
        super().__init__()
        self.config = config
        self.spectrogram = Spectrogram(config.n_fft, config.hop)
        self.constant_q = ConstantQ(config.sample_rate, config.hop, config.cqt_bins_per_octave, config.cqt_octaves)
        self.register_buffer("rotation", bin_rotation(config.n_fft, config.hop), persistent=False)

    def forward(self, audio: Tensor) -> Features:
        """Audio ``(B, samples)`` to :class:`Features` of ``S = ceil(T / section_frames)`` sections.

        With an overlap ``o`` of the sections, ``S = ceil((T - o) / (section_frames - o))``.
        """
        if len(audio) > 1 and audio.device.type == "cpu":
            # One clip at a time: its spectra fit into the processor's cache, those of a batch do not.
            return Features.cat([self(clip) for clip in audio.split(1)])
        stft = self.spectrogram(audio)
        cqt = self.constant_q(audio)[:, : stft.shape[1]]
        cut = (self.config.section_frames, self.config.section_overlap)
        power, output = self.config.compression, self.config.output
        needs_phase = "complex" in (self.config.input, output)
        return Features(
            to_sections(compress(stft, power), *cut),
            to_sections(compress(cqt, power), *cut),
            to_sections(phase_advance(stft, self.rotation), *cut) if output == "magnitude_advance" else None,
            to_sections(direction(stft), *cut) if needs_phase else None,
            to_sections(direction(cqt), *cut) if needs_phase else None,
        )

    def windows(self, sound: Stream) -> Iterator[Features]:
        """As :meth:`forward`, of a stream, in blocks of up to :data:`SECTIONS` sections.

        Each is computed from as much sound around it as its transforms reach to, so that it is what the whole gives.
        """
        shape, total = self.config, self.sections(sound.samples)
        step = shape.section_frames - shape.section_overlap
        spare = -(-max(self.constant_q.reach, shape.n_fft) // (step * shape.hop))  # sections on both sides
        cores = [(start, min(start + SECTIONS, total)) for start in range(0, total, SECTIONS)]
        begins = [max(start - spare, 0) for start, _ in cores]
        ends = [((stop + spare) * step + shape.section_frames) * shape.hop for _, stop in cores]
        spans = [(b * step * shape.hop, min(e, sound.samples)) for b, e in zip(begins, ends, strict=True)]
        for (start, stop), begin, audio in zip(cores, begins, cut(sound.blocks(), spans), strict=True):
            yield _each_field(lambda t, a=start - begin, b=stop - begin: t[:, a:b], self(audio))

    def sections(self, samples: int) -> int:
        """``S`` of so much audio."""
        step = self.config.section_frames - self.config.section_overlap
        return max(-(-(1 + samples // self.config.hop - self.config.section_overlap) // step), 1)

    def to_stft(self, magnitude: Tensor, advance: Tensor) -> Tensor:
        """Complex STFT ``(B, S * T, F)`` from compressed magnitudes and phasors, both ``(B, S, T, F)``."""
        return torch.cat(list(self.stft_blocks([(magnitude, advance)])), dim=1)

    def stft_blocks(self, blocks: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        """As :meth:`to_stft`, of sections that come in blocks; phases go on from block to block."""
        magnitudes, advances = itertools.tee(blocks)
        last = None
        joined = self._join(magnitude for magnitude, _ in magnitudes), self._join(advance for _, advance in advances)
        for magnitude, advance in zip(*joined, strict=True):
            phase = accumulate_phase(advance, self.rotation, last)
            last = phase[:, -1]
            yield torch.polar(magnitude.clamp_min(0) ** (1 / self.config.compression), phase)

    def channel_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Complex STFT ``(B, frames, F)`` from real and imaginary part ``(B, S, 2, T, F)``, the compression undone.

        Both come in blocks.
        """
        for compressed in self._join(as_complex(channels) for channels in blocks):
            yield compressed * compressed.abs().clamp_min(1e-30) ** (1 / self.config.compression - 1)

    def _join(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        return join_blocks(blocks, self.config.section_overlap - self.config.join_shift)


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
