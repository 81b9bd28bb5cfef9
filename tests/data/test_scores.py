"""Scores to notes: known tunes note by note, ties, chord symbols, and what counts as the same melody."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from music21 import chord, converter, harmony, note, stream, tie

from ast_lib.data import scores
from ast_lib.data.scores import Notes, Piece
from ast_lib.errors import AstError


def notes(*rows):
    """Notes from ``(onset, duration, pitch)`` rows."""
    onset, duration, pitch = np.array(rows, dtype=float).reshape(-1, 3).T
    return Notes(onset, duration, pitch.astype(int), np.full(len(rows), 80))


def rows(found):
    return list(zip(found.onset.tolist(), found.duration.tolist(), found.pitch.tolist(), strict=True))


def parsed(kind, stem):
    (path,) = [path for path in scores.corpus_paths(kind) if path.stem == stem]
    return scores.notes_from_stream(converter.parse(path, forceSource=True))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("scores")


@pytest.fixture(scope="module")
def pieces(cache):
    return scores.load_pieces(4, cache)


# --- Notes


def test_the_end_is_that_of_the_longest_note():
    assert notes((0, 4, 60), (1, 1, 64)).end == 4
    assert notes().end == 0 and len(notes()) == 0 and notes().monophonic


def test_monophonic_means_that_no_two_notes_overlap():
    assert notes((0, 1, 60), (1, 1, 62)).monophonic
    assert notes((0, 1.005, 60), (1, 1, 62)).monophonic  # within the rounding that is absorbed
    assert not notes((0, 1.5, 60), (1, 1, 62)).monophonic
    assert not notes((0, 1, 60), (0, 1, 64)).monophonic


@pytest.mark.parametrize("row", [(0, 0, 60), (0, -1, 60), (0, 1, -1), (0, 1, 128)])
def test_impossible_notes_are_refused(row):
    with pytest.raises(AstError, match="durations must be above 0 and pitches within 0..127"):
        notes(row)


def test_a_window_has_what_sounds_in_it_from_its_start_on():
    found = notes((0, 1, 60), (1, 1, 62), (1, 9, 64), (2.5, 2, 65), (4, 1, 67)).window(1.5, 2.5)
    assert rows(found) == [(0, 0.5, 62), (0, 8.5, 64), (1, 2, 65)]
    assert len(notes((0, 1, 60)).window(0.96, 1)) == 0  # of which too little is left


# --- Upper voices


def test_the_upper_voices_are_those_with_few_notes_above_them():
    chord = notes((0, 1, 48), (0, 1, 55), (0, 1, 64), (0, 1, 72))
    for count in range(5):
        assert scores.upper_voices(chord, count).pitch.tolist() == [48, 55, 64, 72][4 - count :]


def test_a_held_note_stays_above_what_begins_under_it():
    """While C5 and E4 are held, the moving bass and what doubles it are below a duet; after them they are in it."""
    held = notes((0, 3, 64), (0, 4, 72), (1, 1, 50), (1.5, 0.5, 52), (2.5, 0.5, 53), (3, 1, 55), (4, 1, 48))
    assert rows(scores.upper_voices(held, 2)) == [(0, 3, 64), (0, 4, 72), (3, 1, 55), (4, 1, 48)]
    assert rows(scores.upper_voices(held, 1)) == [(0, 4, 72), (4, 1, 48)]


def test_off_beat_notes_of_a_bass_are_no_tune():
    melody = [(float(i), 1.0, 70 + i) for i in range(4)]
    bass = [(i + 0.5, 0.5, 45) for i in range(4)]
    assert rows(scores.upper_voices(notes(*sorted(melody + bass)), 1)) == melody
    # Where the tune rests, what sounds is the highest.
    assert len(scores.upper_voices(notes(*sorted(melody[:2] + melody[3:] + bass)), 1)) == 4


def test_voices_that_cross_are_told_by_pitch():
    """The first voice falls from 72 to 60, the second rises from 60 to 72: the top is 72, 68, 68, 72."""
    falling, rising = (72, 68, 64, 60), (60, 64, 68, 72)
    both = notes(*((i, 1, pitch) for i in range(4) for pitch in sorted((falling[i], rising[i]))))
    assert scores.upper_voices(both, 1).pitch.tolist() == [72, 68, 68, 72]
    assert rows(scores.upper_voices(both, 2)) == rows(both)


def test_of_a_unison_neither_is_above_the_other():
    unison = notes((0, 1, 50), (0, 2, 60), (0, 1, 60))
    assert scores.upper_voices(unison, 1).pitch.tolist() == [60, 60]
    assert scores.upper_voices(unison, 2).pitch.tolist() == [60, 60]
    assert len(scores.upper_voices(notes(), 2)) == 0


def test_a_tune_is_its_own_upper_voice():
    tune = notes(*((i / 3, 1 / 3, 60 + (i * 7) % 12) for i in range(60)))
    assert rows(scores.upper_voices(tune, 1)) == rows(tune)


# --- music21 to notes


def test_a_stream_becomes_its_sounding_notes():
    voice = stream.Stream()
    first, second = note.Note("C4", quarterLength=1), note.Note("C4", quarterLength=2)
    first.tie, second.tie = tie.Tie("start"), tie.Tie("stop")
    grace = note.Note("D4", quarterLength=1).getGrace()
    for element in (
        harmony.ChordSymbol("Am"),
        first,
        second,
        note.Rest(quarterLength=0.5),
        grace,
        chord.Chord(["G4", "E4"], quarterLength=0.5),
    ):
        voice.append(element)
    assert rows(scores.notes_from_stream(voice)) == [(0, 3, 60), (3.5, 0.5, 64), (3.5, 0.5, 67)]


def test_a_unison_of_two_voices_is_one_note_and_velocities_are_even():
    score = stream.Score(
        [stream.Part([note.Note("A3", quarterLength=1)]), stream.Part([note.Note("A3", quarterLength=1)])]
    )
    found = scores.notes_from_stream(score)
    assert rows(found) == [(0, 1, 57)]
    assert found.velocity.tolist() == [80]


def test_an_empty_stream_has_no_notes():
    assert len(scores.notes_from_stream(stream.Score())) == 0


def test_a_known_fiddle_tune():
    """The first bars of "The Devil's Own Shot", d2A Bcd | edc d2e | fed fag | f2e in D, in eighths."""
    found = parsed("fiddle", "DevilsOwnShotJig")
    assert found.monophonic
    assert found.pitch[:19].tolist() == [74, 69, 71, 73, 74, 76, 74, 73, 74, 76, 78, 76, 74, 78, 81, 79, 78, 76, 74]
    eighths = [2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 2]
    assert (2 * found.duration[:19]).tolist() == eighths
    assert (2 * found.onset[:19]).tolist() == [0, *np.cumsum(eighths)[:-1]]


def test_a_known_chorale():
    """The first beat and a half of BWV 66.6: C#-E-A-A, then the eighths B-E-B-G#, then F# minor."""
    found = parsed("chorale", "bwv66.6")
    assert not found.monophonic
    assert rows(found)[:6] == [(0, 0.5, 57), (0, 1, 64), (0, 0.5, 73), (0.5, 0.5, 56), (0.5, 0.5, 59), (0.5, 0.5, 71)]
    assert found.pitch[found.onset == 1].tolist() == [54, 61, 66, 69]
    assert found.end == 36


