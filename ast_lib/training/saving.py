"""Saving: a run in; ``state.pt`` and ``history.csv``, from which it goes on exactly, out, and back.

Chapter: ``notebooks/11_training.md``. Each file is written whole or not at all, by the first process. A state holds
tensors and numbers only: to read one runs no code.
"""

import io
import pathlib
import pickle
from typing import TYPE_CHECKING

import torch

from ast_lib.checked import from_values, to_dict
from ast_lib.errors import AstError
from ast_lib.files import write_bytes

if TYPE_CHECKING:
    from ast_lib.training.trainer import Trainer

NETWORKS = ("model", "discriminator", "average")
OPTIMIZERS = ("generator_optimizers", "discriminator_optimizers")


def save(trainer: "Trainer", folder: pathlib.Path) -> None:
    """Write ``history.csv`` and ``state.pt``."""
    if trainer.fabric.is_global_zero:
        write_bytes(folder / "history.csv", trainer.frame().to_csv(index=False).encode())
    write_state(trainer, folder / "state.pt")


def resume(trainer: "Trainer", path: pathlib.Path) -> None:
    """Continue from a state written by :func:`save`; a missing file means a new run.

    Raises:
        AstError: when the state is not readable, or belongs to another configuration.
    """
    found = trainer.fabric.is_global_zero and path.is_file()
    state = trainer.fabric.broadcast(_read(trainer, path) if found else None)
    if state is None:
        return
    for name in NETWORKS:
        getattr(trainer, name).load_state_dict(state[name])
    for name in OPTIMIZERS:
        for optimizer, saved in zip(getattr(trainer, name), state[name], strict=True):
            optimizer.load_state_dict(saved)
    trainer.step, trainer.history = state["step"], state["history"]


def write_state(trainer: "Trainer", path: pathlib.Path) -> pathlib.Path:
    """Write configuration, step, history and the states of networks and optimizers."""
    if trainer.fabric.is_global_zero:
        state = {"config": to_dict(trainer.config), "step": trainer.step, "history": trainer.history}
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
