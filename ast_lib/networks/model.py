"""The whole model: representation, statistics, two encoders and the decoder; any length of audio, window by window.

Chapters: ``notebooks/04_encoders.md``, ``notebooks/08_adversary.md`` (the noisy channel), ``notebooks/10_decoder.md``,
``notebooks/13_published_run.md``.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ast_lib.audio.streams import Stream, cut
from ast_lib.config import Config
from ast_lib.errors import AstError
from ast_lib.networks.decoder import Prediction, join, map_parts, take
from ast_lib.networks.encoders import OneHot, PictureEncoder, SectionEncoder, initialise
from ast_lib.published.decoders import build_decoder
from ast_lib.representation.features import Features, Representation, lock_phase

NOISE_BLOCK = 1024  # sections whose noise is drawn at once; of a multiple of 16 numbers, which torch draws together
LANES = 4  # stretches of long sound that are drawn side by side
SHORTEST, LONGEST = 4, 8  # windows of a stretch: shorter ones do not pay, longer ones take memory and save nothing more
SMALLEST = {"magnitude": 0.05, "complex": 1e-4}  # deviation of a bin: a bin that does not vary keeps a finite scale


def channel_noise(white: Tensor, offset: Tensor, strength: Tensor) -> Tensor:
    """Noise of content's channel, ``(..., S, D)``, of about unit deviation: its mean and its strength are of a clip.

    White noise alone hides a section, but averages out over a clip: what many sections hint at would be read from
    their mean or their deviation. So each value has in each clip an offset, and a strength between a half and
    one and a half, that stay for all its sections.

    Args:
        white: normal ``(..., S, D)``.
        offset: normal ``(..., 1, D)``.
        strength: uniform in 0 to 1, ``(..., 1, D)``.
    """
    return (0.5 + strength) * white + 0.5 * offset


def channel(code: Tensor, deviation: float, noise: torch.Generator | None = None, stays: bool = False) -> Tensor:
    """A code as it leaves a Gaussian channel (equation ``gaussian-channel``): with noise, which bounds what it can say.

    Args:
        code: of clips, ``(B, S, D)``: ``z_content``, or ``z_style`` of S windows.
        deviation: of the noise; 0 changes nothing.
        noise: a generator on the CPU that draws every clip's own; None adds the same noise to every clip and in every
            call, so that a clip is transferred the same alone, in a batch, and tomorrow. A probe wants a generator: it
            must not learn the noise by heart.
        stays: the noise has a part that stays for a clip, see :func:`channel_noise`.
    """
    if deviation == 0:
        return code
    if noise is None:
        drawn = torch.cat(list(same_noise(code.shape[1], code.shape[2], stays)), dim=1)
    else:
        drawn = torch.randn(code.shape, generator=noise)
        if stays:
            constant = len(code), 1, code.shape[2]
            drawn = channel_noise(drawn, torch.randn(constant, generator=noise), torch.rand(constant, generator=noise))
    return code + deviation * drawn.to(code)


def same_noise(sections: int, size: int, stays: bool) -> Iterator[Tensor]:
    """The noise that :func:`channel` adds to every clip of ``sections`` sections, in blocks ``(1, n, size)``.

    It is drawn in the order of time, so that clips of different lengths have the same white noise.
    """
    counts = [min(NOISE_BLOCK, sections - start) for start in range(0, sections, NOISE_BLOCK)]
    white, after = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    if stays:
        for count in counts:  # what stays is drawn after the noise of all sections
            torch.randn(1, count, size, generator=after)
        offset, strength = torch.randn(1, 1, size, generator=after), torch.rand(1, 1, size, generator=after)
    for count in counts:
        drawn = torch.randn(1, count, size, generator=white)
        yield channel_noise(drawn, offset, strength) if stays else drawn


class TransferModel(nn.Module):
    """Encoders, decoder and everything that transfer needs; nothing that only training needs.

    Buffers hold the mean and deviation per bin of the training split's compressed magnitudes, shared by the classes,
    and for the voices, in the order of ``config.voices``, ``prototypes`` ``(voices, style_size)``, the mean style of
    each over training clips, and ``latency`` ``(voices,)``, how late each speaks in seconds
    (:mod:`ast_lib.transfer.latency`). Complex spectra have a mean and deviation per channel and bin, ``(2, 1, bins)``;
    with ``representation.statistics=per_class`` there is one for each voice, along a first axis. Functions that
    normalise then want the ``voices`` ``(B,)`` of their clips; encoders that are not told take the likeliest.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        shape, sizes = config.representation, config.model
        self.inputs = tuple(name + ("" if shape.input == "magnitude" else "_complex") for name in ("stft", "cqt"))
        self.output = "stft" if shape.output == "magnitude_advance" else "stft_complex"
        self.representation = Representation(shape)
        self.content_encoder = self._encoder(sizes.content_width, sizes.content_size, cls=False)
        self.style_encoder = {
            "transformer": lambda: self._encoder(sizes.style_width, sizes.style_size, cls=True),
            "class_vectors": lambda: nn.Embedding(len(config.voices), sizes.style_size),
            "one_hot": lambda: OneHot(sizes.style_size),
        }[sizes.style_encoder]()
        self.decoder = build_decoder(config)
        initialise(self, sizes.initial_gain)
        classes = () if shape.statistics == "shared" else (len(config.voices),)
        for name in dict.fromkeys((*self.inputs, self.output)):
            bins = shape.stft_bins if name.startswith("stft") else shape.cqt_bins
            size = (*classes, *((2, 1) if name.endswith("complex") else ()), bins)
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_deviation", torch.ones(size))
        self.register_buffer("prototypes", torch.zeros(len(config.voices), sizes.style_size))
        self.register_buffer("latency", torch.zeros(len(config.voices)))

    def _encoder(self, width: int, size: int, cls: bool) -> nn.Module:
        shape, sizes = self.config.representation, self.config.model
        channels = 1 if shape.input == "magnitude" else 2
        if sizes.encoder == "resnet2d":
            depth = (sizes.encoder_layers, sizes.heads, sizes.dropout)
            return PictureEncoder(channels, sizes.cnn_channels, width, size, *depth, cls=cls)
        values = channels * shape.section_frames * (shape.stft_bins + shape.cqt_bins)
        depth = (sizes.residual_blocks, sizes.encoder_layers, sizes.heads)
        return SectionEncoder(values, width, size, *depth, cls=cls)

    def fit_statistics(self, features: Features, voices: Tensor | None = None) -> None:
        """Take mean and deviation per bin from a sample of the training split.

        Args:
            features: of the sample.
            voices: of its clips, all of them, for statistics per class.
        """
        groups = [slice(None)]
        if self.config.representation.statistics == "per_class":
            groups = [voices == voice for voice in range(len(self.config.voices))]
        for name in dict.fromkeys((*self.inputs, self.output)):
            channels = name.endswith("complex")
            spectrum, axes = features.spectrum(name), (0, 1, 3) if channels else (0, 1, 2)
            smallest = SMALLEST["complex" if channels else "magnitude"]
            mean, deviation = getattr(self, f"{name}_mean"), getattr(self, f"{name}_deviation")
            means = torch.stack([spectrum[group].mean(dim=axes) for group in groups])
            deviations = torch.stack([spectrum[group].std(dim=axes).clamp_min(smallest) for group in groups])
            mean.copy_(means.view_as(mean))
            deviation.copy_(deviations.view_as(deviation))

    def _statistics(self, name: str, voices: Tensor | None, axes: int) -> tuple[Tensor, Tensor]:
        """Mean and deviation that broadcast with a spectrum of so many ``axes``."""
        mean, deviation = getattr(self, f"{name}_mean"), getattr(self, f"{name}_deviation")
        if self.config.representation.statistics == "shared":
            return mean, deviation
        if voices is None:
            raise AstError("voices: found none, accepted with representation.statistics=per_class is one a clip")
        missing = [1] * (axes - mean.ndim)
        return tuple(value[voices].view(len(voices), *missing, *value.shape[1:]) for value in (mean, deviation))

    def normalise(self, spectrum: Tensor, name: str = "stft", voices: Tensor | None = None) -> Tensor:
        """Compressed STFT magnitudes ``(..., 513)`` to 0 mean and unit deviation per bin of the training split.

        ``name`` says of which other spectrum (:meth:`Features.spectrum`) they are.
        """
        mean, deviation = self._statistics(name, voices, spectrum.ndim)
        return (spectrum - mean) / deviation

    def denormalise(self, normalised: Tensor, name: str = "stft", voices: Tensor | None = None) -> Tensor:
        """The inverse of :meth:`normalise`."""
        mean, deviation = self._statistics(name, voices, normalised.ndim)
        return normalised * deviation + mean

    def likeliest_voices(self, features: Features) -> Tensor:
        """For each clip ``(B,)`` the voice whose statistics, as independent Gaussians, make it most likely."""
        return self._surprises(features).argmin(dim=0)

    def _surprises(self, features: Features) -> Tensor:
        """Negative logarithm of the likelihood of each voice for each clip, up to a constant: ``(voices, B)``."""
        surprises = []
        for voice in range(len(self.config.voices)):
            total = 0
            for name in self.inputs:
                spectrum = features.spectrum(name)
                voices = torch.full((len(spectrum),), voice, device=spectrum.device)
                deviation = self._statistics(name, voices, spectrum.ndim)[1]
                surprise = 0.5 * self.normalise(spectrum, name, voices).square() + deviation.log()
                total = total + surprise.flatten(1).sum(dim=1)
            surprises.append(total)
        return torch.stack(surprises)

    def _known(self, features: Features, voices: Tensor | None) -> Tensor | None:
        if self.config.representation.statistics == "per_class" and voices is None:
            return self.likeliest_voices(features)
        return voices

    def encoder_input(self, features: Features, voices: Tensor | None = None) -> Tensor:
        """Normalised STFT and CQT side by side: magnitudes ``(B, S, T, 513 + cqt_bins)``.

        Complex spectra give the frames of the real part, then those of the imaginary part: ``(B, S, 2T, ...)``.
        """
        voices = self._known(features, voices)
        both = torch.cat([self.normalise(features.spectrum(name), name, voices) for name in self.inputs], dim=-1)
        return both if both.ndim == 4 else both.flatten(2, 3)

    def input_windows(self, sound: Stream) -> Iterator[Tensor]:
        """:meth:`encoder_input` of a stream, in blocks of sections."""
        voices = None
        if self.config.representation.statistics == "per_class":
            voices = sum(self._surprises(features) for features in self.representation.windows(sound)).argmin(dim=0)
        for features in self.representation.windows(sound):
            yield self.encoder_input(features, voices)

    def target(self, features: Features, voices: Tensor | None = None) -> Tensor:
        """What the decoder is to draw, and its context: normalised magnitudes ``(B, S, T, F)``.

        For a complex output both parts, ``(B, S, 2T, F)``.
        """
        voices = self._known(features, voices)
        target = self.normalise(features.spectrum(self.output), self.output, voices)
        return target if target.ndim == 4 else target.flatten(2, 3)

    def windows(self, sections: int) -> list[tuple[int, int]]:
        """Windows ``(start, stop)`` that cover ``sections``, each sharing ``overlap`` sections with the next."""
        size, step = self.config.model.window, self.config.model.window - self.config.model.overlap
        starts = range(0, max(sections - self.config.model.overlap, 1), step)
        return [(start, min(start + size, sections)) for start in starts]

    def encode_content(
        self, features: Features, voices: Tensor | None = None, noise: torch.Generator | None = None
    ) -> Tensor:
        """``z_content`` ``(B, S, content_size)`` of audio of any length, in windows as long as training's.

        Of two overlapping windows each section comes from the one in whose middle it lies further. With
        ``model.content_noise`` the noise of the channel is in it (:func:`channel`, whose argument ``noise`` is).
        """
        inputs = self.encoder_input(features, voices)
        content = torch.cat(list(self._content_windows([inputs], inputs.shape[1])), dim=1)
        return channel(content, self.config.model.content_noise, noise, stays=True)

    def content_windows(self, inputs: Iterable[Tensor], sections: int) -> Iterator[Tensor]:
        """As :meth:`encode_content`, of :meth:`input_windows` of ``sections`` in all: the same, window by window."""
        deviation, size = self.config.model.content_noise, self.config.model.content_size
        noise = cut(same_noise(sections, size, stays=True), [kept for _, kept in self._content_spans(sections)])
        for content, drawn in zip(self._content_windows(inputs, sections), noise, strict=True):
            yield content + deviation * drawn.to(content)

    def _content_windows(self, inputs: Iterable[Tensor], sections: int) -> Iterator[Tensor]:
        spans = self._content_spans(sections)
        for (seen, kept), window in zip(spans, cut(inputs, [seen for seen, _ in spans]), strict=True):
            yield self.content_encoder(window)[:, kept[0] - seen[0] : kept[1] - seen[0]]

    def _content_spans(self, sections: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Of each window the sections that the content encoder sees, and those of them that are kept."""
        window, overlap = self.config.model.window, self.config.model.overlap
        half, spans = overlap // 2, []
        for start, stop in self.windows(sections):
            begin = max(min(start, sections - window), 0)  # the last window is a full one
            kept = start + half if start else 0, stop if stop == sections else stop - (overlap - half)
            spans.append(((begin, stop), kept))
        return spans

    def encode_style(
        self, features: Features, voices: Tensor | None = None, noise: torch.Generator | None = None
    ) -> Tensor:
        """``z_style`` ``(B, style_size)``: the mean over windows of the style encoder's output.

        With ``model.style_noise`` each window has noise of its own: the longer a clip, the surer its style.

        Raises:
            AstError: as :meth:`mean_style`.
        """
        return channel(self._styles(features, voices), self.config.model.style_noise, noise).mean(dim=1)

    def mean_style(self, features: Features, voices: Tensor | None = None) -> Tensor:
        """As :meth:`encode_style`, without noise.

        Raises:
            AstError: without ``voices``, where the model has a style for each voice but none for a clip.
        """
        return self._styles(features, voices).mean(dim=1)

    def style_of(self, sound: Stream) -> Tensor:
        """As :meth:`mean_style`, of a stream."""
        if self.config.model.style_encoder != "transformer":
            raise self._no_style()
        sections = self.representation.sections(sound.samples)
        return torch.stack(list(self._style_windows(self.input_windows(sound), sections)), dim=1).mean(dim=1)

    def _styles(self, features: Features, voices: Tensor | None) -> Tensor:
        """``z_style`` of each window ``(B, windows, style_size)``."""
        if self.config.model.style_encoder != "transformer":
            if voices is None:
                raise self._no_style()
            return self.style_encoder(voices)[:, None]
        inputs = self.encoder_input(features, voices)
        return torch.stack(list(self._style_windows([inputs], inputs.shape[1])), dim=1)

    def _style_windows(self, inputs: Iterable[Tensor], sections: int) -> Iterator[Tensor]:
        return (self.style_encoder(window) for window in cut(inputs, self.windows(sections)))

    def _no_style(self) -> AstError:
        return AstError(
            f"style of a clip: found model.style_encoder={self.config.model.style_encoder}, which knows the "
            "styles of its instruments alone; accepted is transformer"
        )

    def generate(self, content: Tensor, style: Tensor) -> Prediction:
        """Free-running decoding of any length: each window continues from the last ``overlap`` generated sections.

        Time grows linearly with the length; beside the result, memory is bounded by the window.
        """
        begin, sections, whole = 0, content.shape[1], None
        parts = self.drawn_windows([content], sections, style)
        for part, (_, stop) in zip(parts, self.windows(sections), strict=True):
            # Room for all windows at once: joined at the end, they would be there twice.
            whole = whole or map_parts(lambda tensors: tensors[0][:, :1].repeat(1, sections, 1, 1), part)
            map_parts(lambda tensors: tensors[0].copy_(tensors[1]), take(whole, begin, stop), part)
            begin = stop
        return self._of_voice(whole, style)

    def drawn_windows(self, contents: Iterable[Tensor], sections: int, style: Tensor) -> Iterator[Prediction]:
        """As :meth:`generate`, of the content of ``sections`` that comes in blocks: what each window adds.

        Long sound is drawn in :data:`LANES` stretches side by side, which takes hardly longer than one of them. A
        stretch begins with the window before it, drawn without a past and only for the past that it leaves.
        """
        spans = self.windows(sections)
        windows, left, past, before = cut(contents, spans), len(spans), None, None
        while left:
            # The first window has no past and the last one may be short: neither fits beside others.
            length = 0 if before is None else min((left - 1) // LANES, LONGEST)
            group = [next(windows) for _ in range(LANES * length if length >= SHORTEST else 1)]
            left -= len(group)
            several = len(group) > 1
            for part in self._lanes(group, before, past, style) if several else self._drawn(group, past, style):
                past = self._past(past, part, group[0].dtype)
                yield self._of_voice(part, style.to(group[0].dtype))
            before = group[-1]

    def _drawn(self, contents: Iterable[Tensor], past: Tensor | None, style: Tensor) -> Iterator[Prediction]:
        """What consecutive windows of content add, each after the past that the one before it leaves."""
        for content in contents:
            part = self.decoder.generate(content, style.to(content.dtype), past, self.config.model.context_weight)
            past = self._past(past, part, content.dtype)
            yield part

    def _lanes(
        self, contents: list[Tensor], before: Tensor, past: Tensor | None, style: Tensor
    ) -> Iterator[Prediction]:
        """As :meth:`_drawn`, in :data:`LANES` equal stretches side by side; ``before`` is the content before them."""
        lanes = torch.stack(contents).unflatten(0, (LANES, -1))  # (lanes, windows, B, S, D)
        styles, clips = style.repeat(LANES, 1), len(style)
        (start,) = self._drawn([torch.cat([before, *lanes[:-1, -1]])], None, styles)
        pasts = self._past(None, start, before.dtype)
        if past is not None:
            pasts = torch.cat([past, pasts[clips:]])
        steps = list(self._drawn(lanes.transpose(0, 1).flatten(1, 2), pasts, styles))
        for first in range(0, LANES * clips, clips):
            for step in steps:
                yield map_parts(lambda tensors, first=first: tensors[0][first : first + clips], step)

    def _past(self, past: Tensor | None, part: Prediction, dtype: torch.dtype) -> Tensor | None:
        """The context of the last ``overlap`` sections drawn, None without an overlap."""
        overlap = self.config.model.overlap
        context = part.context.to(dtype)
        return (context if past is None else torch.cat([past, context], dim=1))[:, -overlap:] if overlap else None

    def _of_voice(self, prediction: Prediction, style: Tensor) -> Prediction:
        """With the voice whose prototype is nearest to the style, where each has its own statistics."""
        if self.config.representation.statistics == "shared":
            return prediction
        voices = torch.cdist(style.float(), self.prototypes).argmin(dim=1)
        return dataclasses.replace(prediction, voices=voices)

    def teacher_forced(self, context: Tensor, content: Tensor, style: Tensor) -> Prediction:
        """As :meth:`generate`, but the context is given: :meth:`target` of the truth."""
        overlap = self.config.model.overlap
        parts = []
        for start, stop in self.windows(content.shape[1]):
            keep = torch.ones(context.shape[0], stop - start, dtype=torch.bool, device=context.device)
            part = self.decoder(context[:, start:stop], keep, content[:, start:stop], style)
            skip = overlap if start else 0
            parts.append(take(part, skip, stop - start))
        return self._of_voice(join(parts), style)

    def to_stft(self, prediction: Prediction, frames: int) -> Tensor:
        """Complex STFT ``(B, frames, F)`` of a prediction: magnitudes decompressed, advances accumulated and locked.

        A complex one is decompressed as it is.
        """
        return torch.cat(list(self.stft_windows([prediction], frames)), dim=1)

    def stft_windows(self, predictions: Iterable[Prediction], frames: int) -> Iterator[Tensor]:
        """As :meth:`to_stft`, of :meth:`drawn_windows`: ``frames`` frames in blocks."""
        if self.output == "stft_complex":
            blocks = self.representation.channel_blocks(map(self._spectrum, predictions))
        else:
            blocks = self.representation.stft_blocks((self._spectrum(each), each.advance) for each in predictions)
        for stft in blocks:
            kept = stft[:, :frames]
            frames -= kept.shape[1]
            if not kept.shape[1]:
                return  # the last section may reach beyond the end
            yield kept if self.output == "stft_complex" else lock_phase(kept)

    def _spectrum(self, prediction: Prediction) -> Tensor:
        drawn = prediction.context.float()
        if self.output == "stft_complex":
            drawn = drawn.unflatten(2, (2, -1))
        if self.config.representation.denormalise:
            drawn = self.denormalise(drawn, self.output, prediction.voices)
        return drawn
