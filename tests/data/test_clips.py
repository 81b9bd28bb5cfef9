"""Clips and splits: disjoint, balanced, repeatable, equally loud, and with notes where they sound."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib.audio import SAMPLE_RATE
from ast_lib.audio.levels import RMS
from ast_lib.data import clips, synth
from ast_lib.data.clips import PLAYABLE, PREROLL
from ast_lib.data.scores import KEYS, SHORTEST, Notes, Piece
from ast_lib.data.synth import CONTROL
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


def four_voices(low=36, length=64):
    """A chorale: four voices that move within an octave each, the lowest from ``low``, a fifth apart."""
    rng = np.random.default_rng(low)
    rows = sorted({(i, 1, low + 7 * voice + int(rng.integers(0, 13))) for i in range(length) for voice in range(4)})
    return Piece(f"chorale/{low}", "chorale", notes(*rows))


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
    development=st.integers(0, 6),
    validation=st.integers(0, 6),
    seed=st.integers(0, 5),
)
def test_splits_share_no_piece_and_lose_none(count, development, validation, seed):
    held_out = (development + 1) // 2 + (validation + 1) // 2
    if count < held_out + 2:
        with pytest.raises(AstError, match=f"found {count} of kind fiddle, accepted are {held_out + 2} or more"):
            clips.split_by_piece(made(count), INSTRUMENTS, seed, development, validation)
        return
    splits = clips.split_by_piece(made(count), INSTRUMENTS, seed, development, validation)
    parts = [*splits.train.values(), splits.validation, splits.development]
    names = [p.name for part in parts for p in part]
    assert sorted(names) == sorted(p.name for p in made(count))
    assert len(set(names)) == 2 * count
    for kind in ("fiddle", "chorale"):
        assert sum(p.kind == kind for p in splits.development) == (development + 1) // 2
        assert sum(p.kind == kind for p in splits.validation) == (validation + 1) // 2
        shares = [sum(p.kind == kind for p in splits.train[i]) for i in INSTRUMENTS]
        assert min(shares) >= 1 and max(shares) - min(shares) <= 1


def test_a_seed_decides_the_split():
    def names(seed):
        return [p.name for p in clips.split_by_piece(made(20), INSTRUMENTS, seed, 8, 4).development]

    assert names(0) == names(0) != names(1)


@pytest.mark.parametrize("seed", range(4))
def test_no_variant_of_a_held_out_piece_is_trained_on(seed):
    """Each piece has a variant in another key; wherever the deal puts both, training has none of a held-out piece."""
    pieces = []
    for original in made(8):
        moved = Notes(*(getattr(original.notes, name) for name in ("onset", "duration")), original.notes.pitch + 3,
                      original.notes.velocity)  # fmt: skip
        pieces += [original, Piece(original.name + " again", original.kind, moved)]
    splits = clips.split_by_piece(pieces, INSTRUMENTS, seed, 6, 4)
    held_out = {p.name.removesuffix(" again") for p in (*splits.development, *splits.validation)}
    trained = [p.name.removesuffix(" again") for part in splits.train.values() for p in part]
    assert not held_out & set(trained)
    # What is left of training is all the rest: pieces whose variant is not held out either.
    assert sorted(trained) == sorted(2 * [p.name for p in made(8) if p.name not in held_out])
    assert [len(part) for part in (splits.development, splits.validation)] == [6, 4]


def test_where_only_variants_are_left_nothing_can_be_trained():
    pieces = [Piece(f"{kind}/{i}", kind, piece("one", kind).notes) for kind in ("fiddle", "chorale") for i in range(6)]
    with pytest.raises(AstError, match="pieces: found variants of held-out ones alone for an instrument"):
        clips.split_by_piece(pieces, INSTRUMENTS, 0, 2, 2)


def test_no_pieces_are_too_few():
    with pytest.raises(AstError, match="pieces: found 0 of kind fiddle"):
        clips.split_by_piece([], INSTRUMENTS, 0, 2, 2)
    with pytest.raises(AstError, match="found 0 of kind chorale"):
        clips.split_by_piece([piece(str(i)) for i in range(9)], INSTRUMENTS, 0, 2, 2)


# --- excerpts


@settings(max_examples=80, deadline=None)
@given(
    source=st.sampled_from([piece("edge", low=21), piece("edge", low=79), *map(four_voices, (21, 36, 50, 60, 75))]),
    seed=st.integers(0, 10**6),
    transpose=st.booleans(),
    free=st.booleans(),
)
def test_whatever_is_chosen_a_violin_can_play_it(source, seed, transpose, free):
    """Tunes and chorales from the lowest to the highest octaves of the keyboard: tunes and duets from G3 to G7."""
    found = clips.excerpt(source, 3.0, np.random.default_rng(seed), transpose, free=free)
    assert len(found) and set(found.pitch) <= set(PLAYABLE)
    sounding = [(found.onset <= t) & (t < found.onset + found.duration) for t in found.onset]
    if not free:
        assert max(s.sum() for s in sounding) <= (1 if source.kind == "fiddle" else 2)


@settings(max_examples=40, deadline=None)
@given(low=st.sampled_from([21, 30, 45, 60, 75]), seed=st.integers(0, 10**6), transpose=st.booleans())
def test_a_whole_chorale_stays_on_the_pianos_keys(low, seed, transpose):
    source = four_voices(low)
    found = clips.excerpt(source, 3.0, np.random.default_rng(seed), transpose, extension=True)
    assert set(found.pitch) <= set(KEYS)
    assert [np.sum(found.onset == onset) for onset in np.unique(found.onset)].count(4) >= 2
    if not transpose:
        assert set(found.pitch) <= set(source.notes.pitch)


def test_a_duet_is_the_two_upper_voices_of_its_chorale():
    source = four_voices(50)
    duet, playable = clips.arranged(source, extension=False)
    whole, keys = clips.arranged(source, extension=True)
    assert (playable, keys) == (PLAYABLE, KEYS) and (PLAYABLE[0], PLAYABLE[-1]) == (55, 103)
    assert whole is source.notes
    for beat in range(64):
        assert duet.pitch[duet.onset == beat].tolist() == whole.pitch[whole.onset == beat][-2:].tolist()
    tune = piece("tune")
    alone, playable = clips.arranged(tune, extension=False)
    assert alone.pitch.tolist() == tune.notes.pitch.tolist() and playable == PLAYABLE


def test_transposition_moves_all_notes_alike_into_the_range():
    """Two octaves from C1, which fit above G3: no note is bent to the edge, each run of intervals is the piece's."""
    source = piece("edge", low=24)
    for seed in range(30):
        found = clips.excerpt(source, 3.0, np.random.default_rng(seed))
        steps, window = np.diff(source.notes.pitch), np.diff(found.pitch)
        assert any(np.array_equal(steps[i : i + len(window)], window) for i in range(len(steps) - len(window) + 1))
        assert found.pitch.min() >= 55


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


