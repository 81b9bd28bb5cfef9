"""The thread's tune as each system plays it: LSD into ``results/thread.json``, sounds into ``results/thread``.

``python -m benchmarks.thread [WEIGHTS]`` plays the systems of chapter 12 and the published weights; the variants of
``quick`` are added by ``python -m benchmarks.ablations``, whose first seed is heard. Chapters show both
(:mod:`ast_lib.book.thread`).
"""

import argparse
import copy
import dataclasses
import json
import sys
from collections.abc import Callable

from torch import Tensor

from ast_lib import audio as audio_files
from ast_lib.book.thread import RECORD, SOUNDS, TUNE
from ast_lib.data.clips import PairedClip, paired_clips
from ast_lib.data.dataset import Dataset, build_dataset, stack_audio
from ast_lib.evaluation import metrics, systems
from ast_lib.evaluation.baselines import average_power
from ast_lib.files import CACHE, write_bytes
from ast_lib.networks.checkpoint import PUBLISHED, load_weights
from ast_lib.networks.model import TransferModel
from ast_lib.transfer.one_shot import clip_styles
from ast_lib.transfer.pipeline import class_style

LESSONS = 16  # training clips of each instrument behind its average spectrum


def tune(dataset: Dataset) -> list[PairedClip]:
    """The clip of the tune, in a list of one."""
    return [clip for clip in dataset.held_out("development") if clip.piece == TUNE]


def keep(dataset: Dataset, play: Callable[[list[PairedClip], str, str], dict[str, Tensor]]) -> None:
    """Add what systems make of the tune to the record and the sounds.

    Args:
        dataset: where the tune and the validation pieces are.
        play: from clips, source and target to audio ``(clips, samples)`` by system.
    """
    found = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    SOUNDS.mkdir(exist_ok=True)
    for source, target, task in systems.directions(dataset.config):
        for part, clips in (("tune", tune(dataset)), ("pieces", dataset.held_out("validation"))):
            truth = stack_audio(clips, target)
            for name, made in play(clips, source, target).items():
                values = [round(value, 2) for value in metrics.lsd(made, truth).tolist()]
                found.setdefault(name, {}).setdefault(part, {})[task] = values[0] if part == "tune" else values
                if part == "tune":
                    audio_files.save(SOUNDS / f"{name}_{task}.mp3", made[0].numpy())
    write_bytes(RECORD, (json.dumps(dict(sorted(found.items())), indent=1) + "\n").encode())


def published(model: TransferModel, dataset: Dataset) -> Callable[[list[PairedClip], str, str], dict[str, Tensor]]:
    """The systems of chapter 12, the weights with context at every step, and with a style fitted to another clip."""
    instruments, spectrogram = model.config.instruments, model.representation.spectrogram
    how = instruments, model.config.training.seconds, model.config.data.seed, dataset.synths[0]
    lessons = {name: paired_clips(pieces[:LESSONS], *how) for name, pieces in dataset.splits.train.items()}
    power = {name: average_power(spectrogram, stack_audio(lessons[name], name)) for name in instruments}
    always = dataclasses.replace(model.config.model, context_weight=1.0)
    with_context = copy.copy(model)
    with_context.config = dataclasses.replace(model.config, model=always)

    def play(clips: list[PairedClip], source: str, target: str) -> dict[str, Tensor]:
        made, heard = systems.outputs(model, "published", clips, source, target, power), stack_audio(clips, source)
        fitted = clip_styles(model, stack_audio(lessons[target][:1], target)).expand(len(clips), -1)
        made["published_one_shot"] = systems.transferred(model, heard, fitted)
        made["published_with_context"] = systems.transferred(
            with_context, heard, class_style(model, target, len(clips))
        )
        return made | {"truth": stack_audio(clips, target)}

    return play


def main(arguments: list[str] | None = None) -> int:
    """Play the tune."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.thread", description="The thread's tune.")
    command.add_argument("weights", nargs="?", default=str(PUBLISHED))
    model = load_weights(command.parse_args(arguments).weights)
    dataset = build_dataset(model.config, CACHE)
    keep(dataset, published(model, dataset))
    return 0


if __name__ == "__main__":
    sys.exit(main())
