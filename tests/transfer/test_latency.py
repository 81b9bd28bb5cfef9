"""Latency: a known rise gives a known delay, a bow speaks later than a hammer, and sources move by the difference."""

import numpy as np
import pytest
import torch
from models import made_dataset, noise, tiny, tone, untrained

from ast_lib.audio.streams import Stream
from ast_lib.data.onsets import onset_delay, voice_latency
from ast_lib.data.synth import SAMPLE_RATE, shared_synth
from ast_lib.evaluation.systems import teacher_forced_batch
from ast_lib.training import Trainer
from ast_lib.transfer import transfer, transfer_batch
from ast_lib.transfer.latency import delay, in_time, known_latency, shift, shift_stream

# --- One note


@pytest.mark.parametrize("below", [10.0, 15.0])
@pytest.mark.parametrize("rise", [0.05, 0.1, 0.3])
def test_a_linear_rise_is_heard_when_it_is_so_much_below_its_end(rise, below):
    sound = tone(1.0) * np.clip((np.arange(SAMPLE_RATE) / SAMPLE_RATE - 0.2) / rise, 0, 1)
    heard = onset_delay(sound, SAMPLE_RATE, 0.2, below)
    assert heard == pytest.approx(10 ** (-below / 20) * rise, abs=0.005)


def test_loudness_does_not_matter_and_silence_has_no_delay():
    sound = tone(0.5) * np.linspace(0, 1, SAMPLE_RATE // 2)
    assert onset_delay(1e-3 * sound, SAMPLE_RATE, 0.0) == pytest.approx(onset_delay(sound, SAMPLE_RATE, 0.0))
    assert onset_delay(np.zeros(1000), SAMPLE_RATE, 0.01) == 0.0


def test_a_violin_speaks_later_than_a_piano():
    piano, violin = (voice_latency(shared_synth(), name) for name in ("piano", "violin"))
    assert abs(piano) < 0.003 and 0.01 < violin < 0.03


# --- Moving clips


def test_clips_move_each_by_its_own_samples_and_silence_comes_in():
    audio = torch.arange(1.0, 6.0).repeat(4, 1)
    moved = shift(audio, torch.tensor([0, 2, -1, 9]))
    assert moved.tolist() == [[1, 2, 3, 4, 5], [0, 0, 1, 2, 3], [2, 3, 4, 5, 0], [0] * 5]


@pytest.mark.parametrize("samples", [[0, 0], [3, -5], [-900, 40], [900, 900]])
@pytest.mark.parametrize("length", [1, 7, 500])
def test_a_stream_moves_as_the_whole_does(monkeypatch, samples, length):
    monkeypatch.setattr("ast_lib.transfer.latency.BLOCK", 64)
    audio = torch.from_numpy(np.stack([noise(0.02), noise(0.02, seed=1)]))
    stream = Stream(lambda: audio.split(length, dim=1), audio.shape[1])
    moved = shift_stream(stream, torch.tensor(samples))
    assert moved.samples == audio.shape[1]
    assert torch.equal(moved.whole(), shift(audio, torch.tensor(samples)))


def test_a_clip_goes_to_the_latency_of_the_voice_to_be_played():
    audio = torch.arange(1.0, 6.0).repeat(3, 1)
    samples = delay(heard=torch.tensor([0.0, 0.2, 0.1]), played=torch.tensor([0.2, 0.0, 0.1]), sample_rate=10)
    moved = shift(audio, samples)
    assert moved.tolist() == [[0, 0, 1, 2, 3], [3, 4, 5, 0, 0], [1, 2, 3, 4, 5]]


@pytest.fixture
def model():
    """A model in which the source's style is always the first voice's; the second speaks 20 ms later."""
    model = untrained(tiny("model.align_onsets=true")).requires_grad_(False)
    model.latency.copy_(torch.tensor([0.001, 0.021]))
    model.prototypes.copy_(torch.stack([torch.zeros(32), torch.full((32,), 100.0)]))
    return model


def moved_by(model, source, style):
    return in_time(model, Stream.of(source), style).whole()


def test_a_source_waits_for_the_voice_that_speaks_later(model):
    source = torch.from_numpy(np.stack([noise(0.5), noise(0.5, seed=1)]))
    moved = moved_by(model, source, model.prototypes)  # the first clip to the voice that it has
    assert torch.equal(moved[0], source[0])
    assert torch.equal(moved[1, 441:], source[1, :-441]) and not moved[1, :441].any()
    model.prototypes.copy_(model.prototypes.flip(0))  # now the source is the voice that speaks late
    back = moved_by(model, source, model.prototypes)
    assert torch.equal(back[1], source[1]) and torch.equal(back[0, :-441], source[0, 441:])


def test_a_style_is_known_within_two_fifths_of_the_way_to_the_next_prototype(model):
    styles = model.prototypes[:1] + torch.tensor([0.0, 39.0, 41.0, 59.0, 61.0])[:, None] * torch.ones(32)
    found = known_latency(model, styles)
    assert found.tolist() == pytest.approx([0.001, 0.001, 0.0, 0.0, 0.021])


def test_an_unseen_voice_is_taken_to_be_heard_in_time(model):
    source, middle = torch.from_numpy(noise(0.5))[None], torch.full((1, 32), 50.0)
    assert torch.equal(moved_by(model, source, middle), shift(source, torch.tensor([-22])))  # 1 ms of the source's
    model.prototypes.sub_(50.0)  # now the source lies in the middle
    assert torch.equal(moved_by(model, source, model.prototypes[1:]), shift(source, torch.tensor([463])))
    assert torch.equal(moved_by(model, source, middle - 50.0), source)


def test_transfer_is_that_of_the_moved_source(model):
    source = torch.from_numpy(noise(0.7))[None]
    found = transfer_batch(model, source, model.prototypes[1:])
    forced = teacher_forced_batch(model, source, source, model.prototypes[1:])
    moved = moved_by(model, source, model.prototypes[1:])
    model.latency.zero_()
    torch.testing.assert_close(found, transfer_batch(model, moved, model.prototypes[1:]))
    torch.testing.assert_close(forced, teacher_forced_batch(model, moved, source, model.prototypes[1:]))
    assert not torch.allclose(found, transfer_batch(model, source, model.prototypes[1:]))


def test_without_latencies_nothing_is_moved_or_encoded(model, monkeypatch):
    model.latency.zero_()
    monkeypatch.setattr(model, "style_of", None)
    source = Stream.of(torch.from_numpy(noise(0.1))[None])
    assert in_time(model, source, model.prototypes[1:]) is source


@pytest.mark.parametrize("samples", [1, 200, 441, 442])
def test_a_source_shorter_than_the_latency_is_no_error(model, samples):
    output = transfer(model, noise(0.1)[:samples], "violin")
    assert output.shape == (samples,) and np.isfinite(output).all()


# --- In training


def test_a_run_stores_the_latencies_of_its_voices_and_validates_with_them():
    config = tiny("model.align_onsets=true")
    trainer = Trainer(config, made_dataset(config), "cpu")
    expected = [voice_latency(shared_synth(), name) for name in config.instruments]
    assert trainer.model.latency.tolist() == pytest.approx(expected)
    trainer.update_prototypes()
    assert trainer.average.latency.tolist() == pytest.approx(expected)
    unmoved = tiny("model.align_onsets=false")
    assert not Trainer(unmoved, made_dataset(unmoved), "cpu").model.latency.any()
