"""What a training step minimises: the losses of encoders and decoder, their sum, and the discriminator's loss.

Chapters: ``notebooks/11_training.md``, ``notebooks/13_published_run.md``. The losses themselves are in
:mod:`ast_lib.losses`; their weights over time are the curriculum's (:mod:`ast_lib.training.curriculum`). Where several
processes share a batch, what compares clips with each other sees those of all of them, and the mean over processes of a
loss is that of the global batch (:mod:`ast_lib.processes`).
"""

import dataclasses

import torch
from torch import Tensor, nn

from ast_lib.audio.levels import normalise_rms
from ast_lib.config import Config
from ast_lib.losses import reconstruction
from ast_lib.losses.adversarial import (
    critic_hinge,
    discriminator_cross_entropy,
    negative_cross_entropy,
    negative_entropy,
    realism_loss,
)
from ast_lib.losses.contrastive import supervised_info_nce
from ast_lib.losses.hsic import hsic_biased, hsic_published, hsic_unbiased
from ast_lib.losses.margin import class_prototypes, prototype_margin, prototype_margin_squared
from ast_lib.losses.phase import phase_advance_loss, wrapped_phase
from ast_lib.losses.reconstruction import level_l1, log_spectral, magnitude_l1
from ast_lib.networks.decoder import ComplexPrediction, Prediction
from ast_lib.networks.model import TransferModel, channel_noise
from ast_lib.processes import ALONE, Part
from ast_lib.training.augment import change_decay, change_gain, corrupt_context, equalise
from ast_lib.training.batches import Batch, Translation
from ast_lib.training.curriculum import loss_weights, phase_at

