"""Training: alternating generator and discriminator steps over the curriculum, with exact resume.

Chapters: ``notebooks/11_training.md``, ``notebooks/14_ablations.md``. A run is a function of its configuration: batch,
augmentation and corruption of step ``i`` depend on the seed and ``i`` alone, so that a resumed run continues as if it
had never stopped.

One process trains unless a launcher starts more; they share each batch (:mod:`ast_lib.processes`), so that
``training.batch`` is the global one and the result does not depend on their number, up to rounding. With a script that
calls :func:`train`, on one machine with four GPUs::

    fabric run --accelerator=cuda --devices=4 train.py

and on two such machines, once on each (``--node_rank`` 0 and 1; the address is the first one's)::

    torchrun --nproc_per_node=4 --nnodes=2 --node_rank=0 --master_addr=10.0.0.1 --master_port=29500 train.py
"""

import contextlib
import copy
import dataclasses
import io
import math
import os
import pathlib
import pickle
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm

from ast_lib import config as configuration
from ast_lib.config import Config
from ast_lib.data.dataset import Dataset, RecordedDataset, build_dataset
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import log_spectral_distance
from ast_lib.files import write_bytes
from ast_lib.losses.margin import class_prototypes
from ast_lib.networks.discriminator import build_discriminator
from ast_lib.networks.model import TransferModel
from ast_lib.processes import Part, average_gradients, shared_batch_norm
from ast_lib.representation.features import Features
from ast_lib.training.batches import Batch, Batches
from ast_lib.training.cuda_graphs import StepGraphs
from ast_lib.training.curriculum import learning_rate_factor, phase_at, plateau_factor, turns
from ast_lib.training.objective import discriminator_loss, generator_losses, total_loss
from ast_lib.transfer.recordings import class_style, transfer_batch

STATISTICS_STEP = 10**6  # clips from here on are drawn for statistics and prototypes, never trained on
STATISTICS_BATCHES = 6
CHUNK = 16  # clips whose styles are computed at once


