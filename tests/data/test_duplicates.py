"""Near-duplicates: a tune in another key, with an accompaniment or in another rhythm is found, another is not."""

import dataclasses

import numpy as np
import pytest

from ast_lib.data.duplicates import figures, near_duplicates, shared_notes
from ast_lib.data.scores import Notes, Piece


def notes(*rows):
    """Notes from ``(onset, duration, pitch)`` rows, sorted as scores are."""
    onset, duration, pitch = np.array(sorted(rows), dtype=float).reshape(-1, 3).T
    return Notes(onset, duration, pitch.astype(int), np.full(len(rows), 80))


def tune(seed, length=64):
    """A melody of quarter notes within an octave and a half."""
    pitches = np.random.default_rng(seed).integers(60, 79, length)
    return [(i, 1, int(pitch)) for i, pitch in enumerate(pitches)]


def piece(name, rows):
    return Piece(name, "fiddle", notes(*rows))


def found(rows, other):
    """Whether ``rows`` are a variant of ``other``."""
    return near_duplicates([piece("new", rows)], [piece("old", other)]) == {"new"}


# --- Measures


def test_figures_are_runs_of_eight_intervals_of_the_top_voice():
    scale = [(i, 1, 60 + step) for i, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12, 14, 16))]
    expected = {(2, 2, 1, 2, 2, 2, 1, 2), (2, 1, 2, 2, 2, 1, 2, 2)}
    assert figures(notes(*scale)) == expected
    assert figures(notes(*scale, *((i, 1, 40 + i % 3) for i in range(10)))) == expected
    assert figures(notes(*scale[:8])) == figures(notes()) == set()


def test_shared_notes_are_counted_at_the_same_time_in_the_best_transposition():
    one = notes((0, 1, 60), (1, 1, 64), (2, 1, 67), (3, 1, 72))
    assert shared_notes(one, one) == 1
    assert shared_notes(one, dataclasses.replace(one, pitch=one.pitch - 11)) == 1
    # Three of four are a fifth higher, the last a sixth.
    assert shared_notes(one, dataclasses.replace(one, pitch=one.pitch + np.array([7, 7, 7, 9]))) == 0.75
    assert shared_notes(one, dataclasses.replace(one, onset=one.onset + 0.5)) == 0
    # Of the shorter piece: both of its notes.
    assert shared_notes(one, notes((1, 1, 64), (3, 1, 72))) == shared_notes(notes((1, 1, 64), (3, 1, 72)), one) == 1
    # A chord counts note by note: of C-E and E-G at one time one note is shared, in three transpositions.
    assert shared_notes(notes((0, 1, 60), (0, 1, 64)), notes((0, 1, 64), (0, 1, 67))) == 0.5


# --- Variants


@pytest.mark.parametrize("interval", [-12, -5, 3, 7])
def test_a_tune_in_another_key_is_found(interval):
    assert found([(i, 1, pitch + interval) for i, _, pitch in tune(1)], tune(1))


def test_a_tune_with_an_accompaniment_is_found_and_the_accompaniment_is_ignored():
    bass = [(2 * i, 2, 40 + 5 * (i % 3)) for i in range(32)]
    off_beats = [(i + 0.5, 0.5, 52) for i in range(64)]
    assert found(tune(1) + bass + off_beats, tune(1)) and found(tune(1), tune(1) + bass + off_beats)
    # The same bass under other tunes: a fifth of their notes.
    assert shared_notes(notes(*tune(1), *bass), notes(*tune(2), *bass)) < 0.4
    assert not found(tune(1) + bass, tune(2) + bass)


def test_a_tune_in_another_rhythm_is_found_by_its_figures():
    lengths = np.random.default_rng(0).choice([0.37, 0.61, 1.13], 64)
    onsets = np.cumsum(lengths) - lengths
    rhythm = [(float(o), float(d), p) for o, d, (_, _, p) in zip(onsets, lengths, tune(1), strict=True)]
    assert shared_notes(notes(*rhythm), notes(*tune(1))) < 0.1
    assert found(rhythm, tune(1))


def test_a_setting_with_another_top_voice_is_found_by_its_notes():
    """Two of three voices are the same, and no figure is."""
    inner = [(i, 1, 50 + (5 * i) % 7) for i in range(64)] + [(i, 1, 40 + (3 * i) % 5) for i in range(64)]
    one, other = notes(*tune(1), *inner), notes(*tune(2), *inner)
    assert not figures(one) & figures(other) and shared_notes(one, other) > 0.6
    assert found(tune(1) + inner, tune(2) + inner)


def test_other_tunes_are_not_found():
    others = [piece(str(seed), tune(seed)) for seed in range(2, 22)]
    assert near_duplicates(others, [piece("held out", tune(1))]) == set()
    assert near_duplicates(others, others[4:6]) == {"6", "7"}
    assert near_duplicates(others, []) == near_duplicates([], others) == set()


@pytest.mark.parametrize(("shared", "expected"), [(10, False), (11, True)])
def test_three_of_ten_figures_are_a_variant_and_two_are_not(shared, expected):
    """Eighteen notes have ten figures, of which the first ``shared`` notes give all but eight; no times agree."""
    same, other = tune(1, 18), tune(2, 18)
    rows = [(1.37 * i + 0.2, 1, pitch) for i, (_, _, pitch) in enumerate(same[:shared] + other[shared:])]
    assert found(rows, same) == expected


def test_pieces_too_short_for_a_figure_have_none_in_common():
    assert not found([(i + 0.5, 1, 60) for i in range(8)], [(i, 1, 60) for i in range(8)])
