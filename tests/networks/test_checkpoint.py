"""Weights files: what is written is what is read, and every file that is not ours is refused in one sentence."""

import datetime
import hashlib
import json
import os
import pickle
import random
import resource
import struct
import subprocess

import pytest
import safetensors.torch
import torch
from models import noise, tiny, untrained

from ast_lib.config import PRESETS, override, to_dict
from ast_lib.data.synth import soundfont_path
from ast_lib.errors import AstError
from ast_lib.networks import checkpoint
from ast_lib.networks.checkpoint import find_weights, load_weights, provenance, read_metadata, save_weights
from ast_lib.transfer import transfer

CONFIG = tiny("model.window=16", "model.overlap=4")


@pytest.fixture(scope="module")
def model():
    return untrained(CONFIG)


@pytest.fixture
def weights(model, tmp_path):
    return save_weights(tmp_path / "w.safetensors", model, {"lsd": 1.5}, {"seed": 3, "pieces": ["a"]})


def rewritten(path, model, change_tensors=lambda tensors: tensors, **metadata):
    """A weights file as :func:`save_weights` makes it, with something changed."""
    tensors = change_tensors({name: tensor.clone() for name, tensor in model.state_dict().items()})
    texts = {"config": json.dumps(to_dict(CONFIG)), "metrics": "{}", "provenance": "{}"} | metadata
    safetensors.torch.save_file(tensors, path, {key: text for key, text in texts.items() if text is not None})
    return path


def refusal(action, path):
    """The one-line message, naming the file, with which an action is refused."""
    with pytest.raises(AstError) as caught:
        action(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


# --- Round trip


def test_reloaded_weights_are_equal_and_sound_the_same(model, weights):
    loaded = load_weights(weights)
    assert loaded.config == CONFIG and not loaded.training
    assert set(loaded.state_dict()) == set(model.state_dict())
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    source = noise(0.5)
    assert (transfer(loaded, source, "violin") == transfer(model, source, "violin")).all()


def test_configuration_metrics_and_provenance_are_inside(weights):
    assert read_metadata(weights) == {
        "config": to_dict(CONFIG), "metrics": {"lsd": 1.5}, "provenance": {"seed": 3, "pieces": ["a"]}
    }  # fmt: skip


def test_half_precision_is_half_the_size_and_read_as_float32(model, weights, tmp_path):
    path = save_weights(tmp_path / "half.safetensors", model, {}, {}, half=True)
    assert path.stat().st_size < 0.51 * weights.stat().st_size
    loaded = load_weights(path)
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, model.state_dict()[name], rtol=2**-11, atol=2**-25)


def test_saving_replaces_an_earlier_file_and_leaves_nothing_else(model, weights):
    save_weights(weights, model, {"lsd": 2.0}, {})
    assert read_metadata(weights)["metrics"] == {"lsd": 2.0}
    assert [path.name for path in weights.parent.iterdir()] == [weights.name]


# --- Provenance


def test_provenance_says_which_code_data_and_machine(model, tmp_path):
    found = provenance(CONFIG, 7, 12.4, torch.device("cpu"), 2)
    assert found["commit"].removesuffix("-dirty") == git("rev-parse", "HEAD")
    assert found["commit"].endswith("-dirty") == bool(git("status", "--porcelain", "--untracked-files=no"))
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(found["date"])
    assert 0 <= age.total_seconds() < 60
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0] and found["device"] == "cpu"
    wanted = {"profile": "smoke", "seed": 0, "steps": 7, "training_seconds": 12, "processes": 2}
    assert {name: found[name] for name in wanted} == wanted and found["threads"] == torch.get_num_threads()
    digest = hashlib.sha256(soundfont_path("TimGM6mb").read_bytes()).hexdigest()
    presets = hashlib.sha256(PRESETS.read_bytes()).hexdigest()
    assert found["data"] == {"TimGM6mb.sf2": digest, "presets.toml": presets}
    path = save_weights(tmp_path / "w.safetensors", model, {}, found)
    assert read_metadata(path)["provenance"] == found


def test_recordings_are_known_by_their_manifest(tmp_path):
    config = override(CONFIG, f'data.manifest="{tmp_path / "manifest.csv"}"')
    with pytest.raises(FileNotFoundError, match="manifest.csv"):
        provenance(config, 1, 1.0, torch.device("cpu"), 1)
    (tmp_path / "manifest.csv").write_text("a")
    found = provenance(config, 1, 1.0, torch.device("cpu"), 1)["data"]
    assert found.pop("presets.toml") and found == {"manifest.csv": hashlib.sha256(b"a").hexdigest()}


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "ROOT", tmp_path)
    assert provenance(CONFIG, 1, 1.0, torch.device("cpu"), 1)["commit"] == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance(CONFIG, 1, 1.0, torch.device("cpu"), 1)["commit"] == "unknown"


