"""Near-duplicates: two pieces in; how much of their tune and of their notes they share out.

Chapter: ``notebooks/02_dataset.md``. A corpus holds one tune under several titles and one hymn in several settings. A
held-out piece of which training has heard a variant measures memory, so such variants are kept out of training and of
the sealed test. Both measures ignore the key.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ast_lib.data.scores import Notes, Piece, upper_voices

FIGURE = 8  # intervals of a figure: settings of one tune share runs of nine notes, other tunes hardly
SHARED_FIGURES = 0.3  # from this share of figures on two pieces are variants of one tune
SHARED_NOTES = 0.4  # from this share of notes on they are settings of one tune: 99 % of pairs of chorales share 0.3


def figures(notes: Notes) -> set[tuple[int, ...]]:
    """Every run of :data:`FIGURE` melodic intervals (semitones) of the sounding top voice."""
    intervals = np.diff(upper_voices(notes, 1).pitch).tolist()
    return {tuple(intervals[start : start + FIGURE]) for start in range(len(intervals) - FIGURE + 1)}


def shared_notes(one: Notes, other: Notes) -> float:
    """Share of the shorter piece's notes that the other has at the same time, in the transposition that fits best."""
    same_time = np.abs(one.onset[:, None] - other.onset) < 1e-3
    intervals = (one.pitch[:, None] - other.pitch)[same_time]
    return float(np.bincount(intervals + 127, minlength=1).max() / min(len(one), len(other)))


def near_duplicates(pieces: Iterable[Piece], held_out: Sequence[Piece]) -> set[str]:
    """Names of the pieces that share :data:`SHARED_FIGURES` of their tune or :data:`SHARED_NOTES` with a held-out one.

    A share of figures is of the piece that has fewer of them.
    """
    known, found = [(figures(piece.notes), piece.notes) for piece in held_out], set()
    for piece in pieces:
        own = figures(piece.notes)
        for their, notes in known:
            fewer = max(min(len(own), len(their)), 1)
            if len(own & their) >= SHARED_FIGURES * fewer or shared_notes(piece.notes, notes) >= SHARED_NOTES:
                found.add(piece.name)
                break
    return found
