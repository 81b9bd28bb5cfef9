"""Batches: balanced, repeatable and equally loud, rendered from scores and cut from recordings."""

import dataclasses
import zlib

import numpy as np
import pytest
import soundfile
from models import made_dataset, tiny

from ast_lib.audio import SAMPLE_RATE
from ast_lib.audio.levels import RMS
from ast_lib.data import samplers, synth
from ast_lib.data.manifest import Clip
from ast_lib.data.recordings import load_clip
from ast_lib.data.samplers import BatchSampler, RecordingSampler
from ast_lib.data.scores import Notes, Piece
from ast_lib.errors import AstError
from ast_lib.training import Trainer


def piece(name, kind="fiddle", low=60, length=64):
    """A made-up piece of quarter notes within two octaves from ``low``; chorales add a fifth."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    rows = [(i, 1, low + int(p)) for i, p in enumerate(rng.integers(0, 24, length))]
    if kind == "chorale":
        rows = sorted(rows + [(onset, 1, pitch - 7) for onset, _, pitch in rows])
    onset, duration, pitch = np.array(rows, dtype=float).T
    return Piece(f"{kind}/{name}", kind, Notes(onset, duration, pitch.astype(int), np.full(len(rows), 80)))


def rms(signal):
    return np.sqrt(np.mean(np.square(signal, dtype=np.float64), axis=-1))


@pytest.fixture(scope="module")
def player():
    return synth.shared_synth()


# --- rendered


def rendered(player, seed=0, batch=4):
    return BatchSampler({"piano": [piece("a")], "violin": [piece("b", "chorale")]}, 0.5, batch, seed, [player])


def test_rendered_batches_are_balanced_and_equally_loud(player):
    audio, classes = rendered(player, batch=6)(0)
    assert audio.shape == (6, SAMPLE_RATE // 2) and audio.dtype == np.float32
    assert classes.tolist() == [0, 1, 0, 1, 0, 1] and classes.dtype == np.int64
    assert rms(audio) == pytest.approx(np.full(6, RMS), rel=1e-4)


def test_a_rendered_batch_depends_on_seed_and_step_alone(player):
    first = rendered(player)
    first(0)
    third = first(3)[0]
    assert np.array_equal(rendered(player)(3)[0], third)
    assert not np.array_equal(first(4)[0], third)
    assert not np.array_equal(rendered(player, seed=1)(3)[0], third)


def test_each_class_plays_its_own_pieces_on_its_own_instrument(player, monkeypatch):
    seen = set()

    def spy(source, seconds, rng, slow):
        seen.add(source.name)
        return source.notes

    used = []

    def silent(synth, played, instrument, seconds, tuning):
        used.append((len(played), instrument))
        return np.zeros(1, dtype=np.float32)

    monkeypatch.setattr(samplers, "excerpt", spy)
    monkeypatch.setattr(samplers, "render_clip", silent)
    rendered(player)(0)
    assert seen == {"fiddle/a", "chorale/b"}
    assert set(used) == {(64, "piano"), (128, "violin")}


def test_a_batch_that_cannot_be_shared_equally_is_refused(player):
    with pytest.raises(AstError, match="batch: found 5, accepted are multiples of 2"):
        rendered(player, batch=5)


def test_voices_are_numbered_soundfont_by_soundfont(monkeypatch):
    """Two soundfonts make four classes; the first two are the instruments on the first soundfont."""
    heard = []

    def note_down(synth, notes, instrument, seconds, tuning):
        heard.append((synth, instrument, tuning, len(notes)))
        return np.zeros(1, dtype=np.float32)

    monkeypatch.setattr(samplers, "render_clip", note_down)
    train = {"piano": [piece("a")], "violin": [piece("b")]}
    _, voices = BatchSampler(train, 1.0, 8, 0, ["first", "second"])(0)
    assert voices.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    order = [(synth, instrument) for synth in ("first", "second") for instrument in ("piano", "violin")]
    assert [h[:2] for h in heard[:4]] == order
    assert {h[2] for h in heard} == {0}  # in tune


def test_shares_give_a_soundfont_more_groups(monkeypatch):
    monkeypatch.setattr(samplers, "render_clip", lambda *_: np.zeros(1, dtype=np.float32))
    sampler = BatchSampler({"piano": [piece("a")], "violin": [piece("b")]}, 1.0, 16, 0, ["x", "y", "z"], (2, 1, 1))
    assert sampler.groups.tolist() == [0, 1, 0, 1, 2, 3, 4, 5]
    assert sampler(0)[1].tolist() == [0, 1, 0, 1, 2, 3, 4, 5] * 2


def test_another_voice_plays_the_same_notes_on_the_same_instrument(monkeypatch):
    played = []

    def note_down(synth, notes, instrument, seconds, tuning):
        played.append((synth, instrument, tuning, tuple(notes.onset), tuple(notes.pitch)))
        return np.zeros(1, dtype=np.float32)

    monkeypatch.setattr(samplers, "render_clip", note_down)
    sampler = BatchSampler({"piano": [piece("a")], "violin": [piece("b")]}, 1.0, 60, 0, ["x", "y", "z"])
    _, voices = sampler(4)
    own, played[:] = played[:], []
    _, others = sampler.another_voice(4, 1.0, 0.3)
    assert [p[1:2] + p[3:] for p in played] == [p[1:2] + p[3:] for p in own]  # instruments and notes
    assert (others % 2 == voices % 2).all() and [p[0] for p in played] == ["xyz"[v // 2] for v in others]
    assert {p[0] for p in played} == {"x", "y", "z"} and (others != voices).sum() > 20
    assert 0.2 < max(abs(p[2]) for p in played) <= 0.3 and len({p[2] for p in played}) == 60
    assert sampler.another_voice(4, 0.0, 0.0)[1].tolist() == voices.tolist()


# --- recorded


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
    sampler = RecordingSampler(manifest_clips, ("piano", "violin"), 1.0, 8, seed=0)
    heard = set()
    for step in range(20):
        batch, labels = sampler(step)
        assert batch.shape == (8, SAMPLE_RATE) and batch.dtype == np.float32
        assert labels.tolist() == [0, 1] * 4 and labels.dtype == np.int64
        assert rms(batch) == pytest.approx(0.07, rel=1e-4)
        heard |= {(int(label), round(f, -2)) for label, f in zip(labels, frequencies(batch), strict=True)}
    assert heard == {(0, 200 + 100 * i) for i in range(5)} | {(1, 800 + 400 * i) for i in range(5)}


def test_the_order_of_instruments_numbers_the_classes(manifest_clips):
    batch, labels = RecordingSampler(manifest_clips, ("violin", "piano"), 1.0, 4, seed=0, split="test")(0)
    assert frequencies(batch) == pytest.approx([2800, 700, 2800, 700], abs=2) and labels.tolist() == [0, 1, 0, 1]


def test_a_batch_depends_on_seed_and_step_alone(manifest_clips):
    one, two = (RecordingSampler(manifest_clips, ("piano", "violin"), 1.0, 4, seed=7) for _ in range(2))
    one(0), one(1)
    np.testing.assert_array_equal(one(5)[0], two(5)[0])
    assert not np.array_equal(one(5)[0], one(6)[0])
    other = RecordingSampler(manifest_clips, ("piano", "violin"), 1.0, 4, seed=8)
    assert not np.array_equal(one(5)[0], other(5)[0])


def test_a_clip_of_exactly_the_length_is_taken_whole(manifest_clips):
    batch, _ = RecordingSampler(manifest_clips, ("piano",), 3.0, 1, seed=0, split="test")(0)
    assert batch[0] == pytest.approx(load_clip(manifest_clips[5]), abs=1e-6)


def test_what_cannot_be_sampled_is_refused(manifest_clips):
    with pytest.raises(AstError, match="batch: found 3, accepted are multiples of 2"):
        RecordingSampler(manifest_clips, ("piano", "violin"), 1.0, 3, 0)
    with pytest.raises(AstError, match="batch: found 0"):
        RecordingSampler(manifest_clips, ("piano", "violin"), 1.0, 0, 0)
    with pytest.raises(AstError, match="instrument cello: found no clip in the split 'train'"):
        RecordingSampler(manifest_clips, ("piano", "cello"), 1.0, 4, 0)
    with pytest.raises(AstError, match="instrument piano: found no clip in the split 'validation'"):
        RecordingSampler(manifest_clips, ("piano", "violin"), 1.0, 4, 0, split="validation")
    with pytest.raises(AstError, match="clip piano0: found 3 s, accepted is 3.5 s or more"):
        RecordingSampler(manifest_clips, ("piano", "violin"), 3.5, 4, 0)


def test_a_file_that_vanished_is_named(tmp_path):
    path = write(tmp_path / "a.wav", 440, 0.1)
    sampler = RecordingSampler([clip("a", "piano", path)], ("piano",), 1.0, 1, 0)
    path.unlink()
    with pytest.raises(AstError, match="a.wav: no such file"):
        sampler(0)


def test_the_trainer_learns_from_recordings(manifest_clips):
    """In the place of the rendered batches, nothing else changed."""
    config = tiny()
    dataset, training = made_dataset(config), config.training
    sampler = RecordingSampler(manifest_clips, config.instruments, training.seconds, training.batch, training.seed)
    run = Trainer(config, dataclasses.replace(dataset, sampler=sampler), "cpu")
    logged = run.train_step(run.batch(0))
    assert sampler.groups.tolist() == dataset.sampler.groups.tolist() == [0, 1]
    assert logged and all(np.isfinite(value) for value in logged.values())