# Losses of each output that the weight of the curriculum's ``reconstruction`` multiplies; each has its own constant.
RECONSTRUCTION = {
    "magnitude_advance": ("magnitude", "log_spectral", "phase", "content_energy"),
    "complex": ("mse", "magnitude", "phase", "temporal", "spectral", "content_energy"),
}
ALWAYS = ("agreement", "realism", "style_spread")  # losses with a constant weight of their own, whatever the phase
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
        the losses by name, scalars: those of :data:`RECONSTRUCTION` and of :data:`ALWAYS`, ``level``, ``contrastive``,
        ``margin``, ``hsic``, ``adversarial``; the batch as it was heard; and ``z_content``
        ``(B, S, content_size)``, detached.
    """
    training, constants, shape = config.training, config.loss, config.representation
    phase = config.phases[phase_at(config.phases, step, training.steps)]
    if phase.back_translation:
        batch = back_translate(config, model, batch, phase.back_translation, random, part)
    heard = equalise(batch.heard, shape, training.equalisation, random, part=part)
    heard = change_gain(heard, shape, training.gain, random, part)
    heard = change_decay(heard, shape, training.decay, random, part)
    target = model.target(batch.features, batch.labels)
    content = model.content_encoder(model.encoder_input(heard, batch.heard_labels))
    energy = content.float().square().mean()
    translated = translation_losses(config, discriminator, batch.translation, content, part)
    content = noisy(content, config.model.content_noise, random, part)
    own_styles = batch_style(model, batch)
    styles = part.gather(noisy(own_styles, config.model.style_noise, random, part))
    labels, slots = part.gather(batch.labels), part.gather(batch.slots)
    prototypes = class_prototypes(styles, labels, len(config.voices))
    decoder_style = part.own(slot_styles(styles, slots, training.own_style))
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
        "level": level_error(config, model, prediction, batch, phase.level),
        "content_energy": energy,
        **translated,
        "style_spread": style_spread(part.gather(own_styles), slots),
        "contrastive": supervised_info_nce(styles, slots, constants.temperature),
        "margin": MARGIN[constants.margin_form](prototypes, constants.margin, relative=constants.margin_relative),
        "hsic": HSIC[constants.hsic](styles, part.gather(content.mean(dim=1))),
        "adversarial": AGAINST[constants.encoder_objective](content_logits, batch.heard_labels)
        + constants.style_help * discriminator_cross_entropy(style_logits, torch.cat([labels, classes])),
    }
    return losses, batch, content.detach()


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
        share: of the global batch that is changed, to the nearest clip.
        random: source of chance of this step.
        part: which clips of the global batch these are.

    Returns:
        the batch with other ``heard``, ``heard_labels`` and ``translation``. Nothing is learned through ``heard``.
    """
    device, count = batch.labels.device, len(batch.labels)
    everywhere = torch.zeros(count * part.count, dtype=torch.bool)
    everywhere[torch.randperm(count * part.count, generator=random)[: round(share * count * part.count)]] = True
    if not everywhere.any():
        return batch
    own = part.own(everywhere)
    # A process without a clip converts its first one with the weight 0: all processes exchange the same things.
    chosen = own.nonzero()[:, 0] if own.any() else torch.zeros(1, dtype=torch.long)
    weight = int(own.sum()) * part.count / int(everywhere.sum())
    with torch.set_grad_enabled(torch.is_grad_enabled() and config.loss.realism > 0):
        styles = part.gather(noisy(batch_style(model, batch), config.model.style_noise, random, part))
        labels, slots, played_by = part.gather(batch.labels), part.gather(batch.slots), part.gather(batch.heard_labels)
        # A clip whose style is taken: any of another instrument, which a balanced batch always has.
        instrument = played_by % len(config.instruments)
        other = (instrument[:, None] != instrument).float()
        giver = part.own(torch.multinomial(other.cpu(), 1, generator=random)[:, 0])[chosen].to(device)
        chosen = chosen.to(device)
        style = slot_styles(styles, slots, own=True)[giver]
        heard, voices = batch.heard.take(chosen), batch.heard_labels[chosen]
        content = model.content_encoder(model.encoder_input(heard, voices))
        # Noise is drawn for every clip of the batch: whose turn it is must not move another process's chance.
        everyone = content.new_zeros(count, *content.shape[1:])
        sent = content + noisy(everyone, config.model.content_noise, random, part)[chosen]
        target = model.target(heard, voices)
        nothing = torch.zeros(content.shape[:2], dtype=torch.bool, device=content.device)
        drawn = model.decoder(target, nothing, sent, style)
        prediction = dataclasses.replace(drawn.float(), voices=labels[giver])
    magnitude = None if config.representation.output == "complex" else prediction.magnitude
    translation = Translation(chosen, content.detach().float(), magnitude, labels[giver], weight)
    if weight == 0:
        return dataclasses.replace(batch, translation=translation)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        stft = model.to_stft(prediction, batch.frames)
        audio = model.representation.spectrogram.invert(stft, (batch.frames - 1) * config.representation.hop)
        played = model.representation(normalise_rms(audio))
    return dataclasses.replace(
        batch,
        heard=batch.heard.put(chosen, played),
        heard_labels=batch.heard_labels.index_put((chosen,), labels[giver]),
        translation=translation,
    )


def translation_losses(
    config: Config, discriminator: nn.Module, translation: Translation | None, content: Tensor, part: Part = ALONE
) -> dict[str, Tensor]:
    """The losses of back-translated clips by name; 0 where there are none.

    ``agreement`` is the mean square of the change of ``z_content`` from the clip itself to the clip as the model plays
    it, over the mean square of ``z_content``: what is played should not depend on who plays. ``realism`` is
    :func:`realism_loss` of the critic's scores.

    Args:
        content: ``z_content`` of the batch as it was heard, ``(B, S, content_size)``.
    """
    nothing = content.new_zeros((), dtype=torch.float32)
    if translation is None:
        return {"agreement": nothing, "realism": nothing}
    change = (content[translation.chosen].float() - translation.content).square().mean()
    energy = part.gather(content.detach().float().square().mean()[None]).mean()
    realism = nothing
    if config.loss.realism:
        discriminator.critic.eval()  # its spectral norms are brought up to date in its own step
        realism = translation.weight * realism_loss(discriminator.critic(translation.magnitude, translation.voices))
    return {"agreement": translation.weight * change / energy.clamp_min(1e-6), "realism": realism}


