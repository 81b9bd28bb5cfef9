"""Pieces and a synth come in; splits by piece, and clips of audio with their notes, go out.

Chapter: ``notebooks/02_dataset.md``. Training is unpaired, as in the paper: piano and violin never share a piece, and
the splits never share one either. The test split is rendered on every instrument, which gives the paired truth.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ast_lib.audio.levels import normalise_rms
from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.data.scores import KEYS, KINDS, SHORTEST, Notes, Piece
from ast_lib.data.synth import Synth
from ast_lib.errors import AstError

SLOW = 0.25  # share of clips at a practice tempo with training.domain_randomisation: long notes are rare in tunes
PREROLL = 1.0  # seconds rendered before a clip and cut off, so that a note may already sound at its start


@dataclasses.dataclass(frozen=True)
class Splits:
    """Pieces by use: ``train[instrument]``, ``validation`` and ``test`` (both rendered on every instrument)."""

    train: dict[str, list[Piece]]
    validation: list[Piece]
    test: list[Piece]


def split_by_piece(
    pieces: Sequence[Piece], instruments: Sequence[str], seed: int, test: int, validation: int
) -> Splits:
    """Deal pieces to validation, test and, in turn, to each instrument's training set.

    Args:
        pieces: at least ``test + validation + 2 * len(instruments)`` of them.
        instruments: the classes; each gets its own training pieces.
        seed: of the shuffle.
        test, validation: number of pieces held out, half of each kind.

    Raises:
        AstError: when there are too few pieces of a kind to give every part at least one.
    """
    rng, first = np.random.default_rng(seed), (test + 1) // 2
    held_out = first + (validation + 1) // 2
    train, validation_pieces, test_pieces = {instrument: [] for instrument in instruments}, [], []
    for kind in KINDS:
        group = [piece for piece in pieces if piece.kind == kind]
        needed = held_out + len(instruments)
        if len(group) < needed:
            raise AstError(f"pieces: found {len(group)} of kind {kind}, accepted are {needed} or more")
        group = [group[i] for i in rng.permutation(len(group))]
        test_pieces += group[:first]
        validation_pieces += group[first:held_out]
        for i, instrument in enumerate(instruments):
            train[instrument] += group[held_out + i :: len(instruments)]
    return Splits(train, validation_pieces, test_pieces)


def excerpt(piece: Piece, seconds: float, rng: np.random.Generator, transpose: bool = True, slow: float = 0.0) -> Notes:
    """A performance of part of a piece, chosen at random: start, tempo, transposition, velocities.

    Args:
        piece: the score.
        seconds: length of the clip; :data:`PREROLL` seconds more are played before it.
        rng: the only source of chance.
        transpose: by -5..6 semitones, as far as the piano's 88 keys go, when true.
        slow: probability of a practice tempo, a quarter to the whole of the tempo.

    Returns:
        :class:`Notes` in seconds from the start of the preroll; notes of the clip start after ``PREROLL``. Empty only
        if the piece has no note in the window.
    """
    notes = piece.notes
    tempo = rng.uniform(70, 130) if piece.kind == "fiddle" else rng.uniform(55, 110)  # quarter notes per minute
    if slow and rng.random() < slow:
        tempo *= rng.uniform(0.25, 1)
    beats = (seconds + PREROLL) * tempo / 60
    start = rng.uniform(0, max(notes.end - beats, 0))
    shift = int(rng.integers(-5, 7)) if transpose else 0
    heard = notes.window(start, beats)
    pitch = np.clip(heard.pitch + shift, KEYS[0], KEYS[-1])
    # A player's loudness drifts over a phrase and differs from note to note.
    phrase = 10 * np.sin(2 * np.pi * (heard.onset / rng.uniform(8, 24) + rng.uniform()))
    velocity = rng.uniform(65, 100) + phrase + rng.normal(0, 6, len(heard))
    # A note is released a little before its end: players lift, and a repeated note must be heard twice.
    duration = np.maximum(heard.duration * rng.uniform(0.85, 0.98), SHORTEST)
    velocity = np.clip(velocity, 30, 120).astype(np.int64)
    return Notes(heard.onset * 60 / tempo, duration * 60 / tempo, pitch.astype(np.int64), velocity)


def render_clip(synth: Synth, notes: Notes, instrument: str | int, seconds: float, tuning: float = 0.0) -> np.ndarray:
    """Audio ``(samples,)`` float32 of an excerpt after its preroll, at RMS :data:`ast_lib.audio.levels.RMS`."""
    audio = synth.render(notes, instrument, seconds + PREROLL, tuning)
    return normalise_rms(audio[-round(seconds * SAMPLE_RATE) :])


def clip_notes(notes: Notes, seconds: float) -> Notes:
    """The notes of an excerpt as heard in its clip: times from the start of the clip, cut to ``0..seconds``."""
    onset = notes.onset - PREROLL
    end = np.minimum(onset + notes.duration, seconds)
    onset = np.maximum(onset, 0)
    heard = end - onset > 0.02
    return Notes(onset[heard], (end - onset)[heard], notes.pitch[heard], notes.velocity[heard])


@dataclasses.dataclass(frozen=True)
class PairedClip:
    """One held-out excerpt: its notes (seconds, from the clip's start) and its audio on every instrument."""

    piece: str
    kind: str
    notes: Notes
    audio: dict[str, np.ndarray]


def paired_clips(
    pieces: Sequence[Piece],
    instruments: Sequence[str],
    seconds: float,
    seed: int,
    synth: Synth,
    transpose: bool = False,
) -> list[PairedClip]:
    """One clip of each piece, the same notes on every instrument, in the original key: the held-out truth."""
    clips = []
    for index, piece in enumerate(pieces):
        notes = excerpt(piece, seconds, np.random.default_rng([seed, index]), transpose)
        audio = {instrument: render_clip(synth, notes, instrument, seconds) for instrument in instruments}
        clips.append(PairedClip(piece.name, piece.kind, clip_notes(notes, seconds), audio))
    return clips
