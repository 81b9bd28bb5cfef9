"""The published configuration, trained here: its curve and its Table 1.

``python -m benchmarks.published_run --seconds 3600 --folder build/paper`` trains the preset ``paper`` for
so many seconds or to its last step, whichever is first, and keeps its state in the folder: the same command goes on
from there. ``--seconds 0`` trains nothing more. Then two files are written:
``results/13_pinned_curve.csv``, every loss as the mean of an epoch, and ``results/13_pinned_run.json``, Table 1 by the
published protocol and by a sound one (:mod:`ast_lib.published.protocol`). Chapter: ``notebooks/13_published_run.md``.
"""

import argparse
import functools
import pathlib
import sys
from time import monotonic

import pandas as pd
import torch

from ast_lib.book import results
from ast_lib.config import override
from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import build_dataset
from ast_lib.files import CACHE, ROOT, write_bytes
from ast_lib.published import protocol
from ast_lib.published.config import preset
from ast_lib.published.trainer import PublishedTrainer
from ast_lib.training import saving

SAVE_EVERY = 900  # seconds; a state has 2.9 GB
RECONSTRUCTION = ("mse", "magnitude", "phase", "temporal", "spectral")
GENERATOR = (*RECONSTRUCTION, "contrastive", "margin", "hsic", "adversarial", "total")
SILENT_BATCHES = 4  # on which the losses of silence are measured


class OutOfTimeError(Exception):
    """The seconds are spent; the run is between two steps."""


def train(trainer: PublishedTrainer, folder: pathlib.Path, seconds: float) -> None:
    """Go on from the folder's state, if there is one, for so many seconds; leave a state there."""
    path = folder / "state.pt"
    folder.mkdir(parents=True, exist_ok=True)
    saving.resume(trainer, path)
    end, saved = monotonic() + seconds, monotonic()
    begun, one_step = trainer.step, trainer.train_step

    def limited(batch):
        nonlocal saved
        if monotonic() >= end:
            raise OutOfTimeError
        if monotonic() >= saved + SAVE_EVERY:
            saving.save(trainer, folder)
            saved = monotonic()
        return one_step(batch)

    trainer.train_step = limited
    trainer.validate = dict  # the curve is that of the losses
    try:
        trainer.fit(progress=False)
    except OutOfTimeError:
        pass
    if trainer.step > begun:
        saving.save(trainer, folder)
    trainer.update_prototypes()


def curve(trainer: PublishedTrainer) -> pd.DataFrame:
    """One row an epoch, the last one perhaps not whole: the means over the batches from which each network learns."""
    history = trainer.frame()
    learns = [trainer._turns(step) for step in history["step"]]
    epoch = history["step"] // trainer.config.training.validate_every
    generator = history.loc[[each[0] for each in learns], list(GENERATOR)].groupby(epoch).mean()
    judged = (history["discriminator"] + history["discriminator_style"])[[each[1] for each in learns]]
    rows = generator.assign(discriminator=judged.groupby(epoch).mean(), steps=history.groupby(epoch)["step"].max() + 1)
    return rows.rename_axis("epoch").reset_index()


@torch.no_grad()
def silent(trainer: PublishedTrainer) -> dict[str, list[float]]:
    """The reconstruction losses of a decoder that predicts nothing, on a few training batches."""
    found = []
    for index in range(SILENT_BATCHES):
        batch = trainer.batch(index)
        real, imaginary = torch.zeros_like(trainer.model.target(batch.features)).chunk(2, dim=2)
        found.append(trainer.objective.reconstruction(trainer.model.decoder.prediction(real, imaginary), batch))
    return {name: [losses[name].item() for losses in found] for name in found[0]}


def plain(metric: str) -> str:
    """A metric of Table 1 as a record's name."""
    return metric.lower().replace(" ", "_").replace("-", "_")


def records(trainer: PublishedTrainer, clips: list[PairedClip]) -> list[results.Record]:
    """Both protocols on these clips, what silence scores as a loss, and how long the training was."""
    training, nothing_predicted = trainer.config.training, silent(trainer)
    model = trainer.average.cpu().eval()
    of_run = {"profile": "full", "weights": f"paper, {trainer.step} steps", "seed": training.seed}
    nothing = of_run | {"weights": "none"}
    found = []
    for table in (protocol.published(model, clips, "paper"), protocol.sound(model, clips, "paper")):
        prefix, table = f"{table['protocol'].iloc[0]}_", table.assign(metric=table["metric"].map(plain))
        for learnt, rows in table.groupby(table["system"] == "paper"):
            found += results.of_table(rows, prefix=prefix, **(of_run if learnt else nothing))
    one = functools.partial(results.summarise, task="training")
    for name, values in nothing_predicted.items():
        found.append(one(values, metric=f"loss_{name}", system="silence", unit="1", **nothing))
    seconds = trainer.history[-1]["seconds"] if trainer.history else 0.0
    for metric, value, unit in (("steps", trainer.step, "1"), ("seconds", seconds, "s")):
        found.append(one([value], metric=metric, system="paper", unit=unit, **of_run))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Train, then write both files."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.published_run", description="Train the preset paper.")
    command.add_argument("changes", nargs="*", metavar="FIELD=VALUE", help="none: the preset as it is")
    command.add_argument("--seconds", type=float, required=True, help="of training, from now on")
    command.add_argument("--folder", required=True, help="where its state is kept")
    command.add_argument("--clips", type=int, default=16, help="development clips that are scored, 4 or more (16)")
    command.add_argument("--output", default=str(ROOT / "results"), help="folder of both files: results")
    options = command.parse_args(arguments)
    config = override(preset("paper"), *options.changes)
    dataset = build_dataset(config, CACHE)
    trainer = PublishedTrainer(config, dataset)
    train(trainer, pathlib.Path(options.folder), options.seconds)
    output = pathlib.Path(options.output)
    if trainer.history:
        write_bytes(output / "13_pinned_curve.csv", curve(trainer).round(5).to_csv(index=False).encode())
    clips = dataset.held_out("development")
    clips = [clip for pair in zip(clips[: len(clips) // 2], clips[len(clips) // 2 :], strict=False) for clip in pair]
    print(results.write(output / "13_pinned_run.json", records(trainer, clips[: options.clips])))
    print(f"{trainer.step} of {config.training.steps} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
