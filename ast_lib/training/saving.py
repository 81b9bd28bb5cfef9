"""Saving: a run in; ``state.pt`` and ``history.csv``, from which it goes on exactly, out, and back.

Chapter: ``notebooks/11_training.md``. Each file is written whole or not at all, by the first process. A state holds
tensors and numbers only: to read one runs no code.
"""

import dataclasses
import io
import pathlib
import pickle
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ast_lib.checked import from_values, to_dict
from ast_lib.errors import AstError
from ast_lib.files import write_bytes
from ast_lib.training.batches import Batch

if TYPE_CHECKING:
    from ast_lib.training.trainer import Trainer

NETWORKS = ("model", "discriminator", "average")
OPTIMIZERS = ("generator_optimizers", "discriminator_optimizers")


def save(trainer: "Trainer", folder: pathlib.Path) -> None:
    """Write ``history.csv`` and ``state.pt``."""
    if trainer.fabric.is_global_zero:
        write_bytes(folder / "history.csv", trainer.frame().to_csv(index=False).encode())
    _write(trainer, folder / "state.pt")


def resume(trainer: "Trainer", path: pathlib.Path) -> None:
    """Continue from a state written by :func:`save`; a missing file means a new run.

    Raises:
        AstError: when the state is not readable, or belongs to another configuration.
    """
    found = trainer.fabric.is_global_zero and path.is_file()
    state = trainer.fabric.broadcast(_read(trainer, path) if found else None)
    if state is not None:
        _load(trainer, state)


def save_batch(trainer: "Trainer", batch: Batch) -> pathlib.Path | None:
    """Write ``stopped.pt``, a state with the global batch that stopped the run, for :func:`load_batch`."""

    def whole(value):
        if isinstance(value, dict):
            return {name: whole(item) for name, item in value.items()}
        return trainer.part.gather(value) if isinstance(value, Tensor) else value

    gathered = whole(dataclasses.asdict(batch))
    return _write(trainer, trainer.folder / "stopped.pt", batch=gathered) if trainer.folder else None


def load_batch(trainer: "Trainer", path: pathlib.Path) -> Batch:
    """The batch that stopped a run; the trainer goes back to where the run was.

    For one process, whatever number made the file.

    Raises:
        AstError: when the file is not readable, or belongs to another configuration.
    """
    state = _read(trainer, path)
    _load(trainer, state)
    fields, like = trainer.fabric.to_device(state["batch"]), trainer.batch(0)
    for name in ("features", "heard"):
        fields[name] = type(getattr(like, name))(**fields[name])
    return Batch(**fields)


def _load(trainer: "Trainer", state: dict) -> None:
    for name in NETWORKS:
        getattr(trainer, name).load_state_dict(state[name])
    for name in OPTIMIZERS:
        for optimizer, saved in zip(getattr(trainer, name), state[name], strict=True):
            optimizer.load_state_dict(saved)
    trainer.step, trainer.history = state["step"], state["history"]


def _write(trainer: "Trainer", path: pathlib.Path, **more: dict) -> pathlib.Path:
    """Write configuration, step, history, the states of networks and optimizers, and ``more``."""
    if trainer.fabric.is_global_zero:
        state = {"config": to_dict(trainer.config), "step": trainer.step, "history": trainer.history, **more}
        state |= {name: getattr(trainer, name).state_dict() for name in NETWORKS}
        state |= {name: [each.state_dict() for each in getattr(trainer, name)] for name in OPTIMIZERS}
        buffer = io.BytesIO()
        torch.save(state, buffer)
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
