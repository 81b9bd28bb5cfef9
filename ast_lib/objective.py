"""What a training step minimises: the losses of encoders and decoder, their sum, and the discriminator's loss.

Chapter: ``notebooks/11_training.md``. The losses themselves are in :mod:`ast_lib.losses`; their weights over time
are the curriculum's (:mod:`ast_lib.curriculum`). Where several processes share a batch, what compares clips with each
other sees those of all of them, and the mean over processes of a loss is that of the global batch
(:mod:`ast_lib.processes`).
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
from ast_lib.processes import ALONE, Part
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
        slots: ``(B,)``, numbered from 0 in the global batch; the clips of a slot share voice and timbre, and their mean
            style is the decoder's.
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
    config: Config,
    model: TransferModel,
    discriminator: nn.Module,
    batch: Batch,
    step: int,
    random: torch.Generator,
    part: Part = ALONE,
) -> tuple[dict[str, Tensor], Batch, Tensor]:
    """Unweighted losses of the encoders and the decoder, and ``z_content`` for the discriminator's own step.

    Args:
        config: of the run.
        model, discriminator: the networks; the discriminator's weights get gradients that its own step clears.
        batch: the clips.
        step: of the run, for the curriculum.
        random: source of chance of this step.
        part: which clips of the global batch these are.

    Returns:
        the losses by name, scalars: those of :data:`RECONSTRUCTION`, ``contrastive``, ``margin``, ``hsic``,
        ``adversarial``; the batch as it was heard; and ``z_content`` ``(B, S, content_size)``, detached.
    """
    training, constants, shape = config.training, config.loss, config.representation
    share = config.phases[phase_at(config.phases, step, training.steps)].back_translation
    if share:
        batch = back_translate(config, model, batch, share, random, part)
    heard = equalise(batch.heard, shape, training.equalisation, random, part=part)
    heard = change_gain(heard, shape, training.gain, random, part)
    target = model.target(batch.features, batch.labels)
    content = model.content_encoder(model.encoder_input(heard, batch.heard_labels))
    energy = content.float().square().mean()
    if training.content_noise:
        content = content + training.content_noise * part.noise(content, random).to(content)
    styles = part.gather(batch_style(model, batch))
    labels, slots = part.gather(batch.labels), part.gather(batch.slots)
    prototypes = class_prototypes(styles, labels, len(config.voices))
    decoder_style = class_prototypes(styles, slots, int(slots.max()) + 1)[batch.slots]
    own = target
    if training.context_own:
        with torch.no_grad():
            nothing = torch.zeros(content.shape[:2], dtype=torch.bool, device=content.device)
            own = model.decoder(target, nothing, content, decoder_style).context.float()
    context, keep = corrupt_context(target, own, training, random, part)
    prediction = model.decoder(context, keep, content, decoder_style)
    content_logits = discriminator.content_logits(content)
    style_logits = discriminator.style_logits(torch.cat([styles, prototypes.to(styles.dtype)]))
    classes = torch.arange(len(prototypes), device=labels.device)
    losses = {
        **reconstruction_losses(config, model, prediction, target, batch, part),
        "content_energy": energy,
        "contrastive": supervised_info_nce(styles, slots, constants.temperature),
        "margin": MARGIN[constants.margin_form](prototypes, constants.margin, relative=constants.margin_relative),
        "hsic": HSIC[constants.hsic](styles, part.gather(content.mean(dim=1))),
        "adversarial": AGAINST[constants.encoder_objective](content_logits, batch.heard_labels)
        + constants.style_help * discriminator_cross_entropy(style_logits, torch.cat([labels, classes])),
    }
    return losses, batch, content.detach()


@torch.no_grad()
def back_translate(
    config: Config,
    model: TransferModel,
    batch: Batch,
    share: float,
    random: torch.Generator,
    part: Part = ALONE,
) -> Batch:
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
        part: which clips of the global batch these are.
    """
    device, styles = batch.labels.device, part.gather(batch_style(model, batch))
    labels, slots, played_by = part.gather(batch.labels), part.gather(batch.slots), part.gather(batch.heard_labels)
    chosen = part.draw(torch.rand, len(batch.labels), generator=random) < share
    # A clip whose style is taken: any of another instrument, which a balanced batch always has.
    instrument = played_by % len(config.instruments)
    other = (instrument[:, None] != instrument).float()
    giver = part.own(torch.multinomial(other.cpu(), 1, generator=random)[:, 0])[chosen].to(device)
    chosen = chosen.nonzero()[:, 0].to(device)
    if not len(chosen):
        return batch
    style = class_prototypes(styles, slots, int(slots.max()) + 1)[slots[giver]]
    heard, voices = batch.heard.take(chosen), batch.heard_labels[chosen]
    content = model.content_encoder(model.encoder_input(heard, voices))
    target = model.target(heard, voices)
    nothing = torch.zeros(content.shape[:2], dtype=torch.bool, device=content.device)
    prediction = dataclasses.replace(model.decoder(target, nothing, content, style).float(), voices=labels[giver])
    with torch.autocast(device.type, enabled=False):
        stft = model.to_stft(prediction, batch.frames)
        audio = model.representation.spectrogram.invert(stft, (batch.frames - 1) * config.representation.hop)
        level = audio.square().mean(dim=1, keepdim=True).sqrt()
        played = model.representation(audio * (RMS / level.clamp_min(1e-4)))
    return dataclasses.replace(
        batch,
        heard=batch.heard.put(chosen, played),
        heard_labels=batch.heard_labels.index_put((chosen,), labels[giver]),
    )


