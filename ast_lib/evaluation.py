"""Evaluation on the held-out pairs: every system against the true target, clip by clip.

Chapter: ``notebooks/15_listening.md``, which plays what is measured here. Rows *source copy* and *ceiling* bound
every figure: what doing nothing scores, and what the true magnitude scores after resynthesis.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ast_lib import metrics, results
from ast_lib.clips import RMS, PairedClip
from ast_lib.config import Config
from ast_lib.data import stack_audio
from ast_lib.model import TransferModel
from ast_lib.representation import refine_phase
from ast_lib.transfer import class_style, synthesise, transfer_batch

UNITS = {"lsd": "dB", "chroma_cosine": "1", "raw_pitch_accuracy": "1"}


def at_rms(audio: Tensor, rms: float = RMS) -> Tensor:
    """Each row of ``(B, samples)`` scaled to ``rms``; silence stays."""
    level = audio.square().mean(dim=-1, keepdim=True).sqrt()
    return torch.where(level > 1e-5, audio * (rms / level.clamp_min(1e-5)), audio)


def ceiling(model: TransferModel, truth: Tensor) -> Tensor:
    """Audio from the true magnitude and 32 steps of Griffin-Lim from random phase: ``(B, samples)`` to the same."""
    stft = model.representation.spectrogram(truth)
    phase = 2 * torch.pi * torch.rand(stft.shape, generator=torch.Generator().manual_seed(0))
    return refine_phase(model.representation.spectrogram, torch.polar(stft.abs(), phase), truth.shape[-1], 32)


@torch.inference_mode()
def teacher_forced_batch(model: TransferModel, source: Tensor, truth: Tensor, style: Tensor) -> Tensor:
    """As :func:`ast_lib.transfer.transfer_batch`, but the decoder's context is the truth, which transfer never has."""
    features = model.representation(source)
    context = model.target(model.representation(truth))
    with torch.autocast(source.device.type, torch.bfloat16, enabled=model.config.training.precision == "bf16-mixed"):
        content = model.encode_content(features)
        prediction = model.teacher_forced(context, content, style.to(content.dtype))
    return model.to_stft(prediction, 1 + source.shape[-1] // model.config.representation.hop)


def outputs(model: TransferModel, name: str, clips: list[PairedClip], source: str, target: str) -> dict[str, Tensor]:
    """Audio ``(clips, samples)`` at RMS 0.07 of every system for one direction.

    Args:
        model: trained weights.
        name: what the model's rows are called; ``_predicted_phase`` and ``_teacher_forced`` are appended.
        clips: held-out pairs, all of one length.
        source, target: instruments.

    Returns:
        ``source_copy``, ``ceiling``, ``name`` (free-running, refined phase), ``name_predicted_phase`` (free-running)
        and ``name_teacher_forced`` (refined phase).
    """
    heard, truth = stack_audio(clips, source), stack_audio(clips, target)
    style, samples = class_style(model, target, len(clips)), heard.shape[-1]
    free = transfer_batch(model, heard, style)
    forced = teacher_forced_batch(model, heard, truth, style)
    systems = {
        "source_copy": heard,
        "ceiling": ceiling(model, truth),
        name: synthesise(model, free, samples, "refined"),
        f"{name}_predicted_phase": synthesise(model, free, samples, "predicted"),
        f"{name}_teacher_forced": synthesise(model, forced, samples, "refined"),
    }
    return {system: at_rms(audio) for system, audio in systems.items()}


def score(systems: dict[str, Tensor], clips: list[PairedClip], target: str) -> pd.DataFrame:
    """Metrics per system and clip: columns ``system, piece, kind, metric, value``.

    LSD and chroma cosine are against the true target; raw pitch accuracy is against the score and on monophonic clips
    only, where the row ``truth`` says what the true target itself reaches with the same tracker.
    """
    truth = stack_audio(clips, target)
    rows = []
    for system, audio in systems.items():
        for clip, distance in zip(clips, metrics.lsd(audio, truth).tolist(), strict=True):
            rows.append((system, clip.piece, clip.kind, "lsd", distance))
    for system, audio in {**systems, "truth": truth}.items():
        for sound, target_sound, clip in zip(audio, truth, clips, strict=True):
            if system != "truth":
                rows.append(
                    (system, clip.piece, clip.kind, "chroma_cosine", metrics.chroma_cosine(sound, target_sound))
                )
            if clip.notes.monophonic:
                accuracy = metrics.raw_pitch_accuracy(sound, clip.notes)
                rows.append((system, clip.piece, clip.kind, "raw_pitch_accuracy", accuracy))
    return pd.DataFrame(rows, columns=["system", "piece", "kind", "metric", "value"])


def evaluate(
    model: TransferModel, name: str, clips: list[PairedClip], weights: str
) -> tuple[pd.DataFrame, list[results.Record], dict[str, dict[str, Tensor]]]:
    """Score every system in every direction between the model's instruments.

    Args:
        model, name, clips: as for :func:`outputs`.
        weights: what the records say of where the weights came from.

    Returns:
        the table of :func:`score` with a column ``task``, the summary records, and the audio by task and system.
    """
    config: Config = model.config
    tables, audio = [], {}
    for source in config.instruments:
        for target in config.instruments:
            if source != target:
                task = f"{source}_to_{target}"
                audio[task] = outputs(model, name, clips, source, target)
                tables.append(score(audio[task], clips, target).assign(task=task))
    table = pd.concat(tables, ignore_index=True)
    records = [
        results.summarise(
            group["value"].to_numpy(np.float64),
            metric=metric,
            task=task,
            system=system,
            unit=UNITS[metric],
            profile=config.name,
            weights=weights,
            seed=config.training.seed,
        )
        for (metric, task, system), group in table.groupby(["metric", "task", "system"], sort=True)
    ]
    return table, records, audio
