"""Thread: one tune that runs through all chapters, heard and measured without and with what each of them explains.

``results/thread.json`` and the sounds beside it are written by ``python -m benchmarks.thread`` (published weights) and
``python -m benchmarks.ablations`` (variants of ``quick``), ``results/ablations.json`` by the latter. The tune is a
piece of the development set, so that its clip was never trained on.
"""

import base64
import html
import json
from typing import NamedTuple

import numpy as np
import pandas as pd
from IPython.display import HTML

from ast_lib.errors import AstError
from ast_lib.evaluation.intervals import difference_interval
from ast_lib.files import ROOT

TUNE = "fiddle/SirRogerDeCoverlyJig"
RECORD, LEDGER, SOUNDS = ROOT / "results" / "thread.json", ROOT / "results" / "ablations.json", ROOT / "results/thread"
TASKS = {"piano_to_violin": "piano → violin", "violin_to_piano": "violin → piano"}


class Step(NamedTuple):
    """What a chapter compares: two systems of the record, and what they are called on the page."""

    without: str
    called: str
    with_: str
    as_: str


def _variant(name: str, called: str) -> Step:
    return Step(name, called, "baseline", "the recipe")


STEPS = {
    "01_paper": Step("source_copy", "the source, unchanged", "published", "the published weights"),
    "02_dataset": Step(
        "source_copy", "the source, unchanged", "spectral_envelope", "one average spectrum an instrument"
    ),
    "03_representation": _variant("complex_output", "real and imaginary parts predicted"),
    "04_encoders": _variant("shallow", "depth 1 instead of 3"),
    "04b_codes": Step("own_style", "the group's mean", "baseline", "the mean of the others"),
    "05_infonce": _variant("no_contrastive", "no InfoNCE"),
    "06_margin": _variant("no_margin", "no margin"),
    "07_hsic": _variant("no_hsic", "no HSIC"),
    "08_adversary": _variant("no_adversary", "no adversary"),
    "09_reconstruction": _variant("no_log_spectral", "no log-spectral loss"),
    "10_decoder": _variant("teacher_forcing", "plain teacher forcing"),
    "10b_decoding": Step("published_with_context", "context at every step", "published", "mean with and without"),
    "11_training": _variant("no_third_instruments", "no third instruments"),
    "12_evaluation": Step("constant_spectrum", "one constant spectrum", "published", "the published weights"),
    "13_published_run": Step("constant_spectrum", "one constant spectrum", "published", "the published weights"),
    "14_ablations": _variant("reconstruction_alone", "reconstruction alone"),
    "15_listening": Step("baseline", "quick, trained for minutes", "published", "the published weights"),
    "12b_table1": Step("spectral_envelope", "equaliser", "published", "the published weights"),
    "17_variants": Step("baseline", "quick, trained for minutes", "published", "the published weights"),
    "16_your_own": Step("published", "the class's style", "published_one_shot", "a style fitted to another clip"),
}


def record() -> dict[str, dict]:
    """By system: ``tune``, LSD in dB of this tune's clip by task, and ``pieces``, of each validation piece by task.

    Raises:
        AstError: when there is none.
    """
    if not RECORD.is_file():
        raise AstError(f"thread: {RECORD} does not exist, 'python -m benchmarks.thread' writes it")
    return json.loads(RECORD.read_text(encoding="utf-8"))


def by_piece(task: str, *names: str) -> list[pd.DataFrame]:
    """LSD in dB of each validation piece, columns ``piece, value``, of systems that are compared.

    Variants have the mean over the seeds that all of them were trained with (``attrs["seeds"]``, how many): seeds alone
    move a run. Systems that are no variants have 0 seeds.
    """
    runs = json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.is_file() else []
    lsd = {
        name: {run["seed"]: run["lsd"][f"playable {task}"] for run in runs if run["variant"] == name} for name in names
    }
    seeds = set.intersection(*map(set, lsd.values()))
    found = [[lsd[name][seed] for seed in seeds] or [record()[name]["pieces"][task]] for name in names]
    tables = [pd.DataFrame({"piece": range(len(each[0])), "value": np.mean(each, axis=0)}) for each in found]
    for table in tables:
        table.attrs["seeds"] = len(seeds)
    return tables


def player(name: str, task: str, label: str) -> str:
    """An audio element that holds its sound."""
    sound = base64.b64encode((SOUNDS / f"{name}_{task}.mp3").read_bytes()).decode()
    label = html.escape(f"{label}, {TASKS[task]}", quote=True)
    return f'<audio controls preload="none" aria-label="{label}" src="data:audio/mpeg;base64,{sound}"></audio>'


def _table(head: list[str], rows: list[list[str]]) -> HTML:
    cells = ["".join(f'<th scope="col">{each}</th>' for each in head)]
    for first, *rest in rows:
        labelled = (f'<td data-label="{label}">{each}</td>' for label, each in zip(head[1:], rest, strict=True))
        cells.append(f'<th scope="row">{first}</th>' + "".join(labelled))
    lines = "".join(f"<tr>{row}</tr>" for row in cells)
    return HTML(f'<table class="sound-grid thread">{lines}</table>')


def play(system: str = "published", called: str = "transfer") -> HTML:
    """The tune: source, transfer and truth, both ways."""
    names = {"source_copy": "source", system: called, "truth": "truth"}
    return _table(
        ["", *TASKS.values()],
        [[label, *(player(name, task, label) for task in TASKS)] for name, label in names.items()],
    )


def bought(chapter: str) -> HTML:
    """What a chapter's subject changes: LSD of the tune, difference over validation pieces with 95 %, and the sounds.

    Raises:
        AstError: for a chapter that compares nothing, or a system that has no record.
    """
    if chapter not in STEPS:
        raise AstError(f"chapter: found {chapter!r}, accepted are {', '.join(STEPS)}")
    step, known = STEPS[chapter], record()
    pair = ((step.without, step.called), (step.with_, step.as_))
    for name, _ in pair:
        if name not in known:
            raise AstError(f"thread: {RECORD} has no system {name!r}, it has {', '.join(known)}")
    rows = []
    for name, called in pair:
        tune = known[name]["tune"]
        rows.append([called, *(f"{tune[task]:.1f} dB<br>{player(name, task, called)}" for task in TASKS)])
    rows.append(["truth", *(player("truth", task, "truth") for task in TASKS)])
    tables = [by_piece(task, step.without, step.with_) for task in TASKS]
    gains = [[round(end, 2) + 0.0 for end in difference_interval(*pair)] for pair in tables]  # + 0.0: no "-0.00"
    count, trained = len(tables[0][0]), tables[0][0].attrs["seeds"]
    label = f"gain, mean of {count} pieces" + f" and {trained} seed{'s' * (trained > 1)}" * (trained > 0)
    rows.append([label, *(f"{value:.2f} dB [{low:.2f}, {high:.2f}]" for value, low, high in gains)])
    return _table(["LSD to the truth", *TASKS.values()], rows)
