"""Evaluation on the held-out pairs: every system against the true target, clip by clip.

Chapter: ``notebooks/12_evaluation.md``; ``notebooks/15_listening.md`` plays what is measured here. The rows *source
copy* and *ceiling* bound every figure: what doing nothing scores, and what the true magnitude scores after resynthesis.

A task is a direction between two instruments, such as ``piano_to_violin``. Tables are long: one row a value, with the
columns ``task, system, piece, kind, metric, value``. Audio is ``(clips, samples)``, by task and system.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import joblib
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ast_lib.audio.levels import normalise_rms
from ast_lib.audio.streams import Stream
from ast_lib.config import Config
from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import stack_audio
from ast_lib.data.scores import Notes
from ast_lib.errors import AstError
from ast_lib.evaluation import metrics
from ast_lib.evaluation.baselines import another_piece, constant_spectrum, envelope_transfer, magnitude_only
from ast_lib.networks.model import TransferModel
from ast_lib.transfer.latency import in_time
from ast_lib.transfer.one_shot import clip_styles
from ast_lib.transfer.pipeline import class_style, synthesise, transfer_batch

Audio = dict[str, dict[str, Tensor]]
METRICS = {  # the values for one clip: none where a metric has no meaning, several for several notes
    "lsd": lambda sound, truth, notes: [metrics.lsd(sound, truth)],
    "chroma_cosine": lambda sound, truth, notes: [metrics.chroma_cosine(sound, truth)],
    "raw_pitch_accuracy": lambda sound, _, notes: (
        [metrics.raw_pitch_accuracy(sound, notes)] if notes.monophonic else []
    ),
    "onset_f1": lambda sound, _, notes: [metrics.onset_f1(sound, notes)],
    "envelope_correlation": lambda sound, truth, notes: metrics.envelope_correlation(sound, truth, notes).tolist(),
}
AGAINST_SCORE = ("raw_pitch_accuracy", "onset_f1")


def directions(config: Config) -> Iterator[tuple[str, str, str]]:
    """``source, target, task`` for every two instruments, such as ``piano, violin, piano_to_violin``."""
    for source, target in itertools.permutations(config.instruments, 2):
        yield source, target, f"{source}_to_{target}"


# --- Systems: what makes the audio -----------------------------------------------------------------------------------


def ceiling(model: TransferModel, truth: Tensor) -> Tensor:
    """Audio from the true magnitude and 32 steps of Griffin-Lim from random phase: ``(B, samples)`` to the same."""
    spectrogram = model.representation.spectrogram
    return magnitude_only(spectrogram, spectrogram(truth), truth.shape[-1])


@torch.inference_mode()
def teacher_forced_batch(model: TransferModel, source: Tensor, truth: Tensor, style: Tensor) -> Tensor:
    """As :func:`transfer_batch`, but the decoder's context is the truth, which transfer never has."""
    features = model.representation(in_time(model, Stream.of(source), style).whole())
    context = model.target(model.representation(truth))
    with torch.autocast(source.device.type, torch.bfloat16, enabled=model.config.training.precision == "bf16-mixed"):
        content = model.encode_content(features)
        prediction = model.teacher_forced(context, content, style.to(content.dtype))
    return model.to_stft(prediction, 1 + source.shape[-1] // model.config.representation.hop)


def transferred(model: TransferModel, heard: Tensor, style: Tensor) -> Tensor:
    """Free-running transfer with refined phase at RMS 0.07: ``(B, samples)`` to the same."""
    return normalise_rms(synthesise(model, transfer_batch(model, heard, style), heard.shape[-1], "refined"))


def outputs(
    model: TransferModel,
    name: str,
    clips: list[PairedClip],
    source: str,
    target: str,
    power: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Audio ``(clips, samples)`` at RMS 0.07 of every system for one direction.

    Args:
        model: trained weights.
        name: what the model's rows are called; ``_predicted_phase`` and ``_teacher_forced`` are appended.
        clips: held-out pairs, all of one length.
        source, target: instruments.
        power: :func:`ast_lib.evaluation.baselines.average_power` of training clips by instrument, for the baselines.

    Returns:
        ``source_copy``, ``another_piece`` (of two clips or more); with ``power`` ``constant_spectrum`` and
        ``spectral_envelope``; ``ceiling``, ``name`` (free-running, refined phase), ``name_predicted_phase``
        (free-running), ``name_magnitude_only`` (free-running, phase by Griffin-Lim from random) and
        ``name_teacher_forced`` (refined phase).
    """
    heard, truth = stack_audio(clips, source), stack_audio(clips, target)
    style, samples = class_style(model, target, len(clips)), heard.shape[-1]
    free = transfer_batch(model, heard, style)
    forced = teacher_forced_batch(model, heard, truth, style)
    systems, spectrogram = {"source_copy": heard}, model.representation.spectrogram
    if len(clips) > 1:
        systems["another_piece"] = another_piece(truth)
    if power is not None:
        systems["constant_spectrum"] = constant_spectrum(spectrogram, power[target], heard)
        systems["spectral_envelope"] = envelope_transfer(spectrogram, heard, power[source], power[target])
    systems |= {
        "ceiling": ceiling(model, truth),
        name: synthesise(model, free, samples, "refined"),
        f"{name}_predicted_phase": synthesise(model, free, samples, "predicted"),
        f"{name}_magnitude_only": magnitude_only(spectrogram, free, samples),
        f"{name}_teacher_forced": synthesise(model, forced, samples, "refined"),
    }
    return {system: normalise_rms(audio) for system, audio in systems.items()}


# --- Scores ----------------------------------------------------------------------------------------------------------


def measure(metric: str, sound: np.ndarray, truth: np.ndarray, notes: Notes) -> list[float]:
    """The values of one of :data:`METRICS` for one clip: none where it has no meaning, several for several notes."""
    if metric not in METRICS:
        raise AstError(f"metric: found {metric!r}, accepted are {', '.join(METRICS)}")
    return METRICS[metric](sound, truth, notes)


def score(
    systems: Mapping[str, Tensor], clips: list[PairedClip], target: str, chosen: Sequence[str] = tuple(METRICS)
) -> pd.DataFrame:
    """The chosen metrics per system and clip: columns ``system, piece, kind, metric, value``.

    LSD, chroma cosine and the correlation of envelopes (one value a note of 1 s or more) are against the true target.
    Onset F1 and, on monophonic clips, raw pitch accuracy are against the score: there the row ``truth`` says what the
    true target itself reaches with the same detector.
    """
    truth = stack_audio(clips, target).numpy()
    cells = [
        (system, clip, metric, sound, true_sound)
        for system, audio in {**systems, "truth": truth}.items()
        for sound, true_sound, clip in zip(np.asarray(audio), truth, clips, strict=True)
        for metric in chosen
        if system != "truth" or metric in AGAINST_SCORE
    ]
    # Here first: processes that compile the same function of librosa's at the same time can crash.
    for metric in chosen:
        measure(metric, truth[0], truth[0], clips[0].notes)
    # Starting processes takes as long as a hundred values or two.
    parallel = joblib.Parallel(n_jobs=-1 if len(cells) > 400 else 1)
    values = parallel(joblib.delayed(measure)(metric, *sounds, clip.notes) for _, clip, metric, *sounds in cells)
    rows = [
        (system, clip.piece, clip.kind, metric, value)
        for (system, clip, metric, *_), found in zip(cells, values, strict=True)
        for value in found
    ]
    return pd.DataFrame(rows, columns=["system", "piece", "kind", "metric", "value"])


def score_tasks(audio: Audio, clips: list[PairedClip], chosen: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """:func:`score` of the systems of every task, with a column ``task``."""
    tables = [score(systems, clips, task.split("_to_")[1], chosen).assign(task=task) for task, systems in audio.items()]
    return pd.concat(tables, ignore_index=True)


# --- Experiments -----------------------------------------------------------------------------------------------------


def evaluate(
    model: TransferModel, name: str, clips: list[PairedClip], power: Mapping[str, Tensor] | None = None
) -> tuple[pd.DataFrame, Audio]:
    """Score every system in every direction between the model's instruments; arguments as for :func:`outputs`."""
    audio = {task: outputs(model, name, clips, a, b, power) for a, b, task in directions(model.config)}
    return score_tasks(audio, clips), audio


def transfers(
    model: TransferModel,
    name: str,
    clips: list[PairedClip],
    heard: list[PairedClip],
    chosen: Sequence[str] = ("lsd", "chroma_cosine"),
) -> pd.DataFrame:
    """Transfers of one set of clips, against the truth of another.

    Args:
        model, name, clips: as for :func:`outputs`; their audio is the truth.
        heard: the sources: the same clips, or these excerpts on a soundfont or an instrument that training left out.
        chosen: metrics.

    Returns:
        these metrics of ``source_copy``, ``ceiling`` and ``name``.
    """
    audio = {}
    for source, target, task in directions(model.config):
        sound = stack_audio(heard, source)
        made = transferred(model, sound, class_style(model, target, len(sound)))
        audio[task] = {"source_copy": sound, "ceiling": ceiling(model, stack_audio(clips, target)), name: made}
    return score_tasks(audio, clips, chosen)


def one_shot(
    model: TransferModel,
    name: str,
    voices: Mapping[str, list[PairedClip]],
    unseen: list[PairedClip],
    style_clips: list[PairedClip],
    prototype: Mapping[str, Tensor],
) -> pd.DataFrame:
    """The target voice is one that training left out, given as a single clip of another piece.

    Args:
        model, name: as for :func:`outputs`.
        voices: the held-out excerpts on each trained soundfont that plays, the default one first.
        unseen: the same excerpts on the soundfont left out: their audio is the truth.
        style_clips: clips of *other* pieces on the soundfont left out, used in turn.
        prototype: by task, the outputs with the class prototype, those of ``name`` in :func:`evaluate`.

    Returns:
        LSD to the truth of ``source_copy``, ``ceiling``, ``name_prototype``, ``name_one_shot`` and, for each trained
        soundfont, ``voice_<soundfont>``: the true target instrument on that soundfont.

    Raises:
        AstError: when a style clip is of the piece that it would be used for.
    """
    sources = next(iter(voices.values()))
    chosen = [style_clips[i % len(style_clips)] for i in range(len(sources))]
    same = [clip.piece for clip, style in zip(sources, chosen, strict=True) if clip.piece == style.piece]
    if same:
        raise AstError(f"style_clips: found one of the source's own piece {same[0]}, accepted are other pieces")
    audio = {}
    for source, target, task in directions(model.config):
        heard = stack_audio(sources, source)
        audio[task] = {
            "source_copy": heard,
            "ceiling": ceiling(model, stack_audio(unseen, target)),
            f"{name}_prototype": prototype[task],
            f"{name}_one_shot": transferred(model, heard, clip_styles(model, stack_audio(chosen, target))),
            **{f"voice_{font.lower()}": stack_audio(clips, target) for font, clips in voices.items()},
        }
    return score_tasks(audio, unseen, ("lsd",))
