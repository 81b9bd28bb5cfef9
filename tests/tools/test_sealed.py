"""The sealed test: its rule, its digests, and a ledger that only grows."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from models import made_pieces, tiny, untrained

from ast_lib.data.scores import Notes, Piece, notes_digest
from ast_lib.errors import AstError
from ast_lib.files import ROOT
from ast_lib.networks.checkpoint import PUBLISHED, load_weights, save_weights
from benchmarks import sealed
from benchmarks import sealed_pieces as material

PIECES = [
    dataclasses.replace(piece, kind=kind) for piece, kind in zip(made_pieces(1), ("song", "quartet"), strict=True)
]


@pytest.fixture
def weights(tmp_path):
    config = tiny("data.development_seconds=1.5")
    return save_weights(tmp_path / "w.safetensors", untrained(config), {}, {})


@pytest.fixture
def light(monkeypatch):
    """No corpus and no soundfont but the default; the voices are General-MIDI instruments of it."""
    monkeypatch.setattr(sealed, "load_pieces", lambda count, cache: [])
    monkeypatch.setattr(sealed, "sealed_pieces", lambda known, cache: PIECES)
    monkeypatch.setattr(sealed, "VOICES", ("TimGM6mb",))
    monkeypatch.setattr(sealed, "OTHERS", ("flute",))
    monkeypatch.setattr(sealed, "CENTS", (50,))


def test_a_row_holds_every_figure_with_its_interval(weights, light, tmp_path):
    ledger = tmp_path / "sealed.json"
    row = sealed.sealed_test(weights, ledger, tmp_path)
    assert json.loads(ledger.read_text()) == [row]
    assert row["weights"] == sealed.tensors_digest(load_weights(weights))
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", row["commit"]) and row["date"].endswith("+00:00")
    table = pd.DataFrame(row["figures"])
    assert (table["low"] <= table["value"] + 1e-9).all() and (table["value"] <= table["high"] + 1e-9).all()
    playable, extension = (set(table[table["part"] == part]["experiment"]) for part in ("playable", "extension"))
    assert extension == {"trained voice", "source: TimGM6mb", "source: flute"}
    assert playable == extension | {"one-shot: TimGM6mb", "source: +50 cents"}
    assert set(table[table["part"] == "playable"]["pieces"]) == {1, 2}  # pitch is measured where one note sounds
    assert set(table[table["part"] == "extension"]["pieces"]) == {1}
    ours = table[(table["system"] == "ours") & (table["metric"] == "lsd")]
    assert set(ours["task"]) == {"piano_to_violin", "violin_to_piano"} and (ours["value"] > 1).all()
    assert "ours_over_truth" in set(table["system"])


def test_weights_are_measured_once_and_rows_stay(weights, light, tmp_path, monkeypatch):
    ledger = tmp_path / "sealed.json"
    figures = pd.DataFrame([("x", 1.0)], columns=["metric", "value"])
    monkeypatch.setattr(sealed, "measure", lambda model, pieces: figures)
    first = sealed.sealed_test(weights, ledger, tmp_path)
    with pytest.raises(AstError, match="has a row in .*; it is measured once"):
        sealed.sealed_test(weights, ledger, tmp_path)
    other = save_weights(tmp_path / "o.safetensors", untrained(tiny(), seed=1), {}, {})
    second = sealed.sealed_test(other, ledger, tmp_path)
    assert json.loads(ledger.read_text()) == [first, second]


def test_pieces_that_are_not_the_sealed_ones_are_refused(tmp_path, monkeypatch):
    digests = tmp_path / "digests.json"
    digests.write_text(json.dumps({"pieces": {"a": "1", "b": "2"}}))
    monkeypatch.setattr(material, "DIGESTS", digests)
    material.check_digests({"a": "1", "b": "2"}, "pieces")
    for found in ({"a": "1"}, {"a": "1", "b": "3"}, {"a": "1", "b": "2", "c": "4"}):
        with pytest.raises(AstError, match="sealed test: pieces differ from .*: [bc]"):
            material.check_digests(found, "pieces")


def test_the_digest_is_of_the_notes():
    notes = Notes(np.array([0.0, 1.0]), np.array([1.0, 0.5]), np.array([60, 62]), np.array([80, 80]))
    assert notes_digest(notes) == notes_digest(dataclasses.replace(notes, velocity=np.array([1, 2])))
    for changed in (
        {"pitch": np.array([60, 63])},
        {"onset": np.array([0.0, 1.25])},
        {"duration": np.array([1.0, 1.0])},
    ):
        assert notes_digest(dataclasses.replace(notes, **changed)) != notes_digest(notes)


def test_the_rule_takes_the_first_usable_tune_and_no_variant(tmp_path, monkeypatch):
    file = tmp_path / "airdsAirs" / "book.abc"
    file.parent.mkdir()
    tune = "CDEF GABc dcBA GFED CEGc BGEC FDBG CCCC"
    short, other = "CDEF|", "cBAG FEDC EGce dfab gecA BdGB cAFD cccc"
    texts = [f"X:{n}\nM:4/4\nL:1/4\nK:C\n{notes}\n" for n, notes in ((3, short), (5, tune), (9, other))]
    file.write_text("\n".join(texts))
    first = material._first("song", file, [])
    assert first.name == "airdsAirs/book/5" and len(first.notes) == 32 and first.notes.pitch[0] == 60
    second = material._first("song", file, [Piece("known", "fiddle", first.notes)])
    assert second.name == "airdsAirs/book/9"


def test_the_committed_digests_are_of_the_number_of_pieces_that_the_rule_says():
    digests = json.loads((ROOT / "results" / "sealed_test.json").read_text())
    songs = [name for name in digests["pieces"] if name.startswith(material.SONGS)]
    quartets = [name for name in digests["pieces"] if name.startswith(material.QUARTETS)]
    assert len(songs) == len(quartets) == material.PER_KIND and len(digests["pieces"]) == 2 * material.PER_KIND
    assert set(digests["voices"]) == set(material.VOICES)
    assert len(set(digests["pieces"].values())) == 2 * material.PER_KIND


def test_the_digest_of_weights_is_of_their_tensors(weights, tmp_path):
    model = load_weights(weights)
    again = load_weights(save_weights(tmp_path / "again.safetensors", model, {"lsd": 1}, {"commit": "x"}))
    assert sealed.tensors_digest(again) == sealed.tensors_digest(model)
    again.latency[0] += 1e-3
    assert sealed.tensors_digest(again) != sealed.tensors_digest(model)


def test_a_problem_is_one_line(tmp_path, capsys):
    assert sealed.main([str(tmp_path / "none.safetensors")]) == 1
    assert re.fullmatch(r"sealed: weights: .*no file at .*none.safetensors.*\n", capsys.readouterr().err)


def test_the_published_weights_are_measured():
    rows = json.loads(sealed.LEDGER.read_text())
    assert sealed.tensors_digest(load_weights(PUBLISHED)) in {row["weights"] for row in rows}