def test_a_practice_tempo_makes_notes_longer_up_to_four_times(monkeypatch):
    """Quarter notes at 70 to 130 a minute, held for 0.51 to 1.08 of their length; or at a quarter of that tempo."""
    source, longest = piece("tune"), {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(clips, "SLOW", share)
        found = [clips.excerpt(source, 3.0, np.random.default_rng(seed), free=True).duration for seed in range(80)]
        longest[share] = max(np.median(durations) for durations in found)
    assert longest[0.0] < 1.08 * 60 / 70 < 1.5 < longest[1.0] < 4 * 1.08 * 60 / 70


def test_a_quarter_of_free_performances_are_slow_and_no_other(monkeypatch):
    def slow(free):
        excerpts = [clips.excerpt(piece("tune"), 3.0, np.random.default_rng(seed), free=free) for seed in range(300)]
        return np.mean([np.median(np.diff(found.onset)) > 60 / 70 + 0.03 for found in excerpts])

    assert slow(free=False) == 0
    # Of tempi of 70 to 130 times 0.25 to 1, seven in ten are below 70: of a quarter, 0.17 of all.
    assert slow(free=True) == pytest.approx(0.17, abs=0.06)


def test_free_notes_are_early_or_late_detached_or_held_over(monkeypatch):
    monkeypatch.setattr(clips, "SLOW", 0.0)
    late, held = [], []
    for seed in range(60):
        found = clips.excerpt(piece("tune"), 5.0, np.random.default_rng(seed), free=True)
        beats = np.arange(1, len(found))  # the first is cut by the window's start
        beat, start = np.polyfit(beats, found.onset[1:], 1)
        late.append((found.onset[1:] - start - beat * beats) * np.sqrt((len(beats)) / (len(beats) - 2)))
        held.append(found.duration[1:-1] / beat)
    late, held = np.concatenate(late), np.concatenate(held)
    assert late.std() == pytest.approx(0.01, rel=0.1) and abs(late.mean()) < 1e-3
    assert 0.5 < held.min() < 0.6 and 1.0 < held.max() < 1.1
    strict = clips.excerpt(piece("tune"), 5.0, np.random.default_rng(0))
    assert np.diff(strict.onset[1:]).std() < 1e-9


def test_a_free_performance_has_no_note_before_its_start_and_none_too_short():
    for seed in range(100):
        found = clips.excerpt(piece("tune"), 1.0, np.random.default_rng(seed), free=True)
        assert found.onset.min() >= 0 and found.duration.min() >= SHORTEST


def test_the_generator_is_the_only_source_of_chance():
    first, again, other = (clips.excerpt(piece("tune"), 3.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in ("onset", "duration", "pitch", "velocity"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.onset, other.onset)


# --- vibrato


class Extreme:
    """A source of chance whose numbers are the largest or the smallest, and whose normal ones are 0 or 1 deviation."""

    def __init__(self, largest, drifts=0.0):
        self.largest, self.drifts = largest, drifts

    def uniform(self, low=0.0, high=1.0, size=None):
        value = high if self.largest else low
        return value if size is None else np.full(size, value)

    def normal(self, mean, std, size):
        return np.full(size, mean + self.drifts * std)


def test_the_widest_and_fastest_vibrato_is_a_sinusoid_of_40_cents_and_7_hertz():
    time = np.arange(0, 2, CONTROL / SAMPLE_RATE)
    assert clips.vibrato(2.0, Extreme(True)) == pytest.approx(0.4 * np.sin(2 * np.pi * 7 * time), abs=1e-9)
    assert clips.vibrato(2.0, Extreme(True, 1.0)).mean() == pytest.approx(0.08, abs=0.01)
    assert clips.vibrato(2.0, Extreme(False, 1.0)) == pytest.approx(np.full(len(time), 0.08))


@pytest.mark.parametrize("seconds", [0.5, 1.0, 11.0])
def test_a_vibrato_is_as_long_as_what_it_bends(seconds):
    curve = clips.vibrato(seconds, np.random.default_rng(0))
    assert len(curve) == -(-seconds * SAMPLE_RATE // CONTROL)


def test_rates_and_widths_of_vibratos_and_the_drift_between():
    rate, rates, widest, slow = SAMPLE_RATE / CONTROL, [], [], []
    for seed in range(100):
        curve = clips.vibrato(11.0, np.random.default_rng(seed))
        spectrum, frequency = np.abs(np.fft.rfft(curve * np.hanning(len(curve)))), np.fft.rfftfreq(len(curve), 1 / rate)
        fast = frequency > 3.5  # the drift turns every 0.7 s at most
        widest.append(np.abs(curve).max())
        slow.append(curve.mean())
        if spectrum[fast].max() > 5:
            rates.append(frequency[fast][spectrum[fast].argmax()])
    assert len(rates) > 60 and 4.5 - 0.8 < min(rates) < 5.2 and 6.3 < max(rates) < 7 + 0.8
    assert 0.3 < max(widest) < 0.4 + 4 * 0.08
    assert np.abs(slow).max() < 0.08 and np.std(slow) == pytest.approx(0.08 / np.sqrt(16), rel=0.5)


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
    sources = [piece("a"), piece("b", "chorale", low=70)]
    pairs = clips.paired_clips(sources, INSTRUMENTS, 2.0, 0, player)
    assert [(pair.piece, pair.kind) for pair in pairs] == [("fiddle/a", "fiddle"), ("chorale/b", "duet")]
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


@pytest.mark.parametrize("extension", [False, True])
def test_every_instrument_is_given_one_and_the_same_excerpt(monkeypatch, extension):
    given = []

    def note_down(synth, played, instrument, seconds, tuning):
        given.append((instrument, played))
        return np.zeros(1, dtype=np.float32)

    monkeypatch.setattr(clips, "render_clip", note_down)
    pairs = clips.paired_clips([piece("a"), four_voices()], INSTRUMENTS, 2.0, 0, None, extension=extension)
    assert [instrument for instrument, _ in given] == list(INSTRUMENTS) * len(pairs)
    assert all(one is other for (_, one), (_, other) in zip(given[::2], given[1::2], strict=True))


def test_the_extension_has_whole_chorales_alone(player):
    sources = [piece("a"), four_voices(36), piece("b")]
    main = clips.paired_clips(sources, INSTRUMENTS, 2.0, 0, player)
    (pair,) = clips.paired_clips(sources, INSTRUMENTS, 2.0, 0, player, extension=True)
    assert [clip.kind for clip in main] == ["fiddle", "duet", "fiddle"]
    assert (pair.piece, pair.kind) == ("chorale/36", "chorale")
    assert pair.notes.pitch.min() < 55 <= main[1].notes.pitch.min()
    for onset in np.unique(pair.notes.onset):
        assert np.sum(pair.notes.onset == onset) >= 3  # two of four voices may be in unison
