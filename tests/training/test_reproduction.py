"""The run of `make weights` begins on any machine as the published one did."""

import numpy as np
import pandas as pd
import pytest

from ast_lib.config import preset
from ast_lib.data.dataset import build_dataset
from ast_lib.data.synth import soundfont_path
from ast_lib.errors import AstError
from ast_lib.files import CACHE
from ast_lib.training.trainer import Trainer

STEPS = 50
# Largest relative difference of a step's total loss, and of the mean of the last ten: processors round bfloat16 in
# another order, and training carries that on (chapter 11).
ONE_STEP, LAST_TEN = 0.05, 0.01


def test_the_first_steps_of_the_published_run_are_repeated(root):
    config = preset("full")
    try:
        for font in config.soundfonts:
            soundfont_path(font)
    except AstError as missing:
        pytest.skip(str(missing))
    published = pd.read_csv(root / "results" / "full_first_steps.csv")["total"].to_numpy()
    trainer = Trainer(config, build_dataset(config, CACHE), accelerator="cpu")
    found = []
    for batch in trainer.batches.stream(0, STEPS, workers=0):
        found.append(trainer.train_step(batch)["total"])
        trainer.step += 1
    found = np.array(found)
    assert len(published) == len(found) == STEPS
    assert abs(found / published - 1).max() < ONE_STEP
    assert abs(found[-10:].mean() / published[-10:].mean() - 1) < LAST_TEN
