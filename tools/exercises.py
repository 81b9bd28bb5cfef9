"""Exercises of a chapter: quizzes, questions with a solution, and functions to write with a check.

A coding exercise is four things in this order: ``{exercise}`` with a label ``code-...``, a cell tagged
``exercise-code`` whose solution stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``, a cell tagged
``exercise-check`` that fails without the solution, and ``{solution}``. Where that has the class ``instructor``, no
reader sees the solution: neither the site (:func:`published`) nor a student's notebook.
"""

import ast
import pathlib
import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

import quiz
from chapter_dependencies import BuildError, plain_python

DIRECTIVE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[\w-]+)\} ?(?P<argument>[^\n]*)\n(?P<options>(?::[\w-]+:[^\n]*\n)*)\n?"
    r"(?P<body>.*?)^(?P=fence)[ \t]*$",
    flags=re.MULTILINE | re.DOTALL,
)
REGION = re.compile(
    r"^(?P<indent>[ \t]*)### BEGIN SOLUTION[ \t]*\n(?P<code>.*?)^[ \t]*### END SOLUTION[ \t]*$",
    flags=re.MULTILINE | re.DOTALL,
)
MARKER = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[ \t]*\n?", flags=re.MULTILINE)
BLANK = 'raise NotImplementedError("your code")'


class Coding(NamedTuple):
    """A coding exercise: its label, the indices of its two cells, and whether only instructors see its solution."""

    label: str
    code: int
    check: int
    instructor: bool


def option(match: re.Match, name: str) -> str:
    """The value of a directive's option, empty where it has none."""
    found = re.search(rf"^:{name}: *(.*?)[ \t]*$", match["options"], flags=re.MULTILINE)
    return found[1] if found else ""


def directives(text: str, *names: str) -> Iterator[re.Match]:
    """The directives of these names in a cell's text, those inside of others too."""
    for match in DIRECTIVE.finditer(text):
        if match["name"] in names:
            yield match
        yield from directives(match["body"], *names)


def is_instructors(match: re.Match) -> bool:
    """Whether a directive is for instructors alone."""
    return "instructor" in option(match, "class").split()


def blank(code: str) -> str:
    """A coding cell as a reader gets it: the solution is replaced by a line that raises when the function is called."""
    return REGION.sub(lambda match: match["indent"] + BLANK, code)


def solved(code: str) -> str:
    """A coding cell with its solution, without the markers."""
    return MARKER.sub("", code)


def solution(code: str) -> str:
    """The lines of the solution alone, not indented."""
    return textwrap.dedent(REGION.search(code)["code"]).strip("\n")


