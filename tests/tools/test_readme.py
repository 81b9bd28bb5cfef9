"""The paths that the README and the pages promise - read, run a chapter again, teach, change, use on a file, train on a
folder - each run as it stands on the page, in the size of smoke."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import soundfile
from models import tone

from ast_lib.config import override, preset


def blocks(root, page, language):
    """Fenced blocks of a page in one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", (root / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def line(root, page, start):
    """The one line of a page's shell blocks that begins so, without its comment."""
    text = "".join(blocks(root, page, "bash"))
    (found,) = [entry for entry in text.splitlines() if entry.startswith(start)]
    return found.split("  #")[0].strip()


def shell(command, folder, root):
    """Run a command of a page with this interpreter, without a make above it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"}
    environment |= {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = re.sub(r"^\.venv/bin/python", f'"{sys.executable}"', command)
    command = re.sub(r"^make ", f"make -C '{root}' PYTHON='{sys.executable}' ", command)
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.book
def test_read(root, book):
    """The page that the README names is the one that a build makes."""
    named = re.search(r"static site: (build/quick/html/index\.html)", (root / "README.md").read_text())[1]
    assert named.replace("quick", book.parent.name).endswith("html/index.html") and (book / "index.html").is_file()


def test_run_a_chapter_again(root, tmp_path):
    """The README's command, into a folder of its own."""
    (command,) = re.findall(r"`(make chapter CHAPTER=\w+ PARAMS='[^']*')`", (root / "README.md").read_text())
    shell(command.replace("PARAMS='", f"PARAMS='-p output {tmp_path} "), tmp_path, root)
    (made,) = (tmp_path / "notebooks").glob("*.ipynb")
    outputs = [o for cell in nbformat.read(made, as_version=4).cells for o in cell.get("outputs", [])]
    assert outputs and all(output.output_type != "error" for output in outputs)
    assert list((tmp_path / "weights").glob("smoke.safetensors"))


def test_teach(root, tmp_path):
    """The command of the page on teaching: every chapter without its solutions."""
    assert "`make student`" in (root / "book" / "teaching.md").read_text(encoding="utf-8")
    shell("make student", tmp_path, root)
    made = sorted(path.stem for path in (root / "build" / "student" / "chapters").glob("[0-9]*.ipynb"))
    assert made == sorted(path.stem for path in (root / "notebooks").glob("[0-9]*.md"))
    text = "".join(
        path.read_text(encoding="utf-8") for path in (root / "build" / "student" / "chapters").glob("[0-9]*.ipynb")
    )
    assert "BEGIN SOLUTION" not in text and "{solution}" not in text


def test_change(root, tmp_path):
    """A variant with papermill alone, as the page on using the book shows it."""
    (block,) = [text for text in blocks(root, "book/how_to_use.md", "bash") if "papermill" in text]
    commands = [entry for entry in block.splitlines() if entry.startswith(("jupytext", "papermill"))]
    text = "\n".join(commands).replace("profile quick", "profile smoke").replace("steps=200", "steps=3")
    assert len(commands) == 2 and "smoke" in text and "steps=3" in text
    tools = os.path.dirname(sys.executable)
    text = text.replace("build/variant", str(tmp_path / "variant")).replace("build/", f"{tmp_path}/")
    shell(f'export PATH="{tools}:$PATH"; cd "{root}"; set -e\n{text}', tmp_path, root)
    from ast_lib.networks.checkpoint import read_metadata

    assert read_metadata(tmp_path / "variant" / "weights" / "smoke.safetensors")["config"]["training"]["steps"] == 3


def test_use_on_a_file(root, tmp_path):
    """The README's command and its one line of Python."""
    soundfile.write(tmp_path / "piano.mp3", tone(1.5), 22050)
    assert shell(line(root, "README.md", ".venv/bin/python -m ast_lib transfer"), tmp_path, root) == "violin.wav\n"
    made, rate = soundfile.read(tmp_path / "violin.wav")
    assert rate == 22050 and len(made) == pytest.approx(1.5 * rate, abs=1) and np.abs(made).max() > 0.01
    (call,) = re.findall(r"`(ast_lib\.transfer\.transfer_file\([^`]*\))`", (root / "README.md").read_text())
    (tmp_path / "violin.wav").unlink()
    shell(f"\"{sys.executable}\" -c 'import ast_lib.transfer; {call}'", tmp_path, root)
    assert soundfile.info(tmp_path / "violin.wav").frames == len(made)


def test_train_instruments_of_the_readme(root, tmp_path, monkeypatch):
    (code,) = [text for text in blocks(root, "README.md", "python") if "train(" in text]
    monkeypatch.chdir(tmp_path)
    assert 'preset("quick")' in code
    space = {}
    exec(
        code.replace('preset("quick")', 'override(preset("smoke"), "training.steps=2", "training.validate_every=2")'),
        space,
    )
    assert space["trainer"].average is not None and (tmp_path / "build" / "organ").is_dir()


def test_train_on_a_folder(root, tmp_path):
    """A folder for each instrument becomes a manifest and a run, with the calls that chapter 16 shows."""
    chapter = (root / "notebooks" / "16_your_own.md").read_text(encoding="utf-8")
    assert "readers.instrument_folders(" in chapter and "recordings.make_manifest(" in chapter
    from ast_lib.data import readers, recordings
    from ast_lib.files import CACHE
    from ast_lib.training import train

    for number, name in enumerate(("low", "high")):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for piece in range(4):
            frequency = 300 * (1 + number) + 40 * piece
            soundfile.write(tmp_path / "sounds" / name / f"{name}{piece}.wav", tone(9.0, frequency), 22050)
    listed = readers.instrument_folders(tmp_path / "sounds", licence="made here")
    manifest = tmp_path / "clips.jsonl"
    recordings.make_manifest(manifest, listed.items, seconds=2.0)
    clips = [json.loads(entry) for entry in manifest.read_text().splitlines()]
    assert {clip["instrument"] for clip in clips} == {"low", "high"}
    changes = [
        f"data.manifest={manifest}",
        'instruments=["high", "low"]',
        "training.steps=2",
        "training.validate_every=2",
    ]
    trainer = train(override(preset("smoke"), *changes), CACHE, tmp_path / "run")
    assert np.isfinite(trainer.frame()["loss"].dropna() if "loss" in trainer.frame() else [0.0]).all()
    shutil.rmtree(tmp_path / "run")
