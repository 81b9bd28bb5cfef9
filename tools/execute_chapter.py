"""Execute the chapters whose inputs changed, side by side, and say why each one runs.

``python tools/execute_chapter.py [CHAPTER ...] [--profile quick] [-j JOBS] [-p NAME VALUE]...`` runs in the root of the
repository and writes ``build/<profile>/notebooks/NN_name.ipynb``. An executed notebook carries a record (metadata key
``ast_build``) of its inputs, parameters and products as digests of their content, so that a fresh checkout or a touched
file executes nothing. A chapter runs again when its code, a file of :mod:`chapter_dependencies`, a parameter, or a
product of an earlier run (anything it wrote under ``build/<profile>/`` in ``results``, ``weights`` or ``audio``) is not
what the record says, or when a chapter that it needs ran again. Where only its prose changed, the outputs are kept and
the prose is renewed. A variant run with ``-p output FOLDER`` keeps to FOLDER and leaves ``build/<profile>`` alone.

Chapters that do not need one another run at the same time, each in a kernel of its own (:mod:`kernels`), as many as
there are processors and memory for, those first on which most time waits. When one fails, the others that do not need
it go on.
"""

import argparse
import ast
import concurrent.futures
import contextlib
import fnmatch
import graphlib
import os
import pathlib
import re
import shutil
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping

import filelock
import joblib
import nbformat
import papermill
import psutil
from nbclient.exceptions import CellControlSignal
from papermill.exceptions import PapermillExecutionError

import kernels
from chapter_dependencies import (
    ROOT,
    BuildError,
    Chapter,
    code_digest,
    digest,
    file_digest,
    input_files,
    read_chapters,
    with_published_weights,
)

RECORD = "ast_build"
PRODUCTS = ("results", "weights", "audio")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


class SilentKernelError(BuildError):
    """A kernel that did nothing while a cell waited for it."""


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
    """Time and size of every file in the product folders of an output folder.

    A file that another chapter is writing has a name with a dot first, and is gone a moment later.
    """
    files = (path for kind in PRODUCTS for path in (folder / kind).rglob("[!.]*") if path.is_file())
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, path)


def say(line: str) -> None:
    """Print a line in one piece, whichever chapters run at the same time."""
    print(f"{line}\n", end="", flush=True)


def run(root: pathlib.Path, chapter: Chapter, parameters: Mapping, target: pathlib.Path) -> nbformat.NotebookNode:
    """Execute a chapter in a kernel of its own; once more where the kernel falls silent.

    Raises:
        BuildError: when a cell fails; the notebook up to there is then ``NN_name.failed.ipynb`` beside ``target``.
    """
    try:
        return execute(root, chapter, parameters, target)
    except SilentKernelError as error:
        say(f"{error}; once more")
        return execute(root, chapter, parameters, target)


def execute(root: pathlib.Path, chapter: Chapter, parameters: Mapping, target: pathlib.Path) -> nbformat.NotebookNode:
    """Execute a chapter with papermill, from the root of the repository.

    Raises:
        SilentKernelError: when the kernel does nothing while a cell waits for it.
        BuildError: when a cell fails.
    """
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    source = nbformat.from_dict(chapter.notebook)
    source.metadata["kernelspec"] = KERNEL
    begun: list[str] = []  # what each cell that was begun starts with

    def begin(cell: nbformat.NotebookNode, cell_index: int) -> None:
        begun.append(cell.source.strip().splitlines()[0][:80])

    silent = threading.Event()
    with kernels.private_folder() as folder:
        running = folder / target.name
        try:
            with kernels.kernel(folder, root) as manager, kernels.watched(manager, silent):
                papermill.execute_notebook(
                    source,
                    running,
                    dict(parameters),
                    kernel_name="python3",
                    progress_bar=False,
                    start_timeout=kernels.START,
                    # Outputs that come late on a busy machine are waited for; by default after 4 s they are lost.
                    iopub_timeout=kernels.START,
                    km=manager,
                    on_cell_execute=begin,
                )
            return nbformat.read(running, as_version=4)
        # RuntimeError is what nbclient raises where a kernel ends (DeadKernelError) or does not start.
        except (PapermillExecutionError, CellControlSignal, RuntimeError) as error:
            place = f"cell [{len(begun)}] ({begun[-1]})" if begun else "its kernel"
            if isinstance(error, PapermillExecutionError):
                what = f"cell [{error.exec_count}] raised {error.ename}: {error.evalue}"
            elif silent.is_set():
                what = f"{place} waits, and its kernel has done nothing for {kernels.PATIENCE:.0f} s"
            else:
                what = f"{place}: {str(error) or type(error).__name__}"
            if running.is_file():
                shutil.copyfile(running, failed)
                what += f" (the notebook up to there is {os.path.relpath(failed, root)})"
            kind = SilentKernelError if silent.is_set() else BuildError
            raise kind(f"{chapter.name}: failed, {what}") from error


