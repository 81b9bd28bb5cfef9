"""Formulas of the paper's table: their names are those of the published numbers."""

import pandas as pd

from ast_lib.published.table1 import CONTENT, RECONSTRUCTION, TIMBRE


def test_every_published_number_has_its_formula_and_no_other(root):
    published = pd.read_csv(root / "results" / "table1_published.csv")
    found = {(task.endswith("reconstruction"), metric) for task, metric in published[["task", "metric"]].values}
    assert found == {(True, name) for name in RECONSTRUCTION} | {(False, name) for name in CONTENT | TIMBRE}
