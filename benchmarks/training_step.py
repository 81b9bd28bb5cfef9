"""Training steps: of the published system against ours a second of audio, full against half precision, making a
batch of performances that are rendered already, and attention kernels, against a step.

Target: a step of ``quick`` is 15 times as cheap a second of audio as one of ``paper``.
"""

import numpy as np

from ast_lib.book.results import Record
from ast_lib.config import Config, override, preset
from ast_lib.data import build_dataset
from ast_lib.files import CACHE
from ast_lib.published import config as published
from ast_lib.published.trainer import PublishedTrainer
from ast_lib.training import Trainer
from benchmarks.measuring import ratio, seconds


def trainer(config: Config, kind: type[Trainer] = Trainer) -> Trainer:
    """A trainer on the processor, in the last phase, where every loss counts."""
    run = kind(config, build_dataset(config, CACHE), "cpu")
    run.step = config.training.steps - 1
    return run


def measure(repeats: int, profile: str = "quick", other: str = "paper", batch: int = 4) -> list[Record]:
    """Ratios of training steps; ``other`` is measured with a small ``batch``."""
    config = preset(profile)
    half, full = trainer(config), trainer(override(config, "training.precision=32-true"))
    theirs = trainer(override(published.preset(other), f"training.batch={batch}"), PublishedTrainer)
    plain = trainer(config)
    plain._computing = plain.fabric.autocast  # the attention kernel that PyTorch chooses
    runs = (half, full, plain, theirs)
    batches = [run.batch(0) for run in runs]
    steps = [lambda run=run, batch=batch: run.train_step(batch) for run, batch in zip(runs, batches, strict=True)]
    ours, in_full, chosen, published_step, making = seconds(repeats, *steps, lambda: half.batch(0))

    def a_second(run: Trainer, took: np.ndarray) -> np.ndarray:
        return took / (run.config.training.batch * run.config.training.seconds)

    return [
        ratio(
            f"{other}_to_{profile}_a_second_of_audio",
            "training_step",
            a_second(theirs, published_step),
            a_second(half, ours),
            profile,
        ),
        ratio("float32_to_bfloat16", "training_step", in_full, ours, profile),
        ratio("attention_chosen_to_math", "training_step", chosen, ours, profile),
        ratio("step_to_making_its_batch", "training_step", ours, making, profile),
    ]
