"""Objective: a batch and the networks in; the losses that a training step minimises, and their weighted sum, out.

Chapters: ``notebooks/11_training.md``, ``notebooks/17_variants.md``. The losses themselves are in
:mod:`ast_lib.losses`; their weights over time are the curriculum's (:mod:`ast_lib.training.curriculum`). Where several
processes share a batch, what compares clips with each other sees those of all of them, and the mean over processes of a
loss is that of the global batch (:mod:`ast_lib.processes`).
"""

import torch
from torch import Tensor

from ast_lib.config import Config, Phase
from ast_lib.losses.adversarial import discriminator_cross_entropy, negative_entropy
from ast_lib.losses.contrastive import supervised_info_nce
from ast_lib.losses.hsic import hsic_biased
from ast_lib.losses.margin import class_prototypes, prototype_margin
from ast_lib.losses.phase import phase_advance_loss
from ast_lib.losses.reconstruction import log_spectral, magnitude_l1
from ast_lib.networks.decoder import Prediction
from ast_lib.networks.discriminator import Discriminator
from ast_lib.networks.model import TransferModel
from ast_lib.processes import ALONE, Part
from ast_lib.training.augment import corrupt_context, equalise
from ast_lib.training.batches import Batch
from ast_lib.training.curriculum import loss_weights, phase_at


