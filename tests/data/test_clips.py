"""Clips and splits: disjoint, balanced, repeatable, equally loud, and with notes where they sound."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib.audio.levels import RMS
from ast_lib.data import clips, synth
from ast_lib.data.clips import PREROLL, BatchSampler, Splits
from ast_lib.data.scores import Notes, Piece
from ast_lib.data.synth import SAMPLE_RATE
from ast_lib.errors import AstError

INSTRUMENTS = ("piano", "violin")


def notes(*rows):
    """Notes from ``(onset, duration, pitch)`` rows."""
    onset, duration, pitch = np.array(rows, dtype=float).reshape(-1, 3).T
    return Notes(onset, duration, pitch.astype(int), np.full(len(rows), 80))


def piece(name, kind="fiddle", low=60, length=64):
    """A made-up piece of quarter notes that go up and down two octaves from ``low``; chorales add a fifth."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    rows = [(i, 1, low + int(p)) for i, p in enumerate(rng.integers(0, 24, length))]
    if kind == "chorale":
        rows = sorted(rows + [(onset, 1, pitch - 7) for onset, _, pitch in rows])
    return Piece(f"{kind}/{name}", kind, notes(*rows))


def made(count):
    return [piece(str(i), kind) for kind in ("fiddle", "chorale") for i in range(count)]


def rms(audio):
    return np.sqrt(np.mean(np.square(audio, dtype=np.float64), axis=-1))


@pytest.fixture(scope="module")
def player():
    return synth.shared_synth()


# --- splits


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(4, 20),
    test=st.integers(0, 6),
    validation=st.integers(0, 6),
    seed=st.integers(0, 5),
)
def test_splits_share_no_piece_and_lose_none(count, test, validation, seed):
    held_out = (test + 1) // 2 + (validation + 1) // 2
    if count < held_out + 2:
        with pytest.raises(AstError, match=f"found {count} of kind fiddle; {held_out} held-out ones and 2 instruments"):
            clips.split_by_piece(made(count), INSTRUMENTS, seed, test, validation)
        return
    splits = clips.split_by_piece(made(count), INSTRUMENTS, seed, test, validation)
    parts = [*splits.train.values(), splits.validation, splits.test]
    names = [p.name for part in parts for p in part]
    assert sorted(names) == sorted(p.name for p in made(count))
    assert len(set(names)) == 2 * count
    for kind in ("fiddle", "chorale"):
        assert sum(p.kind == kind for p in splits.test) == (test + 1) // 2
        assert sum(p.kind == kind for p in splits.validation) == (validation + 1) // 2
        shares = [sum(p.kind == kind for p in splits.train[i]) for i in INSTRUMENTS]
        assert min(shares) >= 1 and max(shares) - min(shares) <= 1


def test_a_seed_decides_the_split():
    def names(seed):
        return [p.name for p in clips.split_by_piece(made(20), INSTRUMENTS, seed, 8, 4).test]

    assert names(0) == names(0) != names(1)


def test_no_pieces_are_too_few():
    with pytest.raises(AstError, match="pieces: found 0 of kind fiddle"):
        clips.split_by_piece([], INSTRUMENTS, 0, 2, 2)
    with pytest.raises(AstError, match="found 0 of kind chorale"):
        clips.split_by_piece([piece(str(i)) for i in range(9)], INSTRUMENTS, 0, 2, 2)


def test_a_piece_in_two_splits_is_refused():
    with pytest.raises(AstError, match="a piece is in more than one"):
        Splits({"piano": [piece("a")], "violin": [piece("a")]}, [], [])


# --- excerpts


@pytest.mark.parametrize("low", [21, 84])
def test_excerpts_stay_on_the_pianos_keys(low):
    """Quarter notes over the lowest and the highest two octaves of the keyboard, transposed 60 times."""
    source = piece("edge", low=low)
    for seed in range(60):
        found = clips.excerpt(source, 3.0, np.random.default_rng(seed))
        assert 21 <= found.pitch.min() and found.pitch.max() <= 108


def test_an_excerpt_is_a_transposed_window_of_the_piece():
    source = piece("tune")
    shifts = set()
    for seed in range(60):
        found = clips.excerpt(source, 3.0, np.random.default_rng(seed))
        # The window's pitches are a run of the piece's, all moved by one interval.
        steps, window = np.diff(source.notes.pitch), np.diff(found.pitch)
        places = [i for i in range(len(steps) - len(window) + 1) if np.array_equal(steps[i : i + len(window)], window)]
        assert len(places) == 1
        shifts.add(int(found.pitch[0] - source.notes.pitch[places[0]]))
        assert np.all(np.diff(found.onset) > 0) and found.onset.min() >= 0
        assert found.onset.max() < 3.0 + PREROLL
        assert 30 <= found.velocity.min() and found.velocity.max() <= 120
    assert shifts == set(range(-5, 7))