def missing_figures(notebook: nbformat.NotebookNode) -> list[str]:
    """Text alternatives of the figures that a notebook promises and does not hold.

    A cell that ends in ``plt.show()`` promises one; where that stands inside a condition, it may be none.
    """
    missing = []
    for cell in notebook.cells:
        alternative = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
        kinds = {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}
        promised = alternative and re.search(r"^plt\.show\(\)", cell.source, flags=re.MULTILINE)
        if promised and not any(kind.startswith("image/") for kind in kinds):
            missing.append(alternative)
    return missing


def state(
    root: pathlib.Path, profile: str, chapter: Chapter, folder: pathlib.Path, parameters: Mapping
) -> tuple[nbformat.NotebookNode | None, dict, dict, list[str]]:
    """A chapter's executed notebook, its record, the digests of its inputs, and the reasons to run it."""
    executed, record = read_executed(executed_path(folder, chapter.name))
    inputs = input_digests(root, profile, chapter)
    products = product_digests(folder, record.get("products", {}))
    return executed, record, inputs, reasons(record, inputs, parameters, products)


@contextlib.contextmanager
def only_here(folder: pathlib.Path, name: str, stop: threading.Event) -> Iterator[None]:
    """Keep other executions of the same chapter in the same folder waiting until this one is done.

    Raises:
        BuildError: when ``stop`` is set meanwhile, or the folder cannot be written to.
    """
    lock = filelock.FileLock(folder / ".locks" / name)
    try:
        (folder / ".locks").mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            say(f"{name}: waits, because another execution of it is at work in {folder}")
            lock.acquire(cancel_check=stop.is_set)
    except filelock.Timeout as error:
        raise BuildError(f"{name}: stopped while it waited for another execution of it") from error
    except OSError as error:
        reason = f"{folder} cannot be written to ({error.strerror}); -p output FOLDER names another"
        raise BuildError(f"{name}: {reason}") from error
    try:
        yield
    finally:
        lock.release()


def build_chapter(
    root: pathlib.Path,
    profile: str,
    chapters: Mapping[str, Chapter],
    name: str,
    given: Mapping[str, object],
    stop: threading.Event,
) -> None:
    """Bring the executed notebook of chapter ``name`` up to date.

    Raises:
        BuildError: for a wrong parameter, a failing cell, a figure that is missing, or when ``stop`` is set.
    """
    chapter = chapters[name]
    others = [pattern for other in chapters.values() if other is not chapter for pattern in other.products]
    folder = output_folder(root, profile, given)
    target = executed_path(folder, chapter.name)
    parameters = check_parameters(chapter, {"profile": profile, **given})
    text = digest(chapter.path.read_bytes())
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    _, record, _, why = state(root, profile, chapter, folder, parameters)
    # Nothing is written, no lock either, where nothing is to be done: the folder may be read-only.
    if not why and record["text"] == text and not failed.is_file():
        say(f"{chapter.name}: up to date")
        return
    with only_here(folder, chapter.name, stop):
        executed, record, inputs, why = state(root, profile, chapter, folder, parameters)
        if why:
            more = f" and {len(why) - 3} more" if len(why) > 3 else ""
            say(f"{chapter.name}: runs, because {', '.join(why[:3])}{more}")
            before, start = product_times(folder), time.monotonic()
            notebook = run(root, chapter, parameters, target)
            seconds = time.monotonic() - start
            missing = missing_figures(notebook)
            if missing:
                write_notebook(notebook, failed)
                raise BuildError(f"{chapter.name}: failed, a figure is missing: {missing[0]}")
            after = product_times(folder)
            # Chapters that run at the same time write into the same folders.
            changed = {file for file in after if after[file] != before.get(file)}
            made = {file for file in changed if not any(fnmatch.fnmatch(file, pattern) for pattern in others)}
            # papermill's own entry names temporary files of this machine.
            notebook.metadata.pop("papermill", None)
            notebook.metadata[RECORD] = {
                "inputs": inputs,
                "parameters": parameters,
                "products": product_digests(folder, sorted(made | (set(record.get("products", {})) & set(after)))),
                "text": text,
                "run": uuid.uuid4().hex,
                "seconds": round(seconds, 1),
            }
            write_notebook(notebook, target)
            say(f"{chapter.name}: done in {seconds:.0f} s")
        elif record["text"] != text:
            executed.metadata[RECORD]["text"] = text
            write_notebook(renewed(executed, chapter.notebook), target)
            say(f"{chapter.name}: its prose is renewed, the rest is up to date")
        else:
            say(f"{chapter.name}: up to date")
        # A failure before its cause was mended, or taken back.
        failed.unlink(missing_ok=True)


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