def test_the_commit_of_a_repository_around_the_project_is_not_its_own(tmp_path, monkeypatch):
    """As when the source is unpacked without git inside another project."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    (tmp_path / "ast").mkdir()
    monkeypatch.setattr(checkpoint, "ROOT", tmp_path / "ast")
    assert provenance(CONFIG, 1, 1.0, torch.device("cpu"), 1)["commit"] == "unknown"
    monkeypatch.setattr(checkpoint, "ROOT", tmp_path)
    assert provenance(CONFIG, 1, 1.0, torch.device("cpu"), 1)["commit"] == git("rev-parse", "HEAD")


def git(*arguments):
    return subprocess.run(
        ["git", *arguments], cwd=checkpoint.ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


# --- Configurations


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda values: values["model"].update(colour=1), "model.colour: unknown field"),
        (lambda values: values["model"].update(depth="4"), "model.depth: found '4'"),
        (lambda values: values["training"].update(batch=3), "training.batch: found 3"),
        (lambda values: values.pop("name"), "name: missing"),
    ],
)
def test_a_configuration_of_another_version_is_named_with_its_file(model, tmp_path, change, found):
    values = to_dict(CONFIG)
    change(values)
    path = rewritten(tmp_path / "w", model, config=json.dumps(values))
    assert found in refusal(load_weights, path)


# --- Files that are not ours


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    assert "no file at" in refusal(load_weights, tmp_path / "w.safetensors")
    assert "another version" not in refusal(load_weights, tmp_path / "w.safetensors")
    assert "no file at" in refusal(load_weights, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        random.Random(0).randbytes(4096),
        b"\0" * 4096,
        struct.pack("<Q", 2) + b"{",
        struct.pack("<Q", 2**60) + b"{}",
    ],
    ids=["empty", "one byte", "random", "zeros", "cut header", "endless header"],
)
def test_other_bytes_are_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    refusal(load_weights, path)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_file_cut_short_is_refused(weights, share):
    content = weights.read_bytes()
    weights.write_bytes(content[: int(share * len(content))])
    assert "not a readable safetensors file" in refusal(load_weights, weights)


def test_loading_never_runs_what_a_pickle_says(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "w.safetensors"
    for content in (pickle.dumps(Trap()), None):
        if content is None:
            torch.save(Trap(), path)
        else:
            path.write_bytes(content)
        assert "not a readable safetensors file" in refusal(load_weights, path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("key", ["config", "metrics", "provenance"])
def test_metadata_that_is_missing_or_no_json_is_refused(model, tmp_path, key):
    assert f"has no {key} in its metadata" in refusal(load_weights, rewritten(tmp_path / "w", model, **{key: None}))
    assert "not a readable" in refusal(load_weights, rewritten(tmp_path / "w", model, **{key: "{"}))


def test_a_file_without_any_metadata_is_refused(tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "w")
    assert "not one of ours" in refusal(load_weights, tmp_path / "w")


def without(name):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


def test_tensors_must_be_exactly_the_models(model, tmp_path):
    path = tmp_path / "w"
    assert 'Missing key(s) in state_dict: "decoder.head.bias"' in refusal(
        load_weights, rewritten(path, model, without("decoder.head.bias"))
    )
    assert 'Unexpected key(s) in state_dict: "extra"' in refusal(
        load_weights, rewritten(path, model, lambda tensors: tensors | {"extra": torch.zeros(1)})
    )
    assert "size mismatch for prototypes" in refusal(
        load_weights, rewritten(path, model, lambda tensors: tensors | {"prototypes": torch.zeros(3, 32)})
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(model, tmp_path, value):
    def broken(tensors):
        tensors["prototypes"][0, 0] = value
        return tensors

    assert "prototypes has values that are NaN or infinite" in refusal(
        load_weights, rewritten(tmp_path / "w", model, broken)
    )


# --- Writing that fails


def test_a_missing_folder_is_named(model, tmp_path):
    path = tmp_path / "none" / "w.safetensors"
    assert "does not exist" in refusal(lambda path: save_weights(path, model, {}, {}), path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_earlier_file(model, weights):
    before = weights.read_bytes()
    # The system refuses to let any file grow beyond 100 kB: a real write that fails halfway.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert "could not be written" in refusal(lambda path: save_weights(path, model, {}, {}), weights)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert weights.read_bytes() == before and [path.name for path in weights.parent.iterdir()] == [weights.name]


# --- Which weights are used when none are named


def test_published_weights_come_before_trained_ones(tmp_path, monkeypatch):
    published, trained = tmp_path / "full.safetensors", tmp_path / "quick.safetensors"
    monkeypatch.setattr(checkpoint, "PUBLISHED", published)
    monkeypatch.setattr(checkpoint, "TRAINED", trained)
    with pytest.raises(AstError, match="make book"):
        find_weights()
    trained.touch()
    assert find_weights() == trained
    published.touch()
    assert find_weights() == published
