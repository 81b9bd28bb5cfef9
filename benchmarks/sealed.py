"""The sealed test's ledger: weights in; one more row of ``results/sealed.json``, with every figure, out.

Chapter: ``notebooks/12_evaluation.md``. ``python -m benchmarks.sealed WEIGHTS`` measures weights on the pieces and
voices of :mod:`benchmarks.sealed_pieces` once. Weights that have a row are refused and rows are never removed, so that
a figure on this test is that of a decision made before. Nothing may be chosen by it.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch

from ast_lib.audio.levels import normalise_rms
from ast_lib.data.clips import PairedClip, paired_clips
from ast_lib.data.dataset import stack_audio
from ast_lib.data.scores import Piece, load_pieces
from ast_lib.data.synth import shared_synth
from ast_lib.errors import AstError
from ast_lib.evaluation import systems
from ast_lib.evaluation.intervals import mean_interval, quotient_interval
from ast_lib.files import CACHE, ROOT, write_bytes
from ast_lib.networks.checkpoint import commit, load_weights
from ast_lib.networks.model import TransferModel
from ast_lib.transfer import transfer
from benchmarks.sealed_pieces import VOICES, sealed_pieces

LEDGER = ROOT / "results" / "sealed.json"
CENTS = (-50, 50)
OTHERS = ("flute", "acoustic_guitar_nylon", "vibraphone")  # sources that training never hears
SEED = 14  # of the excerpts


def sealed_test(weights: str | os.PathLike, ledger: pathlib.Path = LEDGER, cache: str | os.PathLike = CACHE) -> dict:
    """Measure weights on the sealed test and append the row to the ledger; returns the row.

    Raises:
        AstError: for weights that have a row, a test that is not the sealed one, or a missing soundfont.
    """
    model, rows = load_weights(weights), json.loads(ledger.read_text(encoding="utf-8")) if ledger.is_file() else []
    digest = tensors_digest(model)
    if digest in {row["weights"] for row in rows}:
        raise AstError(f"sealed test: {weights} has a row in {ledger}; it is measured once")
    known = load_pieces(model.config.data.pieces_per_kind, cache)
    figures = measure(model, sealed_pieces(known, cache))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    row = {"date": now, "commit": commit(), "weights": digest, "figures": figures.to_dict("records")}
    write_bytes(ledger, (json.dumps([*rows, row], indent=1) + "\n").encode())
    return row


def tensors_digest(model: TransferModel) -> str:
    """SHA-256 of the weights' names and values: the same file with another description is not other weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def measure(model: TransferModel, pieces: list[Piece]) -> pd.DataFrame:
    """Every figure: columns ``experiment, part, task, system, metric, value, low, high, pieces``.

    ``part`` is ``playable`` or ``extension`` (:mod:`ast_lib.data.clips`); the interval is 95 % over pieces. The system
    ``ours_over_truth`` is the quotient of ``ours`` and the truth's own value.
    """
    parts = ("playable", "extension")
    tables = [table.assign(part=part) for part in parts for table in experiments(model, pieces, part)]
    rows, names = [], ["experiment", "part", "task", "system", "metric"]
    whole = pd.concat(tables, ignore_index=True)
    for key, table in whole.groupby(names, sort=False):
        rows.append((*key, *mean_interval(table), table["piece"].nunique()))
        truth = whole[(whole[names] == [*key[:3], "truth", key[4]]).all(axis=1)]
        if key[3] == "ours" and len(truth):
            own = table[table["piece"].isin(truth["piece"])]
            rows.append((*key[:3], "ours_over_truth", key[4], *quotient_interval(own, truth), own["piece"].nunique()))
    return pd.DataFrame(rows, columns=[*names, "value", "low", "high", "pieces"])


def experiments(model: TransferModel, pieces: list[Piece], part: str) -> Iterator[pd.DataFrame]:
    """The tables of one part, each with a column ``experiment``; see :mod:`ast_lib.evaluation.systems`."""
    config = model.config
    default, instruments = config.soundfonts[0], config.instruments

    def play(font, names=instruments, tuning=0.0):
        common = config.data.development_seconds, SEED, shared_synth(font)
        return paired_clips(pieces, names, *common, extension=part == "extension", tuning=tuning)

    clips = play(default)
    table, audio = systems.evaluate(model, "ours", clips)
    yield table.assign(experiment="trained voice")
    heard = {font: play(font) for font in VOICES}
    for name, others in {**heard, **{name: as_sources(play(default, [name]), instruments) for name in OTHERS}}.items():
        table = systems.transfers(model, "ours", clips, others, tuple(systems.METRICS))
        yield table.assign(experiment=f"source: {name}")
    if part == "extension":
        return
    prototype = {task: of_task["ours"] for task, of_task in audio.items()}
    for font, unseen in heard.items():
        styles = unseen[1:] + unseen[:1]  # of another piece
        table = systems.one_shot(model, "ours", {default: clips}, unseen, styles, prototype)
        yield table.assign(experiment=f"one-shot: {font}")
    for cents in CENTS:
        table = one_by_one(model, "ours", play(default, tuning=cents / 100))
        yield table.assign(experiment=f"source: {cents:+d} cents")


def one_by_one(model: TransferModel, name: str, clips: list[PairedClip]) -> pd.DataFrame:
    """LSD and chroma cosine of ``source_copy`` and of :func:`ast_lib.transfer.transfer`, which finds a tuning first."""
    audio = {}
    for source, target, task in systems.directions(model.config):
        heard = stack_audio(clips, source)
        made = np.stack([transfer(model, clip, target) for clip in heard.numpy()])
        audio[task] = {"source_copy": heard, name: torch.from_numpy(normalise_rms(made))}
    return systems.score_tasks(audio, clips, ("lsd", "chroma_cosine"))


def as_sources(clips: list[PairedClip], instruments: Sequence[str]) -> list[PairedClip]:
    """Clips of one other instrument, in the place of every instrument that the model knows."""
    return [dataclasses.replace(c, audio=dict.fromkeys(instruments, *c.audio.values())) for c in clips]


def main(arguments: list[str] | None = None) -> int:
    """Measure the weights that are named; a problem is one line and status 1."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.sealed", description="Measure weights once.")
    command.add_argument("weights", metavar="WEIGHTS", help="file of the weights")
    try:
        sealed_test(command.parse_args(arguments).weights)
    except AstError as error:
        print(f"sealed: {error}", file=sys.stderr)
        return 1
    print(LEDGER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
