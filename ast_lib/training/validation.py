"""Validation: a model and clips that it is never trained on in; its prototypes and the distance to the truth out.

Chapter: ``notebooks/11_training.md``.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ast_lib.data.dataset import Task
from ast_lib.evaluation.metrics import log_spectral_distance
from ast_lib.losses.margin import class_prototypes
from ast_lib.networks.model import TransferModel
from ast_lib.representation.features import Features
from ast_lib.transfer.pipeline import class_style, transfer_batch

STATISTICS_STEP = 10**6  # batches from here on, cut from training's performances, are for statistics and prototypes
STATISTICS_BATCHES = 6
CHUNK = 16  # clips whose features are computed at once


def reference_clips(sampler: Callable) -> tuple[Tensor, Tensor]:
    """Training clips ``(B, samples)`` and their voices ``(B,)``: for statistics per bin, and for prototypes."""
    batches = [sampler(STATISTICS_STEP + i) for i in range(STATISTICS_BATCHES)]
    return tuple(torch.from_numpy(np.concatenate(arrays)) for arrays in list(zip(*batches, strict=True))[:2])


def reference_features(model: TransferModel, clips: Tensor) -> Features:
    """Features of many clips, a few at a time."""
    return Features.cat([model.representation(few) for few in clips.split(CHUNK)])


@torch.no_grad()
def prototypes(model: TransferModel, clips: Tensor, voices: Tensor) -> Tensor:
    """Mean style of each voice over its clips: ``(voices, style_size)``."""
    styles = torch.cat([model.encode_style(model.representation(few)) for few in clips.split(CHUNK)])
    return class_prototypes(styles, voices, len(model.config.voices))


def validate(model: TransferModel, tasks: Sequence[Task], device: torch.device) -> dict[str, float]:
    """LSD in dB of free-running decoding on validation clips, magnitudes only.

    Per direction against the true target (``lsd_piano_to_violin``); with recordings, which have none, of each
    instrument's reconstruction (``lsd_piano_reconstruction``).
    """
    distances = {}
    for task in tasks:
        heard, truth = task.heard.to(device), task.truth.to(device)
        stft = transfer_batch(model, heard, class_style(model, task.target, len(heard)))
        distance = log_spectral_distance(stft, model.representation.spectrogram(truth))
        distances[f"lsd_{task.name}"] = distance.mean().item()
    return distances
