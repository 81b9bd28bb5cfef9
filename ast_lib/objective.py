"""What a training step minimises: the losses of encoders and decoder, their sum, and the discriminator's loss.

Chapter: ``notebooks/11_training.md``. The losses themselves are in :mod:`ast_lib.losses`; their weights over time
are the curriculum's (:mod:`ast_lib.curriculum`).
"""

import dataclasses

import torch
from torch import Tensor, nn

from ast_lib.augment import change_gain, corrupt_context, equalise
from ast_lib.clips import RMS
from ast_lib.config import Config
from ast_lib.curriculum import loss_weights, phase_at
from ast_lib.decoder import ComplexPrediction, Prediction
from ast_lib.losses import reconstruction
from ast_lib.losses.adversarial import discriminator_cross_entropy, negative_cross_entropy, negative_entropy
from ast_lib.losses.contrastive import supervised_info_nce
from ast_lib.losses.hsic import hsic_biased, hsic_published, hsic_unbiased
from ast_lib.losses.margin import class_prototypes, prototype_margin, prototype_margin_squared
from ast_lib.losses.phase import phase_advance_loss, wrapped_phase
from ast_lib.losses.reconstruction import log_spectral, magnitude_l1
from ast_lib.model import TransferModel
from ast_lib.representation import Features

# Losses of each output that the weight of the curriculum's ``reconstruction`` multiplies; each has its own constant.
RECONSTRUCTION = {
    "magnitude_advance": ("magnitude", "log_spectral", "phase", "content_energy"),
    "complex": ("mse", "magnitude", "phase", "temporal", "spectral", "content_energy"),
}
MARGIN = {"hinge": prototype_margin, "squared": prototype_margin_squared}
HSIC = {"biased": hsic_biased, "unbiased": hsic_unbiased, "published": hsic_published}
AGAINST = {  # what the encoders minimise against the discriminator, from its logits on content and the clips' labels
    "entropy": lambda logits, labels: negative_entropy(logits),
    "cross_entropy": negative_cross_entropy,
}
DIFFERENCES = {  # along time, along frequency
    "frames_bins": (reconstruction.temporal_difference, reconstruction.spectral_difference),
    "published": (reconstruction.temporal_difference_published, reconstruction.spectral_difference_published),
}


@dataclasses.dataclass(frozen=True)
class Batch:
    """One training batch on the training device.

    Attributes:
        features: of B clips, the target and what the style encoder hears.
        labels: their voices ``(B,)``.
        slots: ``(B,)``, numbered from 0; the clips of a slot share voice and timbre, their mean style is the decoder's.
        heard: what the content encoder hears of them: perhaps on another soundfont, out of tune, in a room.
        heard_labels: the voices ``(B,)`` of ``heard``.
        frames: of the clips' STFT; the last section may be filled up beyond them.
    """

    features: Features
    labels: Tensor
    slots: Tensor
    heard: Features
    heard_labels: Tensor
    frames: int


