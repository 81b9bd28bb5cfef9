"""Weights from one command: a preset in; a run from step 0 to its end, and the file that it makes, out.

Chapter: ``notebooks/11_training.md``. ``make weights`` is ``python -m ast_lib train --folder build/weights -o
weights/full.safetensors``. Killed, it goes on where its last state was. The file names the one commit and the one
command that made it, and the digests of what went in.
"""

import hashlib
import json
import os
import pathlib
import shlex
from collections.abc import Sequence

from ast_lib.config import override, preset
from ast_lib.data.scores import notes_digest
from ast_lib.errors import AstError
from ast_lib.files import CACHE, check_target, write_bytes
from ast_lib.networks.checkpoint import commit, provenance, save_weights
from ast_lib.training.trainer import Trainer, train


def train_weights(
    output: str | os.PathLike,
    folder: str | os.PathLike,
    profile: str = "full",
    changes: Sequence[str] = (),
    cache: str | os.PathLike = CACHE,
) -> pathlib.Path:
    """Train a preset with changed fields and write its averaged weights in half precision.

    Args:
        output: the safetensors file.
        folder: of the run: ``state.pt``, ``history.csv`` and ``origin.json``, what the run began with.
        profile: name of the preset.
        changes: as for :func:`ast_lib.config.override`.
        cache: folder for parsed scores and rendered performances.

    Raises:
        AstError: for an unknown preset or field, a file that cannot be written, a folder with the run of another commit
            or configuration, or a run that stops.
    """
    config, folder = override(preset(profile), *changes), pathlib.Path(folder)
    check_target(pathlib.Path(output).resolve())
    command = shlex.join(["--profile", profile, *changes])
    origin = {"commit": commit(), "command": f"python -m ast_lib train -o FILE --folder FOLDER {command}"}
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "origin.json"
    if not kept.is_file():
        write_bytes(kept, json.dumps(origin).encode())
    if (began := json.loads(kept.read_text(encoding="utf-8"))) != origin:
        raise AstError(f"training: {kept}: found {began}, accepted is {origin}; a run has one commit and one command")
    trainer = train(config, cache, folder)
    return save_weights(output, trainer.average, metrics(trainer), {**source(trainer), **origin}, half=True)


def metrics(trainer: Trainer) -> dict[str, float]:
    """The last validation's distances."""
    return {name: value for name, value in trainer.history[-1].items() if name.startswith("lsd_")}


def source(trainer: Trainer) -> dict:
    """:func:`ast_lib.networks.checkpoint.provenance` of a finished run, and the digest of the scores it trained on."""
    device, processes = trainer.fabric.device, trainer.part.count
    found = provenance(trainer.config, trainer.step, trainer.history[-1]["seconds"], device, processes)
    if not trainer.config.data.manifest:
        pieces = sum(trainer.dataset.splits.train.values(), [])
        scores = "".join(f"{piece.name} {notes_digest(piece.notes)}\n" for piece in pieces)
        found["data"]["scores"] = hashlib.sha256(scores.encode()).hexdigest()
    return found
