"""Write the table of published results into README.md and book/intro.md, or check that it is the one to be written.

``python tools/readme_figures.py [--check]``. The table stands between the lines ``<!-- figures:begin -->`` and
``<!-- figures:end -->`` and comes from ``results/15_listening*.json`` alone, so that no figure is ever typed.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Iterable

from ast_lib.book.results import Record, read
from ast_lib.errors import AstError
from chapter_dependencies import ROOT

PAGES = ("README.md", "book/intro.md")
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"
# The metrics of the table, in its order. Arrows point to the better side.
METRICS = {"lsd": "LSD ↓", "chroma_cosine": "chroma cosine ↑", "raw_pitch_accuracy": "raw pitch accuracy ↑"}
TASKS = {"piano_to_violin": "piano→violin", "violin_to_piano": "violin→piano"}
SYSTEMS = {
    "source_copy": "source copied unchanged",
    "another_piece": "another piece on the target instrument",
    "ceiling": "ceiling: true magnitude, phase found again",
}


class FiguresError(Exception):
    """A reason why the figures cannot be written or are not current, in one sentence."""


def read_results(folder: pathlib.Path) -> list[Record]:
    """All records of ``folder/15_listening*.json`` whose metric is in the table, in the order of the files.

    Raises:
        FiguresError: when two records claim the same cell of the table with different values.
        AstError: for a file that does not hold records.
    """
    cells: dict[tuple, Record] = {}
    for path in sorted(folder.glob("15_listening*.json")):
        for record in read(path):
            cell = (record.system, record.metric, record.task)
            if record.metric in METRICS and cells.setdefault(cell, record) != record:
                raise FiguresError(f"{path.name}: a second value for {', '.join(cell)}, accepted is one in results/")
    return list(cells.values())


def system_title(system: str) -> str:
    """How the table names a system: ``quick_predicted_phase`` is "quick, predicted phase"."""
    for suffix in ("_predicted_phase", "_magnitude_only", "_teacher_forced"):
        if system.endswith(suffix):
            return f"{system_title(system.removesuffix(suffix))},{suffix.replace('_', ' ')}"
    return SYSTEMS.get(system, system.replace("_", " "))


def in_order(found: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names found: known ones first, in their order, then the others as they came."""
    found = list(dict.fromkeys(found))
    return [*(name for name in known if name in found), *(name for name in found if name not in known)]


def table(records: list[Record]) -> str:
    """Markdown: a row per system, a column per metric and task, and a line that says where the figures come from."""
    if not records:
        return "No results have been published yet."
    cells = {(record.metric, record.task, record.system): record for record in records}
    tasks = in_order((record.task for record in records), TASKS)
    filled = {key[:2] for key in cells}
    columns = [(metric, task) for metric in METRICS for task in tasks if (metric, task) in filled]
    systems = in_order((record.system for record in records), ())
    systems.sort(key=lambda system: {"source_copy": -2, "another_piece": -1, "ceiling": 1}.get(system, 0))
    titles = []
    for metric, task in columns:
        unit = next(record.unit for key, record in cells.items() if key[:2] == (metric, task))
        titles.append(f"{METRICS[metric]}{f' ({unit})' if unit else ''} {TASKS.get(task, task.replace('_', ' '))}")
    lines = ["| system | " + " | ".join(titles) + " |", "|---" + "|--:" * len(columns) + "|"]
    for system in systems:
        row = [cells[*column, system].text if (*column, system) in cells else "–" for column in columns]
        lines.append(f"| {system_title(system)} | {' | '.join(row)} |")
    return "\n".join([*lines, "", provenance(records)])


def provenance(records: list[Record]) -> str:
    """The sentence below the table: number of clips, profile, weights and seed."""
    profiles, weights, seeds = (
        ", ".join(dict.fromkeys(str(getattr(record, name)) for record in records if getattr(record, name) != "none"))
        for name in ("profile", "weights", "seed")
    )
    counts: dict[int, list[str]] = {}
    for record in records:
        counts.setdefault(record.n, []).append(METRICS[record.metric].rstrip(" ↑↓"))
    clips = " and ".join(f"{n} clips ({', '.join(dict.fromkeys(titles))})" for n, titles in counts.items())
    if len(counts) == 1:
        clips = f"{records[0].n} clips"
    return (
        f"Mean ± standard deviation over {clips} in each direction; profile {profiles}, weights {weights or 'none'}, "
        f"seed {seeds}."
    )


def with_table(text: str, content: str, name: str) -> str:
    """A page's text with ``content`` between its two marks.

    Raises:
        FiguresError: when the page does not have the marks, once each and in order.
    """
    lines = text.splitlines()
    begins, ends = ([i for i, line in enumerate(lines) if line.strip() == mark] for mark in (BEGIN, END))
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise FiguresError(f"{name}: the lines {BEGIN} and {END} must be there, once each and in this order")
    return "\n".join([*lines[: begins[0] + 1], "", content, "", *lines[ends[0] :], ""])


def update(root: pathlib.Path, check: bool) -> list[str]:
    """Names of the pages whose figures were (or, with ``check``, have to be) written anew.

    Raises:
        FiguresError, AstError: when pages or results cannot be used.
    """
    content = table(read_results(root / "results"))
    stale = []
    for name in PAGES:
        path = root / name
        if not path.is_file():
            raise FiguresError(f"{name}: there is no such page")
        text = path.read_text(encoding="utf-8")
        wanted = with_table(text, content, name)
        if wanted != text:
            stale.append(name)
            if not check:
                temporary = path.with_name(f".{path.name}.tmp")
                temporary.write_text(wanted, encoding="utf-8")
                os.replace(temporary, path)
    return stale


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the published figures into README.md and book/intro.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is not current")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    try:
        stale = update(options.root.resolve(), options.check)
    except (FiguresError, AstError) as error:
        print(f"readme_figures: {error}", file=sys.stderr)
        return 1
    if stale and options.check:
        print(f"readme_figures: {' and '.join(stale)} differ from results/; run: make publish", file=sys.stderr)
        return 1
    print(f"figures: {' and '.join(stale)} written" if stale else "figures: current")
    return 0


if __name__ == "__main__":
    sys.exit(main())