def test_notes_are_released_before_the_next_begins():
    found = clips.excerpt(piece("tune"), 5.0, np.random.default_rng(0))
    assert found.monophonic
    gaps = found.onset[1:] - (found.onset + found.duration)[:-1]
    assert np.all(gaps >= 0)


def test_without_transposition_the_pitches_are_the_pieces():
    source = piece("tune")
    found = clips.excerpt(source, 3.0, np.random.default_rng(0), transpose=False)
    text, window = source.notes.pitch.tolist(), found.pitch.tolist()
    assert any(text[i : i + len(window)] == window for i in range(len(text)))


def test_a_piece_shorter_than_the_clip_is_played_whole():
    source = piece("short", length=4)
    found = clips.excerpt(source, 30.0, np.random.default_rng(3), transpose=False)
    assert found.pitch.tolist() == source.notes.pitch.tolist() and found.onset[0] == 0


def test_a_practice_tempo_makes_notes_longer_up_to_four_times():
    source, lengths = piece("tune"), []
    for seed in range(40):
        usual = clips.excerpt(source, 3.0, np.random.default_rng(seed))
        slow = clips.excerpt(source, 3.0, np.random.default_rng(seed), slow=1.0)
        lengths.append(np.median(slow.duration) / np.median(usual.duration))
    assert max(lengths) > 2.5 and np.mean(lengths) > 1.3


