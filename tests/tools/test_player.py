"""What the page that plays loads: fetched and exported once, checked, copied into a site; left out with a reason."""

import hashlib
import json
import sys

import pytest

import player


def fake_npm(tmp_path, files, status=0):
    """A command that stands for npm: it writes these files where npm would put the package's."""
    script = tmp_path / "npm.py"
    script.write_text(
        "import pathlib, sys\n"
        f"files, status = {files!r}, {status}\n"
        "folder = pathlib.Path(sys.argv[sys.argv.index('--prefix') + 1], 'node_modules', 'onnxruntime-web', 'dist')\n"
        "folder.mkdir(parents=True)\n"
        "[(folder / name).write_text(text) for name, text in files.items()]\n"
        "print('npm error: no connection', file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    return [sys.executable, str(script)]


@pytest.fixture
def known(monkeypatch):
    files = {name: f"content of {name}" for name in player.RUNTIME}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    monkeypatch.setattr(player, "RUNTIME", digests)
    return files


@pytest.fixture
def repository(tmp_path, monkeypatch, known):
    """A root with weights and a site, whose export writes one graph."""
    root = tmp_path / "root"
    (root / "weights").mkdir(parents=True)
    (root / "weights" / "full.safetensors").write_bytes(b"1")
    (root / "html" / "_static" / "play").mkdir(parents=True)
    monkeypatch.setattr(player, "npm_commands", lambda: [fake_npm(tmp_path, known)])
    exported = []

    def export(root, weights, folder):
        exported.append(weights.read_bytes())
        (folder / "step.onnx").write_bytes(weights.read_bytes())
        (folder / "transfer.json").write_text(json.dumps(weights.read_text()))

    monkeypatch.setattr(player, "export", export)
    return root, exported


def test_the_files_are_copied_once_and_again_for_other_weights(repository):
    root, exported = repository
    files = root / "html" / "_static" / "play" / "files"
    for _ in range(2):
        player.install(root, "quick", root / "html")
        assert {path.name for path in files.iterdir()} == {*player.RUNTIME, "step.onnx", "transfer.json"}
    assert exported == [b"1"]
    (root / "weights" / "full.safetensors").write_bytes(b"2")
    player.install(root, "quick", root / "html")
    assert exported == [b"1", b"2"] and (files / "step.onnx").read_bytes() == b"2"


def test_without_published_weights_the_profiles_own_count(repository):
    root, exported = repository
    (root / "weights" / "full.safetensors").unlink()
    assert player.prepare(root, "quick") is None
    own = root / "build" / "quick" / "weights"
    own.mkdir(parents=True)
    (own / "quick.safetensors").write_bytes(b"3")
    assert player.prepare(root, "quick") == root / "build" / "player" and exported == [b"3"]


def test_a_site_without_the_page_gets_nothing(repository):
    root, exported = repository
    (root / "html" / "_static" / "play").rmdir()
    player.install(root, "quick", root / "html")
    assert exported == [] and not (root / "build").exists()


def test_other_files_than_the_known_are_refused(repository, known, tmp_path, monkeypatch, capsys):
    root, exported = repository
    changed = known | {"ort.wasm.min.mjs": "something else"}
    monkeypatch.setattr(player, "npm_commands", lambda: [fake_npm(tmp_path, changed)])
    assert player.prepare(root, "quick") is None and exported == []
    assert "ort.wasm.min.mjs is not the file that is known" in capsys.readouterr().err
    assert list((root / "build").iterdir()) == []


def test_a_second_npm_is_tried_and_the_reason_is_said(repository, known, tmp_path, monkeypatch, capsys):
    root, exported = repository
    (tmp_path / "other").mkdir()
    broken = fake_npm(tmp_path / "other", {}, status=1)
    monkeypatch.setattr(player, "npm_commands", lambda: [broken])
    assert player.prepare(root, "quick") is None
    assert "could not install onnxruntime-web" in capsys.readouterr().err
    monkeypatch.setattr(player, "npm_commands", lambda: [broken, fake_npm(tmp_path, known)])
    assert player.prepare(root, "quick") and exported == [b"1"]


def test_without_npm_it_is_named(repository, monkeypatch, capsys):
    monkeypatch.setattr(player, "npm_commands", lambda: [])
    assert player.prepare(repository[0], "quick") is None
    assert "npm is missing" in capsys.readouterr().err
