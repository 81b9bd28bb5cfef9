"""Trainer of the published system: as :class:`ast_lib.training.trainer.Trainer`, with its networks and its schedule.

Chapter: ``notebooks/13_published_run.md``.
"""

import dataclasses
import math
import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ast_lib.data.dataset import build_dataset
from ast_lib.errors import AstError
from ast_lib.losses.margin import class_prototypes
from ast_lib.published.config import PublishedConfig
from ast_lib.published.discriminators import build_discriminator
from ast_lib.published.model import PublishedModel
from ast_lib.published.objective import PublishedObjective
from ast_lib.published.schedule import plateau_factor, turns
from ast_lib.representation import Features
from ast_lib.training import validation
from ast_lib.training.batches import Batch, Batches
from ast_lib.training.trainer import Trainer


class PublishedBatches(Batches):
    """:class:`Batches` whose features carry the voices of their clips, where the model depends on them."""

    def prepare(self, sounds: Sequence[Tensor], step: int) -> Batch:
        batch, config = super().prepare(sounds, step), self.config
        if config.representation.statistics == "shared" and config.model.style_encoder == "transformer":
            return batch
        features = dataclasses.replace(batch.features, voices=batch.labels)
        return dataclasses.replace(
            batch, features=features, heard=dataclasses.replace(batch.heard, voices=batch.heard_labels)
        )


class PublishedTrainer(Trainer):
    """:class:`Trainer` of a :class:`PublishedConfig`: networks in turn, rates that fall on a plateau."""

    config: PublishedConfig
    kinds = (PublishedBatches, PublishedObjective)

    def _networks(self) -> tuple[PublishedModel, nn.Module]:
        model, discriminator = PublishedModel(self.config), build_discriminator(self.config)
        return (shared_batch_norm(model, self.fabric.device) if self.part.count > 1 else model), discriminator

    def _fit_statistics(self, model: PublishedModel, clips: Tensor, voices: Tensor) -> None:
        if self.config.representation.statistics == "per_class":
            features = Features.cat([model.representation.whole(few) for few in clips.split(validation.CHUNK)])
            model.fit_statistics(dataclasses.replace(features, voices=voices))
        else:
            super()._fit_statistics(model, clips, voices)

    def generator_losses(self, batch: Batch, step: int) -> tuple[dict[str, Tensor], Tensor]:
        # Of the dropout, the one kind of chance that differs with the number of processes.
        torch.manual_seed(self._random(step).initial_seed() + (self.part.rank << 48))
        return super().generator_losses(batch, step)

    def _turns(self, step: int) -> tuple[bool, bool]:
        """Whether generator and discriminator learn at a step; the turns begin anew after every validation."""
        return turns(self.config.training.alternate, step % self.config.training.validate_every)

    def _plateaus(self, network: int, *losses: str) -> float:
        """The factor on the rates of the generator (0) or the discriminator (1) after the plateaus of its losses.

        An epoch is what lies between validations; only batches from which the network learns count.
        """
        training = self.config.training
        if training.plateau == 1:
            return 1.0
        learnt = [row for row in self.history if self._turns(row["step"])[network]]
        length = sum(self._turns(step)[network] for step in range(training.validate_every))
        totals = [sum(row[loss] for loss in losses) for row in learnt]
        return plateau_factor(totals, length, training.plateau, training.patience)

    def _rate_factor(self) -> float:
        return super()._rate_factor() * self._plateaus(0, "total")

    def _generator_step(self, batch: Batch) -> tuple[dict[str, float], Tensor]:
        if self._turns(self.step)[0]:
            return super()._generator_step(batch)
        with torch.no_grad():
            losses, content = self.generator_losses(batch, self.step)
            losses["total"] = self.objective.total(losses, self.step)
        return self._finite(losses, batch), content

    def _discriminator_step(self, batch: Batch, content: Tensor) -> dict[str, float]:
        if self._turns(self.step)[1]:
            factor = super()._rate_factor() * self._plateaus(1, "discriminator", "discriminator_style")
            for group in (group for optimizer in self.discriminator_optimizers for group in optimizer.param_groups):
                group["lr"] = group["initial_lr"] * factor
            return super()._discriminator_step(batch, content)
        with torch.no_grad():
            return self._finite(self._discriminator_losses(batch, content), batch)

    def _gradients(self, network: nn.Module, loss: Tensor, clip: float) -> Tensor:
        if network is self.discriminator:
            clip = self.config.training.discriminator_clip or math.inf
        return super()._gradients(network, loss, clip)

    @torch.no_grad()
    def update_prototypes(self) -> None:
        """Set the averaged model's prototypes from training clips, and its batch norm's statistics to the latest."""
        latest = dict(self.model.named_buffers())
        for name, buffer in self.average.named_buffers():
            if "." in name:  # of a layer
                buffer.copy_(latest[name])
        clips, voices = self.reference
        features = dataclasses.replace(validation.reference_features(self.average, clips), voices=voices)
        styles = [
            self.average.encode_style(features.take(few)) for few in torch.arange(len(clips)).split(validation.CHUNK)
        ]
        prototypes = class_prototypes(torch.cat(styles), voices, len(self.config.voices))
        self.average.prototypes.copy_(prototypes)


def shared_batch_norm(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with the statistics of its batch norms taken over the global batch (names of weights stay).

    Raises:
        AstError: for batch norm on another device than a GPU, which PyTorch cannot share.
    """
    if device.type != "cuda" and any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()):
        raise AstError("processes: found several on the CPU with batch norm (model.encoder=resnet2d), accepted is one")
    return nn.SyncBatchNorm.convert_sync_batchnorm(module)


def train(
    config: PublishedConfig, cache: str | os.PathLike, folder: str | os.PathLike | None = None
) -> PublishedTrainer:
    """As :func:`ast_lib.training.train`."""
    trainer = PublishedTrainer(config, build_dataset(config, cache))
    trainer.fit(folder)
    return trainer
