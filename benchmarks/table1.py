"""Table 1, side by side: published and sound metrics, rivals and outside judges, for every system on the same clips.

Chapter: ``notebooks/12b_table1.md``. ``python -m benchmarks.table1`` writes ``results/table1.json``: a row for each
metric, direction and system, with the mean, its 95 % interval over pieces and the number of pieces. It needs the extra
``judges`` and the file of Basic Pitch (:mod:`benchmarks.judges.basic_pitch`), and a quarter of an hour of one core.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ast_lib.audio.levels import normalise_rms
from ast_lib.config import preset
from ast_lib.data.clips import PairedClip, paired_clips
from ast_lib.data.dataset import Dataset, build_dataset, stack_audio
from ast_lib.evaluation import metrics, report, systems
from ast_lib.evaluation.baselines import another_piece, average_power, constant_spectrum, envelope_transfer
from ast_lib.evaluation.intervals import mean_interval
from ast_lib.files import CACHE, ROOT, write_bytes
from ast_lib.networks.checkpoint import PUBLISHED, commit, load_weights
from ast_lib.networks.model import TransferModel
from ast_lib.published.table1 import CONTENT, RECONSTRUCTION, TIMBRE
from ast_lib.representation.spectrogram import Spectrogram
from ast_lib.transfer.pipeline import class_style
from benchmarks.judges import basic_pitch, cifka, pitch
from benchmarks.rivals import harmonic, mosaicing, one_shot_vqvae
from benchmarks.sealed import tensors_digest

RECORD = ROOT / "results" / "table1.json"
LESSONS, LESSON = 24, 3.0  # training clips that the baselines learn an instrument from, and their seconds
LONG_FRAMES = Spectrogram(2048, 1024)  # of mosaicing
Sounds = dict[str, Tensor]


def rivals(dataset: Dataset, clips: list[PairedClip], source: str, target: str, vqvae: torch.nn.Module) -> Sounds:
    """What the field's baselines make of the clips; the harmonic one hears a single note at a time."""
    how = dataset.config.instruments, LESSON, dataset.config.data.seed, dataset.synths[0]
    lessons = {
        name: stack_audio(paired_clips(dataset.splits.train[name][:LESSONS], *how), name) for name in (source, target)
    }
    heard, power = stack_audio(clips, source), {}
    for name, audio in lessons.items():
        power[name] = average_power(LONG_FRAMES, audio)
    alike = envelope_transfer(LONG_FRAMES, heard, power[source], power[target])
    timbre = harmonic.measure_timbre(lessons[target])
    return {
        "mosaicing": mosaicing.mosaic(LONG_FRAMES, alike, lessons[target]),
        "harmonic_plus_noise": harmonic.harmonic_plus_noise(heard, timbre),
        "one_shot_vqvae": one_shot_vqvae.transfer(
            vqvae, heard, lessons[target][:1].repeat(len(clips), 4)[:, : heard.shape[-1]]
        ),
    }


def mfcc_distance(sound: np.ndarray, truth: np.ndarray) -> float:
    """The published distance of MFCCs, against the true target instead of another piece."""
    return TIMBRE["MFCC distance"](sound, truth)


def judged(sound: np.ndarray, clip: PairedClip, source: str, target: str, other: np.ndarray) -> Iterator[tuple]:
    """``form, metric, value`` of one output: as published (against source or another piece) and against the truth."""
    heard, truth, notes = clip.audio[source], clip.audio[target], clip.notes
    for name, measure in CONTENT.items():
        yield "published", name, measure(sound, heard)
    for name, measure in TIMBRE.items():
        yield "published", name, measure(sound, other)
    against_truth: dict[str, Callable] = {
        "LSD": metrics.lsd,
        "mel-LSD": cifka.mel_lsd,
        "MFCC distance": mfcc_distance,
        "chroma cosine": metrics.chroma_cosine,
    }
    for name, measure in against_truth.items():
        yield "sound", name, measure(sound, truth)
    theirs, ours = (basic_pitch.pitch_sets(audio)[1] for audio in (truth, sound))
    yield "sound", "pitch-set distance", cifka.pitch_jaccard(ours, theirs)
    yield "sound", "note accuracy, Basic Pitch", basic_pitch.multipitch_scores(sound, notes)["accuracy"]
    yield "sound", "onset F1, Basic Pitch", metrics.onset_f1(sound, notes, detect=basic_pitch.onset_times)
    yield "sound", "onset F1, spectral flux", metrics.onset_f1(sound, notes)
    if notes.monophonic:
        trackers = {"pYIN": metrics.pitch_track, "SwiftF0": pitch.swift_f0_track, "CREPE": pitch.crepe_track}
        for name, track in trackers.items():
            yield "sound", f"raw pitch, {name}", metrics.raw_pitch_accuracy(sound, notes, track=track)


