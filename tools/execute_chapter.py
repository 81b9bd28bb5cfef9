"""Execute the chapters whose inputs changed, in order, and say why each one runs.

``python tools/execute_chapter.py [CHAPTER ...] [--profile quick] [-p NAME VALUE]...`` runs in the root of the
repository and writes ``build/<profile>/notebooks/NN_name.ipynb``. An executed notebook carries a record (metadata key
``ast_build``) of its inputs, parameters and products as digests of their content, so that a fresh checkout or a touched
file executes nothing. A chapter runs again when its code, a file of :mod:`chapter_dependencies`, a parameter, or a
product of an earlier run (anything it wrote under ``build/<profile>/`` in ``results``, ``weights`` or ``audio``) is not
what the record says, or when a chapter that it needs ran again. Where only its prose changed, the outputs are kept and
the prose is renewed. A variant run with ``-p output FOLDER`` keeps to FOLDER and leaves ``build/<profile>`` alone.
"""

import argparse
import ast
import os
import pathlib
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping

import nbformat
import papermill
import traitlets.config
from nbclient.exceptions import CellControlSignal, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from chapter_dependencies import ROOT, BuildError, Chapter, code_digest, digest, file_digest, input_files, read_chapters

RECORD = "ast_build"
PRODUCTS = ("results", "weights", "audio")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def default_parameters(chapter: Chapter) -> dict[str, object]:
    """Names and values assigned in the cell tagged ``parameters``.

    Raises:
        BuildError: when the chapter has no such cell or it holds anything but assignments of plain values.
    """
    cells = [cell for cell in chapter.notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise BuildError(f"{chapter.name}: found {len(cells)} cells tagged 'parameters', accepted is one")
    defaults = {}
    for statement in ast.parse(cells[0].source).body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        try:
            defaults[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError) as error:
            line = ast.unparse(statement)
            raise BuildError(f"{chapter.name}: in the parameters cell, {line!r} is not NAME = plain value") from error
    return defaults


def typed_value(text: str, default: object) -> object:
    """The value that a command-line text stands for: itself where the default is a text, else a Python literal."""
    if isinstance(default, str):
        return text
    try:
        return ast.literal_eval({"true": "True", "false": "False", "null": "None"}.get(text, text))
    except (ValueError, SyntaxError):
        return text


def check_parameters(chapter: Chapter, given: Mapping[str, object]) -> dict[str, object]:
    """The parameters that differ from the chapter's defaults, after a check of every name and type.

    A whole number is accepted for a fractional one; a default of ``None`` accepts anything.

    Raises:
        BuildError: for a name the chapter does not have or a value of another type than its default.
    """
    defaults = default_parameters(chapter)
    for name, value in given.items():
        if name not in defaults:
            raise BuildError(f"{chapter.name}: no parameter {name!r}, accepted are {', '.join(defaults)}")
        kind = type(defaults[name])
        if defaults[name] is None or type(value) is kind or (kind is float and type(value) is int):
            continue
        found = type(value).__name__
        raise BuildError(f"{chapter.name}: parameter {name} is {value!r} ({found}), accepted is {kind.__name__}")
    return {name: value for name, value in given.items() if value != defaults[name]}


def output_folder(root: pathlib.Path, profile: str, given: Mapping[str, object]) -> pathlib.Path:
    """Where a chapter writes: ``build/<profile>``, or the folder that its parameter ``output`` names."""
    return root / str(given.get("output") or f"build/{profile}")


def executed_path(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Path of a chapter's executed notebook in an output folder."""
    return folder / "notebooks" / f"{name}.ipynb"


def read_executed(path: pathlib.Path) -> tuple[nbformat.NotebookNode | None, dict]:
    """An executed notebook and its record, ``(None, {})`` where there is none."""
    if not path.is_file():
        return None, {}
    notebook = nbformat.read(path, as_version=4)
    return notebook, notebook.metadata.get(RECORD, {})


def input_digests(root: pathlib.Path, profile: str, chapter: Chapter) -> dict[str, str]:
    """Digest of every input of a chapter by the name under which a reason mentions it."""
    inputs = {f"{chapter.path.relative_to(root)} (its code)": code_digest(chapter.notebook)}
    inputs |= {str(path.relative_to(root)): file_digest(path) for path in input_files(root, chapter)}
    for need in chapter.needs:
        inputs[f"chapter {need}"] = read_executed(executed_path(output_folder(root, profile, {}), need))[1].get(
            "run", ""
        )
    return inputs


def product_digests(folder: pathlib.Path, names: Iterable[str]) -> dict[str, str]:
    return {name: file_digest(folder / name) if (folder / name).is_file() else "" for name in names}


def product_times(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Time and size of every file in the product folders of an output folder."""
    files = (path for kind in PRODUCTS for path in (folder / kind).rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_size) for p in files}


def reasons(record: Mapping, inputs: Mapping, parameters: Mapping, products: Mapping) -> list[str]:
    """Why a chapter has to run, given the record of its last run and what there is now; empty where it need not."""
    if not record:
        return ["it has not been executed yet"]
    found = []
    for name in inputs:
        if name not in record["inputs"]:
            found.append(f"{name} is new among its inputs")
        elif record["inputs"][name] != inputs[name]:
            found.append(f"{name} {'ran again' if name.startswith('chapter ') else 'changed'}")
    found += [f"{name} is no longer among its inputs" for name in record["inputs"] if name not in inputs]
    for name in sorted({*parameters, *record["parameters"]}):
        now, then = (values.get(name, "its default") for values in (parameters, record["parameters"]))
        if now != then:
            found.append(f"parameter {name} is {now}, was {then}")
    for name, then in record["products"].items():
        if products[name] != then:
            found.append(f"its product {name} {'was changed by something else' if products[name] else 'is missing'}")
    return found


def renewed(executed: nbformat.NotebookNode, source: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The executed notebook with the prose, tags and header of ``source``, whose code is the same."""
    ran = [cell for cell in executed.cells if cell.cell_type == "code"]
    injected = [cell for cell in ran if "injected-parameters" in cell.metadata.get("tags", [])]
    ran = iter([cell for cell in ran if cell not in injected])
    cells = []
    for cell in source.cells:
        if cell.cell_type == "code":
            old = next(ran)
            cell = nbformat.from_dict({**cell, "outputs": old.outputs, "execution_count": old.execution_count})
        cells.append(cell)
        if "parameters" in cell.metadata.get("tags", []):
            cells += injected
    kept = {key: executed.metadata[key] for key in ("kernelspec", "language_info", RECORD) if key in executed.metadata}
    return nbformat.from_dict({**executed, "metadata": {**source.metadata, **kept}, "cells": cells})


def write_notebook(notebook: nbformat.NotebookNode, path: pathlib.Path) -> None:
    """Write under a temporary name, then put in place."""
    temporary = path.with_name(f".{path.name}.tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, path)


def run(root: pathlib.Path, chapter: Chapter, parameters: Mapping, target: pathlib.Path) -> nbformat.NotebookNode:
    """Execute a chapter with papermill, from the root of the repository.

    Raises:
        BuildError: when a cell fails; the notebook up to there is then ``NN_name.failed.ipynb`` beside ``target``.
    """
    source, running = (
        target.with_name(f".{target.stem}.source.ipynb"),
        target.with_name(f".{target.stem}.running.ipynb"),
    )
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    notebook = nbformat.from_dict(chapter.notebook)
    notebook.metadata["kernelspec"] = KERNEL
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, source)
    # A kernel of the same name in the user's home must not be preferred to this environment's.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    try:
        # The kernel is reached through sockets in a private folder (a short path: they may have 107 bytes), not TCP.
        with tempfile.TemporaryDirectory(prefix="ast") as sockets:
            os.environ["JUPYTER_RUNTIME_DIR"] = sockets
            papermill.execute_notebook(
                source,
                running,
                dict(parameters),
                kernel_name="python3",
                cwd=root,
                progress_bar=sys.stderr.isatty(),
                config=traitlets.config.Config({"KernelManager": {"transport": "ipc"}}),
            )
        return nbformat.read(running, as_version=4)
    except (PapermillExecutionError, CellControlSignal, DeadKernelError) as error:
        os.replace(running, failed)
        if isinstance(error, PapermillExecutionError):
            what = f"cell [{error.exec_count}] raised {error.ename}: {error.evalue}"
        else:
            what = str(error) or type(error).__name__
        where = os.path.relpath(failed, root)
        raise BuildError(f"{chapter.name}: failed, {what} (the notebook up to there is {where})") from error
    finally:
        source.unlink(missing_ok=True)
        running.unlink(missing_ok=True)


def build_chapter(root: pathlib.Path, profile: str, chapter: Chapter, given: Mapping[str, object]) -> bool:
    """Bring one chapter's executed notebook up to date; True when it had to be executed.

    Raises:
        BuildError: for a wrong parameter or a failing cell.
    """
    folder = output_folder(root, profile, given)
    target = executed_path(folder, chapter.name)
    parameters = check_parameters(chapter, {"profile": profile, **given})
    executed, record = read_executed(target)
    inputs = input_digests(root, profile, chapter)
    text = digest(chapter.path.read_bytes())
    why = reasons(record, inputs, parameters, product_digests(folder, record.get("products", {})))
    if not why:
        # A failure before its cause was taken back.
        target.with_name(f"{target.stem}.failed.ipynb").unlink(missing_ok=True)
        if record["text"] != text:
            executed.metadata[RECORD]["text"] = text
            write_notebook(renewed(executed, chapter.notebook), target)
            print(f"{chapter.name}: its prose is renewed, the rest is up to date", flush=True)
        else:
            print(f"{chapter.name}: up to date", flush=True)
        return False
    more = f" and {len(why) - 3} more" if len(why) > 3 else ""
    print(f"{chapter.name}: runs, because {', '.join(why[:3])}{more}", flush=True)
    before, start = product_times(folder), time.monotonic()
    notebook = run(root, chapter, parameters, target)
    seconds = time.monotonic() - start
    after = product_times(folder)
    made = {name for name in after if after[name] != before.get(name)} | (set(record.get("products", {})) & set(after))
    # papermill's own entry names temporary files of this machine.
    notebook.metadata.pop("papermill", None)
    notebook.metadata[RECORD] = {
        "inputs": inputs,
        "parameters": parameters,
        "products": product_digests(folder, sorted(made)),
        "text": text,
        "run": uuid.uuid4().hex,
        "seconds": round(seconds, 1),
    }
    write_notebook(notebook, target)
    target.with_name(f"{target.stem}.failed.ipynb").unlink(missing_ok=True)
    print(f"{chapter.name}: done in {seconds:.0f} s", flush=True)
    return True


def with_needs(chapters: Mapping[str, Chapter], names: Iterable[str]) -> list[str]:
    """The named chapters and all that they need, in the order of execution."""
    wanted, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in chapters:
            raise BuildError(f"chapter: found {name!r}, accepted are {', '.join(chapters)}")
        wanted.add(name)
        waiting.extend(chapters[name].needs)
    return [name for name in chapters if name in wanted]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Execute the chapters whose inputs changed.")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 11_training (default: all)")
    parser.add_argument("--profile", default="quick", help="smoke, quick (default) or full")
    parser.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters"
    )
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    try:
        # The profile is a parameter of every chapter: given as one, it also says where the chapter's needs are built.
        profile = dict(options.parameters).get("profile", options.profile)
        if not re.fullmatch(r"[a-z0-9_-]+", profile):
            raise BuildError(f"profile: found {profile!r}, accepted are lower-case names such as quick")
        if options.parameters and len(options.chapters) != 1:
            raise BuildError(f"parameters are for one chapter, found {len(options.chapters)} named")
        chapters = read_chapters(root)
        given = {name: {} for name in with_needs(chapters, options.chapters or chapters)}
        for name, value in options.parameters:
            chapter = chapters[options.chapters[0]]
            given[chapter.name][name] = typed_value(value, default_parameters(chapter).get(name))
        # All is checked before anything runs, so that a slip does not cost the chapters before it.
        for name, parameters in given.items():
            input_files(root, chapters[name])
            check_parameters(chapters[name], {"profile": profile, **parameters})
        for name, parameters in given.items():
            build_chapter(root, profile, chapters[name], parameters)
    except BuildError as error:
        print(f"execute_chapter: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
