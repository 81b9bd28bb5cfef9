"""The whole model: audio in; style and content codes, and the target's STFT, window by window, out.

Chapters: ``notebooks/04_encoders.md``, ``notebooks/10b_decoding.md``. Sound of any length comes in blocks; the result
is that of the whole at once.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ast_lib.audio.streams import Stream, cut
from ast_lib.config import Config
from ast_lib.networks.decoder import Decoder, Prediction
from ast_lib.networks.encoders import SectionEncoder
from ast_lib.representation.features import Features, Representation
from ast_lib.representation.phase import lock_phase

LANES = 4  # stretches of long sound that are generated side by side
SHORTEST, LONGEST = 4, 8  # windows of a stretch: shorter ones do not pay, longer ones take memory and save nothing more
SMALLEST = 0.05  # standard deviation of a bin: a bin that does not vary keeps a finite scale


class TransferModel(nn.Module):
    """Encoders, decoder and everything that transfer needs; nothing that only training needs.

    Buffers hold the mean and standard deviation per bin of the training split's compressed magnitudes, and for the
    voices, in the order of ``config.voices``, ``prototypes`` ``(voices, style_size)``, the mean style of each over
    training clips, and ``latency`` ``(voices,)``, how late each begins to sound, in seconds
    (:mod:`ast_lib.transfer.latency`).
    """

    configuration = Config  # what it is built from

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self._build()
        self.register_buffer("prototypes", torch.zeros(len(config.voices), config.model.style_size))
        self.register_buffer("latency", torch.zeros(len(config.voices)))

    def _build(self) -> None:
        """Make the networks, and room for the statistics."""
        shape, sizes = self.config.representation, self.config.model
        inputs = shape.section_frames * (shape.stft_bins + shape.cqt_bins)
        self.representation = Representation(shape)
        self.content_encoder = SectionEncoder(inputs, sizes.content_width, sizes.content_size, sizes)
        self.style_encoder = SectionEncoder(inputs, sizes.style_width, sizes.style_size, sizes, cls=True)
        self.decoder = Decoder(sizes, shape.section_frames, shape.stft_bins)
        for name, bins in (("stft", shape.stft_bins), ("cqt", shape.cqt_bins)):
            self.register_buffer(f"{name}_mean", torch.zeros(bins))
            self.register_buffer(f"{name}_std", torch.ones(bins))

    # --- Statistics, and what they normalise

    def fit_statistics(self, features: Features) -> None:
        """Take mean and standard deviation per bin from features of a sample of the training split."""
        for name, spectrum in (("stft", features.stft_magnitude), ("cqt", features.cqt_magnitude)):
            getattr(self, f"{name}_mean").copy_(spectrum.mean(dim=(0, 1, 2)))
            getattr(self, f"{name}_std").copy_(spectrum.std(dim=(0, 1, 2)).clamp_min(SMALLEST))

    def normalise(self, magnitude: Tensor) -> Tensor:
        """Compressed STFT magnitudes ``(..., 513)`` to mean 0 and standard deviation 1 per bin."""
        return (magnitude - self.stft_mean) / self.stft_std

    def denormalise(self, normalised: Tensor) -> Tensor:
        """The inverse of :meth:`normalise`."""
        return normalised * self.stft_std + self.stft_mean

    def encoder_input(self, features: Features) -> Tensor:
        """Normalised magnitudes of STFT and CQT side by side: ``(B, S, T, 513 + 168)``."""
        cqt = (features.cqt_magnitude - self.cqt_mean) / self.cqt_std
        return torch.cat([self.normalise(features.stft_magnitude), cqt], dim=-1)

    def target(self, features: Features) -> Tensor:
        """What the decoder predicts, and its context: normalised magnitudes ``(B, S, T, F)``."""
        return self.normalise(features.stft_magnitude)

    def magnitude(self, prediction: Prediction) -> Tensor:
        """Compressed STFT magnitudes ``(B, S, T, F)`` that a prediction stands for, in float32."""
        return self.denormalise(prediction.magnitude.float())

    def input_windows(self, sound: Stream) -> Iterator[Tensor]:
        """:meth:`encoder_input` of a stream, in blocks of sections."""
        return map(self.encoder_input, self.representation.windows(sound))

    # --- Codes

    def windows(self, sections: int) -> list[tuple[int, int]]:
        """Windows ``(start, stop)`` that cover ``sections``, each sharing ``overlap`` sections with the next."""
        size, step = self.config.model.window, self.config.model.window - self.config.model.overlap
        starts = range(0, max(sections - self.config.model.overlap, 1), step)
        return [(start, min(start + size, sections)) for start in starts]

    def encode_content(self, features: Features) -> Tensor:
        """``z_content`` ``(B, S, content_size)`` of audio of any length, in windows as long as training's.

        Of two overlapping windows each section comes from the one in whose middle it lies further.
        """
        inputs = self.encoder_input(features)
        return torch.cat(list(self.content_windows([inputs], inputs.shape[1])), dim=1)

    def content_windows(self, inputs: Iterable[Tensor], sections: int) -> Iterator[Tensor]:
        """As :meth:`encode_content`, of :meth:`input_windows` of ``sections`` in all: the same, window by window."""
        window, overlap, spans = self.config.model.window, self.config.model.overlap, self.windows(sections)
        seen = [(max(min(start, sections - window), 0), stop) for start, stop in spans]  # the last one is full too
        for (start, stop), (begin, _), inside in zip(spans, seen, cut(inputs, seen), strict=True):
            first = start + overlap // 2 if start else 0
            last = stop if stop == sections else stop - (overlap - overlap // 2)
            yield self.content_encoder(inside)[:, first - begin : last - begin]

    def encode_style(self, features: Features) -> Tensor:
        """``z_style`` ``(B, style_size)``: the mean over windows of the style encoder's output."""
        inputs = self.encoder_input(features)
        return self._style([inputs], inputs.shape[1])

    def style_of(self, sound: Stream) -> Tensor:
        """As :meth:`encode_style`, of a stream."""
        return self._style(self.input_windows(sound), self.representation.sections(sound.samples))

    def _style(self, inputs: Iterable[Tensor], sections: int) -> Tensor:
        windows = [self.style_encoder(window) for window in cut(inputs, self.windows(sections))]
        return torch.stack(windows, dim=1).mean(dim=1)

    # --- Predictions

    def generate(self, content: Tensor, style: Tensor) -> Prediction:
        """Free-running decoding of any length: each window continues from the last ``overlap`` generated sections.

        Time grows linearly with the length.
        """
        return Prediction.cat(list(self.generated_windows([content], content.shape[1], style)), dim=1)

    def generated_windows(self, contents: Iterable[Tensor], sections: int, style: Tensor) -> Iterator[Prediction]:
        """As :meth:`generate`, of the content of ``sections`` that comes in blocks: what each window adds.

        Long sound is generated in :data:`LANES` stretches side by side, which takes hardly longer than one of them. A
        stretch begins with the window before it, generated without a past and only for the past that it leaves.
        """
        spans = self.windows(sections)
        windows, left, past, before = cut(contents, spans), len(spans), None, None
        while left:
            # The first window has no past and the last one may be short: neither fits beside others.
            length = 0 if before is None else min((left - 1) // LANES, LONGEST)
            group = [next(windows) for _ in range(LANES * length if length >= SHORTEST else 1)]
            left -= len(group)
            several = len(group) > 1
            for part in self._lanes(group, before, past, style) if several else self._continued(group, past, style):
                past = self._past(past, part, group[0].dtype)
                yield part
            before = group[-1]

    def _continued(self, contents: Iterable[Tensor], past: Tensor | None, style: Tensor) -> Iterator[Prediction]:
        """What consecutive windows of content add, each after the past that the one before it leaves."""
        for content in contents:
            part = self.decoder.generate(content, style.to(content.dtype), past, self.config.model.context_weight)
            past = self._past(past, part, content.dtype)
            yield part

    def _lanes(
        self, contents: list[Tensor], before: Tensor, past: Tensor | None, style: Tensor
    ) -> Iterator[Prediction]:
        """As :meth:`_continued`, in :data:`LANES` equal stretches at once; ``before`` is the content before them."""
        lanes = torch.stack(contents).unflatten(0, (LANES, -1))  # (lanes, windows, B, S, D)
        styles, clips = style.repeat(LANES, 1), len(style)
        (start,) = self._continued([torch.cat([before, *lanes[:-1, -1]])], None, styles)
        pasts = self._past(None, start, before.dtype)
        if past is not None:
            pasts = torch.cat([past, pasts[clips:]])
        steps = list(self._continued(lanes.transpose(0, 1).flatten(1, 2), pasts, styles))
        for first in range(0, LANES * clips, clips):
            for step in steps:
                yield step.map(lambda tensor, first=first: tensor[first : first + clips])

    def _past(self, past: Tensor | None, part: Prediction, dtype: torch.dtype) -> Tensor | None:
        """The context of the last ``overlap`` sections generated, None without an overlap."""
        overlap = self.config.model.overlap
        context = part.context.to(dtype)
        return (context if past is None else torch.cat([past, context], dim=1))[:, -overlap:] if overlap else None

    def teacher_forced(self, context: Tensor, content: Tensor, style: Tensor) -> Prediction:
        """As :meth:`generate`, but the context is given: :meth:`target` of the truth."""
        parts = []
        for start, stop in self.windows(content.shape[1]):
            keep = torch.ones(context.shape[0], stop - start, dtype=torch.bool, device=context.device)
            part = self.decoder(context[:, start:stop], keep, content[:, start:stop], style)
            parts.append(part.sections(self.config.model.overlap if start else 0, stop - start).float())
        return Prediction.cat(parts, dim=1)

    # --- The way back

    def to_stft(self, prediction: Prediction, frames: int) -> Tensor:
        """Complex STFT ``(B, frames, F)`` of a prediction: magnitudes decompressed, advances accumulated and locked."""
        return torch.cat(list(self.stft_windows([prediction], frames)), dim=1)

    def stft_windows(self, predictions: Iterable[Prediction], frames: int) -> Iterator[Tensor]:
        """As :meth:`to_stft`, of :meth:`generated_windows`: ``frames`` frames in blocks."""
        for stft in self._stft_blocks(predictions):
            yield stft[:, :frames]  # the last section may reach beyond the end
            frames = max(frames - stft.shape[1], 0)

    def _stft_blocks(self, predictions: Iterable[Prediction]) -> Iterator[Tensor]:
        blocks = ((self.magnitude(each), each.advance) for each in predictions)
        return map(lock_phase, self.representation.stft_blocks(blocks))
