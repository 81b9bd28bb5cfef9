"""Objective of the published system: as :class:`ast_lib.training.objective.Objective`, with its losses and its styles.

Chapter: ``notebooks/13_published_run.md``.
"""

import dataclasses

import torch
from torch import Tensor

from ast_lib.losses.adversarial import discriminator_cross_entropy, negative_entropy
from ast_lib.losses.hsic import hsic_biased
from ast_lib.losses.margin import prototype_margin
from ast_lib.processes import ALONE, Part
from ast_lib.published.code_losses import (
    hsic_published,
    negative_cross_entropy,
    prototype_margin_squared,
)
from ast_lib.published.config import PublishedConfig
from ast_lib.published.losses import (
    complex_mse,
    magnitude_mse,
    spectral_difference,
    spectral_difference_published,
    temporal_difference,
    temporal_difference_published,
    wrapped_phase,
)
from ast_lib.published.model import PublishedModel
from ast_lib.published.representation import as_complex
from ast_lib.representation.features import SectionTensors
from ast_lib.training.batches import Batch
from ast_lib.training.curriculum import WEIGHTS
from ast_lib.training.objective import Objective

MARGIN = {"hinge": prototype_margin, "squared": prototype_margin_squared}
HSIC = {"biased": hsic_biased, "published": hsic_published}
AGAINST = {  # what the encoders minimise against the discriminator, from its logits on content and the clips' labels
    "entropy": lambda logits, labels: negative_entropy(logits),
    "cross_entropy": negative_cross_entropy,
}
DIFFERENCES = {  # along time, along frequency
    "frames_bins": (temporal_difference, spectral_difference),
    "published": (temporal_difference_published, spectral_difference_published),
}


class PublishedObjective(Objective):
    """:class:`Objective` of a :class:`PublishedConfig`. Complex spectra are compared normalised."""

    def __init__(self, config: PublishedConfig, model: PublishedModel, discriminator, part: Part = ALONE):
        super().__init__(config, model, discriminator, part)
        self.phases = config.phases
        self.complex = config.representation.output == "complex"
        if self.complex:
            self.reconstruction_terms = ("mse", "magnitude", "phase", "temporal", "spectral", "content_energy")

    def styles(self, batch: Batch) -> Tensor:
        if self.config.model.style_encoder != "transformer":
            return self.model.style_encoder(batch.labels)
        return super().styles(batch)

    def total(self, losses: dict[str, Tensor], step: int) -> Tensor:
        warm_up = self.config.training.loss_warm_up
        grown = min(1.0, (step + 1) / warm_up) if warm_up else 1.0
        return super().total({name: loss * (grown if name in WEIGHTS else 1) for name, loss in losses.items()}, step)

    def discriminate(self, batch: Batch, content: Tensor) -> tuple[Tensor, Tensor]:
        on_content, on_style = super().discriminate(batch, content)
        weights = self.config.loss.discriminator_weights
        return (weights[1] if weights else 1) * on_content, on_style

    def _on_style(self, styles: Tensor, prototypes: Tensor, voices: Tensor) -> Tensor:
        weights = self.config.loss.discriminator_weights
        if not weights:
            return super()._on_style(styles, prototypes, voices)
        of_styles, of_prototypes = map(self.discriminator.style_logits, (styles, prototypes.to(styles.dtype)))
        classes = torch.arange(len(prototypes)).to(voices)
        on_styles = discriminator_cross_entropy(of_styles, voices)
        return weights[0] * on_styles + weights[2] * discriminator_cross_entropy(of_prototypes, classes)

    def reconstruction(self, prediction: SectionTensors, batch: Batch) -> dict[str, Tensor]:
        if not self.complex:
            return super().reconstruction(dataclasses.replace(prediction, voices=batch.labels), batch)
        estimate = torch.complex(prediction.real.float(), prediction.imaginary.float())
        truth = as_complex(self.model.target(batch.features).unflatten(2, (2, -1)))
        temporal, spectral = DIFFERENCES[self.config.loss.difference_axes]
        return {
            "mse": complex_mse(estimate, truth),
            "magnitude": magnitude_mse(estimate, truth),
            "phase": wrapped_phase(estimate, truth, squared=True),
            "temporal": temporal(estimate, truth),
            "spectral": spectral(estimate, truth),
        }

    def margin(self, prototypes: Tensor) -> Tensor:
        loss = self.config.loss
        return MARGIN[loss.margin_form](prototypes, loss.margin, relative=loss.margin_relative)

    def dependence(self, styles: Tensor, content: Tensor) -> Tensor:
        return HSIC[self.config.loss.hsic](styles, content)

    def confusion(self, batch: Batch, content: Tensor, styles: Tensor, prototypes: Tensor, voices: Tensor) -> Tensor:
        logits = self.discriminator.content_logits(content)
        against = AGAINST[self.config.loss.encoder_objective](logits, batch.heard_labels)
        return against + self.config.loss.style_help * self._on_style(styles, prototypes, voices)