def launched() -> dict:
    """``devices`` and ``num_nodes`` for Fabric: what ``torchrun`` or ``fabric run`` started, else one process."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = int(os.environ.get("WORLD_SIZE", 1)) // local
    # fabric run hands its own --devices to Fabric, which accepts no second opinion.
    return {"devices": "auto" if "LT_DEVICES" in os.environ else local, "num_nodes": nodes}


class Trainer:
    """State of a run: networks, optimisers, moving average, history; :meth:`fit` advances it to the last step.

    Args:
        config: the complete configuration.
        dataset: from :func:`ast_lib.data.dataset.build_dataset` with the same configuration.
        accelerator: of lightning-fabric: ``auto``, ``cpu``, ``cuda``.

    Raises:
        AstError: when the batch cannot be shared equally among the processes.
    """

    def __init__(self, config: Config, dataset: Dataset | RecordedDataset, accelerator: str = "auto"):
        self.config, self.dataset = config, dataset
        self.fabric = Fabric(accelerator=accelerator, precision=config.training.precision, **launched())
        self.fabric.launch()
        self.part = Part(self.fabric.global_rank, self.fabric.world_size, self.fabric)
        if config.training.batch % self.part.count:
            raise AstError(
                f"training.batch: found {config.training.batch}, accepted are multiples of {self.part.count}, "
                "the number of processes"
            )
        torch.manual_seed(config.training.seed)
        training = config.training
        model = TransferModel(config)
        discriminator = build_discriminator(config)
        reference = self._reference()
        chunks = reference[0].split(CHUNK)
        model.fit_statistics(Features.cat([model.representation(clips) for clips in chunks]), reference[1])
        if config.model.align_onsets:
            model.latency.copy_(torch.tensor(dataset.latencies()))
        if self.part.count > 1:
            model = shared_batch_norm(model, self.fabric.device)
        # The same everywhere, even if another machine rendered or rounded a little differently.
        for network in (model, discriminator):
            network.load_state_dict(self.fabric.broadcast(network.state_dict()))
        self.model, self.discriminator = self.fabric.to_device(model), self.fabric.to_device(discriminator)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.reference = self.fabric.to_device(reference)
        self.batches = Batches(config, dataset.sampler, self.model.representation, self.model.latency, self.part)
        options = {"betas": training.betas, "weight_decay": training.weight_decay}
        options["fused"] = self.fabric.device.type == "cuda"
        self.generator_optimizer = self.fabric.setup_optimizers(
            torch.optim.AdamW(self.model.parameters(), lr=training.learning_rate, **options)
        )
        self.discriminator_optimizer = self.fabric.setup_optimizers(
            torch.optim.AdamW(self.discriminator.parameters(), lr=training.discriminator_rate, **options)
        )
        self.graphs = None
        if self.fabric.device.type == "cuda" and self.part.count == 1 and training.precision == "bf16-mixed":
            networks = [self.model.content_encoder, self.model.style_encoder, self.model.decoder]
            self.graphs = StepGraphs(networks, torch.bfloat16)
        self.validation_tasks = dataset.validation_tasks()
        self.step = 0
        self.history: list[dict] = []
        self.folder: pathlib.Path | None = None

    def _reference(self) -> tuple[Tensor, Tensor]:
        """Clips ``(B, samples)`` and voices ``(B,)``, never trained on: for statistics per bin, and for prototypes."""
        batches = [self.dataset.sampler(STATISTICS_STEP + i) for i in range(STATISTICS_BATCHES)]
        clips, voices = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*batches, strict=True))
        return clips, voices

    def batch(self, step: int) -> Batch:
        """This process's clips of batch number ``step``, with their features."""
        return self.batches.batch(step)

    def _random(self, step: int) -> torch.Generator:
        """The source of chance of one step, the same in a resumed run."""
        return torch.Generator().manual_seed(2 * self.config.training.seed * 10**8 + step)

    def _computing(self) -> contextlib.AbstractContextManager:
        """The precision and, for bfloat16 on the CPU, the attention kernel that takes a tenth off a step."""
        context = contextlib.ExitStack()
        context.enter_context(self.fabric.autocast())
        # PyTorch's own choice is a fifth faster for float32 and a fifth slower for bfloat16 (benchmarks/attention.py).
        if self.fabric.device.type == "cpu" and self.config.training.precision == "bf16-mixed":
            context.enter_context(sdpa_kernel(SDPBackend.MATH))
        return context

    def generator_losses(self, batch: Batch, step: int) -> tuple[dict[str, Tensor], Batch, Tensor]:
        """:func:`ast_lib.training.objective.generator_losses` of this run at a step."""
        # Of the dropout, the one kind of chance that differs with the number of processes.
        torch.manual_seed(self._random(step).initial_seed() + (self.part.rank << 48))
        with self._computing():
            return generator_losses(
                self.config, self.model, self.discriminator, batch, step, self._random(step), self.part
            )

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One generator step, then one discriminator step on the same batch; returns what is logged.

        With ``training.alternate`` the losses are those of all networks but one network only learns.

        Raises:
            AstError: when a loss or its gradient is not finite, naming it; the batch is saved first (:meth:`replay`).
        """
        training = self.config.training
        factor = learning_rate_factor(self.step, training.steps, training.warm_up, training.final_rate)
        if training.plateau < 1:
            totals = [row["total"] for row in self.history]
            factor *= plateau_factor(totals, training.validate_every, training.plateau, training.patience)
        self.generator_optimizer.param_groups[0]["lr"] = training.learning_rate * factor
        self.discriminator_optimizer.param_groups[0]["lr"] = training.discriminator_rate * factor
        generator_learns, discriminator_learns = turns(training.alternate, self.step)
        if self.graphs:
            phase = phase_at(self.config.phases, self.step, training.steps)
            self.graphs.begin((phase, generator_learns, len(batch.labels)))

        with torch.set_grad_enabled(generator_learns):
            losses, heard, content = self.generator_losses(batch, self.step)
            total = total_loss(self.config, losses, self.step)
        if self.graphs:
            self.graphs.end()
        losses = losses | {"total": total}
        if generator_learns:
            losses["gradient_norm"] = self._gradients(self.model, self.generator_optimizer, total, training.clip)
        logged = self._finite(losses, batch)
        if generator_learns:
            self.generator_optimizer.step()

        with torch.set_grad_enabled(discriminator_learns), self._computing():
            on_content, on_style, on_sound = discriminator_loss(
                self.config, self.model, self.discriminator, heard, content, self.part
            )
        losses = {"discriminator": on_content, "discriminator_style": on_style, "critic": on_sound}
        if discriminator_learns:
            losses["discriminator_gradient_norm"] = self._gradients(
                self.discriminator,
                self.discriminator_optimizer,
                on_content + on_style + on_sound,
                training.discriminator_clip or math.inf,
            )
        logged |= self._finite(losses, batch)
        if discriminator_learns:
            self.discriminator_optimizer.step()

        with torch.no_grad():
            # The average forgets its start: its decay grows from 1/11 to ``training.average``.
            decay = min(training.average, (self.step + 1) / (self.step + 11))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return logged | {"learning_rate": factor * training.learning_rate}

    def _gradients(self, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, clip: float) -> Tensor:
        """Set the gradients of the global batch, clipped; returns their norm before."""
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        average_gradients(network, self.part)
        return nn.utils.clip_grad_norm_(network.parameters(), clip)

    def _finite(self, scalars: dict[str, Tensor], batch: Batch) -> dict[str, float]:
        """Means over the processes, in one transfer from the device; one that is not finite stops the run."""
        values = torch.stack([scalar.detach().float() for scalar in scalars.values()])
        numbers = dict(zip(scalars, self.fabric.all_reduce(values, reduce_op="mean").tolist(), strict=True))
        for name, value in numbers.items():
            if not math.isfinite(value):
                what = f"the loss {name}"
                if name.endswith("gradient_norm"):
                    what = f"the gradient of the loss {self._term_of_bad_gradient(batch, name)}"
                saved = self._save_batch(batch)
                raise AstError(f"training: {what} is {value} at step {self.step}" + (f"; see {saved}" if saved else ""))
        return numbers

    def _term_of_bad_gradient(self, batch: Batch, norm: str) -> str:
        """The first loss whose gradient is not finite, though every loss is."""
        if norm.startswith("discriminator"):
            return "discriminator"
        losses, *_ = self.generator_losses(batch, self.step)
        losses = {name: loss for name, loss in losses.items() if loss.requires_grad}
        parameters, bad = list(self.model.parameters()), []
        for loss in losses.values():
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            bad.append(sum((~gradient.isfinite()).sum() for gradient in gradients if gradient is not None))
        counts = self.fabric.all_reduce(torch.stack(bad), reduce_op="sum").tolist()
        return next((name for name, count in zip(losses, counts, strict=True) if count), "total")

    def _save_batch(self, batch: Batch) -> pathlib.Path | None:
        """Write what :meth:`replay` needs to ``stopped.pt``: the global batch, the networks and where they were."""

        def whole(value):
            if isinstance(value, dict):
                return {name: whole(item) for name, item in value.items()}
            return self.part.gather(value) if isinstance(value, Tensor) else value

        gathered = whole(dataclasses.asdict(batch))
        if self.folder is None:
            return None
        state = {"seed": self.config.training.seed, "batch": gathered}
        return self._write(self.folder / "stopped.pt", state, ("model", "discriminator"))

    def replay(self, path: str | os.PathLike) -> dict[str, Tensor]:
        """The generator's losses at the step that stopped a run, from its ``stopped.pt``, whose networks are taken.

        For one process, whatever number made the file.

        Raises:
            AstError: when the file is not readable, or belongs to another configuration.
        """
        saved = self._read(pathlib.Path(path))
        for name in ("model", "discriminator"):
            getattr(self, name).load_state_dict(saved[name])
        fields = self.fabric.to_device(saved["batch"])
        fields = {name: Features(**value) if isinstance(value, dict) else value for name, value in fields.items()}
        return self.generator_losses(Batch(**fields), saved["step"])[0]

    @torch.no_grad()
    def update_prototypes(self) -> None:
        """Set the averaged model's prototypes from training clips, and its batch norm's statistics to the latest."""
        latest = dict(self.model.named_buffers())
        for name, buffer in self.average.named_buffers():
            if "." in name:  # of a layer
                buffer.copy_(latest[name])
        clips, voices = self.reference
        styles = [
            self.average.mean_style(self.model.representation(own), of)
            for own, of in zip(clips.split(CHUNK), voices.split(CHUNK), strict=True)
        ]
        prototypes = class_prototypes(torch.cat(styles), voices, len(self.config.voices))
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
        return self.fabric.broadcast(result)

    def fit(self, folder: str | os.PathLike | None = None, progress: bool = True) -> TransferModel:
        """Train to the last step and return the averaged model.

        Args:
            folder: where ``state.pt`` (to resume from) and ``history.csv`` are written at every validation, and
                ``tensorboard`` is filled; an existing ``state.pt`` of the same configuration is continued. On several
                machines the first one's.
            progress: show a bar with the time left.

        Raises:
            AstError: a state of another configuration, or a loss or gradient that is not finite.
        """
        training = self.config.training
        self.folder = pathlib.Path(folder) if folder else None
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.resume(self.folder / "state.pt")
        # The clock goes on where a resumed run stopped.
        start = time.perf_counter() - (self.history[-1]["seconds"] if self.history else 0.0)
        steps = tqdm(
            range(self.step, training.steps),
            initial=self.step,
            total=training.steps,
            disable=not (progress and self.fabric.is_global_zero),
            desc="training",
            unit="step",
            mininterval=5,
        )
        batches = self.batches.stream(self.step, training.steps)
        with contextlib.closing(batches), self._events() as events:
            for step in steps:
                asked = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - asked
                row = self.train_step(batch)
                phase = self.config.phases[phase_at(self.config.phases, step, training.steps)].name
                passed = time.perf_counter() - start
                row = {"step": step, "curriculum": phase, "seconds": passed, "waited": waited, **row}
                self.step = step + 1
                self.history.append(row)
                validating = step == training.steps - 1 or (step + 1) % training.validate_every == 0
                if validating:
                    row |= self.validate()
                if events:
                    events.log_metrics({name: value for name, value in row.items() if name != "curriculum"}, step)
                if validating and self.folder:
                    events.save()
                    self.save(self.folder)
        return self.average

    @contextlib.contextmanager
    def _events(self) -> Iterator[TensorBoardLogger | None]:
        """What TensorBoard reads; a resumed run takes the place of what came after the state that it continues."""
        logger = TensorBoardLogger(self.folder, "tensorboard", "", purge_step=self.step) if self.folder else None
        try:
            yield logger
        finally:
            if logger:
                logger.finalize("success")

    def save(self, folder: str | os.PathLike) -> None:
        """Write ``history.csv`` and ``state.pt``, each whole or not at all."""
        folder = pathlib.Path(folder)
        if self.fabric.is_global_zero:
            write_bytes(folder / "history.csv", self.frame().to_csv(index=False).encode())
        self._write(folder / "state.pt", {"history": self.history}, self._stateful)

    _stateful = ("model", "discriminator", "average", "generator_optimizer", "discriminator_optimizer")

    def _write(self, path: pathlib.Path, values: dict, stateful: Sequence[str]) -> pathlib.Path:
        """Write ``values``, configuration, step and the states of what ``stateful`` names, from the first process."""
        buffer = io.BytesIO()
        if self.fabric.is_global_zero:
            state = {part: getattr(self, part).state_dict() for part in stateful}
            torch.save({"config": configuration.to_dict(self.config), "step": self.step} | values | state, buffer)
            write_bytes(path, buffer.getvalue())
        return path

    def _read(self, path: pathlib.Path) -> dict:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise AstError(f"training: {path} is not a readable state; remove it to start again") from error
        try:
            # Fields that did not exist when it was written have their default.
            same = isinstance(state, dict) and configuration.from_dict(state.get("config")) == self.config
        except AstError:
            same = False
        if not same:
            raise AstError(f"training: {path} belongs to another configuration; remove it or choose another folder")
        return state

    def resume(self, path: pathlib.Path) -> None:
        """Continue from a state written by :meth:`save`; a missing file means a new run.

        Raises:
            AstError: when the state is not readable, or belongs to another configuration.
        """
        found = self.fabric.is_global_zero and path.is_file()
        state = self.fabric.broadcast(self._read(path) if found else None)
        if state is None:
            return
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
