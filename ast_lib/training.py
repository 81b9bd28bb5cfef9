"""Training: alternating generator and discriminator steps over the curriculum, with exact resume.

Chapter: ``notebooks/11_training.md``. A run is a function of its configuration: batch, augmentation and corruption of
step ``i`` depend on the seed and ``i`` alone, so that a resumed run continues as if it had never stopped.
"""

import concurrent.futures
import copy
import io
import os
import pathlib
import pickle
import time

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm.auto import tqdm

from ast_lib import config as configuration
from ast_lib.augment import equalise, record_in_room
from ast_lib.config import Config
from ast_lib.curriculum import learning_rate_factor, phase_at, plateau_factor, turns
from ast_lib.data import Dataset, RecordedDataset, build_dataset
from ast_lib.discriminator import build_discriminator
from ast_lib.errors import AstError
from ast_lib.files import write_bytes
from ast_lib.losses.margin import class_prototypes
from ast_lib.metrics import log_spectral_distance
from ast_lib.model import TransferModel
from ast_lib.objective import Batch, discriminator_loss, generator_losses, total_loss
from ast_lib.representation import Features
from ast_lib.transfer import class_style, transfer_batch

STATISTICS_STEP = 10**6  # batches from here on are drawn for statistics and prototypes, never trained on
STATISTICS_BATCHES = 6


