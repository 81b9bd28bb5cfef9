"""benchmarks/ablations.py: the ledger of variants."""

import json

import pytest

from ast_lib.config import override
from ast_lib.errors import AstError
from ast_lib.published.config import preset
from benchmarks import ablations


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The runner on the smallest preset, with a ledger of its own."""
    monkeypatch.setattr(ablations, "BASE", override(preset("smoke"), "training.steps=4"))
    monkeypatch.setattr(ablations, "LEDGER", tmp_path / "ablations.json")
    return tmp_path / "ablations.json"


def test_every_variant_is_a_configuration_that_differs_from_the_baseline():
    baseline = ablations.variant("baseline", 0)
    for name in set(ablations.VARIANTS) - {"baseline"}:
        assert ablations.variant(name, 0) != baseline, name
    with pytest.raises(AstError, match=r"model\.depth"):  # which the numbers of layers stand for
        ablations.variant("baseline", 0, "model.depth=1")
    with pytest.raises(AstError, match="variant: found 'nothing', accepted are baseline, "):
        ablations.main(["nothing"])


def test_a_run_is_one_row_and_is_not_repeated(small):
    ablations.main(["baseline", "no_phase", "--seeds", "3"])
    rows = json.loads(small.read_text())
    assert [(row["variant"], row["seed"], row["steps"]) for row in rows] == [("baseline", 3, 4), ("no_phase", 3, 4)]
    assert rows[1]["changes"] == ["loss.phase=0"]
    clips = {key: len(values) for key, values in rows[0]["lsd"].items()}
    assert clips["playable piano_to_violin"] == clips["teacher-forced violin_to_piano"] == 2
    assert all(2 < value < 60 for row in rows for values in row["lsd"].values() for value in values)
    notes = {whose: len(rows[0]["held"][f"playable piano_to_violin {whose}"]) for whose in ("ours", "truth", "source")}
    assert len(set(notes.values())) == 1
    before = small.read_bytes()
    ablations.main(["no_phase", "--seeds", "3"])
    assert small.read_bytes() == before


def test_another_recipe_has_a_file_of_its_own(small, tmp_path):
    ablations.main(["baseline", "--seeds", "3", "--output", str(tmp_path / "mine.json")])
    assert [row["seed"] for row in json.loads((tmp_path / "mine.json").read_text())] == [3] and not small.exists()


def test_the_committed_ledger_compares_like_with_like(root):
    rows = json.loads((root / "results" / "ablations.json").read_text(encoding="utf-8"))
    assert len({(row["variant"], row["seed"]) for row in rows}) == len(rows)
    assert len({row["steps"] for row in rows}) == 1
    sizes = [{key: len(values) for key, values in row["lsd"].items()} for row in rows]
    rendered = [{key: size for key, size in row.items() if not key.startswith("recordings")} for row in sizes]
    assert len(set(map(json.dumps, rendered))) == 1
    assert {row[key] for row in sizes for key in row if key.startswith("recordings")} == {12}
    seeds = {row["seed"] for row in rows if row["variant"] == "baseline"}
    assert {row["seed"] for row in rows} <= seeds, "a variant without the baseline of its seed cannot be compared"


def test_no_variant_of_the_committed_ledger_is_the_baseline_again(root):
    """A change that reaches nothing trains the same weights twice."""
    rows = json.loads((root / "results" / "ablations.json").read_text(encoding="utf-8"))
    same = {row["seed"]: row["lsd"] for row in rows if row["variant"] == "baseline"}
    assert [row["variant"] for row in rows if row["variant"] != "baseline" and row["lsd"] == same[row["seed"]]] == []


def test_rows_have_the_changes_of_their_variant(root):
    """So that a row can be trained again, here and by the commit that it names."""
    rows = json.loads((root / "results" / "ablations.json").read_text(encoding="utf-8"))
    known = [row for row in rows if row["variant"] in ablations.VARIANTS]
    assert len(known) >= 7
    for row in known:
        assert row["changes"] == ablations.VARIANTS[row["variant"]], row["variant"]
