"""Batches: balanced, repeatable and equally loud, from whatever source, cut from recordings above all."""

import dataclasses

import numpy as np
import pytest
import soundfile
from models import made_dataset, tiny

from ast_lib.audio import SAMPLE_RATE
from ast_lib.data.manifest import Clip
from ast_lib.data.recordings import load_clip
from ast_lib.data.samplers import Cut, Recordings, Sampler, decoded
from ast_lib.errors import AstError
from ast_lib.processes import Part
from ast_lib.training import Trainer


def rms(signal):
    return np.sqrt(np.mean(np.square(signal, dtype=np.float64), axis=-1))


# --- Any source


class Numbers:
    """A source whose items are numbers: a clip is its item, its position in thousandths and its voice, each a row."""

    items = ([0, 1, 2], [10, 11], [20])

    def cut(self, item, position, samples):
        assert 0 <= position < 1
        return Cut(np.full(samples, item, np.float32), item // 10, np.full(samples, position, np.float32), -100)


def test_a_clip_is_of_the_voice_of_its_group():
    sampler = Sampler(Numbers(), (0, 1, 0, 2), 0.01, 8, seed=0)
    batch = sampler(0)
    assert batch.label.tolist() == [0, 1, 0, 2] * 2 and sampler.groups.tolist() == [0, 1, 0, 2]
    assert (batch.clip[:, 0] // 10).tolist() == batch.label.tolist() and batch.label.dtype == np.int64
    assert batch.clip.shape == batch.heard.shape == (8, round(0.01 * SAMPLE_RATE)) and batch.clip.dtype == np.float32
    assert batch.heard_label.tolist() == [-100] * 8


def test_items_and_positions_are_chosen_evenly():
    sampler = Sampler(Numbers(), (0, 1), 0.001, 2, seed=0)
    batches = [sampler(step) for step in range(600)]
    chosen = np.array([batch.clip[:, 0] for batch in batches])
    for group, items in ((0, [0, 1, 2]), (1, [10, 11])):
        found, counts = np.unique(chosen[:, group], return_counts=True)
        assert found.tolist() == items and counts / 600 == pytest.approx(1 / len(items), abs=0.06)
    positions = np.sort(np.concatenate([batch.heard[:, 0] for batch in batches]))
    assert positions == pytest.approx(np.arange(1200) / 1200, abs=0.04)


def test_a_batch_depends_on_seed_and_step_alone_whatever_the_source():
    one, two = (Sampler(Numbers(), (0, 1), 0.01, 8, seed=3) for _ in range(2))
    one(0), one(1)
    for found, expected in zip(one(5), two(5), strict=True):
        assert np.array_equal(found, expected)
    assert not np.array_equal(one(5).heard, one(6).heard)
    assert not np.array_equal(one(5).heard, Sampler(Numbers(), (0, 1), 0.01, 8, seed=4)(5).heard)


def test_a_part_cuts_its_own_clips_alone():
    asked = []

    class Watched(Numbers):
        def cut(self, item, position, samples):
            asked.append(item)
            return super().cut(item, position, samples)

    sampler = Sampler(Watched(), (0, 1), 0.01, 8, seed=0)
    whole, asked[:] = sampler(2), []
    parts = [sampler(2, Part(rank, 4)) for rank in range(4)]
    assert len(asked) == 8
    for name, values in whole._asdict().items():
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), values)


@pytest.mark.parametrize("batch", [5, 0, -2])
def test_a_batch_that_cannot_be_shared_equally_is_refused(batch):
    with pytest.raises(AstError, match=f"batch: found {batch}, accepted are multiples of 2, the number of groups"):
        Sampler(Numbers(), (0, 1), 0.01, batch, seed=0)


# --- Recordings


def recorded(clips, instruments, seconds, batch, seed, split="train"):
    recordings = Recordings(clips, instruments, seconds, split)
    return Sampler(recordings, range(len(instruments)), seconds, batch, seed)


def clip(name, instrument, path, split="train"):
    return Clip(name, "d", name, instrument, str(path), 0.0, 3.0, SAMPLE_RATE, "PD", split, 0.1)


