"""Gather what a release holds in ``build/release``: ``python tools/release.py [--profile full]``.

The folder gets the site, its pages as one PDF (where there is a Chromium), the packs for students and teachers and the
slides (as far as they have been made), the weights with a model card written from their metadata, a datasheet of the
data they were trained on, the metadata for citations, and ``SHA256SUMS`` of all of it. Nothing is typed: what is not
recorded is not said.
"""

import argparse
import functools
import hashlib
import http.server
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

from ast_lib.book.results import Record, read
from ast_lib.errors import AstError
from ast_lib.networks.checkpoint import read_metadata
from build_site import pages
from chapter_dependencies import ROOT, BuildError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PACKS = ("student", "instructor", "slides")  # folders of build/ that other targets make
CITATION = ("CITATION.cff", "codemeta.json", "LICENSE", "CHANGELOG.md", "requirements.lock")
METRICS = {"lsd": "LSD (dB, lower is better)", "chroma_cosine": "chroma cosine (higher is better)"}


# --- Cards -----------------------------------------------------------------------------------------------------------


def lines_of(table: dict, indent: str = "") -> list[str]:
    """A nested dictionary as a Markdown list."""
    found = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += [f"{indent}- {key}:", *lines_of(value, indent + "  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            found.append(f"{indent}- {key}: {text}")
    return found


def figures(records: list[Record], name: str) -> list[str]:
    """What was measured on the development set for one system, beside the source copy and the ceiling."""
    rows = ["| direction | metric | source copy | this model | ceiling | clips |", "|---|---|--:|--:|--:|--:|"]
    cells = {(r.task, r.metric, r.system): r for r in records}
    for task in sorted({r.task for r in records}):
        for metric, title in METRICS.items():
            found = [cells.get((task, metric, system)) for system in ("source_copy", name, "ceiling")]
            if found[1] is not None:
                values = ["–" if r is None else f"{r.value:.2f} ± {r.std:.2f}" for r in found]
                rows.append(f"| {task.replace('_', ' ')} | {title} | {' | '.join(values)} | {found[1].n} |")
    return rows if len(rows) > 2 else ["Nothing has been measured."]


def model_card(weights: pathlib.Path, records: list[Record]) -> str:
    """Markdown from the metadata inside a weights file and the records of the listening chapter.

    Raises:
        AstError: when the file has no metadata.
    """
    metadata = read_metadata(weights)
    origin, config = dict(metadata["provenance"]), metadata["config"]
    origin.pop("data", None)
    instruments = ", ".join(config.get("instruments", []))
    with open(weights, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    parts = [
        f"# Model card: {weights.name}",
        "## What it is",
        f"A model that plays the notes of a recording on another instrument. Instruments: {instruments}. "
        f"The file has {weights.stat().st_size:,} bytes and the SHA-256 `{digest}`. It holds numbers and text only.",
        "## Use",
        "`python -m ast_lib transfer piano.mp3 --to violin -o violin.wav`, or with `--style clip.wav`. It is made for "
        "teaching and for experiments. It must not be used to pass a transfer off as somebody's performance.",
        "## Training",
        *["\n".join(lines_of(origin))],
        "## What it reaches",
        "On held-out pieces of the development set, on which choices were made, against the true target. "
        "Mean ± standard deviation over clips.",
        "\n".join(figures(records, config.get("name", weights.stem))),
        "## Limits",
        "It was trained on rendered performances of public-domain scores. The book measures what it does with rooms, "
        "noise, other players and other tunings, and where it fails (chapters 12, 15 and 16).",
        "## Configuration",
        "\n".join(lines_of(config)),
    ]
    return "\n\n".join(parts) + "\n"


def datasheet(weights: pathlib.Path) -> str:
    """Markdown on the data that weights were trained on, from the same metadata."""
    metadata = read_metadata(weights)
    sources, config = metadata["provenance"].get("data", {}), metadata["config"]
    digests = {key: value for key, value in sources.items() if isinstance(value, str)}
    parts = [
        f"# Datasheet of the data behind {weights.name}",
        "## Composition",
        "Performances rendered from scores of the public domain, as audio of one instrument at a time. "
        f"Instruments: {', '.join(config.get('instruments', []))}. "
        f"Soundfonts: {', '.join(config.get('soundfonts', []))}.",
        "\n".join(lines_of(config.get("data", {}))),
        "## Sources, by SHA-256",
        "\n".join(lines_of(digests)) if digests else "None are recorded.",
        "## Splits",
        "By piece: no piece of the validation, development or sealed set is in training. Chapter 2 audits this.",
        "## Licences",
        "The scores come with music21. The soundfonts are used and not distributed; the README names their licences. "
        "No person is recorded.",
        "## Remaking it",
        "`make weights` renders the data again. Nothing is downloaded that the lock file does not name, besides "
        "soundfonts of the system's packages.",
    ]
    return "\n\n".join(parts) + "\n"


# --- Paper -----------------------------------------------------------------------------------------------------------


def find_browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and writes no line for a request."""

    def log_message(self, *_) -> None:
        pass


def print_book(html: pathlib.Path, target: pathlib.Path, names: list[str], browser: str) -> int:
    """The pages of a site, in order, as one PDF; the number of its sheets."""
    from pypdf import PdfWriter

    writer = PdfWriter()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number, name in enumerate(names):
                sheet = pathlib.Path(folder) / f"{number}.pdf"
                address = f"http://127.0.0.1:{server.server_address[1]}/{name}.html"
                options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
                options += [
                    f"--user-data-dir={folder}/profile",
                    "--virtual-time-budget=60000",
                    f"--print-to-pdf={sheet}",
                ]
                done = subprocess.run([browser, *options, address], capture_output=True, text=True)
                if not sheet.is_file():
                    raise BuildError(f"{name}: it was not printed ({done.stderr.strip().splitlines()[-1:]})")
                writer.append(str(sheet), outline_item=name.rsplit("/", 1)[-1])
    finally:
        server.shutdown()
    writer.write(target)
    return len(writer.pages)


# --- Together --------------------------------------------------------------------------------------------------------


def write_sums(folder: pathlib.Path) -> None:
    """``SHA256SUMS`` of every file, as ``sha256sum -c`` reads it."""
    lines = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS"):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(folder).as_posix()}\n")
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def release(root: pathlib.Path, profile: str, paper: bool = True) -> pathlib.Path:
    """Fill ``build/release`` and return it.

    Raises:
        BuildError: when there is no site.
    """
    html, folder = root / "build" / profile / "html", root / "build" / "release"
    if not (html / "index.html").is_file():
        raise BuildError(f"there is no site of the profile {profile}; run: make book PROFILE={profile}")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "weights").mkdir(parents=True)
    shutil.make_archive(str(folder / "site"), "zip", html)
    for name in PACKS:
        if (root / "build" / name).is_dir():
            shutil.make_archive(str(folder / name), "zip", root / "build" / name)
        else:
            print(f"release: no {name}, since there is no build/{name}")
    records = [r for path in sorted((root / "results").glob("15_listening*.json")) for r in read(path)]
    for path in sorted((root / "weights").glob("*.safetensors")):
        shutil.copy(path, folder / "weights")
        (folder / "weights" / f"{path.stem}.model-card.md").write_text(model_card(path, records), encoding="utf-8")
        (folder / "weights" / f"{path.stem}.datasheet.md").write_text(datasheet(path), encoding="utf-8")
    for name in CITATION:
        if (root / name).is_file():
            shutil.copy(root / name, folder)
    browser = find_browser()
    if paper and browser:
        names = pages((root / "_toc.yml").read_text(encoding="utf-8"))
        print(f"release: book.pdf has {print_book(html, folder / 'book.pdf', names, browser)} sheets")
    elif paper:
        print("release: no book.pdf, since there is no Chromium to print it")
    write_sums(folder)
    return folder


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Gather what a release holds.")
    parser.add_argument("--profile", default="quick", help="smoke, quick (default) or full")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="root of the repository")
    parser.add_argument("--no-pdf", action="store_true", help="print no pages")
    options = parser.parse_args(arguments)
    try:
        folder = release(options.root.resolve(), options.profile, not options.no_pdf)
    except (BuildError, AstError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(f"The release is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
