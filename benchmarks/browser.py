"""The page that plays, in a real browser: how fast it is, how near to the library, how near to the truth.

``python -m benchmarks.browser`` serves the page's scripts with the exported published weights, gives files to the form
as a reader does, and writes ``results/browser.json``. Three clips of the development set are transferred each way, as
WAV files of 16 bits. The library computes in float32, as the page does.
"""

import base64
import contextlib
import functools
import http.server
import io
import pathlib
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator

import numpy as np
import soundfile

from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.book import results
from ast_lib.book.results import Record
from ast_lib.config import override, preset
from ast_lib.data.clips import PairedClip, paired_clips
from ast_lib.data.dataset import build_splits
from ast_lib.data.synth import shared_synth
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import lsd
from ast_lib.files import CACHE, ROOT
from ast_lib.networks import checkpoint
from ast_lib.networks.model import TransferModel
from ast_lib.transfer import transfer

OUTPUT = ROOT / "results" / "browser.json"
CLIPS, SECONDS = 3, 10.0
PATIENCE = 600_000  # milliseconds that a transfer may take on a busy machine

SHELL = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Play</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="../_static/play.css"></head><body><main><h1>Play</h1>{block}</main></body></html>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and writes no line for a request."""

    def log_message(self, *_):
        pass


def lay_out(folder: pathlib.Path, files: pathlib.Path | None) -> None:
    """A site of one page in an empty folder: the scripts, the page's HTML and, if given, the player's files."""
    shutil.copytree(ROOT / "book" / "_static", folder / "_static")
    if files:
        shutil.copytree(files, folder / "_static" / "play" / "files", dirs_exist_ok=True)
    block = re.search(r"```\{raw\} html\n(.*?)```", (ROOT / "book" / "play.md").read_text(encoding="utf-8"), re.DOTALL)
    (folder / "book").mkdir()
    (folder / "book" / "play.html").write_text(SHELL.format(block=block[1]), encoding="utf-8")


@contextlib.contextmanager
def serving(folder: pathlib.Path) -> Iterator[str]:
    """The address of a folder on this machine."""
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def find_chromium() -> str | None:
    """Path of the system's Chromium, None where there is none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


@contextlib.contextmanager
def chromium() -> Iterator:
    """A browser of Playwright's.

    Raises:
        AstError: when Playwright or Chromium is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise AstError("playwright: it is not installed; run: make environment") from error
    path = find_chromium()
    if path is None:
        raise AstError("Chromium: not found; bash tools/system_packages.sh PYTHON test installs it where it can")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--mute-audio"])
        yield browser
        browser.close()


def play(page, source: pathlib.Path, to: str | pathlib.Path) -> np.ndarray:
    """Give the form a file and an instrument or a style clip, wait, and read what it offers, ``(samples,)``.

    Raises:
        AstError: with what the page says, when it has no result.
    """
    page.set_input_files("#play-file", source)
    instrument = isinstance(to, str)
    page.check(f"input[name=play-to][value={to if instrument else 'clip'}]")
    if not instrument:
        page.set_input_files("#play-style", to)
    page.click(".play-start:not([disabled])")
    page.wait_for_selector(".play-progress", state="hidden", timeout=PATIENCE)
    said = page.text_content(".play-status")
    if "of sound in" not in said:
        raise AstError(f"the page says: {said}")
    read = """async () => {
        const bytes = new Uint8Array(await (await fetch(document.querySelector("a[download]").href)).arrayBuffer());
        let text = "";
        for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
        return btoa(text);
    }"""
    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(page.evaluate(read))), dtype="float32")
    assert rate == SAMPLE_RATE
    return audio


def float32_model() -> TransferModel:
    """The published weights, computing in float32."""
    model = checkpoint.load_weights(checkpoint.PUBLISHED)
    model.config = override(model.config, "training.precision=32-true")
    return model


def development_clips(model: TransferModel) -> list[PairedClip]:
    """The first, the middle and the last clip of the development set."""
    pieces = build_splits(preset("full"), CACHE).development
    chosen = [pieces[0], pieces[len(pieces) // 2], pieces[-1]]
    synth = shared_synth(model.config.soundfonts[0])
    return paired_clips(chosen, model.config.instruments, SECONDS, model.config.data.seed, synth)


def as_file(folder: pathlib.Path, name: str, audio: np.ndarray) -> tuple[pathlib.Path, np.ndarray]:
    """A clip as a WAV file of 16 bits, and what the library reads from it."""
    from ast_lib import audio as audio_files

    path = folder / f"{name}.wav"
    soundfile.write(path, audio, SAMPLE_RATE, subtype="PCM_16")
    return path, audio_files.load(path)


def compare(page, folder: pathlib.Path, model: TransferModel) -> dict[str, list[tuple[float, ...]]]:
    """By direction, of each clip: LSD of page to library, of both to the truth, sound per processor time of the page.

    Processor time, since a busy machine gives a page only a share of its own. Loading is not counted.
    """
    found, session = {}, page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def used() -> float:
        return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}[
            "ProcessTime"
        ]

    play(page, as_file(folder, "first", np.sin(np.arange(SAMPLE_RATE) / 10) / 10)[0], "violin")
    for index, clip in enumerate(development_clips(model)):
        for heard, played in (model.config.instruments, model.config.instruments[::-1]):
            path, source = as_file(folder, f"{index}_{heard}", clip.audio[heard])
            begin = used()
            made = play(page, path, played)
            took, library = used() - begin, transfer(model, source, played)
            distances = lsd(made, library), lsd(made, clip.audio[played]), lsd(library, clip.audio[played])
            row = *map(float, distances), len(source) / SAMPLE_RATE / took
            found.setdefault(f"{heard}_to_{played}", []).append(row)
    return found


def records(found: dict[str, list[tuple[float, ...]]]) -> list[Record]:
    """:func:`compare` as records."""
    columns = (("lsd_to_library", "browser", "dB"), ("lsd", "browser", "dB"), ("lsd", "full", "dB"))
    columns += (("sound_to_processor_time", "browser", "1"),)
    made = []
    for task, rows in found.items():
        for (metric, system, unit), values in zip(columns, np.transpose(rows), strict=True):
            spread = float(np.std(values, ddof=1))
            common = len(values), unit, "full", checkpoint.PUBLISHED.name, 0
            made.append(Record(metric, task, system, float(np.mean(values)), spread, *common))
    return made


def main() -> int:
    sys.path.append(str(ROOT / "tools"))
    import player

    files = player.prepare(ROOT, "full")
    if files is None:
        return 1
    try:
        with tempfile.TemporaryDirectory() as place, chromium() as browser:
            folder = pathlib.Path(place)
            lay_out(folder / "site", files)
            with serving(folder / "site") as address:
                page = browser.new_page()
                page.goto(f"{address}/book/play.html")
                page.wait_for_selector(".play-form")
                measured = records(compare(page, folder, float32_model()))
    except AstError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(results.to_frame(measured, "text").fillna("").to_string())
    print(results.write(OUTPUT, measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
