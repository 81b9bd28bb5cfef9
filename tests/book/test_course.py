"""The course: every chapter has its session, plans hold the evidence, and tables are made from what is measured."""

import json
import re

import pytest

import course
from chapter_dependencies import BuildError, read_chapters
from course import filled, sessions, table


@pytest.mark.parametrize("count", [4, 8, 12])
def test_a_plan_has_its_sessions_and_the_evidence(root, count):
    plan = sessions(root, count)
    assert len(plan) == count and all(each.chapters and each.goal and each.before for each in plan)
    named = [chapter.name for each in plan for chapter in each.chapters]
    assert len(named) == len(set(named))
    assert {name[:2] for name in named} >= {"12", "13", "14"}
    if count > 4:
        assert set(named) == set(read_chapters(root)), "a chapter without a session"


def test_a_number_stands_for_all_parts_of_a_chapter(root):
    named = [chapter.name for chapter in sessions(root, 8)[2].chapters]
    assert named == [name for name in sorted(read_chapters(root)) if name[:2] in ("04", "05")]


def test_minutes_are_those_of_the_record_and_of_the_headers(root):
    chapters, minutes = read_chapters(root), json.loads((root / "results" / "prose.json").read_text())["now"]
    lines = table(root, 8).splitlines()[2:]
    for line, session in zip(lines, sessions(root, 8), strict=True):
        read, run = (int(cell) for cell in line.strip("| ").split(" | ")[-2:])
        assert abs(read - sum(minutes.get(each.name, {"minutes": 0})["minutes"] for each in session.chapters)) <= 0.5
        assert run == max(1, round(sum(chapters[each.name].seconds for each in session.chapters) / 60))
        named = re.findall(r"\{ref\}`([\w-]+)`", line)
        assert len(named) == len(set(named)) >= 3 * len(session.chapters)


def test_the_page_has_every_plan(root):
    text = (root / "book" / "teaching.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- plan: (\d+) -->", text) == ["8", "12", "4"]
    page = filled(text, root)
    assert "<!--" not in page and page.count("| session | chapters |") == 3
    assert "rubric" in text.lower() or "| points | 0 | 1 | 2 | 3 |" in text


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ('[[plan.4]]\ntitle = "A"\n', "there is no plan of 1 sessions; there are those of 4"),
        ('[[plan.1]]\ntitle = "A"\nchapters = ["99"]\n', "A: there is no chapter 99"),
    ],
)
def test_a_wrong_plan_is_named(root, tmp_path, monkeypatch, plan, message):
    (tmp_path / "course.toml").write_text(plan)
    monkeypatch.setattr(course, "PLAN", str(tmp_path / "course.toml"))
    with pytest.raises(BuildError, match=message):
        sessions(root, 1)