def test_chord_symbols_over_a_tune_are_not_played():
    (path,) = [path for path in scores.corpus_paths("fiddle") if path.stem == "AfterTheHareReel"]
    assert '"' in path.read_text().split("K:")[1]  # it has annotations
    assert parsed("fiddle", "AfterTheHareReel").monophonic


# --- melody


@given(st.lists(st.integers(40, 80), min_size=14, max_size=20), st.integers(-12, 12), st.floats(0.25, 4))
def test_the_melody_is_the_same_in_any_key_and_tempo(pitches, shift, stretch):
    tune = notes(*[(i, 1, p) for i, p in enumerate(pitches)])
    other = notes(*[(i * stretch, stretch, p + shift) for i, p in enumerate(pitches)])
    melody = Piece("a", "fiddle", tune).melody
    assert melody == tuple(np.diff(pitches[:13]))
    assert Piece("b", "fiddle", other).melody == melody
    changed = dataclasses.replace(tune, pitch=tune.pitch + (np.arange(len(pitches)) == 5))
    assert Piece("c", "fiddle", changed).melody != melody


def test_the_melody_is_of_the_top_voice():
    both = notes((0, 1, 48), (0, 1, 72), (1, 1, 50), (1, 1, 74), (2, 1, 52), (2, 1, 71))
    assert Piece("a", "chorale", both).melody == (2, -3)


def test_a_short_piece_has_a_short_melody():
    assert Piece("a", "fiddle", notes((0, 1, 60))).melody == ()


# --- the corpus


def test_pieces_are_what_they_are_said_to_be(pieces):
    assert [piece.kind for piece in pieces] == ["fiddle"] * 4 + ["chorale"] * 4
    assert len({piece.name for piece in pieces}) == len({piece.melody for piece in pieces}) == 8
    for piece in pieces:
        assert piece.notes.monophonic == (piece.kind == "fiddle")
        assert piece.notes.end >= 16 and len(piece.notes) >= 16
        assert 21 <= piece.notes.pitch.min() and piece.notes.pitch.max() <= 108
        assert np.all(np.diff(piece.notes.onset) >= 0)


def test_asking_for_fewer_gives_the_first_ones_and_the_cache_the_same(pieces, cache):
    fewer = scores.load_pieces(2, cache)
    assert [piece.name for piece in fewer] == [pieces[i].name for i in (0, 1, 4, 5)]
    assert rows(fewer[0].notes) == rows(pieces[0].notes)


def test_paths_are_sorted_and_of_one_kind():
    fiddle, chorales = scores.corpus_paths("fiddle"), scores.corpus_paths("chorale")
    assert len(fiddle) > 1000 and len(chorales) > 340
    assert fiddle == sorted(fiddle) and chorales == sorted(chorales)
    assert {path.parent.name for path in fiddle} == {"ryansMammoth"}
    assert all(isinstance(path, pathlib.Path) and path.stem.startswith("bwv") for path in chorales)


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(AstError, match="per_kind: found 0, accepted is 1 or more"):
        scores.load_pieces(0, tmp_path)