def generator_losses(
    config: Config, model: TransferModel, discriminator: nn.Module, batch: Batch, step: int, random: torch.Generator
) -> tuple[dict[str, Tensor], Batch, Tensor]:
    """Unweighted losses of the encoders and the decoder, and ``z_content`` for the discriminator's own step.

    Args:
        config: of the run.
        model, discriminator: the networks; the discriminator's weights get gradients that its own step clears.
        batch: the clips.
        step: of the run, for the curriculum.
        random: source of chance of this step.

    Returns:
        the losses by name, scalars: those of :data:`RECONSTRUCTION`, ``contrastive``, ``margin``, ``hsic``,
        ``adversarial``; the batch as it was heard; and ``z_content`` ``(B, S, content_size)``, detached.
    """
    training, constants, shape = config.training, config.loss, config.representation
    share = config.phases[phase_at(config.phases, step, training.steps)].back_translation
    if share:
        batch = back_translate(config, model, batch, share, random)
    heard = equalise(batch.heard, shape, training.equalisation, random)
    heard = change_gain(heard, shape, training.gain, random)
    target = model.target(batch.features, batch.labels)
    content = model.content_encoder(model.encoder_input(heard, batch.heard_labels))
    energy = content.float().square().mean()
    if training.content_noise:
        content = content + training.content_noise * torch.randn(content.shape, generator=random).to(content)
    style = batch_style(model, batch)
    prototypes = class_prototypes(style, batch.labels, len(config.voices))
    decoder_style = class_prototypes(style, batch.slots, int(batch.slots.max()) + 1)[batch.slots]
    own = target
    if training.context_own:
        with torch.no_grad():
            nothing = torch.zeros(content.shape[:2], dtype=torch.bool, device=content.device)
            own = model.decoder(target, nothing, content, decoder_style).context.float()
    context, keep = corrupt_context(target, own, training, random)
    prediction = model.decoder(context, keep, content, decoder_style)
    content_logits = discriminator.content_logits(content)
    style_logits = discriminator.style_logits(torch.cat([style, prototypes.to(style.dtype)]))
    classes = torch.arange(len(prototypes), device=batch.labels.device)
    losses = {
        **reconstruction_losses(config, model, prediction, target, batch),
        "content_energy": energy,
        "contrastive": supervised_info_nce(style, batch.slots, constants.temperature),
        "margin": MARGIN[constants.margin_form](prototypes, constants.margin, relative=constants.margin_relative),
        "hsic": HSIC[constants.hsic](style, content.mean(dim=1)),
        "adversarial": AGAINST[constants.encoder_objective](content_logits, batch.heard_labels)
        + constants.style_help * discriminator_cross_entropy(style_logits, torch.cat([batch.labels, classes])),
    }
    return losses, batch, content.detach()


@torch.no_grad()
def back_translate(config: Config, model: TransferModel, batch: Batch, share: float, random: torch.Generator) -> Batch:
    """A share of the clips heard as the model itself plays them on another instrument; their targets stay the truth.

    What the model makes of a piano clip on the violin is an imperfect violin clip whose piano version is known: a pair,
    though no piece was ever rendered on both. Source: Sennrich, Haddow and Birch, "Improving neural machine translation
    models with monolingual data" (2016); between unpaired languages, Lample et al. (2018).

    Args:
        config: of the run.
        model: as it is, without context for the decoder.
        batch: the clips.
        share: probability that a clip is changed.
        random: source of chance of this step.
    """
    labels, instruments = batch.heard_labels, len(config.instruments)
    chosen = torch.rand(len(labels), generator=random) < share
    chosen = chosen.nonzero()[:, 0].to(labels.device)
    if not len(chosen):
        return batch
    # A clip whose style is taken: any of another instrument, which a balanced batch always has.
    other = (labels[:, None] % instruments != labels[chosen] % instruments).float()
    giver = torch.multinomial(other.T.cpu(), 1, generator=random)[:, 0].to(labels.device)
    style = class_prototypes(batch_style(model, batch), batch.slots, int(batch.slots.max()) + 1)[batch.slots[giver]]
    heard = batch.heard.take(chosen)
    content = model.content_encoder(model.encoder_input(heard, labels[chosen]))
    target = model.target(heard, labels[chosen])
    nothing = torch.zeros(content.shape[:2], dtype=torch.bool, device=content.device)
    prediction = dataclasses.replace(model.decoder(target, nothing, content, style).float(), voices=batch.labels[giver])
    with torch.autocast(labels.device.type, enabled=False):
        stft = model.to_stft(prediction, batch.frames)
        audio = model.representation.spectrogram.invert(stft, (batch.frames - 1) * config.representation.hop)
        level = audio.square().mean(dim=1, keepdim=True).sqrt()
        played = model.representation(audio * (RMS / level.clamp_min(1e-4)))
    return dataclasses.replace(
        batch, heard=batch.heard.put(chosen, played), heard_labels=labels.index_put((chosen,), batch.labels[giver])
    )


