"""What a chapter's results depend on, found by reading the chapter and the library and never by running them.

``python tools/chapter_dependencies.py [CHAPTER ...]`` lists it. A chapter is ``notebooks/NN_name.md`` (MyST), or
``NNb_name.md`` where it has a second half. Its inputs are its code, the files of ``ast_lib`` that its code imports
(directly or through another file of it) with the tables beside them, ``requirements.lock``, the published weights where
its text mentions ``published_weights``, and what its header names::

    ast:
      needs: [02_dataset]       # chapters whose products it reads; they are executed before it, wherever they stand
      unless_published: []      # of these, those not read where the published weights are taken (never in smoke)
      files: [results/*.json]   # other files that it reads, as patterns from the root of the repository
      products: [audio/pair_*]  # what it alone writes into the output folder, besides results/NN_*
      seconds: 60               # of execution in the profile quick (default 30): long chains are begun first
      gigabytes: 5              # of memory at its peak (default 2)
"""

import argparse
import ast
import dataclasses
import hashlib
import json
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence

import jupytext
from nbformat import NotebookNode

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARY = "ast_lib"
PUBLISHED = "weights/full.safetensors"
LISTS = ("needs", "unless_published", "files", "products")
NUMBERS = {"seconds": 30.0, "gigabytes": 2.0}


class BuildError(Exception):
    """A reason why the book cannot be built, in one sentence."""


@dataclasses.dataclass(frozen=True)
class Chapter:
    """One chapter as written; the fields from ``needs`` on are those of its header."""

    name: str
    path: pathlib.Path
    notebook: NotebookNode
    needs: tuple[str, ...]
    unless_published: tuple[str, ...]
    files: tuple[str, ...]
    products: tuple[str, ...]
    seconds: float
    gigabytes: float

    @property
    def code(self) -> list[str]:
        """Sources of the code cells, in order."""
        return [cell.source for cell in self.notebook.cells if cell.cell_type == "code"]


def read_chapters(root: pathlib.Path) -> dict[str, Chapter]:
    """All chapters of ``root/notebooks`` by name, in the order of execution: as one reads, but after what they need.

    Raises:
        BuildError: when there is none, a header's ``ast`` entry is wrong, or chapters need one another.
    """
    chapters: dict[str, Chapter] = {}
    for path in sorted((root / "notebooks").glob("[0-9][0-9]*_*.md")):
        notebook = jupytext.read(path)
        header = notebook.metadata.get("ast", {})
        where = path.relative_to(root)
        accepted = (*LISTS, *NUMBERS)
        if not isinstance(header, dict) or not set(header) <= set(accepted):
            raise BuildError(
                f"{where}: in the header, 'ast' is {header!r}; accepted are the keys {', '.join(accepted)}"
            )
        for key, value in header.items():
            if key in NUMBERS:
                if not isinstance(value, int | float) or not value > 0:
                    raise BuildError(f"{where}: in the header, 'ast: {key}' is {value!r}; accepted is a number above 0")
            elif not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
                raise BuildError(f"{where}: in the header, 'ast: {key}' is {value!r}; accepted is a list of names")
        lists = {key: tuple(header.get(key, ())) for key in LISTS}
        lists["products"] += (f"results/{path.stem.split('_')[0]}_*",)
        numbers = {key: float(header.get(key, default)) for key, default in NUMBERS.items()}
        chapters[path.stem] = Chapter(path.stem, path, notebook, **lists, **numbers)
    if not chapters:
        raise BuildError(f"{root / 'notebooks'}: no chapter NN_name.md found")
    for chapter in chapters.values():
        if not set(chapter.unless_published) <= set(chapter.needs):
            where, names = chapter.path.relative_to(root), ", ".join(chapter.unless_published)
            raise BuildError(f"{where}: 'ast: unless_published' is {names}; accepted are names that it needs")
        others = [name for name in chapters if name != chapter.name]
        for need in chapter.needs:
            if need not in others:
                where = chapter.path.relative_to(root)
                raise BuildError(f"{where}: needs {need!r}; accepted are the other chapters: {', '.join(others)}")
    return {name: chapters[name] for name in execution_order({c.name: c.needs for c in chapters.values()})}


def with_published_weights(
    root: pathlib.Path, profile: str, chapters: Mapping[str, Chapter], refusing: Sequence[str] = ()
) -> dict[str, Chapter]:
    """The chapters without the needs that the published weights replace.

    All needs stay in the profile ``smoke``, where there are no such weights, and for the chapters that are ``refusing``
    them (parameter ``published_weights`` false).
    """
    if profile == "smoke" or not (root / PUBLISHED).is_file():
        return dict(chapters)
    return {
        name: chapter
        if name in refusing
        else dataclasses.replace(
            chapter, needs=tuple(need for need in chapter.needs if need not in chapter.unless_published)
        )
        for name, chapter in chapters.items()
    }


