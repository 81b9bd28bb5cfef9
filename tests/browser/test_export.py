"""The exported graphs against PyTorch, one by one and together; what is written beside them."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from models import noise, tiny, tone, untrained

from ast_lib import browser
from ast_lib.browser import export
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import lsd
from ast_lib.networks import checkpoint
from ast_lib.transfer import transfer
from benchmarks.browser import float32_model

pytest.importorskip("onnxscript", reason="onnxscript is not installed, which writes ONNX")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed, which runs ONNX")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    model = untrained(tiny())
    model.latency.copy_(torch.tensor([0.0, 0.013]))
    return checkpoint.save_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", model, {}, {}, half=True)


@pytest.fixture(scope="module")
def folder(weights):
    return browser.export_files(weights.parent / "exported", weights)


@pytest.fixture(scope="module")
def model(weights):
    return checkpoint.load_weights(weights)


# Sizes unlike those of the export, and the least ones.
@pytest.mark.parametrize(
    "sizes",
    [
        {"B": 3, "N": 7001, "T": 28, "S": 9, "n": 4, "P": 2, "M": 10},
        {"B": 1, "N": 1024, "T": 5, "S": 1, "n": 1, "P": 0, "M": 2},
    ],
    ids=["other", "least"],
)
@pytest.mark.parametrize("name", export.GRAPHS)
def test_a_graph_is_the_module_that_it_was_made_of(folder, model, name, sizes):
    from sessions import Session

    module, axes, outputs = export.graphs(model)[name]
    inputs = export.example(axes, sizes, seed=1)
    with torch.no_grad():
        wanted = module(*inputs.values())
    found = Session(folder / f"{name}.onnx")(*inputs.values())
    for a, b, _ in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, wanted)), outputs, strict=True):
        assert a.shape == b.shape and (a - b).abs().max() < 2e-4 * max(b.abs().max(), 1)


def test_the_inputs_are_those_of_the_library(folder, model):
    from sessions import Session

    audio = torch.from_numpy(noise(1.3))[None]
    representation = model.representation
    found = Session(folder / "inputs.onnx")(audio, representation.spectrogram(audio).abs().square())
    wanted = model.encoder_input(representation(audio))
    assert found.shape == wanted.shape and (found - wanted).abs().max() < 1e-3


def test_the_steps_of_the_page_generate_what_the_library_does(folder, weights, model):
    """Ten windows, each after the past of the one before it, with and without context."""
    from sessions import with_sessions

    random = torch.Generator().manual_seed(0)
    content, style = torch.randn(1, 61, 64, generator=random), torch.randn(1, 32, generator=random)
    page = with_sessions(folder, weights)
    with torch.no_grad():
        found, wanted = (each.generate(content, style) for each in (page, model))
        magnitude = model.magnitude(wanted).clamp_min(0)
    assert (found.magnitude - magnitude).abs().max() < 2e-3 * magnitude.max()
    assert (found.advance - wanted.advance).abs().max() < 2e-3 * wanted.advance.abs().max()


def test_the_published_weights_transfer_a_clip_as_the_library_does(published):
    """In float32, as the page computes; the file's own bfloat16 is further from that than any of it."""
    from sessions import with_sessions

    model, page = float32_model(), with_sessions(published, checkpoint.PUBLISHED)
    assert sum((published / name).stat().st_size for name in browser.FILES) <= 16e6
    notes = (tone(0.5, 440 * 2 ** (step / 12)) * np.linspace(1, 0.1, 11025) for step in (0, 4, 7, 12) * 4)
    melody = np.concatenate(list(notes))
    melody = (np.round(32767 * melody) / 32768).astype(np.float32)  # as a file of 16 bits has it
    for to in model.config.instruments:
        found, wanted = (transfer(each, melody, to) for each in (page, model))
        assert len(found) == len(melody) and lsd(found, wanted) < 0.3


def test_large_weights_are_stored_in_half_precision(folder):
    import onnx

    for name in export.GRAPHS:
        for tensor in onnx.load(folder / f"{name}.onnx").graph.initializer:
            if tensor.name.split(".")[-1] not in export.EXACT:
                assert np.prod(tensor.dims) < export.LARGE or tensor.data_type == onnx.TensorProto.FLOAT16, tensor.name


def test_the_constants_describe_the_files(folder, weights, model):
    values = json.loads((folder / export.CONSTANTS).read_text())
    assert {path.name for path in folder.iterdir()} == set(browser.FILES)
    for name, about in values["files"].items():
        data = (folder / name).read_bytes()
        assert about == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert values["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert np.allclose(values["prototypes"], model.prototypes) and np.allclose(values["latency"], model.latency)
    assert values["instruments"] == ["piano", "violin"]


def test_nothing_of_the_machine_is_written(folder, root):
    for path in folder.iterdir():
        data = path.read_bytes()
        assert str(root).encode() not in data and b"site-packages" not in data and b"ast_lib/" not in data, path.name


def test_the_command_writes_the_folder(weights, tmp_path):
    command = [sys.executable, "-m", "ast_lib", "export", "-o", "out", "--weights", str(weights)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=None)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(browser.FILES)


def test_a_folder_without_a_parent_is_one_line(weights, tmp_path):
    with pytest.raises(AstError, match="could not be made"):
        browser.export_files(tmp_path / "no" / "folder", weights)