def batch_style(model: TransferModel, batch: Batch) -> Tensor:
    """``z_style`` ``(B, style_size)`` of the clips of a batch, each in one window."""
    if model.config.model.style_encoder != "transformer":
        return model.style_encoder(batch.labels)
    return model.style_encoder(model.encoder_input(batch.features, batch.labels))


def reconstruction_losses(
    config: Config, model: TransferModel, prediction: Prediction | ComplexPrediction, target: Tensor, batch: Batch
) -> dict[str, Tensor]:
    """The losses between a prediction and the clips' own spectra, by name.

    Magnitudes are compared as they are, complex spectra normalised, as in the published code.

    Args:
        target: of :meth:`TransferModel.target`.
    """
    shape = config.representation
    if shape.output == "complex":
        estimate = torch.complex(prediction.real.float(), prediction.imaginary.float())
        truth = reconstruction.as_complex(target.unflatten(2, (2, -1)))
        temporal, spectral = DIFFERENCES[config.loss.difference_axes]
        return {
            "mse": reconstruction.complex_mse(estimate, truth),
            "magnitude": reconstruction.magnitude_mse(estimate, truth),
            "phase": wrapped_phase(estimate, truth, squared=True),
            "temporal": temporal(estimate, truth),
            "spectral": spectral(estimate, truth),
        }
    truth = batch.features.stft_magnitude
    estimate = model.denormalise(prediction.magnitude.float(), "stft", batch.labels)
    # Weighted by the square root of the magnitude: audible bins count, loud ones do not drown the others.
    weight = truth ** (0.5 / shape.compression)
    return {
        "magnitude": magnitude_l1(estimate, truth),
        "log_spectral": spectral_distance(estimate, truth, shape.compression, config.loss.log_spectral),
        "phase": phase_advance_loss(prediction.cosine.float(), prediction.sine.float(), batch.features.advance, weight),
    }


def spectral_distance(estimate: Tensor, truth: Tensor, compression: float, weight: float) -> Tensor:
    """:func:`log_spectral` of compressed magnitudes ``(B, S, T, F)``; 0 where its weight is 0, since it costs time."""
    if weight == 0:
        return estimate.new_zeros(())
    # Every fourth section: nearly as good a gradient for a quarter of the time. A negative magnitude gets no gradient
    # here, but does from ``magnitude_l1``.
    return log_spectral(estimate[:, ::4].clamp_min(1e-3) ** (1 / compression), truth[:, ::4] ** (1 / compression))


def total_loss(config: Config, losses: dict[str, Tensor], step: int) -> Tensor:
    """The weighted sum that the generator minimises at a step."""
    weights = loss_weights(config.phases, step, config.training.steps)
    terms = RECONSTRUCTION[config.representation.output]
    total = weights["reconstruction"] * sum(getattr(config.loss, name) * losses[name] for name in terms)
    return total + sum(weights[name] * losses[name] for name in ("contrastive", "margin", "hsic", "adversarial"))


def discriminator_loss(
    config: Config, model: TransferModel, discriminator: nn.Module, batch: Batch, content: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy on ``z_content`` and on ``z_style`` with ``z_class``; only the discriminator gets gradients.

    Args:
        content: ``z_content`` of the batch, detached.
    """
    with torch.no_grad():
        style = batch_style(model, batch)
        prototypes = class_prototypes(style, batch.labels, len(config.voices))
    logits = discriminator.content_logits(content)
    style_logits = discriminator.style_logits(torch.cat([style, prototypes.to(style.dtype)]))
    classes = torch.arange(len(prototypes), device=batch.labels.device)
    return (
        discriminator_cross_entropy(logits, batch.heard_labels),
        discriminator_cross_entropy(style_logits, torch.cat([batch.labels, classes])),
    )
