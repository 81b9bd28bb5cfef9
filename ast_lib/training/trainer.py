"""Trainer: a configuration and data in; trained weights and their history out, with exact resume.

Chapters: ``notebooks/11_training.md``, ``notebooks/14_ablations.md``, ``notebooks/17_variants.md``. A run is a function
of its configuration: batch, augmentation and corruption of step ``i`` depend on the seed and ``i`` alone, so that a
resumed run continues as if it had never stopped.

One process trains unless a launcher starts more; they share each batch (:mod:`ast_lib.processes`), so that
``training.batch`` is the global one and the result does not depend on their number, up to rounding. With a script that
calls :func:`train`, on one machine with four GPUs::

    fabric run --accelerator=cuda --devices=4 train.py

and on two such machines, once on each (``--node_rank`` 0 and 1; the address is the first one's)::

    torchrun --nproc_per_node=4 --nnodes=2 --node_rank=0 --master_addr=10.0.0.1 --master_port=29500 train.py
"""

import contextlib
import copy
import math
import os
import pathlib
import time

import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm

from ast_lib.config import Config
from ast_lib.data.dataset import Dataset, RecordedDataset, build_dataset
from ast_lib.errors import AstError
from ast_lib.networks.discriminator import build_discriminator
from ast_lib.networks.model import TransferModel
from ast_lib.processes import Part, average_gradients, launched
from ast_lib.training import saving, validation
from ast_lib.training.batches import Batch, Batches
from ast_lib.training.cuda_graphs import StepGraphs
from ast_lib.training.curriculum import learning_rate_factor
from ast_lib.training.objective import Objective
from ast_lib.training.optimizers import optimizers


