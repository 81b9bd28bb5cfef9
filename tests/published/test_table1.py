"""The paper's table for a model of ours: its rows, its names, and a copy that is perfect."""

import pandas as pd
import pytest
from models import made_dataset, tiny, untrained

from ast_lib.evaluation.systems import evaluate
from ast_lib.published import metrics
from ast_lib.published.table1 import published_table

SHORT = ("data.development_pieces=4", "data.development_seconds=1.5")
CONFIG = tiny("model.window=32", "model.overlap=8", "training.seed=5", *SHORT)


def test_the_paper_s_table_has_its_rows_and_names_and_a_copy_that_is_perfect(root):
    model, clips = untrained(CONFIG), made_dataset(CONFIG).held_out("development")
    table = published_table(model, "smoke", clips, evaluate(model, "smoke", clips)[1])
    published = pd.read_csv(root / "results" / "table1_published.csv")
    assert {(t, m) for t, m in table[["task", "metric"]].values} == {
        (t, m) for t, m in published[["task", "metric"]].values
    }
    means = table.groupby(["task", "system", "metric"])["value"].mean()
    for instrument in ("piano", "violin"):
        copy = means[f"{instrument}_reconstruction", "source_copy"]
        assert copy["chroma distance"] == 0 and copy["MSE of the spectrogram"] == 0 and copy["onset F1"] == 1
        assert copy["pitch correlation"] == pytest.approx(1)
    # A copy keeps its own chroma, and its timbre is compared with the target instrument on another piece.
    assert means["piano_to_violin", "source_copy", "chroma similarity"] == pytest.approx(1)
    row = table.set_index(["task", "system", "piece", "metric"])["value"]
    expected = metrics.published_mfcc_distance(clips[1].audio["piano"], clips[0].audio["violin"])
    assert row["piano_to_violin", "source_copy", clips[1].piece, "MFCC distance"] == pytest.approx(expected, rel=1e-3)