class Trainer:
    """State of a run: networks, optimisers, moving average, history; :meth:`fit` advances it to the last step.

    Args:
        config: the complete configuration.
        dataset: from :func:`ast_lib.data.build_dataset` with the same configuration.
        accelerator: of lightning-fabric: ``auto``, ``cpu``, ``cuda``.
    """

    def __init__(self, config: Config, dataset: Dataset | RecordedDataset, accelerator: str = "auto"):
        self.config, self.dataset = config, dataset
        self.fabric = Fabric(accelerator=accelerator, devices=1, precision=config.training.precision)
        torch.manual_seed(config.training.seed)
        training = config.training
        model = TransferModel(config)
        discriminator = build_discriminator(config)
        model.fit_statistics(*self._statistics_features(model))
        self.model, self.discriminator = self.fabric.to_device(model), self.fabric.to_device(discriminator)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        options = {"betas": training.betas, "weight_decay": training.weight_decay}
        self.generator_optimizer = self.fabric.setup_optimizers(
            torch.optim.AdamW(self.model.parameters(), lr=training.learning_rate, **options)
        )
        self.discriminator_optimizer = self.fabric.setup_optimizers(
            torch.optim.AdamW(self.discriminator.parameters(), lr=training.discriminator_rate, **options)
        )
        self.validation_tasks = dataset.validation_tasks()
        self.step = 0
        self.history: list[dict] = []

    def _statistics_features(self, model: TransferModel) -> tuple[Features, Tensor]:
        batches = [self.dataset.sampler(STATISTICS_STEP + i) for i in range(STATISTICS_BATCHES)]
        features = Features.cat([model.representation(torch.from_numpy(clips)) for clips, _ in batches])
        return features, torch.from_numpy(np.concatenate([voices for _, voices in batches]))

    @torch.no_grad()
    def batch(self, step: int) -> Batch:
        """Render batch number ``step`` and compute its features."""
        training, shape, random = self.config.training, self.config.representation, self._random(step, 1)
        sampler, slots = self.dataset.sampler, len(self.dataset.sampler.slots)
        clips, labels = self._tensors(*sampler(step))
        features = heard = self.model.representation(clips)
        heard_labels = labels
        if training.another_voice or training.tuning:
            clips, heard_labels = self._tensors(*sampler.another_voice(step, training.another_voice, training.tuning))
        if training.room:
            clips = record_in_room(clips, shape.sample_rate, training.room, random)
        if training.another_voice or training.tuning or training.room:
            heard = self.model.representation(clips)
        if step < STATISTICS_STEP:
            features = equalise(features, shape, training.timbre, random, slots)
        order = torch.arange(len(labels), device=labels.device) % slots
        return Batch(features, labels, order, heard, heard_labels, 1 + clips.shape[-1] // shape.hop)

    def _tensors(self, *arrays: np.ndarray) -> tuple[Tensor, ...]:
        return self.fabric.to_device(tuple(torch.from_numpy(array) for array in arrays))

    def _random(self, step: int, use: int = 0) -> torch.Generator:
        """The source of chance of one step, the same in a resumed run."""
        return torch.Generator().manual_seed((2 * self.config.training.seed + use) * 10**8 + step)

    def generator_losses(self, batch: Batch, step: int) -> tuple[dict[str, Tensor], Batch, Tensor]:
        """:func:`ast_lib.objective.generator_losses` of this run at a step."""
        with self.fabric.autocast():
            return generator_losses(self.config, self.model, self.discriminator, batch, step, self._random(step))

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One generator step, then one discriminator step on the same batch; returns what is logged.

        With ``training.alternate`` only one of the two.

        Raises:
            AstError: when a loss is not finite, naming it.
        """
        training = self.config.training
        factor = learning_rate_factor(self.step, training.steps, training.warm_up, training.final_rate)
        if training.plateau < 1:
            totals = [row["total"] for row in self.history]
            factor *= plateau_factor(totals, training.validate_every, training.plateau, training.patience)
        self.generator_optimizer.param_groups[0]["lr"] = training.learning_rate * factor
        self.discriminator_optimizer.param_groups[0]["lr"] = training.discriminator_rate * factor

        generator, discriminator = turns(training.alternate, self.step)
        torch.manual_seed(self._random(self.step).initial_seed())  # of the dropout
        with torch.set_grad_enabled(generator):
            losses, batch, content = self.generator_losses(batch, self.step)
        total = total_loss(self.config, losses, self.step)
        logged = {name: loss.item() for name, loss in (losses | {"total": total}).items()}
        for name, value in logged.items():
            if value != value or abs(value) == float("inf"):
                raise AstError(f"training: the loss {name} is {value} at step {self.step}")
        if generator:
            self.generator_optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(total)
            logged["gradient_norm"] = nn.utils.clip_grad_norm_(self.model.parameters(), training.clip).item()
            self.generator_optimizer.step()
        if discriminator:
            with self.fabric.autocast():
                on_content, on_style = discriminator_loss(self.config, self.model, self.discriminator, batch, content)
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(on_content + on_style)
            if training.discriminator_clip:
                nn.utils.clip_grad_norm_(self.discriminator.parameters(), training.discriminator_clip)
            self.discriminator_optimizer.step()
            logged["discriminator"] = on_content.item()

        with torch.no_grad():
            # The average forgets its start: its decay grows from 1/11 to ``training.average``.
            decay = min(training.average, (self.step + 1) / (self.step + 11))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return logged | {"learning_rate": factor * training.learning_rate}

    @torch.no_grad()
    def update_prototypes(self) -> None:
        """Set the averaged model's prototypes from training clips, and its batch norm's statistics to the latest."""
        latest = dict(self.model.named_buffers())
        for name, buffer in self.average.named_buffers():
            if "." in name:  # of a layer
                buffer.copy_(latest[name])
        styles, labels = [], []
        for index in range(STATISTICS_BATCHES):
            batch = self.batch(STATISTICS_STEP + index)
            styles.append(self.average.encode_style(batch.features, batch.labels))
            labels.append(batch.labels)
        prototypes = class_prototypes(torch.cat(styles), torch.cat(labels), len(self.config.voices))
        self.average.prototypes.copy_(prototypes)

    def validate(self) -> dict[str, float]:
        """LSD in dB of free-running decoding on validation clips, magnitudes only.

        Per direction against the true target (``lsd_piano_to_violin``); with recordings, which have none, of each
        instrument's reconstruction (``lsd_piano_reconstruction``).
        """
        self.update_prototypes()
        result = {}
        for task in self.validation_tasks:
            heard, truth = self.fabric.to_device((task.heard, task.truth))
            stft = transfer_batch(self.average, heard, class_style(self.average, task.target, len(heard)))
            distance = log_spectral_distance(stft, self.model.representation.spectrogram(truth))
            result[f"lsd_{task.name}"] = distance.mean().item()
        return result

    def fit(self, folder: str | os.PathLike | None = None, progress: bool = True) -> TransferModel:
        """Train to the last step and return the averaged model.

        Args:
            folder: where ``state.pt`` (to resume from) and ``history.csv`` are written at every validation; an
                existing ``state.pt`` of the same configuration is continued.
            progress: show a bar with the time left.

        Raises:
            AstError: a state of another configuration, or a loss that is not finite.
        """
        training = self.config.training
        folder = pathlib.Path(folder) if folder else None
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            self.resume(folder / "state.pt")
        # The clock goes on where a resumed run stopped.
        start = time.perf_counter() - (self.history[-1]["seconds"] if self.history else 0.0)
        # One thread renders the next batch while this one trains: FluidSynth works outside Python's lock.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            upcoming = pool.submit(self.batch, self.step)
            for step in tqdm(
                range(self.step, training.steps),
                initial=self.step,
                total=training.steps,
                disable=not progress,
                desc="training",
                unit="step",
                mininterval=5,
            ):
                batch = upcoming.result()
                last = step == training.steps - 1
                validating = last or (step + 1) % training.validate_every == 0
                # The synth must not be used from two threads, so nothing is rendered ahead across a validation.
                if not validating:
                    upcoming = pool.submit(self.batch, step + 1)
                row = self.train_step(batch)
                phase = self.config.phases[phase_at(self.config.phases, step, training.steps)].name
                row = {"step": step, "curriculum": phase, "seconds": time.perf_counter() - start, **row}
                self.step = step + 1
                if validating:
                    row |= self.validate()
                self.history.append(row)
                if validating and folder:
                    self.save(folder)
                if validating and not last:
                    upcoming = pool.submit(self.batch, step + 1)
        return self.average

    def save(self, folder: pathlib.Path) -> None:
        """Write ``history.csv`` and ``state.pt``, each whole or not at all."""
        state = {
            "config": configuration.to_dict(self.config),
            "step": self.step,
            "history": self.history,
            **{name: getattr(self, name).state_dict() for name in self._stateful},
        }
        write_bytes(folder / "history.csv", self.frame().to_csv(index=False).encode())
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_bytes(folder / "state.pt", buffer.getvalue())

    _stateful = ("model", "discriminator", "average", "generator_optimizer", "discriminator_optimizer")

    def resume(self, path: pathlib.Path) -> None:
        """Continue from a state written by :meth:`save`; a missing file means a new run.

        Raises:
            AstError: when the state is not readable, or belongs to another configuration.
        """
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.fabric.device, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise AstError(f"training: {path} is not a readable state; remove it to start again") from error
        if not isinstance(state, dict) or state.get("config") != configuration.to_dict(self.config):
            raise AstError(f"training: {path} belongs to another configuration; remove it or choose another folder")
        for name in self._stateful:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.history = state["step"], state["history"]

    def frame(self) -> pd.DataFrame:
        """The history: one row a step with every unweighted loss, and the transfer metric where it was measured."""
        return pd.DataFrame(self.history)


def train(config: Config, cache: str | os.PathLike, folder: str | os.PathLike | None = None) -> Trainer:
    """Build the data and train: the whole run in one call."""
    trainer = Trainer(config, build_dataset(config, cache))
    trainer.fit(folder)
    return trainer
