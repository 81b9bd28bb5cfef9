"""Batches by number: the same whoever makes them, in order, and an error in a worker is one line."""

import os
import types

import pytest
import torch
from models import made_dataset, tiny

from ast_lib.config import override
from ast_lib.errors import AstError
from ast_lib.training import Trainer, batches

CONFIG = tiny("training.steps=8", "training.seconds=0.4")
PLAIN = ("training.domain_randomisation=false", "training.third_instruments=0", "training.fader=0")
CHANGED = ("training.domain_randomisation=true", "training.third_instruments=0.5")


def made(*assignments) -> batches.Batches:
    config = override(CONFIG, *assignments)
    return Trainer(config, made_dataset(config), "cpu").batches


def same(one: batches.Batch, other: batches.Batch) -> bool:
    """Whether two batches are equal to the last bit."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("labels", "groups", "heard_labels")]
    for name in ("stft_magnitude", "cqt_magnitude", "advance"):
        pairs += [(getattr(one.features, name), getattr(other.features, name))]
        pairs += [(getattr(one.heard, name), getattr(other.heard, name))]
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_whoever_makes_a_batch_it_is_the_same(workers):
    source = made(*CHANGED)
    streamed = list(source.stream(2, 6, workers))
    assert len(streamed) == 4
    assert all(same(batch, source.batch(step)) for step, batch in enumerate(streamed, start=2))
    assert not same(streamed[0], streamed[1])


def test_without_changes_the_content_encoder_hears_the_clip_itself():
    batch = made(*PLAIN).batch(0)
    assert batch.heard is batch.features or torch.equal(batch.heard.stft_magnitude, batch.features.stft_magnitude)


def test_only_the_content_encoder_hears_the_fader():
    plain, ridden = made(*PLAIN).batch(0), made(*PLAIN[:2], "training.fader=20").batch(0)
    assert torch.equal(ridden.features.stft_magnitude, plain.features.stft_magnitude)
    assert same(ridden, made(*PLAIN[:2], "training.fader=20").batch(0))
    assert not torch.allclose(ridden.heard.stft_magnitude, plain.heard.stft_magnitude, atol=0.05)


def test_the_content_encoder_hears_the_pools_second_channel():
    """As the sampler has it: no room and no timbre without domain randomisation."""
    source = made(*PLAIN, "training.third_instruments=0.5", "data.performances=16")
    labels = []
    for step in range(6):
        batch, cut = source.batch(step), source.sampler(step)
        labels += batch.heard_labels.tolist()
        assert batch.heard_labels.tolist() == cut.heard_label.tolist()
        for features, sound in ((batch.features, cut.clip), (batch.heard, cut.heard)):
            expected = source.representation(torch.from_numpy(sound))
            assert torch.equal(features.stft_magnitude, expected.stft_magnitude)
    assert set(labels) == {0, 1, -100}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_is_its_own_line(workers):
    source = made()

    def gone(step, part):
        raise AstError(f"clip {step}: no such file")

    source.sampler = types.SimpleNamespace(groups=source.sampler.groups)
    source.sounds = lambda step: gone(step, None)
    with pytest.raises(AstError) as caught:
        list(source.stream(3, 5, workers))
    assert str(caught.value) == "clip 3: no such file"


def test_workers_leave_a_core_to_the_training(monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=2**20, f_frsize=4096))
    for cores, expected in ((1, 1), (2, 1), (8, 7), (64, batches.MOST_WORKERS)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)), raising=False)
        assert batches.workers_here() == expected


def test_little_shared_memory_is_said_and_nothing_is_handed_over(monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    monkeypatch.setattr(os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=16384, f_frsize=4096))
    with pytest.warns(UserWarning, match=r"/dev/shm: found 64 MiB free, accepted .* is 1024 MiB or more"):
        assert batches.workers_here() == 0