class Trainer:
    """State of a run: networks, optimisers, moving average, history; :meth:`fit` advances it to the last step.

    Args:
        config: the complete configuration.
        dataset: from :func:`ast_lib.data.build_dataset` with the same configuration.
        accelerator: of lightning-fabric: ``auto``, ``cpu``, ``cuda``.

    Raises:
        AstError: when the batch cannot be shared equally among the processes.
    """

    kinds: tuple[type[Batches], type[Objective]] = (Batches, Objective)

    def __init__(self, config: Config, dataset: Dataset | RecordedDataset, accelerator: str = "auto"):
        self.config, self.dataset, training = config, dataset, config.training
        self.fabric = Fabric(accelerator=accelerator, precision=training.precision, **launched())
        self.fabric.launch()
        self.part = Part(self.fabric.global_rank, self.fabric.world_size, self.fabric)
        if training.batch % self.part.count:
            accepted = f"multiples of {self.part.count}, the number of processes"
            raise AstError(f"training.batch: found {training.batch}, accepted are {accepted}")
        torch.manual_seed(training.seed)
        model, discriminator = self._networks()
        reference = validation.reference_clips(dataset.sampler)
        self._fit_statistics(model, *reference)
        if config.model.align_onsets:
            model.latency.copy_(torch.tensor(dataset.latencies()))
        # The same everywhere, even if another machine rendered or rounded a little differently.
        for network in (model, discriminator):
            network.load_state_dict(self.fabric.broadcast(network.state_dict()))
        self.model, self.discriminator = self.fabric.to_device(model), self.fabric.to_device(discriminator)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.reference = self.fabric.to_device(reference)
        batches, objective = self.kinds
        self.batches = batches(config, dataset.sampler, self.model.representation, self.fabric.device, self.part)
        self.objective = objective(config, self.model, self.discriminator, self.part)
        self.generator_optimizers = self._optimizers(self.model, training.learning_rate, training.matrix_rate)
        self.discriminator_optimizers = self._optimizers(self.discriminator, training.discriminator_rate)
        replayed = self.fabric.device.type == "cuda" and self.part.count == 1 and training.precision == "bf16-mixed"
        networks = (self.model.content_encoder, self.model.style_encoder, self.model.decoder)
        self.graphs = StepGraphs(networks if replayed else ())
        self.validation_tasks = dataset.validation_tasks()
        self.step, self.history, self.folder = 0, [], None

    # --- What a run is made of

    def _networks(self) -> tuple[TransferModel, nn.Module]:
        return TransferModel(self.config), build_discriminator(self.config)

    def _fit_statistics(self, model: TransferModel, clips: Tensor, voices: Tensor) -> None:
        model.fit_statistics(validation.reference_features(model, clips))

    def _optimizers(self, network: nn.Module, *rates: float) -> list[torch.optim.Optimizer]:
        fused = self.fabric.device.type == "cuda"
        made = optimizers(network, rates[0], self.config.training, fused, *rates[1:])
        return [self.fabric.setup_optimizers(each) for each in made]

    # --- A step

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

    def generator_losses(self, batch: Batch, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """:meth:`ast_lib.training.objective.Objective.generator` of this run at a step."""
        with self._computing():
            return self.objective.generator(batch, self._random(step))

    def _rate_factor(self) -> float:
        training = self.config.training
        return learning_rate_factor(self.step, training.steps, training.warm_up, training.final_rate)

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One generator step, then one discriminator step on the same batch; returns what is logged.

        Raises:
            AstError: when a loss or its gradient is not finite, naming it; the state is saved first (:meth:`replay`).
        """
        training, factor = self.config.training, self._rate_factor()
        for optimizer in (*self.generator_optimizers, *self.discriminator_optimizers):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        logged, content = self._generator_step(batch)
        logged |= self._discriminator_step(batch, content)
        with torch.no_grad():
            # The average forgets its start: its decay grows from 1/11 to ``training.average``.
            decay = min(training.average, (self.step + 1) / (self.step + 11))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return logged | {"learning_rate": factor * training.learning_rate}

    def _generator_step(self, batch: Batch) -> tuple[dict[str, float], Tensor]:
        self.graphs.begin((self.objective.phase(self.step), len(batch.labels)))
        losses, content = self.generator_losses(batch, self.step)
        total = self.objective.total(losses, self.step)
        self.graphs.end()
        norm = self._gradients(self.model, total, self.config.training.clip)
        logged = self._finite(losses | {"total": total, "gradient_norm": norm}, batch)
        for optimizer in self.generator_optimizers:
            optimizer.step()
        return logged, content

    def _discriminator_step(self, batch: Batch, content: Tensor) -> dict[str, float]:
        losses = self._discriminator_losses(batch, content)
        norm = self._gradients(self.discriminator, sum(losses.values()), math.inf)
        logged = self._finite(losses | {"discriminator_gradient_norm": norm}, batch)
        for optimizer in self.discriminator_optimizers:
            optimizer.step()
        return logged

    def _discriminator_losses(self, batch: Batch, content: Tensor) -> dict[str, Tensor]:
        with self._computing():
            losses = self.objective.discriminate(batch, content)
        return dict(zip(("discriminator", "discriminator_style"), losses, strict=True))

    def _gradients(self, network: nn.Module, loss: Tensor, clip: float) -> Tensor:
        """Set the gradients of the global batch, clipped; returns their norm before."""
        network.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        average_gradients(network, self.part)
        return nn.utils.clip_grad_norm_(network.parameters(), clip)

    # --- What watches

    def _finite(self, scalars: dict[str, Tensor], batch: Batch) -> dict[str, float]:
        """Means over the processes, in one transfer from the device; one that is not finite stops the run."""
        values = torch.stack([scalar.detach().float() for scalar in scalars.values()])
        numbers = dict(zip(scalars, self.fabric.all_reduce(values, reduce_op="mean").tolist(), strict=True))
        for name, value in numbers.items():
            if not math.isfinite(value):
                what = f"the loss {name}"
                if name.endswith("gradient_norm"):
                    what = f"the gradient of the loss {self._term_of_bad_gradient(batch, name)}"
                saved = f"; see {saving.write_state(self, self.folder / 'stopped.pt')}" if self.folder else ""
                raise AstError(f"training: {what} is {value} at step {self.step}{saved}")
        return numbers

    def _term_of_bad_gradient(self, batch: Batch, norm: str) -> str:
        """The first loss whose gradient is not finite, though every loss is."""
        if norm.startswith("discriminator"):
            return "discriminator"
        losses, *_ = self.generator_losses(batch, self.step)
        parameters, bad = list(self.model.parameters()), {}
        for name, loss in losses.items():
            if loss.requires_grad:
                gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                bad[name] = sum((~gradient.isfinite()).sum() for gradient in gradients if gradient is not None)
        counts = self.fabric.all_reduce(torch.stack(list(bad.values())), reduce_op="sum").tolist()
        return next((name for name, count in zip(bad, counts, strict=True) if count), "total")

    def replay(self, path: str | os.PathLike) -> dict[str, Tensor]:
        """The generator's losses at the step of a state, such as ``stopped.pt``: its batch is made again."""
        saving.resume(self, pathlib.Path(path))
        return self.generator_losses(self.batch(self.step), self.step)[0]

    def update_prototypes(self) -> None:
        """Set the averaged model's prototypes from training clips."""
        self.average.prototypes.copy_(validation.prototypes(self.average, *self.reference))

    def validate(self) -> dict[str, float]:
        """:func:`ast_lib.training.validation.validate` of the averaged model, the same in all processes."""
        self.update_prototypes()
        return self.fabric.broadcast(validation.validate(self.average, self.validation_tasks, self.fabric.device))

    # --- The run

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
            saving.resume(self, self.folder / "state.pt")
        # The time goes on where a resumed run stopped.
        start = time.perf_counter() - (self.history[-1]["seconds"] if self.history else 0.0)
        silent = not (progress and self.fabric.is_global_zero)
        bar = {"initial": self.step, "total": training.steps, "disable": silent, "desc": "training", "mininterval": 5}
        with contextlib.ExitStack() as at_end:
            batches = at_end.enter_context(contextlib.closing(self.batches.stream(self.step, training.steps)))
            events = None
            if self.folder:
                # A resumed run takes the place of what came after the state that it continues.
                events = TensorBoardLogger(self.folder, "tensorboard", "", purge_step=self.step)
                at_end.callback(events.finalize, "success")
            for step in tqdm(range(self.step, training.steps), unit="step", **bar):
                asked = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - asked
                row = {"step": step, "curriculum": self.objective.phase(step).name, "seconds": 0.0, "waited": waited}
                row |= self.train_step(batch)
                row["seconds"] = time.perf_counter() - start
                self.step = step + 1
                self.history.append(row)
                validating = step == training.steps - 1 or (step + 1) % training.validate_every == 0
                if validating:
                    row |= self.validate()
                if events:
                    events.log_metrics({name: value for name, value in row.items() if name != "curriculum"}, step)
                if validating and self.folder:
                    events.save()
                    saving.save(self, self.folder)
        return self.average.cpu()  # as what it transfers

    def frame(self) -> pd.DataFrame:
        """The history: one row a step with every unweighted loss, and the transfer metric where it was measured."""
        return pd.DataFrame(self.history)


def train(config: Config, cache: str | os.PathLike, folder: str | os.PathLike | None = None) -> Trainer:
    """Build the data and train: the whole run in one call."""
    trainer = Trainer(config, build_dataset(config, cache))
    trainer.fit(folder)
    return trainer
