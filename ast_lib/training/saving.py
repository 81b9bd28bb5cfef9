"""Saving: a run in; ``state.pt`` and ``history.csv``, from which it goes on exactly, out, and back.

Chapter: ``notebooks/11_training.md``. Each file is written whole or not at all, by the first process. A state holds
tensors and numbers only: to read one runs no code.
"""

import dataclasses
import io
import pathlib
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ast_lib.checked import from_values, to_dict
from ast_lib.errors import AstError
from ast_lib.files import write_bytes
from ast_lib.training.batches import Batch

if TYPE_CHECKING:
    from ast_lib.training.trainer import Trainer

NETWORKS = ("model", "discriminator")
STATEFUL = (*NETWORKS, "average", "generator_optimizer", "discriminator_optimizer")


def save(trainer: "Trainer", folder: pathlib.Path) -> None:
    """Write ``history.csv`` and ``state.pt``."""
    if trainer.fabric.is_global_zero:
        write_bytes(folder / "history.csv", trainer.frame().to_csv(index=False).encode())
    _write(trainer, folder / "state.pt", {"history": trainer.history}, STATEFUL)


def resume(trainer: "Trainer", path: pathlib.Path) -> None:
    """Continue from a state written by :func:`save`; a missing file means a new run.

    Raises:
        AstError: when the state is not readable, or belongs to another configuration.
    """
    found = trainer.fabric.is_global_zero and path.is_file()
    state = trainer.fabric.broadcast(_read(trainer, path) if found else None)
    if state is not None:
        _load(trainer, state, STATEFUL)
        trainer.step, trainer.history = state["step"], state["history"]


def save_batch(trainer: "Trainer", batch: Batch) -> pathlib.Path | None:
    """Write what :func:`load_batch` needs to ``stopped.pt``: the global batch, the networks and where they were."""

    def whole(value):
        if isinstance(value, dict):
            return {name: whole(item) for name, item in value.items()}
        return trainer.part.gather(value) if isinstance(value, Tensor) else value

    gathered = whole(dataclasses.asdict(batch))
    if trainer.folder is None:
        return None
    state = {"seed": trainer.config.training.seed, "batch": gathered}
    return _write(trainer, trainer.folder / "stopped.pt", state, NETWORKS)


def load_batch(trainer: "Trainer", path: pathlib.Path) -> tuple[Batch, int]:
    """The batch that stopped a run and its step; the trainer takes the networks as they were.

    For one process, whatever number made the file.

    Raises:
        AstError: when the file is not readable, or belongs to another configuration.
    """
    saved = _read(trainer, path)
    _load(trainer, saved, NETWORKS)
    fields, like = trainer.fabric.to_device(saved["batch"]), trainer.batch(0)
    for name in ("features", "heard"):
        fields[name] = type(getattr(like, name))(**fields[name])
    return Batch(**fields), saved["step"]


def _load(trainer: "Trainer", state: dict, names: Sequence[str]) -> None:
    for name in names:
        getattr(trainer, name).load_state_dict(state[name])


def _write(trainer: "Trainer", path: pathlib.Path, values: dict, names: Sequence[str]) -> pathlib.Path:
    """Write ``values``, configuration, step and the states of what ``names`` names, from the first process."""
    if trainer.fabric.is_global_zero:
        states = {name: getattr(trainer, name).state_dict() for name in names}
        buffer = io.BytesIO()
        torch.save({"config": to_dict(trainer.config), "step": trainer.step} | values | states, buffer)
        write_bytes(path, buffer.getvalue())
    return path


def _read(trainer: "Trainer", path: pathlib.Path) -> dict:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise AstError(f"training: {path} is not a readable state; remove it to start again") from error
    try:
        # Fields that did not exist when it was written have their default.
        same = isinstance(state, dict) and from_values(type(trainer.config), state.get("config")) == trainer.config
    except AstError:
        same = False
    if not same:
        raise AstError(f"training: {path} belongs to another configuration; remove it or choose another folder")
    return state
