"""Notebooks for a class: the chapters without solutions, and the solutions by themselves.

``python tools/student_notebooks.py [CHAPTER ...]`` writes ``build/student/NN_name.ipynb``, not executed, for plain
Jupyter: exercises with room for an answer, formulas and references as Markdown that needs no extension. Solutions go to
``build/student/solutions/NN_name.md``.
"""

import argparse
import pathlib
import re
import shutil
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from chapter_dependencies import ROOT, BuildError, Chapter, read_chapters

DIRECTIVE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[\w-]+)\} ?(?P<argument>[^\n]*)\n(?P<options>(?::[\w-]+:[^\n]*\n)*)\n?"
    r"(?P<body>.*?)^(?P=fence)[ \t]*$",
    flags=re.MULTILINE | re.DOTALL,
)
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def label_of(match: re.Match) -> str:
    found = re.search(r":label: (\S+)", match["options"])
    return found[1] if found else ""


def plain(text: str, titles: dict[str, str]) -> str:
    """MyST text as Markdown that plain Jupyter shows: no directive and no role is left.

    Args:
        text: of a cell.
        titles: of the chapters and pages, by file name.
    """

    def directive(match: re.Match) -> str:
        body = DIRECTIVE.sub(directive, match["body"]).rstrip()
        if match["name"] == "math":
            return f"$$\n{body}\n\\tag{{{label_of(match)}}}\n$$" if label_of(match) else f"$$\n{body}\n$$"
        quoted = "\n".join(f"> {line}".rstrip() for line in body.splitlines())
        return f"> **{match['argument'] or match['name'].title()}**\n>\n{quoted}"

    text = DIRECTIVE.sub(directive, text)
    text = re.sub(r"\\([ERC])(?![A-Za-z])", r"\\mathbb{\1}", text)  # the macros of _config.yml
    text = re.sub(r"\{eq\}`([^`]+)`", r"(\1)", text)
    text = re.sub(r"\{doc\}`([^`]+)`", lambda match: f"*{titles[pathlib.PurePath(match[1]).name]}*", text)
    text = re.sub(r"\{ref\}`([^`]+)`", r"*\1*", text)
    return re.sub(r"\{cite(?::\w+)?\}`([^`]+)`", r"[\1]", text)


def split_solutions(text: str) -> tuple[str, dict[str, str]]:
    """A cell's text without its ``solution`` directives, and these by the label of their exercise."""
    solutions = {match["argument"]: match["body"] for match in DIRECTIVE.finditer(text) if match["name"] == "solution"}
    return DIRECTIVE.sub(lambda match: "" if match["name"] == "solution" else match[0], text), solutions


def student_notebook(chapter: Chapter, titles: dict[str, str]) -> tuple[nbformat.NotebookNode, dict[str, str]]:
    """A chapter for students, and the solutions of its exercises by label.

    Raises:
        BuildError: when an exercise has no solution, or a solution no exercise.
    """
    cells, solutions, labels = [], {}, []
    for cell in chapter.notebook.cells:
        if cell.cell_type == "code":
            cells.append(new_code_cell(cell.source))
            continue
        text, found = split_solutions(cell.source)
        solutions |= found
        position = 0
        for match in DIRECTIVE.finditer(text):
            if match["name"] != "exercise":
                continue
            before = text[position : match.start()].strip()
            labels.append(label_of(match))
            body = plain(match["body"].strip(), titles)
            cells += [new_markdown_cell(plain(before, titles))] if before else []
            cells.append(new_markdown_cell(f"### Exercise {len(labels)} ({labels[-1]})\n\n{body}"))
            cells += [new_markdown_cell("*Your answer:*"), new_code_cell("")]
            position = match.end()
        rest = text[position:].strip()
        cells += [new_markdown_cell(plain(rest, titles))] if rest else []
    if sorted(labels) != sorted(solutions):
        odd = sorted(set(labels) ^ set(solutions))
        raise BuildError(f"{chapter.name}: {', '.join(odd)} is an exercise without a solution, or the reverse")
    # Ids that do not change from run to run.
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    return notebook, {label: plain(solutions[label].strip(), titles) for label in labels}


def page_titles(root: pathlib.Path) -> dict[str, str]:
    """First heading of every chapter and page, by file name without suffix."""
    paths = [*(root / "notebooks").glob("*.md"), *(root / "book").glob("*.md")]
    found = {path.stem: re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) for path in paths}
    return {name: match[1] if match else name.replace("_", " ") for name, match in found.items()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the chapters without solutions, and the solutions.")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 06_margin (default: all)")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    folder = options.root / "build" / "student"
    try:
        chapters, titles = read_chapters(options.root), page_titles(options.root)
        unknown = [name for name in options.chapters if name not in chapters]
        if unknown:
            raise BuildError(f"chapter: found {unknown[0]!r}, accepted are {', '.join(chapters)}")
        made = {name: student_notebook(chapters[name], titles) for name in options.chapters or chapters}
    except BuildError as error:
        print(f"student_notebooks: {error}", file=sys.stderr)
        return 1
    if not options.chapters:
        shutil.rmtree(folder, ignore_errors=True)
    (folder / "solutions").mkdir(parents=True, exist_ok=True)
    for name, (notebook, solutions) in made.items():
        nbformat.write(notebook, folder / f"{name}.ipynb")
        parts = [
            f"## Exercise {number} ({label})\n\n{text}\n" for number, (label, text) in enumerate(solutions.items(), 1)
        ]
        (folder / "solutions" / f"{name}.md").write_text(f"# {titles[name]}\n\n" + "\n".join(parts), encoding="utf-8")
    print(f"{len(made)} notebooks are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
