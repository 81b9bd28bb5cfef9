"""Build the static site from executed chapters and prose pages: ``python tools/build_site.py [--profile quick]``.

``build/<profile>/site`` is assembled from ``_config.yml``, ``_toc.yml``, ``book/``, ``ast_lib/`` and ``benchmarks/``
(for links to the code), the files that pages include and the executed notebooks of the profile, in which the solutions
of coding exercises are blank (:func:`exercises.published`); Jupyter Book makes
``build/<profile>/html`` of it, execution off, warnings as errors. A page finds its audio at ``../audio/NAME``, which is
true of the executed notebook in Jupyter as well as of the site. :mod:`site_polish` finishes the pages. Nothing is done
when the content of all these files is that of the last successful build.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import filelock
import nbformat
import yaml

import player
from chapter_dependencies import ROOT, BuildError, Chapter, file_digest, read_chapters
from course import filled
from exercises import check_quizzes, published
from site_polish import Place, polish, record

FILES = ("_config.yml", "_toc.yml", "CHANGELOG.md", "CITATION.cff")  # of the root; the last two are parts of pages
ASSEMBLED = ("book", "ast_lib", "benchmarks")
UNKNOWN = Place()  # a site for one's own disk
IGNORED = shutil.ignore_patterns("__pycache__", ".*")
TOOLS = pathlib.Path(__file__).resolve().parent
MAKERS = ("build_site", "course", "exercises", "quiz", "site_polish")  # scripts that decide what pages look like
SCRIPTS = [TOOLS / f"{name}.py" for name in MAKERS]


def pages(toc: str) -> list[str]:
    """Every page that a table of contents (YAML text) lists, without suffix, root first."""
    found = []

    def collect(entry: dict) -> None:
        found.extend(entry[key] for key in ("root", "file") if key in entry)
        for key in ("parts", "chapters", "sections"):
            for inner in entry.get(key, []):
                collect(inner)

    collect(yaml.safe_load(toc))
    return found


def site_digests(root: pathlib.Path, built: pathlib.Path) -> dict[str, str]:
    """Digest of every file that decides what the site looks like."""
    files = [*(root / name for name in FILES), root / "requirements.lock", root / "results" / "prose.json", *SCRIPTS]
    # What the page that plays is made of.
    files += [pathlib.Path(player.__file__), *sorted((root / "weights").glob("*.safetensors"))]
    for folder in (*(root / name for name in ASSEMBLED), built / "notebooks", built / "audio"):
        files += sorted(
            p for p in folder.rglob("*") if p.is_file() and p.parent.name != "__pycache__" and p.parent.name[0] != "."
        )
    kept = (path for path in files if path.is_file() and path.name[0] != "." and "failed" not in path.suffixes)
    return {os.path.relpath(path, root): file_digest(path) for path in kept}


def assemble(root: pathlib.Path, built: pathlib.Path, site: pathlib.Path) -> None:
    """Lay out the source of the site in an empty folder.

    Raises:
        BuildError: when the table of contents lists a page that does not exist or a chapter that has not been executed,
            or an exercise is not as it should be.
    """
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    for name in FILES:
        if (root / name).is_file():
            shutil.copy(root / name, site)
    for name in ASSEMBLED:
        if (root / name).is_dir():
            shutil.copytree(root / name, site / name, ignore=IGNORED)
    for page in (site / "book").glob("*.md"):
        page.write_text(filled(page.read_text(encoding="utf-8"), root), encoding="utf-8")
    # Jupyter Book reads style sheets from _static beside the configuration.
    if (site / "book" / "_static").is_dir():
        (site / "book" / "_static").rename(site / "_static")
    (site / "notebooks").mkdir()
    for page in pages((root / "_toc.yml").read_text(encoding="utf-8")):
        if (root / f"{page}.md").is_file():
            check_quizzes(root / f"{page}.md", f"{page}.md")
        if page.startswith("notebooks/"):
            executed = built / f"{page}.ipynb"
            if not executed.is_file():
                raise BuildError(f"_toc.yml: {page} has not been executed (no {os.path.relpath(executed, root)})")
            notebook = numbered(published(nbformat.read(executed, as_version=4), page), page)
            nbformat.write(notebook, site / f"{page}.ipynb")
        elif not any((site / page).with_suffix(suffix).is_file() for suffix in (".md", ".rst", ".ipynb")):
            raise BuildError(f"_toc.yml: there is no page {page}.md")


def numbered(notebook: nbformat.NotebookNode, page: str) -> nbformat.NotebookNode:
    """A chapter whose title begins with the number of its file: the number by which pages and messages name it."""
    number = re.match(r"notebooks/0*(\w+?)_", page)[1]
    first = next(cell for cell in notebook.cells if cell.cell_type == "markdown" and cell.source.startswith("# "))
    first.source = f"# {number}. {first.source[2:]}"
    return notebook


def changes(built: pathlib.Path, digests: dict[str, str]) -> list[str] | None:
    """Names of files that differ from those of the last successful build, None where there was none."""
    stamp = built / "site.json"
    if not (built / "html" / "index.html").is_file() or not stamp.is_file():
        return None
    last = json.loads(stamp.read_text(encoding="utf-8"))
    return sorted(name for name in {*digests, *last} if digests.get(name) != last.get(name))


def build(root: pathlib.Path, profile: str, place: Place = UNKNOWN) -> pathlib.Path:
    """Bring the site of a profile up to date and return the path of its first page; ``place`` holds its addresses.

    Raises:
        BuildError: when a page is missing or Jupyter Book ends with an error or a warning.
    """
    built = root / "build" / profile
    built.mkdir(parents=True, exist_ok=True)
    # Another build of the same site is waited for, and may have done the work.
    with filelock.FileLock(built / ".site.lock"):
        return build_alone(root, built, place)


def build_alone(root: pathlib.Path, built: pathlib.Path, place: Place) -> pathlib.Path:
    """:func:`build` where nobody else builds the same site."""
    html, stamp, work = built / "html", built / "site.json", built / ".jupyter-book"
    index = html / "index.html"
    digests = site_digests(root, built) | {"its addresses": record(place)}
    changed = changes(built, digests)
    if changed == []:
        player.install(root, built.name, html)  # it may have been left out, for want of a connection
        print("site: up to date")
        return index
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        print(f"site: built again, because {', '.join(changed[:3])}{more} changed", flush=True)
    assemble(root, built, built / "site")
    # Always from nothing: an incremental build would not repeat the warnings of pages that did not change.
    shutil.rmtree(work, ignore_errors=True)
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["build", str(built / "site"), "--path-output", str(work), "--all", "-W", "-n", "--keep-going", "-q"]
    path = os.pathsep.join(filter(None, [str(TOOLS), os.environ.get("PYTHONPATH")]))  # the extension quiz is there
    if subprocess.run([*jupyter_book, *options], cwd=root, env=os.environ | {"PYTHONPATH": path}).returncode != 0:
        raise BuildError("Jupyter Book ended with errors or warnings (above)")
    made = work / "_build" / "html"
    if (built / "audio").is_dir():
        shutil.copytree(built / "audio", made / "audio", dirs_exist_ok=True)
    finish(root, made, place)
    player.install(root, built.name, made)
    # GitHub Pages must not hide folders whose names begin with an underscore.
    (made / ".nojekyll").touch()
    stamp.unlink(missing_ok=True)
    shutil.rmtree(html, ignore_errors=True)
    os.replace(made, html)
    shutil.rmtree(work)
    temporary = stamp.with_suffix(".tmp")
    temporary.write_text(json.dumps(digests, indent=1), encoding="utf-8")
    os.replace(temporary, stamp)
    return index


def finish(root: pathlib.Path, made: pathlib.Path, place: Place) -> None:
    """:func:`site_polish.polish` with what the repository knows about its chapters and its title."""
    configuration = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    seconds = {name: chapter.seconds for name, chapter in read_chapters(root).items() if "seconds" in header(chapter)}
    first = pages((root / "_toc.yml").read_text(encoding="utf-8"))[0]
    polish(made, seconds, place, f"{first}.html", configuration.get("title", "Book"))


def header(chapter: Chapter) -> dict:
    """What a chapter says about itself at its head."""
    return chapter.notebook.metadata.get("ast", {})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the static site from the executed chapters.")
    parser.add_argument("--profile", default="quick", help="smoke, quick (default) or full")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="root of the repository")
    parser.add_argument("--address", default="", help="of the published site (default: BOOK_ADDRESS, or the CI's)")
    parser.add_argument("--repository", default="", help="its address (default: BOOK_REPOSITORY, or the CI's)")
    options = parser.parse_args(arguments)
    try:
        place = Place.known(options.address, options.repository)
        index = build(options.root.resolve(), options.profile, place)
    except BuildError as error:
        print(f"build_site: {error}", file=sys.stderr)
        return 1
    print(f"The book is at {index}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
