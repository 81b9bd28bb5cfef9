"""Evaluation on the held-out pairs: every system against the true target, clip by clip.

Chapter: ``notebooks/12_evaluation.md``; ``notebooks/15_listening.md`` plays what is measured here. Rows *source copy*
and *ceiling* bound every figure: what doing nothing scores, and what the true magnitude scores after resynthesis.

Tables are long: one row a value, with the columns ``task, system, piece, kind, metric, value``.
"""

from collections.abc import Iterator, Mapping, Sequence

import joblib
import numpy as np
import pandas as pd
import scipy.stats
import torch
from torch import Tensor

from ast_lib.audio.levels import RMS
from ast_lib.audio.streams import Stream
from ast_lib.book import results
from ast_lib.config import Config
from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import stack_audio
from ast_lib.data.scores import Notes
from ast_lib.errors import AstError
from ast_lib.evaluation import metrics
from ast_lib.evaluation.baselines import envelope_transfer
from ast_lib.networks.model import TransferModel
from ast_lib.representation.griffin_lim import refine_phase
from ast_lib.transfer.latency import in_time
from ast_lib.transfer.one_shot import clip_styles
from ast_lib.transfer.pipeline import class_style, synthesise, transfer_batch

UNITS = {
    "lsd": "dB",
    "chroma_cosine": "1",
    "raw_pitch_accuracy": "1",
    "onset_f1": "1",
    "envelope_correlation": "1",
}


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
    """As :func:`transfer_batch`, but the decoder's context is the truth, which transfer never has."""
    features = model.representation(in_time(model, Stream.of(source), style).whole())
    context = model.target(model.representation(truth))
    with torch.autocast(source.device.type, torch.bfloat16, enabled=model.config.training.precision == "bf16-mixed"):
        content = model.encode_content(features)
        prediction = model.teacher_forced(context, content, style.to(content.dtype))
    return model.to_stft(prediction, 1 + source.shape[-1] // model.config.representation.hop)


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
        power: :func:`ast_lib.evaluation.baselines.average_power` of training clips by instrument, for the baseline.

    Returns:
        ``source_copy``, ``spectral_envelope`` (where ``power`` is given), ``ceiling``, ``name`` (free-running, refined
        phase), ``name_predicted_phase`` (free-running) and ``name_teacher_forced`` (refined phase).
    """
    heard, truth = stack_audio(clips, source), stack_audio(clips, target)
    style, samples = class_style(model, target, len(clips)), heard.shape[-1]
    free = transfer_batch(model, heard, style)
    forced = teacher_forced_batch(model, heard, truth, style)
    spectrogram, baseline = model.representation.spectrogram, {}
    if power is not None:
        baseline["spectral_envelope"] = envelope_transfer(spectrogram, heard, power[source], power[target])
    systems = {
        "source_copy": heard,
        **baseline,
        "ceiling": ceiling(model, truth),
        name: synthesise(model, free, samples, "refined"),
        f"{name}_predicted_phase": synthesise(model, free, samples, "predicted"),
        f"{name}_teacher_forced": synthesise(model, forced, samples, "refined"),
    }
    return {system: at_rms(audio) for system, audio in systems.items()}


def measure(metric: str, sound: np.ndarray, truth: np.ndarray, notes: Notes) -> list[float]:
    """The values of a metric of :data:`UNITS` for one clip: none where it has no meaning, several for several notes."""
    if metric == "lsd":
        return [float(metrics.lsd(sound, truth))]
    if metric == "chroma_cosine":
        return [metrics.chroma_cosine(sound, truth)]
    if metric == "raw_pitch_accuracy":
        return [metrics.raw_pitch_accuracy(sound, notes)] if notes.monophonic else []
    if metric == "onset_f1":
        return [metrics.onset_f1(sound, notes)]
    if metric == "envelope_correlation":
        return metrics.envelope_correlation(sound, truth, notes).tolist()
    raise AstError(f"metric: found {metric!r}, accepted are {', '.join(UNITS)}")


def score(
    systems: dict[str, Tensor], clips: list[PairedClip], target: str, chosen: Sequence[str] = tuple(UNITS)
) -> pd.DataFrame:
    """The chosen metrics per system and clip: columns ``system, piece, kind, metric, value``.

    LSD, chroma cosine and the correlation of envelopes (one value a note of 1 s or more) are against the true target.
    Onset F1 and, on monophonic clips, raw pitch accuracy are against the score: there the row ``truth`` says what the
    true target itself reaches with the same detector.
    """
    truth = stack_audio(clips, target).numpy()
    cells = [
        (system, clip, metric, sound, target_sound)
        for system, audio in {**systems, "truth": truth}.items()
        for sound, target_sound, clip in zip(np.asarray(audio), truth, clips, strict=True)
        for metric in chosen
        if system != "truth" or metric in ("raw_pitch_accuracy", "onset_f1")
    ]
    # Here first: processes that compile the same function of librosa's at the same time can crash.
    for metric in chosen:
        measure(metric, truth[0], truth[0], clips[0].notes)
    # Starting processes takes as long as a hundred values or two.
    parallel = joblib.Parallel(n_jobs=-1 if len(cells) > 400 else 1)
    values = parallel(
        joblib.delayed(measure)(metric, sound, target_sound, clip.notes)
        for _, clip, metric, sound, target_sound in cells
    )
    rows = [
        (system, clip.piece, clip.kind, metric, value)
        for (system, clip, metric, *_), found in zip(cells, values, strict=True)
        for value in found
    ]
    return pd.DataFrame(rows, columns=["system", "piece", "kind", "metric", "value"])


def directions(config: Config) -> Iterator[tuple[str, str, str]]:
    """``source, target, task`` for every two instruments, such as ``piano, violin, piano_to_violin``."""
    for source in config.instruments:
        for target in config.instruments:
            if source != target:
                yield source, target, f"{source}_to_{target}"


def evaluate(
    model: TransferModel,
    name: str,
    clips: list[PairedClip],
    weights: str,
    power: Mapping[str, Tensor] | None = None,
) -> tuple[pd.DataFrame, list[results.Record], dict[str, dict[str, Tensor]]]:
    """Score every system in every direction between the model's instruments.

    Args:
        model, name, clips, power: as for :func:`outputs`.
        weights: what the records say of where the weights came from.

    Returns:
        the table of :func:`score` with a column ``task``, the summary records, and the audio by task and system.
    """
    tables, audio = [], {}
    for source, target, task in directions(model.config):
        audio[task] = outputs(model, name, clips, source, target, power)
        tables.append(score(audio[task], clips, target).assign(task=task))
    table = pd.concat(tables, ignore_index=True)
    return table, to_records(table, model.config, weights), audio


def to_records(table: pd.DataFrame, config: Config, weights: str) -> list[results.Record]:
    """Mean and standard deviation of every metric, task and system of a table."""
    return [
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


# --- Voices that training never heard --------------------------------------------------------------------------------


def transferred(model: TransferModel, heard: Tensor, style: Tensor) -> Tensor:
    """Free-running transfer with refined phase at RMS 0.07: ``(B, samples)`` to the same."""
    return at_rms(synthesise(model, transfer_batch(model, heard, style), heard.shape[-1], "refined"))


def unseen_source(model: TransferModel, name: str, clips: list[PairedClip], unseen: list[PairedClip]) -> pd.DataFrame:
    """Sources on another soundfont, truth on the default one.

    Args:
        model, name, clips: as for :func:`outputs`.
        unseen: the same excerpts as ``clips``, played on the soundfont that training left out.

    Returns:
        LSD and chroma cosine of ``source_copy`` and ``name``.
    """
    tables = []
    for source, target, task in directions(model.config):
        heard = stack_audio(unseen, source)
        systems = {"source_copy": heard, name: transferred(model, heard, class_style(model, target, len(heard)))}
        tables.append(score(systems, clips, target, ("lsd", "chroma_cosine")).assign(task=task))
    return pd.concat(tables, ignore_index=True)


def one_shot(
    model: TransferModel,
    name: str,
    voices: dict[str, list[PairedClip]],
    unseen: list[PairedClip],
    style_clips: list[PairedClip],
    prototype: dict[str, Tensor] | None = None,
) -> pd.DataFrame:
    """The target voice is one that training left out, given as a single clip of another piece.

    Args:
        model, name: as for :func:`outputs`.
        voices: the held-out excerpts on each trained soundfont that plays, the default one first.
        unseen: the same excerpts on the soundfont left out: their audio is the truth.
        style_clips: clips of *other* pieces on the soundfont left out, used in turn.
        prototype: by task, the outputs with the class prototype where they are known already.

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
    tables = []
    for source, target, task in directions(model.config):
        heard = stack_audio(sources, source)
        style = clip_styles(model, stack_audio(chosen, target))
        plain = prototype[task] if prototype else transferred(model, heard, class_style(model, target, len(heard)))
        systems = {
            "source_copy": heard,
            "ceiling": ceiling(model, stack_audio(unseen, target)),
            f"{name}_prototype": plain,
            f"{name}_one_shot": transferred(model, heard, style),
            **{f"voice_{font.lower()}": stack_audio(clips, target) for font, clips in voices.items()},
        }
        tables.append(score(systems, unseen, target, ("lsd",)).assign(task=task))
    return pd.concat(tables, ignore_index=True)


# --- Table 1 of the paper --------------------------------------------------------------------------------------------

# What the paper compares an output with: reconstructions with the clip itself; transfers with the source they came
# from, or with a clip of the target instrument that is of another piece.
RECONSTRUCTION = {
    "chroma distance": metrics.published_chroma_distance,
    "onset F1": metrics.published_onset_f1,
    "pitch correlation": metrics.published_pitch_correlation,
    "MSE of the spectrogram": metrics.published_mse_spectrogram,
}
CONTENT = {"chroma similarity": metrics.published_chroma_similarity}
TIMBRE = {
    "MFCC distance": metrics.published_mfcc_distance,
    "instrumentation similarity": metrics.published_instrumentation_similarity,
    "self-similarity distance": metrics.published_self_similarity_distance,
}


def published_table(
    model: TransferModel, name: str, clips: list[PairedClip], audio: dict[str, dict[str, Tensor]]
) -> pd.DataFrame:
    """The metrics of the paper's Table 1 as published: the model, ``source_copy`` and ``ceiling``.

    Args:
        model, name, clips: as for :func:`outputs`; 2 clips or more, since references are clips of another piece.
        audio: by task and system, the outputs for these clips, as of :func:`evaluate`.

    Returns:
        columns ``task, system, piece, metric, value``, the tasks and metrics named as in
        ``results/table1_published.csv``. In a reconstruction, the target is the source's own prototype, and
        ``source_copy`` is perfect by definition.
    """
    rows = []

    def add(task, system, sounds, others, functions):
        for clip, sound, other in zip(clips, sounds, others, strict=True):
            rows.extend((task, system, clip.piece, metric, f(sound, other)) for metric, f in functions.items())

    for instrument in model.config.instruments:
        original = stack_audio(clips, instrument)
        rebuilt = transferred(model, original, class_style(model, instrument, len(clips)))
        systems = {"source_copy": original, "ceiling": at_rms(ceiling(model, original)), name: rebuilt}
        for system, sounds in systems.items():
            add(f"{instrument}_reconstruction", system, sounds, original, RECONSTRUCTION)
    for source, target, task in directions(model.config):
        original, reference = stack_audio(clips, source), stack_audio(clips, target).roll(1, dims=0)
        for system in ("source_copy", "ceiling", name):
            add(task, system, audio[task][system], original, CONTENT)
            add(task, system, audio[task][system], reference, TIMBRE)
    return pd.DataFrame(rows, columns=["task", "system", "piece", "metric", "value"])


# --- Intervals -------------------------------------------------------------------------------------------------------


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], level: float = 0.95
) -> tuple[float, float, float]:
    """Ratio of two sums over pieces, and its percentile bootstrap interval, equation ``bootstrap-ratio``.

    A mean of several values a piece is such a ratio: sums over counts. Pieces, not values, are drawn with replacement,
    since values of one piece are not independent.

    Args:
        numerators, denominators: one number each a piece.

    Returns:
        value, lower and upper end; both ends are the value where there is a single piece.
    """
    a, b = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)

    def ratio(a, b, axis=-1):
        return a.sum(axis=axis) / b.sum(axis=axis)

    value = float(ratio(a, b))
    if len(a) < 2:
        return value, value, value
    bootstrap = scipy.stats.bootstrap(
        (a, b),
        ratio,
        paired=True,
        vectorized=True,
        n_resamples=2000,
        confidence_level=level,
        method="percentile",
        rng=0,
    )
    return value, *map(float, bootstrap.confidence_interval)


def mean_interval(table: pd.DataFrame) -> tuple[float, float, float]:
    """Mean of a table's column ``value`` and its interval over pieces (:func:`ratio_interval`)."""
    by_piece = table.groupby("piece")["value"].agg(["sum", "count"])
    return ratio_interval(by_piece["sum"], by_piece["count"])
