"""Scores of the music21 corpus, all in the public domain, come in; pieces as arrays of notes go out.

Chapter: ``notebooks/02_dataset.md``. Two kinds of piece are used, fiddle tunes (Ryan's Mammoth Collection, monophonic)
and Bach chorales (polyphonic). Times in a :class:`Piece` are in quarter notes; :mod:`ast_lib.data.clips` turns them
into seconds when it chooses a tempo.
"""

import dataclasses
import hashlib
import os
import pathlib
import random
from collections.abc import Callable

import joblib
import numpy as np

from ast_lib.errors import AstError

KINDS = ("fiddle", "chorale")
KEYS = range(21, 109)  # MIDI notes of a piano
SHORTEST = 0.05  # what a note lasts at least, in the unit of its times


@dataclasses.dataclass(frozen=True)
class Notes:
    """Parallel arrays ``(N,)``, sorted by onset. Times are in quarter notes in a score and in seconds in a clip.

    ``pitch`` is a MIDI note number (60 = middle C), ``velocity`` a MIDI velocity in 1..127.
    """

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray

    def __post_init__(self):
        if len(self.onset) and (not np.min(self.duration) > 0 or np.min(self.pitch) < 0 or np.max(self.pitch) > 127):
            raise AstError("Notes: durations must be above 0 and pitches within 0..127")

    def __len__(self):
        return len(self.onset)

    def window(self, start: float, length: float) -> "Notes":
        """The notes that sound for :data:`SHORTEST` or more after ``start`` and begin before ``start + length``.

        Times are from ``start`` on; a note that began before begins at 0, and none is cut at the end.
        """
        onset, end = self.onset - start, self.onset + self.duration - start
        heard = (end > SHORTEST) & (onset < length)
        onset, end = np.maximum(onset[heard], 0.0), end[heard]
        return Notes(onset, end - onset, self.pitch[heard], self.velocity[heard])

    def take(self, chosen: np.ndarray) -> "Notes":
        """The chosen notes: a mask ``(N,)``."""
        return Notes(self.onset[chosen], self.duration[chosen], self.pitch[chosen], self.velocity[chosen])

    @property
    def end(self) -> float:
        """Time at which the last note ends; 0 for no notes."""
        return float(np.max(self.onset + self.duration)) if len(self) else 0.0

    @property
    def monophonic(self) -> bool:
        """True when no two notes sound together (a tolerance of 1 % of a unit absorbs rounding)."""
        return bool(np.all(self.onset[1:] >= (self.onset + self.duration)[:-1] - 0.01))


@dataclasses.dataclass(frozen=True)
class Piece:
    """One score: a unique ``name``, its ``kind`` (``fiddle`` or ``chorale``) and its notes, in quarter notes."""

    name: str
    kind: str
    notes: Notes

    @property
    def melody(self) -> tuple[int, ...]:
        """The first 12 intervals (semitones) between the highest notes that begin together: an opening's mark."""
        onsets = np.unique(self.notes.onset)[:13]
        top = [int(self.notes.pitch[self.notes.onset == onset].max()) for onset in onsets]
        return tuple(np.diff(top))


def upper_voices(notes: Notes, count: int) -> Notes:
    """The notes above which fewer than ``count`` others sound when they begin: with 1 the tune, with 2 a duet."""
    begun = notes.onset <= notes.onset[:, None] + 1e-6
    sounding = begun & (notes.onset + notes.duration > notes.onset[:, None] + 1e-6)
    above = (sounding & (notes.pitch > notes.pitch[:, None])).sum(axis=1)
    return notes.take(above < count)


def notes_from_stream(stream) -> Notes:
    """Every sounding note of a music21 stream, ties joined and repeats left out, velocities all 80.

    Args:
        stream: a parsed ``music21.stream.Score``.

    Returns:
        :class:`Notes` in quarter notes, sorted by onset, then pitch. Grace notes (duration 0) are dropped.
    """
    rows = set()
    for element in stream.stripTies().flatten().notes:
        # A chord symbol printed above the staff is a Chord to music21 but nobody plays it.
        if element.quarterLength > 0 and "ChordSymbol" not in element.classes:
            rows.update((float(element.offset), float(element.quarterLength), p.midi) for p in element.pitches)
    table = np.array(sorted(rows, key=lambda row: (row[0], row[2])), dtype=np.float64).reshape(-1, 3)
    return Notes(table[:, 0], table[:, 1], table[:, 2].astype(np.int64), np.full(len(table), 80))


def notes_digest(notes: Notes) -> str:
    """SHA-256 of a score: onsets and durations in 1/96 quarter notes, and pitches."""
    values = [np.round(96 * notes.onset), np.round(96 * notes.duration), notes.pitch]
    return hashlib.sha256(np.stack(values).astype("<i4").tobytes()).hexdigest()


def usable(notes: Notes, monophonic: bool) -> bool:
    """Whether a score is long enough (16 notes and quarter notes), of one voice or several, and within the 88 keys."""
    long = len(notes) >= 16 and notes.end >= 16
    return long and notes.monophonic == monophonic and set(notes.pitch) <= set(KEYS)


def corpus_paths(kind: str) -> list[pathlib.Path]:
    """The corpus files of one of :data:`KINDS`, sorted by name."""
    from music21 import corpus

    if kind == "fiddle":
        return sorted(path for path in corpus.getPaths() if path.parent.name == "ryansMammoth")
    return sorted(path for path in corpus.getComposer("bach") if path.stem.startswith("bwv"))


def _parse(path: str) -> Notes:
    from music21 import converter

    return notes_from_stream(converter.parse(path, forceSource=True))


def load_pieces(per_kind: int, cache: str | os.PathLike) -> list[Piece]:
    """Read ``per_kind`` pieces of each kind, spread evenly over the corpus.

    Kept are fiddle tunes that are monophonic and chorales with several voices, of 16 quarter notes or more, within the
    88 keys of a piano. Of pieces with the same opening melody only the first is kept: a second setting of a tune in
    another split would be a leak.

    Args:
        per_kind: number of pieces wanted of each kind; the corpus bounds what is returned (about 1,000 and 340).
        cache: folder in which ``joblib.Memory`` keeps parsed scores (parsing one takes about 0.1 s).

    Raises:
        AstError: when ``per_kind`` is below 1.
    """
    if per_kind < 1:
        raise AstError(f"per_kind: found {per_kind}, accepted is 1 or more")
    memory = joblib.Memory(cache, verbose=0)
    return memory.cache(_load_pieces, ignore=["parse"])(per_kind, memory.cache(_parse))


def _load_pieces(per_kind: int, parse: Callable[[str], Notes]) -> list[Piece]:
    pieces = []
    for kind in KINDS:
        paths = corpus_paths(kind)
        # An even spread, then the rest in order, so that asking for more never changes the meaning of "the first".
        paths = [str(paths[i]) for i in np.argsort((np.arange(len(paths)) * 0.6180339887498949) % 1.0)]
        new = [path for path in paths[:per_kind] if not parse.check_call_in_cache(path)]
        if len(new) > 50:  # fewer are parsed sooner than another process starts
            # In an order of its own: whoever needs the scores at the same time parses others, and finds these.
            random.shuffle(new)
            joblib.Parallel(n_jobs=-1)(joblib.delayed(parse)(path) for path in new)
        found = {}
        for path in paths:
            notes = parse(path)
            piece = Piece(f"{kind}/{pathlib.Path(path).stem}", kind, notes)
            if usable(notes, monophonic=kind == "fiddle"):
                found.setdefault(piece.melody, piece)
            if len(found) == per_kind:
                break
        pieces += found.values()
    return pieces
