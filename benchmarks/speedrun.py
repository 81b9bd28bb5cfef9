"""Speedrun: how many seconds of training bring ``quick`` to the goal; one row of ``results/speedrun.json`` a change.

``python -m benchmarks.speedrun "training.matrix_rate=0" "training.steps=600"`` trains the preset with these changes,
transfers the development set (fiddle tunes and whole chorales, free-running, refined) and appends seconds, distances
and whether the goal was reached. ``--kept`` marks a change that the preset has. Seconds are the processor's, so that
other work hardly changes them; they count against rows of the same machine and number of threads.
"""

import argparse
import json
import sys
import tempfile
import time

import torch

from ast_lib.config import override, preset
from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import build_dataset, stack_audio
from ast_lib.evaluation import metrics, systems
from ast_lib.files import CACHE, ROOT, write_bytes
from ast_lib.networks.checkpoint import commit
from ast_lib.networks.model import TransferModel
from ast_lib.training.trainer import Trainer
from ast_lib.transfer.pipeline import class_style
from benchmarks.measuring import machine

LEDGER = ROOT / "results" / "speedrun.json"
GOAL = {"piano_to_violin": 9.4, "violin_to_piano": 7.6}  # dB, of 600 steps of AdamW


def distances(model: TransferModel, clips: list[PairedClip]) -> dict[str, float]:
    """Mean LSD in dB of refined transfers by direction."""
    found = {}
    for source, target, task in systems.directions(model.config):
        made = systems.transferred(model, stack_audio(clips, source), class_style(model, target, len(clips)))
        found[task] = round(float(metrics.lsd(made, stack_audio(clips, target)).mean()), 3)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Train once and append the row."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.speedrun", description="Seconds of quick to the goal.")
    command.add_argument("changes", nargs="*", metavar="FIELD=VALUE", help="none: the preset as it is")
    command.add_argument("--kept", action="store_true", help="the preset has this change")
    options = command.parse_args(arguments)
    config = override(preset("quick"), *options.changes, "training.validate_every=100000")
    dataset = build_dataset(config, CACHE)
    trainer = Trainer(config, dataset)
    trainer.validation_tasks = []
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trainer.fit(folder)
    spent = time.process_time() - begun
    tunes = [clip for clip in dataset.held_out("development") if clip.kind == "fiddle"]
    found = distances(trainer.average, [*tunes, *dataset.held_out("development", extension=True)])
    row = {"changes": options.changes, "kept": options.kept, "steps": config.training.steps}
    row |= {"seconds": round(spent, 1), "wall": round(trainer.history[-1]["seconds"], 1)}
    row |= {"waited": round(sum(step["waited"] for step in trainer.history), 1), **found}
    row |= {"reached": all(found[task] <= goal for task, goal in GOAL.items()), "seed": config.training.seed}
    row |= {"machine": machine()[0], "threads": torch.get_num_threads(), "commit": commit()}
    rows = json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.is_file() else []
    write_bytes(LEDGER, (json.dumps([*rows, row], indent=1) + "\n").encode())
    print(json.dumps(row, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