def execution_order(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The names in their given order, but each after all that it needs.

    Raises:
        BuildError: when some need one another.
    """
    order: dict[str, None] = {}

    def visit(name: str, asking: tuple[str, ...]) -> None:
        if name in asking:
            raise BuildError(f"chapters need one another: {', '.join([*asking[asking.index(name) :], name])}")
        for need in needs[name] if name not in order else ():
            visit(need, (*asking, name))
        order[name] = None

    for name in needs:
        visit(name, ())
    return list(order)


def digest(content: bytes) -> str:
    """Short SHA-256 of some bytes, as text."""
    return hashlib.sha256(content).hexdigest()[:20]


def file_digest(path: pathlib.Path) -> str:
    """Short SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:20]


def code_digest(notebook: NotebookNode) -> str:
    """Digest of what executes in a notebook: its code, which cell holds the parameters, and which are skipped."""
    deciding = {"parameters", "skip-execution"}
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return digest(json.dumps([[c.source, sorted(deciding & {*c.metadata.get("tags", [])})] for c in cells]).encode())


def plain_python(cell: str) -> str:
    """A cell's Python without IPython's magics and shell lines; empty where the cell is in another language."""
    lines = cell.splitlines()
    if lines and lines[0].startswith("%%") and lines[0].split()[0] not in ("%%time", "%%timeit", "%%capture"):
        return ""
    return "\n".join("" if re.match(r"%|!", line) else re.sub(r"^(\s+)[%!].*", r"\1pass", line) for line in lines)


def imported_names(source: str, where: str, package: str = "") -> set[str]:
    """Dotted names that Python source imports, at any depth; ``package`` resolves relative imports.

    ``from a import b`` gives both ``a`` and ``a.b``, since ``b`` may be a module.

    Raises:
        BuildError: when the source is not Python.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise BuildError(f"{where}, line {error.lineno}: {error.msg}") from error
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def module_files(root: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Files that importing a dotted name of the library executes: the module and the packages above it."""
    parts = name.split(".")
    if parts[0] != LIBRARY:
        return []
    packages = [root.joinpath(*parts[:count], "__init__.py") for count in range(1, len(parts) + 1)]
    return [path for path in (*packages, root.joinpath(*parts).with_suffix(".py")) if path.is_file()]


def library_files(root: pathlib.Path, chapter: Chapter) -> list[pathlib.Path]:
    """Files of the library that a chapter's code uses, directly or through one another, sorted.

    ``python -m ast_lib`` in a code cell counts as an import of ``ast_lib.__main__``.
    """
    names: set[str] = set()
    for number, cell in enumerate(chapter.code, start=1):
        names |= imported_names(plain_python(cell), f"{chapter.path.relative_to(root)}: code cell {number}")
        for run in re.findall(rf"-m[\"',\s]+({LIBRARY}(?:\.\w+)*)", cell):
            names |= {run, f"{run}.__main__"}
    found: set[pathlib.Path] = set()
    waiting = [path for name in names for path in module_files(root, name)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        found.update(path.parent.glob("*.toml"))  # tables that the code beside them reads
        package = ".".join(path.relative_to(root).parent.parts)
        inner = imported_names(path.read_text(encoding="utf-8"), str(path.relative_to(root)), package)
        waiting.extend(file for name in inner for file in module_files(root, name))
    return sorted(found)


def input_files(root: pathlib.Path, chapter: Chapter) -> list[pathlib.Path]:
    """Files whose content decides a chapter's results, besides its own code and the chapters it needs.

    Raises:
        BuildError: when the header names a single file that does not exist.
    """
    files = [*library_files(root, chapter), root / "requirements.lock"]
    if "published_weights" in "\n".join(cell.source for cell in chapter.notebook.cells):
        files += sorted((root / "weights").glob("*.safetensors"))
    for pattern in chapter.files:
        matches = sorted(path for path in root.glob(pattern) if path.is_file())
        if not matches and not re.search(r"[*?\[]", pattern):
            raise BuildError(f"{chapter.path.relative_to(root)}: the header's files name {pattern}, and there is none")
        files += matches
    return [path for path in dict.fromkeys(files) if path.is_file()]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="List what chapters depend on.")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 11_training (default: all)")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    try:
        chapters = read_chapters(options.root)
        for name in options.chapters or chapters:
            if name not in chapters:
                raise BuildError(f"chapter: found {name!r}, accepted are {', '.join(chapters)}")
            chapter = chapters[name]
            files = [str(path.relative_to(options.root)) for path in input_files(options.root, chapter)]
            print(f"{name}: {' '.join([*chapter.needs, *files])}")
    except BuildError as error:
        print(f"chapter_dependencies: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