def table(model: TransferModel, dataset: Dataset, clips: list[PairedClip], vqvae: torch.nn.Module) -> pd.DataFrame:
    """Columns ``form, metric, task, system, piece, value``; ``truth`` is a system too."""
    rows = []
    how = dataset.config.instruments, LESSON, dataset.config.data.seed, dataset.synths[0]
    lessons = {name: paired_clips(pieces[:LESSONS], *how) for name, pieces in dataset.splits.train.items()}
    power = {name: average_power(model.representation.spectrogram, stack_audio(x, name)) for name, x in lessons.items()}
    for source, target, task in systems.directions(model.config):
        made = systems.outputs(model, "ours", clips, source, target, power)
        made = {name: made[name] for name in made if name in SYSTEMS} | rivals(dataset, clips, source, target, vqvae)
        truth = stack_audio(clips, target)
        others = truth.roll(2, dims=0).numpy()  # of neither a clip nor the clip that another_piece plays
        for system, sounds in (made | {"truth": truth}).items():
            for sound, clip, other in zip(sounds.numpy(), clips, others, strict=True):
                if system == "harmonic_plus_noise" and not clip.notes.monophonic:
                    continue
                rows += [
                    (form, metric, task, system, clip.piece, value)
                    for form, metric, value in judged(sound, clip, source, target, other)
                ]
    for instrument in model.config.instruments:
        task, original = f"{instrument}_reconstruction", stack_audio(clips, instrument)
        made = {
            "source_copy": original,
            "another_piece": another_piece(original),
            "constant_spectrum": constant_spectrum(model.representation.spectrogram, power[instrument], original),
            "ours": systems.transferred(model, original, class_style(model, instrument, len(clips))),
            "ceiling": normalise_rms(systems.ceiling(model, original)),
        }
        for system, sounds in made.items():
            for sound, true, clip in zip(sounds.numpy(), original.numpy(), clips, strict=True):
                rows += [
                    ("published", metric, task, system, clip.piece, f(sound, true))
                    for metric, f in RECONSTRUCTION.items()
                ]
    return pd.DataFrame(rows, columns=["form", "metric", "task", "system", "piece", "value"])


SYSTEMS = (
    "source_copy",
    "another_piece",
    "constant_spectrum",
    "spectral_envelope",
    "ours_magnitude_only",
    "ours",
    "ceiling",
)


def main(arguments: list[str] | None = None) -> int:
    """Measure and write."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.table1", description="Table 1, side by side.")
    command.add_argument("weights", nargs="?", default=str(PUBLISHED))
    command.add_argument("--clips", type=int, default=12, help="development clips, half of them tunes, half duets")
    command.add_argument("--seconds", type=float, default=150.0, help="of training of the VQ-VAE")
    command.add_argument("--output", default=str(RECORD))
    options = command.parse_args(arguments)
    model = load_weights(options.weights)
    dataset = build_dataset(model.config, CACHE)
    clips = report.spread(dataset.held_out("development"), options.clips)
    vqvae = one_shot_vqvae.train(preset("quick"), CACHE, options.seconds)
    rows = []
    for key, group in table(model, dataset, clips, vqvae).groupby(["form", "metric", "task", "system"], sort=False):
        value, low, high = (round(each, 4) for each in mean_interval(group))
        rows.append(
            dict(zip(("form", "metric", "task", "system"), key, strict=True))
            | {"value": value, "low": low, "high": high, "n": group["piece"].nunique()}
        )
    found = {
        "commit": commit(),
        "weights": tensors_digest(model),
        "clips": len(clips),
        "vqvae_seconds": options.seconds,
    }
    write_bytes(options.output, (json.dumps(found | {"rows": rows}, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