def is_tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def check_cell(name: str, code: str) -> None:
    """Raise :class:`BuildError` where a coding cell is not one function, documented, with one solution inside."""
    regions = REGION.findall(code)
    if len(regions) != 1 or len(MARKER.findall(code)) != 2:
        raise BuildError(
            f"{name}: found {len(regions)} regions between ### BEGIN SOLUTION and ### END SOLUTION, not one"
        )
    try:
        parts = [node for node in ast.parse(blank(code)).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError as error:
        raise BuildError(f"{name}: the blank is not Python: {error.msg}, line {error.lineno}") from error
    if len(parts) != 1 or not ast.get_docstring(parts[0]):
        raise BuildError(f"{name}: accepted is one function with a docstring outside of the solution")


def coding_exercises(notebook: NotebookNode, name: str) -> list[Coding]:
    """The coding exercises of a chapter, in order.

    Args:
        notebook: the chapter's, executed or not.
        name: of the chapter, for messages.

    Raises:
        BuildError: where one of the four parts is missing or out of its place.
    """
    found, waiting, code, check = [], "", None, None

    def refuse(what: str):
        raise BuildError(f"{name}: {waiting or 'coding cell'}: {what}")

    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            if is_tagged(cell, "exercise-code"):
                if not waiting or code is not None:
                    refuse("a cell tagged exercise-code stands after no {exercise} with a label code-... of its own")
                check_cell(f"{name}: {waiting}", cell.source)
                code = index
            elif is_tagged(cell, "exercise-check"):
                if code is None or check is not None:
                    refuse("a cell tagged exercise-check stands after no cell tagged exercise-code")
                check = index
            elif "### BEGIN SOLUTION" in cell.source:
                refuse("a solution stands in a cell that is not tagged exercise-code")
            continue
        for match in directives(cell.source, "exercise", "solution"):
            label = match["argument"] if match["name"] == "solution" else option(match, "label")
            if not label.startswith("code-"):
                continue
            if match["name"] == "exercise":
                if waiting:
                    refuse(f"found {{exercise}} {label} before its {{solution}}")
                waiting = label
                instructor = is_instructors(match)
            else:
                if label != waiting or check is None:
                    refuse(f"found {{solution}} {label} before its exercise, cell and check")
                if is_instructors(match) != instructor:
                    refuse("the class instructor is on one of {exercise} and {solution} only")
                found.append(Coding(label, code, check, instructor))
                waiting, code, check = "", None, None
    if waiting:
        refuse("there is no {solution} after it")
    return found


def with_code(match: re.Match, code: str) -> str:
    """A ``{solution}`` that ends with the code of the solution."""
    fence = match["fence"] if match["fence"][0] == ":" else "`" * max(4, len(match["fence"]))
    head = f"{fence}{{solution}} {match['argument']}\n{match['options']}\n"
    return f"{head}{match['body'].rstrip()}\n\n```python\n{code}\n```\n{fence}"


def published(notebook: NotebookNode, name: str) -> NotebookNode:
    """A chapter as the site shows it: blanks to fill in, printed solutions with their code, the others nowhere.

    Raises:
        BuildError: as :func:`coding_exercises`.
    """
    notebook = nbformat.from_dict(notebook)
    found = {each.label: each for each in coding_exercises(notebook, name)}
    codes = {label: notebook.cells[each.code].source for label, each in found.items()}

    def shown(match: re.Match) -> str:
        if match["name"] == "solution" and is_instructors(match):
            return ""
        if match["name"] == "solution" and match["argument"] in codes:
            return with_code(match, solution(codes[match["argument"]]))
        return match[0]

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = DIRECTIVE.sub(shown, cell.source)
    for each in found.values():
        for index in (each.code, each.check):
            notebook.cells[index].outputs = []  # they are those of the solution
        notebook.cells[each.code].source = blank(codes[each.label])
    return notebook


def defined(node: ast.AST) -> set[str]:
    """The names that a statement, or several, assign to or define."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}


def used(tree: ast.AST) -> set[str]:
    """The names that some Python reads and does not define itself."""
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return read - own - defined(tree)


def context(notebook: NotebookNode, *sources: str) -> str:
    """The part of a chapter that some of its cells need: its imports, and definitions and assignments of their names.

    Args:
        notebook: the chapter's.
        sources: of cells; a statement in a loop or a condition is not found.
    """
    kinds = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
    statements = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and not is_tagged(cell, "exercise-code") and not is_tagged(cell, "exercise-check"):
            statements += ast.parse(plain_python(cell.source)).body
    kept = [isinstance(node, ast.Import | ast.ImportFrom) for node in statements]
    needed, before = set().union(*(used(ast.parse(source)) for source in sources)), set()
    while needed != before:
        before = set(needed)
        for index, node in enumerate(statements):
            if isinstance(node, kinds) and defined(node) & needed:
                kept[index] = True
                needed |= used(node)
    return "\n".join(ast.unparse(node) for node, wanted in zip(statements, kept, strict=True) if wanted)


def check_quizzes(path: pathlib.Path, where: str) -> list[str]:
    """The labels of the quizzes of a chapter or page.

    Args:
        path: of its text.
        where: its name in a message.

    Raises:
        BuildError: with the file and the line of a quiz that is wrong, or has the label of another.
    """
    text, labels = path.read_text(encoding="utf-8"), []
    for match in re.finditer(
        r"^(:{3,}|`{3,})\{quiz\} ?([^\n]*)\n(.*?)^\1[ \t]*$", text, flags=re.MULTILINE | re.DOTALL
    ):
        options = re.match(r"(?::[\w-]+:[^\n]*\n)*", match[3])[0]
        label = re.search(r"^:label: *(\S*)", options, flags=re.MULTILINE)
        try:
            quiz.check(match[2], label[1] if label else "", match[3][len(options) :].splitlines())
            if label[1] in labels:
                raise quiz.QuizError(f"the label {label[1]} is that of another")
        except quiz.QuizError as error:
            line = text.count("\n", 0, match.start()) + 1
            raise BuildError(f"{where}, line {line}: quiz: {error}") from error
        labels.append(label[1])
    return labels
