"""The thread: what a chapter compares, from records that are known."""

import json

import pytest
from made_sounds import tone

from ast_lib import audio
from ast_lib.book import thread
from ast_lib.errors import AstError


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A record of three systems on two pieces, sounds of the tune, and a ledger: one seed more of the baseline."""
    monkeypatch.setattr(thread, "RECORD", tmp_path / "thread.json")
    monkeypatch.setattr(thread, "LEDGER", tmp_path / "ablations.json")
    monkeypatch.setattr(thread, "SOUNDS", tmp_path)
    lsd = {"source_copy": (18.0, 20.0), "baseline": (8.0, 10.0), "no_adversary": (9.0, 12.0)}
    found = {
        name: {"tune": dict.fromkeys(thread.TASKS, 7.5), "pieces": dict.fromkeys(thread.TASKS, list(pieces))}
        for name, pieces in lsd.items()
    }
    (tmp_path / "thread.json").write_text(json.dumps(found), encoding="utf-8")
    rows = [
        {
            "variant": name,
            "seed": seed,
            "lsd": {f"playable {task}": [value + seed for value in lsd[name]] for task in thread.TASKS},
        }
        for name, seeds in (("baseline", (0, 1, 5)), ("no_adversary", (0, 1)))
        for seed in seeds
    ]
    (tmp_path / "ablations.json").write_text(json.dumps(rows), encoding="utf-8")
    for name in (*lsd, "truth"):
        for task in thread.TASKS:
            audio.save(tmp_path / f"{name}_{task}.mp3", tone(0.2))
    return tmp_path


def test_the_gain_is_the_mean_difference_over_pieces_of_the_mean_over_seeds(recorded):
    def values(*names):
        return [table["value"].tolist() for table in thread.by_piece("piano_to_violin", *names)]

    assert values("baseline") == [[10, 12]]
    assert values("baseline", "no_adversary") == [[8.5, 10.5], [9.5, 12.5]]  # the two seeds that both have
    assert values("baseline", "source_copy") == [[8, 10], [18, 20]]  # what the thread's record has of both
    page = thread.bought("08_adversary").data
    assert page.count("1.50 dB [1.00, 2.00]") == 2  # 1 dB on one piece, 2 dB on the other, both ways
    assert "gain, mean of 2 pieces and 2 seeds" in page
    assert page.count("7.5 dB") == 4 and page.count("<audio") == 6


def test_every_player_is_named_and_holds_its_sound(recorded):
    page = thread.play("baseline").data
    assert page.count("<audio") == 6 and page.count("data:audio/mpeg;base64,") == 6
    assert 'aria-label="source, piano → violin"' in page and 'preload="none"' in page


def test_what_is_missing_is_said(recorded):
    with pytest.raises(AstError, match="chapter: found '99_none', accepted are 01_paper"):
        thread.bought("99_none")
    with pytest.raises(AstError, match="has no system 'no_margin', it has source_copy, baseline, no_adversary"):
        thread.bought("06_margin")
    (recorded / "thread.json").unlink()
    with pytest.raises(AstError, match="'python -m benchmarks.thread' writes it"):
        thread.bought("08_adversary")


def test_every_chapter_has_its_step(root):
    chapters = {path.stem for path in (root / "notebooks").glob("*.md")}
    assert set(thread.STEPS) == chapters
    known = thread.record()
    assert {name for step in thread.STEPS.values() for name in (step.without, step.with_)} <= set(known)
    for chapter in chapters:
        assert f'thread.bought("{chapter}")' in (root / "notebooks" / f"{chapter}.md").read_text(encoding="utf-8"), (
            chapter
        )