def write(path, frequency, amplitude):
    """Three seconds of a tone."""
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    soundfile.write(path, amplitude * np.sin(2 * np.pi * frequency * time), SAMPLE_RATE, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def manifest_clips(tmp_path_factory):
    """Six clips an instrument, each a tone of its own: 200, 300, ... Hz on piano, an octave above on violin."""
    folder, clips = tmp_path_factory.mktemp("tones"), []
    for label, instrument in enumerate(("piano", "violin")):
        for i in range(6):
            frequency = (200 + 100 * i) * (1 + 3 * label)
            path = write(folder / f"{instrument}{i}.wav", frequency, 0.01 * (i + 1))
            clips.append(clip(f"{instrument}{i}", instrument, path, "test" if i == 5 else "train"))
    return clips


def frequencies(batch):
    return np.argmax(np.abs(np.fft.rfft(batch)), axis=1) * SAMPLE_RATE / batch.shape[1]


def test_batches_are_balanced_equally_loud_and_of_the_split(manifest_clips):
    sampler = recorded(manifest_clips, ("piano", "violin"), 1.0, 8, seed=0)
    heard = set()
    for step in range(20):
        batch, labels, heard_clips, heard_labels = sampler(step)
        assert np.array_equal(heard_clips, batch) and np.array_equal(heard_labels, labels)
        assert batch.shape == (8, SAMPLE_RATE) and batch.dtype == np.float32
        assert labels.tolist() == [0, 1] * 4 and labels.dtype == np.int64
        assert rms(batch) == pytest.approx(0.07, rel=1e-4)
        heard |= {(int(label), round(f, -2)) for label, f in zip(labels, frequencies(batch), strict=True)}
    assert heard == {(0, 200 + 100 * i) for i in range(5)} | {(1, 800 + 400 * i) for i in range(5)}


def test_the_order_of_instruments_numbers_the_classes(manifest_clips):
    batch, labels, *_ = recorded(manifest_clips, ("violin", "piano"), 1.0, 4, seed=0, split="test")(0)
    assert frequencies(batch) == pytest.approx([2800, 700, 2800, 700], abs=2) and labels.tolist() == [0, 1, 0, 1]


def test_a_batch_depends_on_seed_and_step_alone(manifest_clips):
    one, two = (recorded(manifest_clips, ("piano", "violin"), 1.0, 4, seed=7) for _ in range(2))
    one(0), one(1)
    np.testing.assert_array_equal(one(5)[0], two(5)[0])
    assert not np.array_equal(one(5)[0], one(6)[0])
    other = recorded(manifest_clips, ("piano", "violin"), 1.0, 4, seed=8)
    assert not np.array_equal(one(5)[0], other(5)[0])


def test_a_clip_of_exactly_the_length_is_taken_whole(manifest_clips):
    batch, *_ = recorded(manifest_clips, ("piano",), 3.0, 1, seed=0, split="test")(0)
    assert batch[0] == pytest.approx(load_clip(manifest_clips[5]), abs=1e-6)


def test_what_cannot_be_sampled_is_refused(manifest_clips):
    with pytest.raises(AstError, match="instrument cello: found no clip in the split 'train'"):
        recorded(manifest_clips, ("piano", "cello"), 1.0, 4, 0)
    with pytest.raises(AstError, match="instrument piano: found no clip in the split 'validation'"):
        recorded(manifest_clips, ("piano", "violin"), 1.0, 4, 0, split="validation")
    with pytest.raises(AstError, match="clip piano0: found 3 s, accepted is 3.5 s or more"):
        recorded(manifest_clips, ("piano", "violin"), 3.5, 4, 0)


@pytest.mark.parametrize("samples", [1, SAMPLE_RATE, 3 * SAMPLE_RATE])
def test_cuts_from_the_first_and_the_last_possible_start_are_inside(manifest_clips, samples):
    recordings, whole = Recordings(manifest_clips, ("piano", "violin"), 1.0), load_clip(manifest_clips[0])
    for position, start in ((0.0, 0), (np.nextafter(1, 0), len(whole) - samples)):
        cut, expected = recordings.cut(manifest_clips[0], position, samples), whole[start : start + samples]
        assert cut.clip.shape == (samples,) and cut.heard is cut.clip
        if samples > 1:
            assert cut.clip == pytest.approx(expected * (0.07 / rms(expected)), rel=1e-4, abs=1e-6)


def test_a_recording_is_decoded_once(manifest_clips):
    sampler = recorded(manifest_clips, ("piano", "violin"), 1.0, 8, seed=0)
    for step in range(10):
        sampler(step)
    assert decoded.cache_info().misses == sum(clip.split == "train" for clip in manifest_clips)


def test_a_file_that_vanished_is_named(tmp_path):
    path = write(tmp_path / "a.wav", 440, 0.1)
    sampler = recorded([clip("a", "piano", path)], ("piano",), 1.0, 1, 0)
    path.unlink()
    with pytest.raises(AstError, match="a.wav: no such file"):
        sampler(0)


def test_the_trainer_learns_from_recordings(manifest_clips):
    """In the place of the rendered batches, nothing else changed."""
    config = tiny()
    dataset, training = made_dataset(config), config.training
    sampler = recorded(manifest_clips, config.instruments, training.seconds, training.batch, training.seed)
    run = Trainer(config, dataclasses.replace(dataset, sampler=sampler), "cpu")
    logged = run.train_step(run.batch(0))
    assert sampler.groups.tolist() == dataset.sampler.groups.tolist() == [0, 1]
    assert logged and all(np.isfinite(value) for value in logged.values())