def chain_lengths(chapters: Mapping[str, Chapter], names: Iterable[str]) -> dict[str, float]:
    """Seconds from the start of each chapter to the end of the longest chain of chapters that wait for it."""
    lengths: dict[str, float] = {}
    for name in reversed(list(names)):  # chapters stand after what they need
        after = [lengths[other] for other in lengths if name in chapters[other].needs]
        lengths[name] = chapters[name].seconds + max(after, default=0.0)
    return lengths


def build_chapters(
    root: pathlib.Path,
    profile: str,
    chapters: Mapping[str, Chapter],
    given: Mapping[str, Mapping[str, object]],
    jobs: int,
    gigabytes: float,
) -> list[str]:
    """Bring the chapters of ``given`` (parameters by name) up to date, up to ``jobs`` at once; returns what failed.

    Args:
        gigabytes: memory that the chapters at work together may need; one alone is always tried.
    """
    lengths = chain_lengths(chapters, given)
    sorter = graphlib.TopologicalSorter({name: chapters[name].needs for name in given})
    sorter.prepare()
    stop, failures, done = threading.Event(), [], set()
    ready: list[str] = []
    running: dict[concurrent.futures.Future, str] = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            while True:
                ready = sorted([*ready, *sorter.get_ready()], key=lengths.get, reverse=True)
                for name in list(ready):
                    needed = sum(chapters[other].gigabytes for other in [*running.values(), name])
                    if len(running) < jobs and (not running or needed <= gigabytes):
                        ready.remove(name)
                        future = pool.submit(build_chapter, root, profile, chapters, name, given[name], stop)
                        running[future] = name
                if not running:
                    break
                for future in concurrent.futures.wait(running, return_when="FIRST_COMPLETED").done:
                    name = running.pop(future)
                    try:
                        future.result()
                    except BuildError as error:
                        failures.append(str(error))
                        say(f"{name}: failed")
                    else:
                        done.add(name)
                        sorter.done(name)
        finally:
            # After Ctrl-C, or a fault of this program, no kernel outlives it.
            stop.set()
            while concurrent.futures.wait(running, timeout=0.5).not_done:
                kernels.end(psutil.Process().children(recursive=True))
    waiting = [name for name in given if name not in done and any(need not in done for need in chapters[name].needs)]
    if waiting:
        failures.append(f"not executed, since they need what failed: {', '.join(waiting)}")
    return failures


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Execute the chapters whose inputs changed.")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 11_training (default: all)")
    parser.add_argument("--profile", default="quick", help="smoke, quick (default) or full")
    parser.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters"
    )
    parser.add_argument("-j", "--jobs", type=int, default=joblib.cpu_count(), help="chapters at once (processors)")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    try:
        # The profile is a parameter of every chapter: given as one, it also says where the chapter's needs are built.
        profile = dict(options.parameters).get("profile", options.profile)
        if not re.fullmatch(r"[a-z0-9_-]+", profile):
            raise BuildError(f"profile: found {profile!r}, accepted are lower-case names such as quick")
        if options.jobs < 1:
            raise BuildError(f"jobs: found {options.jobs}, accepted are 1 and more")
        if options.parameters and len(options.chapters) != 1:
            raise BuildError(f"parameters are for one chapter, found {len(options.chapters)} named")
        refused = typed_value(dict(options.parameters).get("published_weights", "true"), True) is False
        refusing = options.chapters if refused else ()
        chapters = with_published_weights(root, profile, read_chapters(root), refusing)
        given = {name: {} for name in with_needs(chapters, options.chapters or chapters)}
        for name, value in options.parameters:
            chapter = chapters[options.chapters[0]]
            given[chapter.name][name] = typed_value(value, default_parameters(chapter).get(name))
        # All is checked before anything runs, so that a slip does not cost the chapters before it.
        for name, parameters in given.items():
            input_files(root, chapters[name])
            check_parameters(chapters[name], {"profile": profile, **parameters})
        failures = build_chapters(root, profile, chapters, given, options.jobs, kernels.free_memory())
    except BuildError as error:
        failures = [str(error)]
    except KeyboardInterrupt:
        print("execute_chapter: interrupted, its kernels are ended", file=sys.stderr)
        return 130
    for failure in failures:
        print(f"execute_chapter: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    # What ends a program politely ends its kernels, too; what nohup has it ignore stays ignored.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_DFL:
            signal.signal(getattr(signal, name), signal.default_int_handler)
    sys.exit(main())