class Objective:
    """The losses of a run.

    Args:
        config: of the run.
        model, discriminator: the networks.
        part: which clips of the global batch are this process's.
    """

    # Losses that the weight of the curriculum's ``reconstruction`` multiplies; each has its own constant.
    reconstruction_terms = ("magnitude", "log_spectral", "phase", "content_energy")

    def __init__(self, config: Config, model: TransferModel, discriminator: Discriminator, part: Part = ALONE):
        self.config, self.model, self.discriminator, self.part = config, model, discriminator, part
        self.phases: tuple[Phase, ...] = config.curriculum

    def phase(self, step: int) -> Phase:
        """The phase of the curriculum that a step belongs to."""
        return self.phases[phase_at(self.phases, step, self.config.training.steps)]

    def generator(self, batch: Batch, random: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """Unweighted losses of the encoders and the decoder, and ``z_content`` for the discriminator's own step.

        Args:
            batch: the clips.
            random: source of chance of this step.

        Returns:
            the losses by name, scalars; and ``z_content`` ``(B, S, content_size)``, detached. The discriminator's
            weights get gradients that its own step clears.
        """
        config, model, part = self.config, self.model, self.part
        target = model.target(batch.features)
        content = model.content_encoder(model.encoder_input(self.heard(batch, random)))
        energy, styles = content.float().square().mean(), part.gather(self.styles(batch))
        voices, groups = part.gather(batch.labels), part.gather(batch.groups)
        prototypes = class_prototypes(styles, voices, len(config.voices))
        decoder_style = part.own(class_prototypes(styles, groups, len(config.groups))[groups])
        context, keep = self.context(target, content, decoder_style, random)
        prediction = model.decoder(context, keep, content, decoder_style)
        adversarial = self.confusion(batch, content, styles, prototypes, voices)
        losses = {
            **self.reconstruction(prediction, batch),
            "content_energy": energy,
            "contrastive": supervised_info_nce(styles, groups, config.loss.temperature),
            "margin": self.margin(prototypes),
            "hsic": self.dependence(styles, part.gather(content.mean(dim=1))),
            "adversarial": adversarial,
        }
        return losses, content.detach()

    def discriminate(self, batch: Batch, content: Tensor) -> tuple[Tensor, Tensor]:
        """What the discriminator minimises: cross-entropy on ``z_content``, and on ``z_style`` with ``z_class``.

        Only the discriminator gets gradients.

        Args:
            batch: the clips.
            content: their ``z_content``, detached.
        """
        part = self.part
        with torch.no_grad():
            styles, voices = part.gather(self.styles(batch)), part.gather(batch.labels)
            prototypes = class_prototypes(styles, voices, len(self.config.voices))
        logits = self.discriminator.content_logits(content)
        known = (batch.heard_labels >= 0).float().mean()
        on_content = discriminator_cross_entropy(logits, batch.heard_labels) * known
        on_content = on_content / part.gather(known[None]).mean().clamp_min(1e-6)  # clips of no voice have no weight
        return on_content, self._on_style(styles, prototypes, voices)

    def total(self, losses: dict[str, Tensor], step: int) -> Tensor:
        """The weighted sum that the generator minimises at a step."""
        weights = loss_weights(self.phases, step, self.config.training.steps)
        total = sum(getattr(self.config.loss, name) * losses[name] for name in self.reconstruction_terms)
        total = weights.pop("reconstruction") * total
        return total + sum(weight * losses[name] for name, weight in weights.items())

    # --- What the networks hear

    def heard(self, batch: Batch, random: torch.Generator):
        """Features of the batch as the content encoder hears them: with another equalisation."""
        decibels = self.config.training.equalisation
        return equalise(batch.heard, self.config.representation, decibels, random, part=self.part)

    def styles(self, batch: Batch) -> Tensor:
        """``z_style`` ``(B, style_size)`` of the clips of a batch, each in one window."""
        return self.model.style_encoder(self.model.encoder_input(batch.features))

    def context(self, target: Tensor, content: Tensor, style: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """The decoder's context and which sections of it are kept, see :func:`corrupt_context`."""
        if self.config.training.teacher_forcing:
            return target, torch.ones(content.shape[:2], dtype=torch.bool, device=content.device)
        with torch.no_grad():
            nothing = torch.zeros(content.shape[:2], dtype=torch.bool, device=content.device)
            own = self.model.decoder(target, nothing, content, style).context.float()
        return corrupt_context(target, own, random, self.part)

    # --- The losses

    def reconstruction(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """The losses between a prediction and the clips' own magnitudes and phase advances, by name."""
        truth, power = batch.features.stft_magnitude, 1 / self.config.representation.compression
        estimate = self.model.magnitude(prediction)
        # Weighted by the square root of the magnitude: audible bins count, loud ones do not drown the others.
        weight = truth ** (0.5 * power)
        total = weight.sum().clamp_min(1e-30)
        audible = total / self.part.gather(total[None]).mean()  # clips count by their weight in the global batch
        advance = batch.features.advance
        phase = phase_advance_loss(prediction.cosine.float(), prediction.sine.float(), advance, weight)
        distance = estimate.new_zeros(())
        if self.config.loss.log_spectral:
            # Every fourth section: nearly as good a gradient for a quarter of the time. A negative magnitude gets no
            # gradient here, but does from ``magnitude_l1``.
            distance = log_spectral(estimate[:, ::4].clamp_min(1e-3) ** power, truth[:, ::4] ** power)
        return {"magnitude": magnitude_l1(estimate, truth), "log_spectral": distance, "phase": phase * audible}

    def margin(self, prototypes: Tensor) -> Tensor:
        """Between the prototypes of the voices."""
        return prototype_margin(prototypes, self.config.loss.margin, relative=True)

    def dependence(self, styles: Tensor, content: Tensor) -> Tensor:
        """Between the clips' styles and the means of their content."""
        return hsic_biased(styles, content)

    def confusion(self, batch: Batch, content: Tensor, styles: Tensor, prototypes: Tensor, voices: Tensor) -> Tensor:
        """What the encoders minimise against the discriminator on content, and with it on styles and prototypes."""
        on_style = self._on_style(styles, prototypes, voices)
        return negative_entropy(self.discriminator.content_logits(content)) + on_style

    def _on_style(self, styles: Tensor, prototypes: Tensor, voices: Tensor) -> Tensor:
        logits = self.discriminator.style_logits(torch.cat([styles, prototypes.to(styles.dtype)]))
        return discriminator_cross_entropy(logits, torch.cat([voices, torch.arange(len(prototypes)).to(voices)]))
