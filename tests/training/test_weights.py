"""Weights from one command: the same after a kill, one commit and one command in their provenance."""

import json
import shlex

import pytest
import torch
from models import made_dataset

from ast_lib.__main__ import parser
from ast_lib.config import override, preset
from ast_lib.errors import AstError
from ast_lib.networks.checkpoint import load_weights, read_metadata
from ast_lib.training import trainer as training
from ast_lib.training import weights
from ast_lib.training.trainer import Trainer

CHANGES = ("training.precision=32-true", "training.seconds=0.5", "training.validate_every=3", "training.steps=6")


@pytest.fixture(autouse=True)
def no_scores(monkeypatch):
    monkeypatch.setattr(training, "build_dataset", lambda config, cache: made_dataset(config))
    monkeypatch.setattr(weights, "commit", lambda: "a" * 40)


def train(folder, **options):
    return weights.train_weights(folder / "w.safetensors", folder / "run", "smoke", CHANGES, **options)


def test_the_file_names_commit_command_seconds_and_every_input(tmp_path):
    metadata = read_metadata(train(tmp_path))
    origin = metadata["provenance"]
    assert origin["commit"] == "a" * 40
    asked = shlex.split(origin["command"])
    assert asked[:5] == ["python", "-m", "ast_lib", "train", "-o"]
    found = vars(parser().parse_args(asked[3:]))  # it can be run
    assert (found["profile"], found["changes"], found["folder"]) == ("smoke", list(CHANGES), "FOLDER")
    assert origin["steps"] == 6 and origin["training_seconds"] >= 0
    assert set(origin["data"]) == {"TimGM6mb.sf2", "presets.toml", "scores"}
    assert all(len(digest) == 64 for digest in origin["data"].values())
    assert set(metadata["metrics"]) == {"lsd_piano_to_violin", "lsd_violin_to_piano"}


def test_a_killed_run_ends_as_one_that_was_not(tmp_path, monkeypatch):
    whole = load_weights(train(tmp_path))
    other = tmp_path / "killed"
    other.mkdir()
    step = Trainer.train_step

    def kill(self, batch):
        if self.step == 4:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "train_step", kill)
        train(other)
    assert not (other / "w.safetensors").exists()
    resumed = load_weights(train(other))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_a_run_has_one_commit(tmp_path, monkeypatch):
    train(tmp_path)
    monkeypatch.setattr(weights, "commit", lambda: "b" * 40)
    with pytest.raises(AstError, match="origin.json: found .*'a{40}'.*, accepted is .*'b{40}'.*; a run has one commit"):
        train(tmp_path)


def test_a_run_has_one_configuration(tmp_path):
    train(tmp_path)
    with pytest.raises(AstError, match="a run has one commit and one command"):
        weights.train_weights(tmp_path / "w.safetensors", tmp_path / "run", "smoke", (*CHANGES, "training.seed=1"))


def test_a_file_that_cannot_be_written_is_said_before_training(tmp_path):
    with pytest.raises(AstError, match="does not exist"):
        weights.train_weights(tmp_path / "none" / "w.safetensors", tmp_path / "run", "smoke", CHANGES)
    assert not (tmp_path / "run").exists()


def test_the_digest_of_the_scores_depends_on_what_is_trained_on(tmp_path):
    config = override(preset("smoke"), *CHANGES)
    run = Trainer(config, made_dataset(config), "cpu")
    run.history = [{"seconds": 1.0}]
    before = weights.source(run)["data"]["scores"]
    run.dataset.splits.train["piano"].pop()
    assert weights.source(run)["data"]["scores"] != before
    json.dumps(weights.source(run))
