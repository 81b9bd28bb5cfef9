"""Out of domain: weights and sources that are less and less like training's in; distances to the truth out.

Chapter: ``notebooks/16_your_own.md``. ``python -m benchmarks.out_of_domain WEIGHTS`` writes
``results/out_of_domain.json``. One thing is changed at a time, by growing amounts. What changes the performance
(tuning, transposition, tempo, number of voices) changes the truth with it; what changes the recording (noise, room,
band, clipping) leaves the truth clean.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import scipy.signal
import torch

from ast_lib.audio.levels import normalise_rms
from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.data.clips import PREROLL, excerpt, render_clip
from ast_lib.data.dataset import build_splits
from ast_lib.data.scores import Notes, Piece, upper_voices
from ast_lib.data.synth import Synth, shared_synth
from ast_lib.errors import AstError
from ast_lib.evaluation import metrics, systems
from ast_lib.evaluation.intervals import mean_interval
from ast_lib.files import CACHE, ROOT, write_bytes
from ast_lib.networks.checkpoint import commit, load_weights
from ast_lib.networks.model import TransferModel
from ast_lib.transfer import transfer
from benchmarks.sealed import tensors_digest

LEDGER = ROOT / "results" / "out_of_domain.json"
SECONDS, PIECES = 5.0, 12  # of a clip; of the development set, half of each kind
WET = 0.3  # energy of a room's reverberation is the square of this, that of the direct sound 1
PERFORMANCES = {  # of these the truth changes too
    "detuning (cents)": (-100, -75, -50, -25, 0, 25, 50, 75, 100),
    "transposition (semitones)": (-12, -7, -3, 0, 3, 7, 12),
    "tempo (times)": (0.25, 0.5, 1, 1.5, 2, 3),
    "voices (number)": (1, 2, 3, 4),
}
RECORDINGS = {
    "signal above noise (dB)": (60, 40, 30, 20, 10, 0),
    "reverberation (s to -60 dB)": (0, 0.3, 0.6, 1.2, 2.4, 4.8),
    "low-pass (Hz)": (11025, 8000, 5500, 3400, 2000),
    "clipping (dB below the peak)": (0, 3, 6, 12, 18),
}


def played(
    pieces: list[Piece], synth: Synth, instruments: tuple[str, ...], condition: str = "", value: float = 0.0
) -> list[dict]:
    """Clips under one of :data:`PERFORMANCES`: name of the piece, ``heard`` and ``truth``, audio by instrument.

    Two upper voices play, in the key and at the tempo of the development set, but for what is changed.
    """
    voices = int(value) if condition.startswith("voices") else 2
    tempo = value if condition.startswith("tempo") else 1.0
    shift = int(value) if condition.startswith("transposition") else 0
    tuning = value / 100 if condition.startswith("detuning") else 0.0
    clips = []
    for seed, piece in enumerate(pieces):
        if condition.startswith("voices") and piece.notes.monophonic:
            continue
        chosen = dataclasses.replace(piece, notes=upper_voices(piece.notes, voices))
        random, length = np.random.default_rng([0, seed]), (SECONDS + PREROLL) * tempo - PREROLL
        notes = excerpt(chosen, length, random, False, extension=voices > 2)  # three voices and more: no violin's
        notes = Notes(notes.onset / tempo, notes.duration / tempo, notes.pitch + shift, notes.velocity)
        audio = {name: render_clip(synth, notes, name, SECONDS, tuning) for name in instruments}
        clips.append({"piece": piece.name, "heard": audio, "truth": audio})
    return clips


def recorded(condition: str, value: float, random: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """What one of :data:`RECORDINGS` does to audio ``(samples,)``."""

    def noise(audio):
        return audio + 10 ** (-value / 20) * np.sqrt(np.mean(audio**2)) * random.normal(size=len(audio))

    def room(audio):
        if value == 0:
            return audio
        time = np.arange(int(1.2 * value * SAMPLE_RATE)) / SAMPLE_RATE
        tail = random.normal(size=len(time)) * 10 ** (-3 * time / value)
        response = WET * tail / np.linalg.norm(tail)
        response[0] += 1
        return scipy.signal.fftconvolve(audio, response)[: len(audio)]

    def low_pass(audio):
        if value >= SAMPLE_RATE / 2:
            return audio
        return scipy.signal.sosfiltfilt(scipy.signal.butter(8, value, fs=SAMPLE_RATE, output="sos"), audio)

    def clip(audio):
        limit = 10 ** (-value / 20) * abs(audio).max()
        return np.clip(audio, -limit, limit)

    return dict(zip(RECORDINGS, (noise, room, low_pass, clip), strict=True))[condition]


def cases(pieces: list[Piece], synth: Synth, instruments: tuple[str, ...]) -> Iterator[tuple[str, float, list[dict]]]:
    """Each condition and value with its clips, as :func:`played` makes them."""
    for condition, values in PERFORMANCES.items():
        for value in values:
            yield condition, value, played(pieces, synth, instruments, condition, value)
    plain = played(pieces, synth, instruments)
    for condition, values in RECORDINGS.items():
        for value in values:
            change = recorded(condition, value, np.random.default_rng(0))
            heard = [{name: change(audio) for name, audio in clip["truth"].items()} for clip in plain]
            yield condition, value, [clip | {"heard": changed} for clip, changed in zip(plain, heard, strict=True)]


def measure(model: TransferModel, pieces: list[Piece]) -> list[dict]:
    """LSD and chroma cosine to the truth of ``source_copy`` and ``ours``, means with 95 % intervals over pieces."""
    config, rows = model.config, []
    for condition, value, clips in cases(pieces, shared_synth(config.soundfonts[0]), config.instruments):
        for source, target, task in systems.directions(config):
            table = []
            for clip in clips:
                heard, truth = normalise_rms(clip["heard"][source].astype(np.float32)), clip["truth"][target]
                for system, sound in (("source_copy", heard), ("ours", transfer(model, heard, target))):
                    sound = torch.from_numpy(normalise_rms(np.asarray(sound)))[None]
                    found = {"lsd": metrics.lsd(sound, torch.from_numpy(truth)[None]).item()}
                    found["chroma_cosine"] = metrics.chroma_cosine(sound[0].numpy(), truth)
                    table += [(system, clip["piece"], name, number) for name, number in found.items()]
            frame = pd.DataFrame(table, columns=["system", "piece", "metric", "value"])
            for (system, metric), group in frame.groupby(["system", "metric"]):
                mean, low, high = mean_interval(group)
                row = {"condition": condition, "value": value, "task": task, "system": system, "metric": metric}
                numbers = {"mean": mean, "low": low, "high": high}
                rows.append(row | {k: round(float(v), 4) for k, v in numbers.items()} | {"pieces": len(group)})
        print(condition, value, flush=True)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure the weights that are named; a problem is one line and status 1."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.out_of_domain", description="Curves out of domain.")
    command.add_argument("weights", metavar="WEIGHTS", help="file of the weights")
    try:
        model = load_weights(command.parse_args(arguments).weights)
        pieces = build_splits(model.config, CACHE).development
        rows = measure(model, pieces[:: len(pieces) // PIECES][:PIECES])
    except AstError as error:
        print(f"out of domain: {error}", file=sys.stderr)
        return 1
    found = {"commit": commit(), "weights": tensors_digest(model), "rows": rows}
    write_bytes(LEDGER, (json.dumps(found, indent=1) + "\n").encode())
    print(LEDGER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