def batch_style(model: TransferModel, batch: Batch) -> Tensor:
    """``z_style`` ``(B, style_size)`` of the clips of a batch, each in one window."""
    if model.config.model.style_encoder != "transformer":
        return model.style_encoder(batch.labels)
    return model.style_encoder(model.encoder_input(batch.features, batch.labels))


def reconstruction_losses(
    config: Config,
    model: TransferModel,
    prediction: Prediction | ComplexPrediction,
    target: Tensor,
    batch: Batch,
    part: Part = ALONE,
) -> dict[str, Tensor]:
    """The losses between a prediction and the clips' own spectra, by name.

    Magnitudes are compared as they are, complex spectra normalised, as in the published code.

    Args:
        target: of :meth:`TransferModel.target`.
        part: which clips of the global batch these are.
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
    total = weight.sum().clamp_min(1e-30)
    audible = total / part.gather(total[None]).mean()  # a process's clips count by their weight in the global batch
    return {
        "magnitude": magnitude_l1(estimate, truth),
        "log_spectral": spectral_distance(estimate, truth, shape.compression, config.loss.log_spectral),
        "phase": phase_advance_loss(prediction.cosine.float(), prediction.sine.float(), batch.features.advance, weight)
        * audible,
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
    config: Config,
    model: TransferModel,
    discriminator: nn.Module,
    batch: Batch,
    content: Tensor,
    part: Part = ALONE,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy on ``z_content`` and on ``z_style`` with ``z_class``; only the discriminator gets gradients.

    Args:
        content: ``z_content`` of the batch, detached.
        part: which clips of the global batch these are.
    """
    with torch.no_grad():
        styles, labels = part.gather(batch_style(model, batch)), part.gather(batch.labels)
        prototypes = class_prototypes(styles, labels, len(config.voices))
    logits = discriminator.content_logits(content)
    style_logits = discriminator.style_logits(torch.cat([styles, prototypes.to(styles.dtype)]))
    classes = torch.arange(len(prototypes), device=labels.device)
    return (
        discriminator_cross_entropy(logits, batch.heard_labels),
        discriminator_cross_entropy(style_logits, torch.cat([labels, classes])),
    )
