"""Pieces and a synth come in; splits by piece, and clips of audio with their notes, go out.

Chapter: ``notebooks/02_dataset.md``. Training is unpaired, as in the paper: piano and violin never share a piece, and
the splits never share one either. Held-out pieces are rendered on every instrument, which gives the paired truth. The
main case is what both instruments can play: tunes, and the two upper voices of a chorale, from the violin's open G
string up. A whole chorale is an extension: one violin cannot play it, and its bass lies below the instrument.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ast_lib.audio.levels import normalise_rms
from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.data.duplicates import near_duplicates
from ast_lib.data.scores import KEYS, KINDS, SHORTEST, Notes, Piece, upper_voices
from ast_lib.data.synth import CONTROL, Synth
from ast_lib.errors import AstError

PLAYABLE = range(55, 104)  # MIDI notes of the violin, from the open G string (G3) to G7; a piano has them all
EXTENSION = 1 / 3  # share of a chorale's clips in training that are whole
SLOW = 0.25  # share of free performances at a quarter to the whole of the tempo: long notes are rare in tunes
HASTE = 0.01  # seconds: standard deviation of a note's time in a free performance
PREROLL = 1.0  # seconds rendered before a clip and cut off, so that a note may already sound at its start


@dataclasses.dataclass(frozen=True)
class Splits:
    """Pieces by use: ``train[instrument]``; ``validation`` (the curve of a run) and ``development`` (every choice and
    the book's figures), both rendered on every instrument. What is measured once is another corpus, the
    sealed test's.
    """

    train: dict[str, list[Piece]]
    validation: list[Piece]
    development: list[Piece]


def split_by_piece(
    pieces: Sequence[Piece], instruments: Sequence[str], seed: int, development: int, validation: int
) -> Splits:
    """Deal pieces to development, validation and, in turn, to each instrument's training set.

    A training piece that is a variant of a held-out one is left out (:mod:`ast_lib.data.duplicates`).

    Args:
        pieces: at least ``development + validation + 2 * len(instruments)`` of them.
        instruments: the classes; each gets its own training pieces.
        seed: of the shuffle.
        development, validation: number of pieces held out, half of each kind.

    Raises:
        AstError: when there are too few pieces of a kind to give every part at least one, or only variants to train on.
    """
    rng, first = np.random.default_rng(seed), (development + 1) // 2
    held_out = first + (validation + 1) // 2
    train, watched, developed = {instrument: [] for instrument in instruments}, [], []
    for kind in KINDS:
        group = [piece for piece in pieces if piece.kind == kind]
        needed = held_out + len(instruments)
        if len(group) < needed:
            raise AstError(f"pieces: found {len(group)} of kind {kind}, accepted are {needed} or more")
        group = [group[i] for i in rng.permutation(len(group))]
        developed += group[:first]
        watched += group[first:held_out]
        variants = near_duplicates(group[held_out:], group[:held_out])
        for i, instrument in enumerate(instruments):
            train[instrument] += [
                piece for piece in group[held_out + i :: len(instruments)] if piece.name not in variants
            ]
    if not all(train.values()):
        raise AstError("pieces: found variants of held-out ones alone for an instrument, accepted is 1 or more others")
    return Splits(train, watched, developed)


def arranged(piece: Piece, extension: bool) -> tuple[Notes, range]:
    """The notes of a piece for both instruments, and the MIDI notes that they may have.

    A tune, or the two upper voices of another piece, within :data:`PLAYABLE`; with ``extension`` all voices, within
    the piano's keys.
    """
    return (piece.notes, KEYS) if extension else (upper_voices(piece.notes, 2), PLAYABLE)


def excerpt(
    piece: Piece,
    seconds: float,
    rng: np.random.Generator,
    transpose: bool = True,
    extension: bool = False,
    free: bool = False,
) -> Notes:
    """A performance of part of a piece, chosen at random: start, tempo, transposition, velocities.

    Args:
        piece: the score.
        seconds: length of the clip; :data:`PREROLL` seconds more are played before it.
        rng: the only source of chance.
        transpose: by -5..6 semitones when true; in any case by what brings the notes within :func:`arranged`'s range.
        extension: see :func:`arranged`.
        free: played freely, as people do: a quarter of the clips (:data:`SLOW`) at a practice tempo, notes detached or
            held over, and a little early or late (:data:`HASTE`).

    Returns:
        :class:`Notes` in seconds from the start of the preroll; notes of the clip start after ``PREROLL``. Empty only
        if the piece has no note in the window.
    """
    notes, playable = arranged(piece, extension)
    tempo = rng.uniform(70, 130) if piece.notes.monophonic else rng.uniform(55, 110)  # quarter notes per minute
    if free and rng.random() < SLOW:
        tempo *= rng.uniform(0.25, 1)
    beats = (seconds + PREROLL) * tempo / 60
    start = rng.uniform(0, max(piece.notes.end - beats, 0))
    shift = int(rng.integers(-5, 7)) if transpose else 0
    shift = int(np.clip(shift, playable[0] - notes.pitch.min(), max(playable[-1] - notes.pitch.max(), 0)))
    heard = notes.window(start, beats)
    pitch = np.clip(heard.pitch + shift, playable[0], playable[-1])
    # A player's loudness drifts over a phrase and differs from note to note.
    phrase = 10 * np.sin(2 * np.pi * (heard.onset / rng.uniform(8, 24) + rng.uniform()))
    velocity = rng.uniform(65, 100) + phrase + rng.normal(0, 6, len(heard))
    # A note is released a little before its end: players lift, and a repeated note must be heard twice.
    duration = np.maximum(heard.duration * rng.uniform(0.85, 0.98), SHORTEST)
    velocity = np.clip(velocity, 30, 120).astype(np.int64)
    onset, duration = heard.onset * 60 / tempo, duration * 60 / tempo
    if free:
        onset = np.maximum(onset + rng.normal(0, HASTE, len(onset)), 0)
        duration = np.maximum(duration * rng.uniform(0.6, 1.1, len(duration)), SHORTEST)
    return Notes(onset, duration, pitch.astype(np.int64), velocity)


def vibrato(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Deviations from the pitch in semitones, one each :data:`ast_lib.data.synth.CONTROL` samples.

    A vibrato of 4.5 to 7 Hz, up to 40 cents wide, that comes and goes, and an intonation that drifts by some 8 cents.
    """
    time = np.arange(0, seconds, CONTROL / SAMPLE_RATE)
    knots = np.arange(0, seconds + 1, 0.7)
    depth = rng.uniform(0, 0.4) * np.interp(time, knots, rng.uniform(0, 1, len(knots)))
    drift = np.interp(time, knots, rng.normal(0, 0.08, len(knots)))
    return drift + depth * np.sin(2 * np.pi * (rng.uniform(4.5, 7) * time + rng.uniform()))


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
    """One held-out excerpt: its notes (seconds, from the clip's start) and its audio on every instrument.

    ``kind`` is that of the piece, ``duet`` where its two upper voices stand for it (the main case of a chorale).
    """

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
    extension: bool = False,
    tuning: float = 0.0,
) -> list[PairedClip]:
    """One clip of each piece, the same notes on every instrument, in the original key: the held-out truth.

    With ``extension``, of each piece with several voices, whole (:func:`arranged`); ``tuning`` is in semitones.
    """
    clips = []
    for index, piece in enumerate(pieces):
        alone = piece.notes.monophonic
        if extension and alone:
            continue
        notes = excerpt(piece, seconds, np.random.default_rng([seed, index]), transpose, extension=extension)
        audio = {instrument: render_clip(synth, notes, instrument, seconds, tuning) for instrument in instruments}
        kind = piece.kind if extension or alone else "duet"
        clips.append(PairedClip(piece.name, kind, clip_notes(notes, seconds), audio))
    return clips
