"""The plans of the course: ``book/course.toml`` in; sessions with their chapters, minutes and exercises out.

``book/teaching.md`` has a comment such as ``<!-- plan: 8 -->`` where :func:`filled` puts a table, while the site is
built: reading minutes are those of ``results/prose.json``, running minutes those of the chapters' headers.
"""

import json
import pathlib
import re
import tomllib
from typing import NamedTuple

from chapter_dependencies import BuildError, Chapter, read_chapters
from exercises import directives, is_instructors, option

PLAN = "book/course.toml"
PLACE = re.compile(r"<!-- plan: (\d+) -->")


class Session(NamedTuple):
    """One meeting of a class."""

    title: str
    goal: str
    before: str  # what students need to know
    chapters: tuple[Chapter, ...]


def sessions(root: pathlib.Path, count: int) -> list[Session]:
    """The sessions of the plan of so many.

    Raises:
        BuildError: when there is no such plan, or a session has a chapter that is not there.
    """
    plans = tomllib.loads((root / PLAN).read_text(encoding="utf-8"))["plan"]
    if str(count) not in plans or len(plans[str(count)]) != count:
        raise BuildError(f"{PLAN}: there is no plan of {count} sessions; there are those of {', '.join(plans)}")
    every, found = sorted(read_chapters(root).items()), []
    for entry in plans[str(count)]:
        chosen = []
        for number in entry["chapters"]:
            chosen += [chapter for name, chapter in every if re.match(rf"{number}[a-z]?_", name)]
            if not any(re.match(rf"{number}[a-z]?_", chapter.name) for chapter in chosen):
                raise BuildError(f"{PLAN}: {entry['title']}: there is no chapter {number}")
        found.append(Session(entry["title"], entry["goal"], entry["before"], tuple(chosen)))
    return found


def reading_minutes(root: pathlib.Path) -> dict[str, float]:
    """Minutes of reading on the path, by chapter."""
    return {
        name: counts["minutes"]
        for name, counts in json.loads((root / "results" / "prose.json").read_text(encoding="utf-8"))["now"].items()
    }


def exercises(chapter: Chapter) -> dict[str, list[str]]:
    """Labels of a chapter's exercises, by where they are done: in class, or at home."""
    found = {"in class": [], "at home": []}
    for cell in chapter.notebook.cells:
        for match in directives(cell.source, "exercise") if cell.cell_type == "markdown" else ():
            label = option(match, "label")
            in_class = label.startswith("code-") and not is_instructors(match)
            found["in class" if in_class or not found["in class"] else "at home"].append(label)
    return found


def row(number: int, session: Session, minutes: dict[str, float]) -> str:
    """One line of a plan's table."""
    read = sum(minutes.get(chapter.name, 0) for chapter in session.chapters)
    run = sum(chapter.seconds for chapter in session.chapters) / 60
    lines = []
    for place in ("in class", "at home"):
        found = [f"{{ref}}`{label}`" for chapter in session.chapters for label in exercises(chapter)[place]]
        lines.append(f"*{place.capitalize()}:* {', '.join(found)}.")
    chapters = ", ".join(f"{{doc}}`/notebooks/{chapter.name}`" for chapter in session.chapters)
    about = f"{number}. **{session.title}.** {session.goal} *Needs:* {session.before}."
    return f"| {about} | {chapters} | {' '.join(lines)} | {read:.0f} | {max(run, 1):.0f} |"


def table(root: pathlib.Path, count: int) -> str:
    """A plan as a table of Markdown."""
    head = "| session | chapters | exercises | read (min) | run (min) |\n|---|---|---|--:|--:|"
    minutes = reading_minutes(root)
    return "\n".join([head, *(row(number, each, minutes) for number, each in enumerate(sessions(root, count), 1))])


def filled(text: str, root: pathlib.Path) -> str:
    """A page with the tables of its plans."""
    return PLACE.sub(lambda match: table(root, int(match[1])), text)