def test_the_generator_is_the_only_source_of_chance():
    first, again, other = (clips.excerpt(piece("tune"), 3.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in ("onset", "duration", "pitch", "velocity"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.onset, other.onset)


# --- level


def test_every_level_becomes_rms_007():
    signal = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    for gain in (1e-3, 1.0, 100.0):
        assert rms(clips.normalise_rms(gain * signal)) == pytest.approx(0.07, rel=1e-5)
    assert np.corrcoef(clips.normalise_rms(3 * signal), signal)[0, 1] == pytest.approx(1)
    assert rms(clips.normalise_rms(signal, rms=0.2)) == pytest.approx(0.2, rel=1e-5)


def test_silence_stays_silent():
    assert np.array_equal(clips.normalise_rms(np.zeros(10)), np.zeros(10))
    assert rms(clips.normalise_rms(np.full(10, 1e-6))) == pytest.approx(1e-6)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_clips_of_both_instruments_are_equally_loud_and_as_long(player, instrument):
    for seed in range(3):
        played = clips.excerpt(piece("tune"), 2.0, np.random.default_rng(seed))
        audio = clips.render_clip(player, played, instrument, 2.0)
        assert audio.shape == (2 * SAMPLE_RATE,) and audio.dtype == np.float32
        assert rms(audio) == pytest.approx(RMS, rel=1e-4)


def test_a_clip_without_notes_is_silent(player):
    audio = clips.render_clip(player, notes(), "piano", 0.5)
    assert audio.shape == (SAMPLE_RATE // 2,) and np.abs(audio).max() < 1e-5


# --- notes of a clip


def test_the_notes_of_a_clip_lose_the_preroll():
    played = notes((0, 0.5, 60), (0.5, 1, 62), (1.5, 1, 64), (2.5, 9, 65), (4.5, 1, 67))
    heard = clips.clip_notes(played, 3.0)
    # The first ends in the preroll, the second is cut by the start, the fourth by the end, the fifth begins after it.
    assert heard.pitch.tolist() == [62, 64, 65]
    assert heard.onset == pytest.approx([0, 0.5, 1.5])
    assert heard.duration == pytest.approx([0.5, 1, 1.5])


@pytest.mark.parametrize("onset", [0.2, 0.5, 1.1])
def test_the_notes_of_a_clip_are_where_they_sound(player, onset):
    played = notes((PREROLL + onset, 0.3, 72))
    (expected,) = clips.clip_notes(played, 2.0).onset
    audio = clips.render_clip(player, played, "piano", 2.0)
    start = np.argmax(np.abs(audio) > 0.02 * np.abs(audio).max()) / SAMPLE_RATE
    assert expected == pytest.approx(onset)
    assert start == pytest.approx(expected, abs=0.01)


def test_a_note_that_began_in_the_preroll_already_sounds(player):
    audio = clips.render_clip(player, notes((0.5, 2, 60)), "violin", 1.0)
    assert rms(audio[: SAMPLE_RATE // 10]) > 0.3 * RMS


def test_paired_clips_are_the_same_notes_on_every_instrument(player):
    sources = [piece("a"), piece("b", "chorale")]
    pairs = clips.paired_clips(sources, INSTRUMENTS, 2.0, 0, player)
    assert [(pair.piece, pair.kind) for pair in pairs] == [("fiddle/a", "fiddle"), ("chorale/b", "chorale")]
    for source, pair in zip(sources, pairs, strict=True):
        assert set(pair.audio) == set(INSTRUMENTS)
        assert all(audio.shape == (2 * SAMPLE_RATE,) for audio in pair.audio.values())
        assert [rms(audio) for audio in pair.audio.values()] == pytest.approx([RMS, RMS], rel=1e-4)
        assert set(pair.notes.pitch) <= set(source.notes.pitch)
        assert pair.notes.onset.min() >= 0 and pair.notes.end <= 2.0
    assert pairs[0].notes.monophonic and not pairs[1].notes.monophonic
    again = clips.paired_clips(sources[:1], INSTRUMENTS, 2.0, 0, player)[0]
    assert np.array_equal(again.audio["violin"], pairs[0].audio["violin"])
    other = clips.paired_clips(sources[:1], INSTRUMENTS, 2.0, 1, player)[0]
    assert not np.array_equal(other.audio["violin"], pairs[0].audio["violin"])


# --- batches


def sampler(player, seed=0, batch=4):
    return BatchSampler({"piano": [piece("a")], "violin": [piece("b", "chorale")]}, 0.5, batch, seed, [player])


def test_batches_are_balanced_and_equally_loud(player):
    audio, classes = sampler(player, batch=6)(0)
    assert audio.shape == (6, SAMPLE_RATE // 2) and audio.dtype == np.float32
    assert classes.tolist() == [0, 1, 0, 1, 0, 1] and classes.dtype == np.int64
    assert rms(audio) == pytest.approx(np.full(6, RMS), rel=1e-4)


def test_a_batch_depends_on_seed_and_step_alone(player):
    first = sampler(player)
    first(0)
    third = first(3)[0]
    assert np.array_equal(sampler(player)(3)[0], third)
    assert not np.array_equal(first(4)[0], third)
    assert not np.array_equal(sampler(player, seed=1)(3)[0], third)


def test_each_class_plays_its_own_pieces_on_its_own_instrument(player, monkeypatch):
    seen = set()

    def spy(source, seconds, rng, slow):
        seen.add(source.name)
        return source.notes

    used = []

    def silent(synth, played, instrument, seconds):
        used.append((len(played), instrument))
        return np.zeros(1, dtype=np.float32)

    monkeypatch.setattr(clips, "excerpt", spy)
    monkeypatch.setattr(clips, "render_clip", silent)
    sampler(player)(0)
    assert seen == {"fiddle/a", "chorale/b"}
    assert set(used) == {(64, "piano"), (128, "violin")}


def test_a_batch_that_cannot_be_shared_equally_is_refused(player):
    with pytest.raises(AstError, match="batch: found 5, accepted are multiples of 2"):
        sampler(player, batch=5)


def test_voices_are_numbered_soundfont_by_soundfont(monkeypatch):
    """Two soundfonts make four classes; the first two are the instruments on the first soundfont."""
    heard = []

    def note_down(synth, notes, instrument, seconds, tuning=None):
        heard.append((synth, instrument, tuning, len(notes)))
        return np.zeros(1, dtype=np.float32)

    monkeypatch.setattr(clips, "render_clip", note_down)
    train = {"piano": [piece("a")], "violin": [piece("b")]}
    _, voices = BatchSampler(train, 1.0, 8, 0, ["first", "second"])(0)
    assert voices.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    order = [(synth, instrument) for synth in ("first", "second") for instrument in ("piano", "violin")]
    assert [h[:2] for h in heard[:4]] == order
    assert {h[2] for h in heard} == {None}  # in tune


def test_shares_give_a_soundfont_more_groups(monkeypatch):
    monkeypatch.setattr(clips, "render_clip", lambda *_: np.zeros(1, dtype=np.float32))
    sampler = BatchSampler({"piano": [piece("a")], "violin": [piece("b")]}, 1.0, 16, 0, ["x", "y", "z"], (2, 1, 1))
    assert sampler.groups.tolist() == [0, 1, 0, 1, 2, 3, 4, 5] and sampler.voices == 6
    assert sampler(0)[1].tolist() == [0, 1, 0, 1, 2, 3, 4, 5] * 2


def test_another_voice_plays_the_same_notes_on_the_same_instrument(monkeypatch):
    played = []

    def note_down(synth, notes, instrument, seconds, tuning=0.0):
        played.append((synth, instrument, tuning, tuple(notes.onset), tuple(notes.pitch)))
        return np.zeros(1, dtype=np.float32)

    monkeypatch.setattr(clips, "render_clip", note_down)
    sampler = BatchSampler({"piano": [piece("a")], "violin": [piece("b")]}, 1.0, 60, 0, ["x", "y", "z"])
    _, voices = sampler(4)
    own, played[:] = played[:], []
    _, others = sampler.another_voice(4, 1.0, 0.3)
    assert [p[1:2] + p[3:] for p in played] == [p[1:2] + p[3:] for p in own]  # instruments and notes
    assert (others % 2 == voices % 2).all() and [p[0] for p in played] == ["xyz"[v // 2] for v in others]
    assert {p[0] for p in played} == {"x", "y", "z"} and (others != voices).sum() > 20
    assert 0.2 < max(abs(p[2]) for p in played) <= 0.3 and len({p[2] for p in played}) == 60
    assert sampler.another_voice(4, 0.0, 0.0)[1].tolist() == voices.tolist()
