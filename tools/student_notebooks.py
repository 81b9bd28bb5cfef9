"""Notebooks for a class, made of chapters: blank for students, with solutions and hints for instructors.

Both are for plain Jupyter: formulas, boxes and quizzes are Markdown that needs no extension, and cells that only set up
or check are folded. :mod:`packs` adds what a class needs to run them.
"""

import ast
import pathlib
import re
import textwrap
from collections.abc import Mapping

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

import quiz
from chapter_dependencies import BuildError, Chapter
from exercises import DIRECTIVE, blank, coding_exercises, is_instructors, option, solution, solved

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
FOLDED = {"hide-input": {"source_hidden": True}, "hide-cell": {"source_hidden": True, "outputs_hidden": True}}
GUARDED = """try:
{check}
except NotImplementedError:
    print("{label}: not yet solved")
else:
    print("{label}: solved")"""


def plain(text: str, titles: Mapping[str, str]) -> str:
    """MyST text as Markdown that plain Jupyter shows: no directive and no role is left.

    Args:
        text: of a cell.
        titles: of the chapters and pages, by file name.
    """

    def directive(match: re.Match) -> str:
        if match["name"] == "quiz":
            return plain_quiz(match)
        body, label = DIRECTIVE.sub(directive, match["body"]).strip("\n"), option(match, "label")
        if match["name"] == "math":
            return f"$$\n{body}\n\\tag{{{label}}}\n$$" if label else f"$$\n{body}\n$$"
        title = match["argument"] or match["name"].title()
        if "dropdown" in option(match, "class").split():
            return f"<details><summary><b>{title}</b></summary>\n\n{body}\n\n</details>"
        quoted = "\n".join(f"> {line}".rstrip() for line in body.splitlines())
        return f"> **{title}**\n>\n{quoted}"

    text = DIRECTIVE.sub(directive, text)
    text = re.sub(r"\\([ERC])(?![A-Za-z])", r"\\mathbb{\1}", text)  # the macros of _config.yml
    text = re.sub(r"\{eq\}`([^`]+)`", r"(\1)", text)
    text = re.sub(r"\{doc\}`([^`]+)`", lambda match: f"*{titles[pathlib.PurePath(match[1]).name]}*", text)
    text = re.sub(r"\{ref\}`([^`]+)`", r"*\1*", text)
    return re.sub(r"\{cite(?::\w+)?\}`([^`]+)`", r"[\1]", text)


def plain_quiz(match: re.Match) -> str:
    """A quiz as a question with a list, and its answers folded."""
    found = quiz.check(match["argument"], option(match, "label"), match["body"].splitlines())
    letters = "abcdefghij"[: len(found)]
    listed = [f"- ({letter}) {answer.text}" for letter, answer in zip(letters, found, strict=True)]
    reasons = [
        f"- ({letter}) {'**Right:**' if answer.right else 'wrong:'} {answer.reason}"
        for letter, answer in zip(letters, found, strict=True)
    ]
    folded = ["<details><summary>Answers</summary>", "", *reasons, "", "</details>"]
    return "\n".join([f"**{match['argument']}**", "", *listed, "", *folded])


def split_solutions(text: str) -> tuple[str, dict[str, re.Match]]:
    """A cell's text without its ``solution`` directives, and these by the label of their exercise."""
    solutions = {match["argument"]: match for match in DIRECTIVE.finditer(text) if match["name"] == "solution"}
    return DIRECTIVE.sub(lambda match: "" if match["name"] == "solution" else match[0], text), solutions


def solution_texts(chapter: Chapter, titles: Mapping[str, str], instructor: bool) -> dict[str, str]:
    """The solutions of a chapter by the label of their exercise, with their code; the printed ones, or all."""
    codes = {each.label: each.code for each in coding_exercises(chapter.notebook, chapter.name)}
    texts = {}
    for cell in chapter.notebook.cells:
        for label, match in split_solutions(cell.source)[1].items() if cell.cell_type == "markdown" else ():
            if instructor or not is_instructors(match):
                texts[label] = plain(match["body"].strip(), titles)
                if label in codes:
                    texts[label] += f"\n\n```python\n{solution(chapter.notebook.cells[codes[label]].source)}\n```"
    return texts


def guarded(check: str, label: str) -> str:
    """A check that says "not yet solved" on a blank, so that the cells after it run.

    Raises:
        BuildError: when its lines cannot be indented, as those of a text over several lines.
    """
    code = GUARDED.format(check=textwrap.indent(check, "    "), label=label)
    if ast.dump(ast.Module(ast.parse(code).body[0].body, [])) != ast.dump(ast.parse(check)):
        raise BuildError(f"{label}: the check holds a text over several lines")
    return code


def code_cell(cell: NotebookNode, source: str) -> NotebookNode:
    """A code cell that Jupyter folds where the page does."""
    made = new_code_cell(source)
    for tag in cell.metadata.get("tags", ()):
        made.metadata.setdefault("jupyter", {}).update(FOLDED.get(tag, {}))
    return made


def class_notebook(chapter: Chapter, titles: Mapping[str, str], instructor: bool = False) -> NotebookNode:
    """A chapter for students, or for instructors.

    Raises:
        BuildError: when an exercise has no solution, or a solution no exercise.
    """
    coding = coding_exercises(chapter.notebook, chapter.name)
    codes, checks = ({getattr(each, kind): each.label for each in coding} for kind in ("code", "check"))
    texts = solution_texts(chapter, titles, instructor=True)
    cells, labels = [], []

    def prose(text: str):
        cells.extend([new_markdown_cell(plain(text, titles))] if text.strip() else [])

    for index, cell in enumerate(chapter.notebook.cells):
        if index in codes:
            cells.append(code_cell(cell, solved(cell.source) if instructor else blank(cell.source)))
        elif index in checks:
            label = checks[index]
            cells.append(code_cell(cell, cell.source if instructor else guarded(cell.source, label)))
            cells.extend([new_markdown_cell(f"**Solution ({label})**\n\n{texts[label]}")] if instructor else [])
        elif cell.cell_type == "code":
            cells.append(code_cell(cell, cell.source))
        else:
            text, position = split_solutions(cell.source)[0], 0
            for match in DIRECTIVE.finditer(text):
                if match["name"] != "exercise":
                    continue
                prose(text[position : match.start()].strip())
                position = match.end()
                label = option(match, "label")
                labels.append(label)
                prose(f"### Exercise {len(labels)} ({label})\n\n{match['body'].strip()}")
                if instructor and label not in codes.values():
                    cells.append(new_markdown_cell(f"**Solution ({label})**\n\n{texts.get(label)}"))
                elif label not in codes.values():
                    cells.extend([new_markdown_cell("*Your answer:*"), new_code_cell("")])
            prose(text[position:].strip())
    if sorted(labels) != sorted(texts):
        odd = sorted(set(labels) ^ set(texts))
        raise BuildError(f"{chapter.name}: {', '.join(odd)} is an exercise without a solution, or the reverse")
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same from run to run
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def page_titles(root: pathlib.Path) -> dict[str, str]:
    """First heading of every chapter and page, by file name without suffix."""
    paths = [*(root / "notebooks").glob("*.md"), *(root / "book").glob("*.md")]
    found = {path.stem: re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) for path in paths}
    return {name: match[1] if match else name.replace("_", " ") for name, match in found.items()}
