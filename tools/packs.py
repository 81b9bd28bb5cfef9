"""Packs for a class: ``python tools/packs.py {student,instructor} [CHAPTER ...]``.

``build/student/`` (``build/instructor/``) has the notebooks in ``chapters/``, printed solutions (all of them), and what
runs them: the library, the weights and results that the chapters read, the versions of the environment and one command,
``bash start.sh``. The same is ``build/student.zip``.
"""

import argparse
import pathlib
import shutil
import sys
from collections.abc import Iterable

import nbformat

from chapter_dependencies import LIBRARY, PUBLISHED, ROOT, BuildError, Chapter, input_files, read_chapters
from student_notebooks import class_notebook, page_titles, solution_texts

START = ("start.sh", "check_pack.py")  # of tools/pack, at the top of a pack
COPIED = ("LICENSE", "pyproject.toml", "requirements.lock", PUBLISHED, "tools/apt.sh", "tools/system_packages.sh")
REQUIREMENTS = "-c requirements.lock\n-e .[book]\njupyterlab>=4,<5\n"
README = """# {title}

Notebooks of the book *Audio style transfer, from the paper to a working system*{audience}. One command sets everything
up and opens them in a browser:

```bash
bash start.sh
```

It needs Linux, a Mac with Apple silicon, or WSL; Python 3.11 to 3.13; 6 GB of disk and a network the first time. `bash
start.sh check` only says whether everything is there. With `PYTHON=path/to/python` before either, that interpreter is
used as it is.

- `chapters/` has the notebooks. They run as they are, from top to bottom. A cell that ends in `raise
  NotImplementedError("your code")` is yours to fill in; the cell below it says whether it is right.
- `solutions/` has {solutions}.
- `ast_lib/` is the library that the chapters explain; what a chapter writes goes to `build/quick`.
{needs}
MIT licence, see `LICENSE`.
"""
AUDIENCE = {"student": "", "instructor": ", with all solutions, expected wrong answers and hints for marking"}
SOLUTIONS = {
    "student": "the solutions that the book prints; look after you have tried",
    "instructor": "all solutions, those too that neither the book nor the students' pack shows",
}


def needs_text(chapters: Iterable[Chapter], built: list[pathlib.Path]) -> str:
    """What a reader runs first: chapters read the weights that another one trains, unless the pack has them."""
    waiting = {
        chapter.name: chapter.needs for chapter in chapters if set(chapter.needs) - set(chapter.unless_published)
    }
    if not waiting or any(path.suffix == ".safetensors" for path in built):
        return ""
    first = sorted({need for needs in waiting.values() for need in needs})
    return f"\nRun {', '.join(f'`{name}`' for name in first)} before {', '.join(f'`{name}`' for name in waiting)}.\n"


def copy(root: pathlib.Path, files: Iterable[pathlib.Path], folder: pathlib.Path) -> None:
    """Files of the repository at the same place of a folder."""
    for path in sorted(set(files)):
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def write_pack(root: pathlib.Path, chapters: list[Chapter], kind: str, folder: pathlib.Path) -> None:
    """A pack as a folder, which is emptied first."""
    titles = page_titles(root)
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("chapters", "solutions"):
        (folder / name).mkdir(parents=True)
    for chapter in chapters:
        notebook = class_notebook(chapter, titles, instructor=kind == "instructor")
        nbformat.write(notebook, folder / "chapters" / f"{chapter.name}.ipynb")
        texts = solution_texts(chapter, titles, instructor=kind == "instructor")
        parts = [f"## {label}\n\n{text}\n" for label, text in texts.items()]
        path = folder / "solutions" / f"{chapter.name}.md"
        path.write_text(f"# {titles[chapter.name]}\n\n" + "\n".join(parts), encoding="utf-8")
    whole = (path for name in (LIBRARY, "results") for path in (root / name).rglob("*"))
    whole = (path for path in whole if path.is_file() and "__pycache__" not in path.parts)
    built = sorted((root / "build" / "quick" / "weights").glob("*.safetensors"))
    read = [path for chapter in chapters for path in input_files(root, chapter)]
    scripts = (root / "book" / "_static").glob("live.*")  # figures that move carry them
    copy(root, [*whole, *built, *read, *scripts, *(root / name for name in COPIED if (root / name).is_file())], folder)
    for name in START:
        shutil.copy(ROOT / "tools" / "pack" / name, folder)
    (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
    text = README.format(
        title=f"Notebooks for {kind}s",
        audience=AUDIENCE[kind],
        solutions=SOLUTIONS[kind],
        needs=needs_text(chapters, built),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the notebooks for a class, with what runs them.")
    parser.add_argument("kind", choices=tuple(AUDIENCE))
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 06_margin (default: all)")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    folder = options.root / "build" / options.kind
    try:
        chapters = read_chapters(options.root)
        unknown = [name for name in options.chapters if name not in chapters]
        if unknown:
            raise BuildError(f"chapter: found {unknown[0]!r}, accepted are {', '.join(chapters)}")
        wanted = [chapters[name] for name in options.chapters or chapters]
        write_pack(options.root, wanted, options.kind, folder)
    except BuildError as error:
        print(f"packs: {error}", file=sys.stderr)
        return 1
    archive = shutil.make_archive(str(folder), "zip", folder.parent, folder.name)
    print(f"{len(wanted)} notebooks are in {folder}, and with what runs them in {archive}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