def noisy(code: Tensor, deviation: float, random: torch.Generator, part: Part = ALONE) -> Tensor:
    """As :func:`ast_lib.networks.model.channel`, in training: the noise is each clip's own, whatever the number of
    processes.

    Args:
        code: of clips, ``z_content`` ``(B, S, D)``, whose noise has a part that stays, or ``z_style`` ``(B, D)``.
        deviation: ``model.content_noise`` or ``model.style_noise``; 0 changes nothing.
        random: source of chance of this step.
        part: which clips of the global batch these are.
    """
    if deviation == 0:
        return code
    drawn = part.noise(code, random)
    if code.ndim == 3:
        clips, _, values = code.shape
        offset, strength = (part.draw(draw, clips, 1, values, generator=random) for draw in (torch.randn, torch.rand))
        drawn = channel_noise(drawn, offset.to(drawn), strength.to(drawn))
    return code + deviation * drawn.to(code)


def batch_style(model: TransferModel, batch: Batch) -> Tensor:
    """``z_style`` ``(B, style_size)`` of the clips of a batch, each in one window."""
    if model.config.model.style_encoder != "transformer":
        return model.style_encoder(batch.labels)
    return model.style_encoder(model.encoder_input(batch.features, batch.labels))


def slot_styles(styles: Tensor, slots: Tensor, own: bool) -> Tensor:
    """Each clip's style for the decoder: the mean of its slot's ``z_style``, ``(B, style_size)`` to the same shape.

    What a clip says of its notes in its own style helps to draw it again, and training would keep it there. A slot
    without the clip itself says how it is played and nothing of what: as in transfer, where the style is another
    clip's (equation ``style-of-others``).

    Args:
        styles: of the global batch.
        slots: ``(B,)``; without ``own`` two clips or more of each.
        own: ``training.own_style``: the clip counts too.
    """
    mean = class_prototypes(styles, slots, int(slots.max()) + 1)[slots]
    if own:
        return mean
    count = torch.bincount(slots)[slots][:, None]
    return (count * mean - styles) / (count - 1)


def style_spread(styles: Tensor, slots: Tensor) -> Tensor:
    """How far clips that are played alike differ in style (equation ``style-spread``), scalar, 0 or more.

    The clips of a slot differ in what is played and in nothing else.

    Args:
        styles: ``(B, style_size)`` of the global batch, without noise.
        slots: ``(B,)``; a slot of one clip has no spread.
    """
    styles = styles.float()
    around = (styles - slot_styles(styles, slots, own=True)).square().mean()
    return around / styles.detach().square().mean().clamp_min(1e-6)


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


def level_error(config: Config, model: TransferModel, prediction: Prediction, batch: Batch, weight: float) -> Tensor:
    """:func:`level_l1` of predicted magnitudes, in dB; 0 where its weight is 0, since it costs time."""
    truth, power = batch.features.stft_magnitude, 1 / config.representation.compression
    if weight == 0:
        return truth.new_zeros(())
    estimate = model.denormalise(prediction.magnitude.float(), "stft", batch.labels)
    return level_l1(estimate.clamp_min(1e-3) ** power, truth**power)


def total_loss(config: Config, losses: dict[str, Tensor], step: int) -> Tensor:
    """The weighted sum that the generator minimises at a step."""
    weights = loss_weights(config.phases, step, config.training.steps)
    terms = RECONSTRUCTION[config.representation.output]
    total = weights.pop("reconstruction") * sum(getattr(config.loss, name) * losses[name] for name in terms)
    total = total + sum(getattr(config.loss, name) * losses[name] for name in ALWAYS)
    return total + sum(weight * losses[name] for name, weight in weights.items())


def discriminator_loss(
    config: Config,
    model: TransferModel,
    discriminator: nn.Module,
    batch: Batch,
    content: Tensor,
    part: Part = ALONE,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy on ``z_content``, on ``z_style`` with ``z_class``, and the critic's loss, 0 without clips for it.

    Only the discriminator and its critic get gradients.

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
    translation, hinge = batch.translation, logits.new_zeros((), dtype=torch.float32)
    if config.loss.realism and translation is not None:
        discriminator.critic.train()
        magnitudes = torch.cat([model.target(batch.features, batch.labels), translation.magnitude.detach()])
        scores = discriminator.critic(magnitudes, torch.cat([batch.labels, translation.voices]))
        hinge = critic_hinge(scores[: len(content)], scores[len(content) :], translation.weight)
    return (
        discriminator_cross_entropy(logits, batch.heard_labels),
        discriminator_cross_entropy(style_logits, torch.cat([labels, classes])),
        hinge,
    )
