"""The whole model: representation, statistics, two encoders and the decoder; any length of audio, window by window.

Chapters: ``notebooks/04_encoders.md``, ``notebooks/10_decoder.md``.
"""

import torch
from torch import Tensor, nn

from ast_lib.config import Config
from ast_lib.decoder import Decoder, Prediction, join
from ast_lib.encoders import SectionEncoder
from ast_lib.representation import Features, Representation


class TransferModel(nn.Module):
    """Encoders, decoder and everything that transfer needs; nothing that only training needs.

    Buffers hold the mean and deviation per bin of the training split's compressed magnitudes, shared by the classes,
    and ``prototypes`` ``(voices, style_size)``, the mean style of each voice over training clips, in the order of
    ``config.voices``.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        shape, sizes = config.representation, config.model
        inputs = shape.section_frames * (shape.stft_bins + shape.cqt_bins)
        depth = (sizes.residual_blocks, sizes.encoder_layers, sizes.heads)
        self.representation = Representation(shape)
        self.content_encoder = SectionEncoder(inputs, sizes.content_width, sizes.content_size, *depth, cls=False)
        self.style_encoder = SectionEncoder(inputs, sizes.style_width, sizes.style_size, *depth, cls=True)
        self.decoder = Decoder(
            sizes.content_size,
            sizes.style_size,
            shape.section_frames,
            shape.stft_bins,
            sizes.decoder_width,
            sizes.decoder_layers,
            sizes.heads,
            sizes.feed_forward,
            sizes.token_injection,
        )
        for name, bins in (("stft", shape.stft_bins), ("cqt", shape.cqt_bins)):
            self.register_buffer(f"{name}_mean", torch.zeros(bins))
            self.register_buffer(f"{name}_deviation", torch.ones(bins))
        self.register_buffer("prototypes", torch.zeros(len(config.voices), sizes.style_size))

    def fit_statistics(self, features: Features) -> None:
        """Take mean and deviation per bin from a sample of the training split (deviation at least 0.05)."""
        for name, magnitude in (("stft", features.stft_magnitude), ("cqt", features.cqt_magnitude)):
            getattr(self, f"{name}_mean").copy_(magnitude.mean(dim=(0, 1, 2)))
            getattr(self, f"{name}_deviation").copy_(magnitude.std(dim=(0, 1, 2)).clamp_min(0.05))

    def normalise(self, magnitude: Tensor) -> Tensor:
        """Compressed STFT magnitudes ``(..., 513)`` to 0 mean and unit deviation per bin of the training split."""
        return (magnitude - self.stft_mean) / self.stft_deviation

    def denormalise(self, normalised: Tensor) -> Tensor:
        """The inverse of :meth:`normalise`."""
        return normalised * self.stft_deviation + self.stft_mean

    def encoder_input(self, features: Features) -> Tensor:
        """Normalised STFT and CQT magnitudes side by side: ``(B, S, T, 513 + cqt_bins)``."""
        cqt = (features.cqt_magnitude - self.cqt_mean) / self.cqt_deviation
        return torch.cat([self.normalise(features.stft_magnitude), cqt], dim=-1)

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
        sections, window = inputs.shape[1], self.config.model.window
        half = self.config.model.overlap // 2
        parts = []
        for start, stop in self.windows(sections):
            begin = max(min(start, sections - window), 0)  # the last window is a full one
            content = self.content_encoder(inputs[:, begin:stop])
            keep_from = start + half if start else 0
            keep_to = stop if stop == sections else stop - (self.config.model.overlap - half)
            parts.append(content[:, keep_from - begin : keep_to - begin])
        return torch.cat(parts, dim=1)

    def encode_style(self, features: Features) -> Tensor:
        """``z_style`` ``(B, style_size)``: the mean over windows of the style encoder's output."""
        inputs = self.encoder_input(features)
        styles = [self.style_encoder(inputs[:, start:stop]) for start, stop in self.windows(inputs.shape[1])]
        return torch.stack(styles).mean(dim=0)

    def generate(self, content: Tensor, style: Tensor) -> Prediction:
        """Free-running decoding of any length: each window continues from the last ``overlap`` generated sections.

        Time grows linearly with the length; caches are bounded by the window.
        """
        overlap = self.config.model.overlap
        parts: list[Prediction] = []
        for start, stop in self.windows(content.shape[1]):
            prefix = parts[-1].magnitude[:, -overlap:].to(content.dtype) if start and overlap else None
            parts.append(self.decoder.generate(content[:, start:stop], style, prefix))
        return join(parts)

    def teacher_forced(self, context: Tensor, content: Tensor, style: Tensor) -> Prediction:
        """As :meth:`generate`, but the context is given: normalised magnitudes ``(B, S, T, F)`` of the truth."""
        overlap = self.config.model.overlap
        parts = []
        for start, stop in self.windows(content.shape[1]):
            keep = torch.ones(context.shape[0], stop - start, dtype=torch.bool, device=context.device)
            part = self.decoder(context[:, start:stop], keep, content[:, start:stop], style)
            skip = overlap if start else 0
            parts.append(Prediction(part.magnitude[:, skip:], part.cosine[:, skip:], part.sine[:, skip:]))
        return join(parts)

    def to_stft(self, prediction: Prediction, frames: int) -> Tensor:
        """Complex STFT ``(B, frames, F)`` of a prediction: magnitudes decompressed, phase advances accumulated."""
        magnitude = self.denormalise(prediction.magnitude.float())
        return self.representation.to_stft(magnitude, prediction.advance)[:, :frames]
