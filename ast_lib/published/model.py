"""The published model: as :class:`ast_lib.networks.model.TransferModel`, with complex spectra and a class's statistics.

Chapter: ``notebooks/13_published_run.md``. Features carry the ``voices`` of their clips
(:class:`ast_lib.published.representation.PublishedFeatures`); where they are None, the likeliest are taken.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ast_lib.audio.streams import Stream
from ast_lib.errors import AstError
from ast_lib.networks import checkpoint
from ast_lib.networks.encoders import SectionEncoder
from ast_lib.networks.model import SMALLEST, TransferModel
from ast_lib.published.config import PublishedConfig, extend
from ast_lib.published.decoders import build_decoder
from ast_lib.published.encoders import OneHot, PictureEncoder, initialise
from ast_lib.published.representation import ComplexRepresentation, PublishedFeatures
from ast_lib.representation.features import SectionTensors
from ast_lib.representation.phase import lock_phase

SMALLEST_COMPLEX = 1e-4  # standard deviation of a bin of a complex spectrum
EPSILON = 1e-8  # added to the standard deviations of each class (dataloader.py:9-13 at commit 5f6d593)


class PublishedModel(TransferModel):
    """:class:`TransferModel` of a :class:`PublishedConfig`.

    Complex spectra have a mean and standard deviation per channel and bin, ``(2, 1, bins)``; with
    ``representation.statistics=per_class`` there is one for each voice, along a first axis.
    """

    configuration = PublishedConfig

    def _build(self) -> None:
        shape, sizes = self.config.representation, self.config.model
        self.inputs = tuple(name + ("" if shape.input == "magnitude" else "_complex") for name in ("stft", "cqt"))
        self.output = "stft" if shape.output == "magnitude_advance" else "stft_complex"
        self.representation = ComplexRepresentation(shape)
        self.content_encoder = self._encoder(sizes.content_width, sizes.content_size, cls=False)
        self.style_encoder = {
            "transformer": lambda: self._encoder(sizes.style_width, sizes.style_size, cls=True),
            "class_vectors": lambda: nn.Embedding(len(self.config.voices), sizes.style_size),
            "one_hot": lambda: OneHot(sizes.style_size),
        }[sizes.style_encoder]()
        self.decoder = build_decoder(self.config)
        initialise(self, sizes.initial_gain)
        if sizes.initial_gain:
            nn.init.normal_(self.decoder.start_token)  # SimpleDecoder_TransformerOnly.py:38 at commit 5f6d593
        classes = () if shape.statistics == "shared" else (len(self.config.voices),)
        for name in dict.fromkeys((*self.inputs, self.output)):
            bins = shape.stft_bins if name.startswith("stft") else shape.cqt_bins
            size = (*classes, *((2, 1) if name.endswith("complex") else ()), bins)
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def _encoder(self, width: int, size: int, cls: bool) -> nn.Module:
        shape, sizes = self.config.representation, self.config.model
        channels = 1 if shape.input == "magnitude" else 2
        if sizes.encoder == "resnet2d":
            return PictureEncoder(channels, width, size, sizes, cls)
        return SectionEncoder(
            channels * shape.section_frames * (shape.stft_bins + shape.cqt_bins), width, size, sizes, cls
        )

    # --- Statistics

    def fit_statistics(self, features: PublishedFeatures) -> None:
        """As of :class:`TransferModel`; statistics of each class want ``voices``, and features that are not cut.

        Those of a class are the mean of its clips' means, and the root of the mean of the clips' own unbiased
        variances: differences between clips do not count.

        Source, of those of a class: Preprocessing_Dataset/compute_separated_stats.py:16-43 at commit 5f6d593.
        """
        for name in dict.fromkeys((*self.inputs, self.output)):
            mean, std = getattr(self, f"{name}_mean"), getattr(self, f"{name}_std")
            channels = name.endswith("complex")
            spectrum, axes = features.spectrum(name), (1, 3) if channels else (1, 2)
            if self.config.representation.statistics == "shared":
                smallest = SMALLEST_COMPLEX if channels else SMALLEST
                mean.copy_(spectrum.mean(dim=(0, *axes)).view_as(mean))
                std.copy_(spectrum.std(dim=(0, *axes)).clamp_min(smallest).view_as(std))
                continue
            means, variances = spectrum.mean(dim=axes), spectrum.var(dim=axes)
            for voice in range(len(self.config.voices)):
                own = features.voices == voice
                mean[voice] = means[own].mean(dim=0).view_as(mean[voice])
                std[voice] = variances[own].mean(dim=0).sqrt().view_as(std[voice]) + EPSILON

    def _statistics(self, name: str, voices: Tensor | None, axes: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation that broadcast with a spectrum of so many ``axes``."""
        mean, std = getattr(self, f"{name}_mean"), getattr(self, f"{name}_std")
        if self.config.representation.statistics == "shared":
            return mean, std
        if voices is None:
            raise AstError("voices: found none, accepted with representation.statistics=per_class is one a clip")
        missing = [1] * (axes - mean.ndim)
        return tuple(value[voices].view(len(voices), *missing, *value.shape[1:]) for value in (mean, std))

    def normalise(self, spectrum: Tensor, name: str = "stft", voices: Tensor | None = None) -> Tensor:
        """A spectrum to mean 0 and standard deviation 1; ``name`` is that of :meth:`PublishedFeatures.spectrum`."""
        mean, std = self._statistics(name, voices, spectrum.ndim)
        return (spectrum - mean) / std

    def denormalise(self, normalised: Tensor, name: str = "stft", voices: Tensor | None = None) -> Tensor:
        """The inverse of :meth:`normalise`."""
        mean, std = self._statistics(name, voices, normalised.ndim)
        return normalised * std + mean

    def likeliest_voices(self, features: PublishedFeatures) -> Tensor:
        """For each clip ``(B,)`` the voice whose statistics, as independent Gaussians, make it most likely."""
        return self._surprises(features).argmin(dim=0)

    def _surprises(self, features: PublishedFeatures) -> Tensor:
        """Negative logarithm of the likelihood of each voice for each clip, up to a constant: ``(voices, B)``."""
        surprises = []
        for voice in range(len(self.config.voices)):
            total = 0
            for name in self.inputs:
                spectrum = features.spectrum(name)
                voices = torch.full((len(spectrum),), voice, device=spectrum.device)
                std = self._statistics(name, voices, spectrum.ndim)[1]
                surprise = 0.5 * self.normalise(spectrum, name, voices).square() + std.log()
                total = total + surprise.flatten(1).sum(dim=1)
            surprises.append(total)
        return torch.stack(surprises)

    def _known(self, features: PublishedFeatures) -> Tensor | None:
        if self.config.representation.statistics == "per_class" and features.voices is None:
            return self.likeliest_voices(features)
        return features.voices

    def encoder_input(self, features: PublishedFeatures) -> Tensor:
        """As of :class:`TransferModel`; complex spectra give both parts' frames, ``(B, S, 2T, ...)``."""
        voices = self._known(features)
        both = torch.cat([self.normalise(features.spectrum(name), name, voices) for name in self.inputs], dim=-1)
        return both if both.ndim == 4 else both.flatten(2, 3)

    def input_windows(self, sound: Stream) -> Iterator[Tensor]:
        """As of :class:`TransferModel`; the voice is that of the whole stream."""
        voices = None
        if self.config.representation.statistics == "per_class":
            voices = sum(self._surprises(features) for features in self.representation.windows(sound)).argmin(dim=0)
        for features in self.representation.windows(sound):
            yield self.encoder_input(dataclasses.replace(features, voices=voices))

    def target(self, features: PublishedFeatures) -> Tensor:
        """As of :class:`TransferModel`; for a complex output both parts, ``(B, S, 2T, F)``."""
        target = self.normalise(features.spectrum(self.output), self.output, self._known(features))
        return target if target.ndim == 4 else target.flatten(2, 3)

    def magnitude(self, prediction: SectionTensors) -> Tensor:
        """As of :class:`TransferModel`; only for an output of magnitudes."""
        return self.denormalise(prediction.magnitude.float(), "stft", prediction.voices)

    # --- Styles that belong to a voice

    def encode_style(self, features: PublishedFeatures) -> Tensor:
        """As of :class:`TransferModel`.

        Raises:
            AstError: for features without ``voices``, where the model has a style for each voice but none for a clip.
        """
        if self.config.model.style_encoder == "transformer":
            return super().encode_style(features)
        if features.voices is None:
            raise self._no_style()
        return self.style_encoder(features.voices)

    def style_of(self, sound: Stream) -> Tensor:
        """As of :class:`TransferModel`, where the model has a style for a clip."""
        if self.config.model.style_encoder != "transformer":
            raise self._no_style()
        return super().style_of(sound)

    def _no_style(self) -> AstError:
        return AstError(
            f"style of a clip: found model.style_encoder={self.config.model.style_encoder}, which has "
            "styles of its instruments alone; accepted is transformer"
        )

    # --- Predictions

    def generate(self, content: Tensor, style: Tensor) -> SectionTensors:
        return self._of_voice(super().generate(content, style), style)

    def generated_windows(self, contents: Iterable[Tensor], sections: int, style: Tensor) -> Iterator[SectionTensors]:
        for part in super().generated_windows(contents, sections, style):
            yield self._of_voice(part, style)

    def teacher_forced(self, context: Tensor, content: Tensor, style: Tensor) -> SectionTensors:
        return self._of_voice(super().teacher_forced(context, content, style), style)

    def _of_voice(self, prediction: SectionTensors, style: Tensor) -> SectionTensors:
        """With the voice whose prototype is nearest to the style, where each has its own statistics."""
        if self.config.representation.statistics == "shared":
            return prediction
        voices = torch.cdist(style.float(), self.prototypes).argmin(dim=1)
        return dataclasses.replace(prediction, voices=voices)

    def stft_windows(self, predictions: Iterable[SectionTensors], frames: int) -> Iterator[Tensor]:
        """As of :class:`TransferModel`; silence for frames at the end that are in no section."""
        for stft in super().stft_windows(predictions, frames):
            yield stft
            frames -= stft.shape[1]
        if frames > 0:
            yield stft.new_zeros(len(stft), frames, stft.shape[2])

    def _stft_blocks(self, predictions: Iterable[SectionTensors]) -> Iterator[Tensor]:
        if self.output == "stft_complex":
            return self.representation.channel_blocks(map(self._spectrum, predictions))
        if self.config.representation.denormalise:
            return super()._stft_blocks(predictions)
        blocks = ((each.magnitude.float(), each.advance) for each in predictions)
        return map(lock_phase, self.representation.stft_blocks(blocks))

    def _spectrum(self, prediction: SectionTensors) -> Tensor:
        """Real and imaginary part ``(B, S, 2, T, F)`` that a prediction stands for."""
        predicted = prediction.context.float().unflatten(2, (2, -1))
        if self.config.representation.denormalise:
            predicted = self.denormalise(predicted, self.output, prediction.voices)
        return predicted


load_weights = functools.partial(checkpoint.load_weights, kind=PublishedModel)


def extended(model: TransferModel) -> PublishedModel:
    """The same weights in a model that has every published choice, such as ``decoder.feedback``."""
    published = PublishedModel(extend(model.config))
    published.load_state_dict(model.state_dict())
    return published.train(model.training)
