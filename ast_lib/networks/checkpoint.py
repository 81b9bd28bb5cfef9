"""Weights on disk: a model in; a safetensors file with configuration, metrics and provenance inside out, and back.

Chapter: ``notebooks/11_training.md``. A safetensors file holds numbers and text only: loading it never runs code.
"""

import datetime
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess

import safetensors
import safetensors.torch
import torch

from ast_lib.checked import from_values, to_dict
from ast_lib.config import PRESETS, Config
from ast_lib.errors import AstError
from ast_lib.files import ROOT, write_bytes
from ast_lib.networks.model import TransferModel

PUBLISHED = ROOT / "weights" / "full.safetensors"
TRAINED = ROOT / "build" / "quick" / "weights" / "quick.safetensors"
PACKAGES = ("torch", "lightning-fabric", "numpy", "pyfluidsynth")  # whose versions can change what is learnt


def provenance(config: Config, steps: int, seconds: float, device: torch.device, processes: int) -> dict:
    """Where weights come from, for :func:`save_weights`.

    Args:
        config: of the run.
        steps, seconds: trained, over all parts of a resumed run.
        device, processes: that trained them.

    Returns:
        JSON-able: ``commit`` (that of the code, with ``-dirty`` after changes; ``unknown`` outside a git repository of
        its own), ``date`` (UTC), ``python``, ``versions``, ``system``, ``device``, ``threads``, ``processes``,
        ``profile``, ``seed``, ``steps``, ``training_seconds`` and ``data``, the SHA-256 of soundfonts or manifest and
        of the presets, by name.

    Raises:
        AstError: when a soundfont is missing.
        OSError: when the manifest is.
    """
    from ast_lib.data.synth import soundfont_path  # here, since to load weights takes no synthesiser

    manifest = config.data.manifest
    paths = [pathlib.Path(manifest)] if manifest else [soundfont_path(soundfont) for soundfont in config.soundfonts]
    paths.append(PRESETS)
    return {
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "profile": config.name,
        "seed": config.training.seed,
        "steps": steps,
        "training_seconds": round(seconds),
        "data": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths},
    }


def commit() -> str:
    """Commit of the code, with ``-dirty`` after changes; ``unknown`` outside a git repository of its own."""
    # git alone would find the repository of another project around this folder.
    command = "git --git-dir=.git --work-tree=. describe --always --dirty --abbrev=40 --exclude=*"
    try:
        return subprocess.run(command.split(), cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def save_weights(
    path: str | os.PathLike, model: TransferModel, metrics: dict, provenance: dict, half: bool = False
) -> pathlib.Path:
    """Write the model's tensors with its configuration, ``metrics`` and ``provenance`` (both JSON-able); whole or not.

    Args:
        half: store float16, half the size; they are float32 again when loaded.

    Raises:
        AstError: when the folder is missing or the disk is full.
    """
    values = {"config": to_dict(model.config), "metrics": metrics, "provenance": provenance}
    metadata = {name: json.dumps(value) for name, value in values.items()}
    kind = torch.float16 if half else torch.float32
    tensors = {name: tensor.detach().to("cpu", kind).contiguous() for name, tensor in model.state_dict().items()}
    return write_bytes(path, safetensors.torch.save(tensors, metadata))


def read_metadata(path: str | os.PathLike) -> dict:
    """``config``, ``metrics`` and ``provenance`` of a weights file, as dictionaries.

    Raises:
        AstError: when the file is missing, not safetensors, or without them.
    """
    if not os.path.isfile(path):
        raise AstError(f"weights: no file at {path}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return {name: json.loads(metadata[name]) for name in ("config", "metrics", "provenance")}
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise AstError(f"weights: {path} is not a readable safetensors file: {error}") from error
    except KeyError as error:
        raise AstError(f"weights: {path} has no {error.args[0]} in its metadata, so it is not one of ours") from error


def load_weights(path: str | os.PathLike, kind: type[TransferModel] = TransferModel) -> TransferModel:
    """The model in a weights file, in evaluation mode.

    Args:
        path: a file written by :func:`save_weights`.
        kind: of the model.

    Raises:
        AstError: unreadable file, a configuration of another version, missing, extra or misshapen tensors, values that
            are not finite.
    """
    values = read_metadata(path)["config"]
    try:
        config = from_values(kind.configuration, values)
    except AstError as error:
        convert = f"python tools/convert_weights.py {path} NEW.safetensors"
        raise AstError(f"weights: {path} was made by another version ({error}); older weights: {convert}") from error
    model = kind(config)
    tensors = safetensors.torch.load_file(path)
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise AstError(f"weights: {path}: {name} has values that are NaN or infinite")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # of missing, extra or misshapen tensors
        raise AstError(f"weights: {path}: {' '.join(str(error).split())}") from error
    return model.eval()


def find_weights() -> pathlib.Path:
    """The published weights if this copy of the project has them, else those that ``make book`` trained.

    Raises:
        AstError: when there are neither.
    """
    for path in (PUBLISHED, TRAINED):
        if path.is_file():
            return path
    raise AstError(f"weights: neither {PUBLISHED} nor {TRAINED} exists; run 'make book' to train, or give --weights")
