"""Clips: which notes are heard, on which instrument, in which split.

Chapter: ``notebooks/02_dataset.md``. Training is unpaired, as in the paper: piano and violin never share a piece, and
the splits never share one either. The test split is rendered on every instrument, which gives the paired truth.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ast_lib.audio.levels import normalise_rms
from ast_lib.audio.reading import SAMPLE_RATE
from ast_lib.data.scores import KINDS, Notes, Piece
from ast_lib.data.synth import Synth
from ast_lib.errors import AstError
from ast_lib.processes import ALONE, Part

SLOW = 0.25  # share of clips at a practice tempo with training.domain_randomisation: long notes are rare in tunes
PREROLL = 1.0  # seconds rendered before a clip and cut off, so that a note may already sound at its start


@dataclasses.dataclass(frozen=True)
class Splits:
    """Pieces by use: ``train[instrument]``, ``validation`` and ``test`` (both rendered on every instrument)."""

    train: dict[str, list[Piece]]
    validation: list[Piece]
    test: list[Piece]

    def __post_init__(self):
        names = [p.name for p in [*sum(self.train.values(), []), *self.validation, *self.test]]
        if len(names) != len(set(names)):
            raise AstError("splits: a piece is in more than one of them")


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
    rng = np.random.default_rng(seed)
    parts = {"validation": [], "test": [], **{instrument: [] for instrument in instruments}}
    for kind in KINDS:
        group = [piece for piece in pieces if piece.kind == kind]
        held_out = (test + 1) // 2 + (validation + 1) // 2
        if len(group) < held_out + len(instruments):
            raise AstError(
                f"pieces: found {len(group)} of kind {kind}; {held_out} held-out ones and "
                f"{len(instruments)} instruments need {held_out + len(instruments)} or more"
            )
        group = [group[i] for i in rng.permutation(len(group))]
        parts["test"] += group[: (test + 1) // 2]
        parts["validation"] += group[(test + 1) // 2 : held_out]
        for i, instrument in enumerate(instruments):
            parts[instrument] += group[held_out + i :: len(instruments)]
    return Splits({i: parts[i] for i in instruments}, parts["validation"], parts["test"])


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
    onset, end = notes.onset - start, notes.onset + notes.duration - start
    heard = (end > 0.05) & (onset < beats)
    onset, end = np.maximum(onset[heard], 0), end[heard]
    pitch = np.clip(notes.pitch[heard] + shift, 21, 108)
    # A player's loudness drifts over a phrase and differs from note to note.
    phrase = 10 * np.sin(2 * np.pi * (onset / rng.uniform(8, 24) + rng.uniform()))
    velocity = rng.uniform(65, 100) + phrase + rng.normal(0, 6, len(onset))
    # A note is released a little before its end: players lift, and a repeated note must be heard twice.
    duration = np.maximum((end - onset) * rng.uniform(0.85, 0.98), 0.05)
    return Notes(
        onset * 60 / tempo, duration * 60 / tempo, pitch.astype(np.int64), np.clip(velocity, 30, 120).astype(np.int64)
    )


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


class BatchSampler:
    """Balanced, unpaired training batches rendered on the fly, the same sequence for the same seed.

    A voice is an instrument on a soundfont, numbered soundfont by soundfont. Clip ``i`` of a batch belongs to slot
    ``i % len(slots)``, and ``slots`` says which voice a slot is.

    Args:
        train: pieces by instrument, as in :class:`Splits`.
        seconds: length of a clip.
        batch: clips in a batch, a multiple of the number of slots.
        seed: batch number ``step`` depends on ``seed`` and ``step`` alone, so a resumed run sees the same clips.
        synths: one per soundfont.
        shares: slots that each soundfont has per instrument; one each where empty.
        slow: share of clips at a practice tempo, see :func:`excerpt`.

    Raises:
        AstError: when the batch cannot be shared equally among the slots.
    """

    def __init__(
        self,
        train: dict[str, list[Piece]],
        seconds: float,
        batch: int,
        seed: int,
        synths: Sequence[Synth],
        shares: Sequence[int] = (),
        slow: float = 0.0,
    ):
        self.groups = voice_groups(len(train), shares or (1,) * len(synths))
        self.voices = len(train) * len(synths)
        if batch % len(self.groups):
            raise AstError(f"batch: found {batch}, accepted are multiples of {len(self.groups)}, the number of groups")
        self.train, self.seconds, self.batch, self.seed = train, seconds, batch, seed
        self.synths, self.slow = list(synths), slow

    def _excerpts(self, step: int) -> list[tuple[Notes, str]]:
        """Notes and instrument of each clip."""
        rng = np.random.default_rng([self.seed, step])
        instruments = list(self.train)
        drawn = []
        for index in range(self.batch):
            instrument = instruments[self.groups[index % len(self.groups)] % len(instruments)]
            piece = self.train[instrument][rng.integers(len(self.train[instrument]))]
            drawn.append((excerpt(piece, self.seconds, rng, slow=self.slow), instrument))
        return drawn

    def __call__(self, step: int, part: Part = ALONE) -> tuple[np.ndarray, np.ndarray]:
        """Audio ``(B, samples)`` float32 and voices ``(B,)`` int64 of one step, or of a process's part of it."""
        voices = part.own(np.resize(self.groups, self.batch))
        audio = [
            render_clip(self.synths[voice // len(self.train)], notes, instrument, self.seconds)
            for (notes, instrument), voice in zip(part.own(self._excerpts(step)), voices, strict=True)
        ]
        return np.stack(audio), voices

    def another_voice(
        self, step: int, share: float, tuning: float, part: Part = ALONE
    ) -> tuple[np.ndarray, np.ndarray]:
        """The clips of one step as another player of the same instrument would record them.

        Args:
            step: number of the batch, whose notes these are.
            share: probability that a clip is played on a soundfont drawn at random instead of its own.
            tuning: largest detuning of a clip, semitones.
            part: which clips of the batch are wanted.

        Returns:
            as for a call: audio ``(B, samples)`` and the voices ``(B,)`` that play it.
        """
        rng = np.random.default_rng([self.seed, step, 1])
        voices = np.resize(self.groups, self.batch)
        fonts = np.where(
            rng.random(self.batch) < share, rng.integers(len(self.synths), size=self.batch), voices // len(self.train)
        )
        detuned = part.own(rng.uniform(-tuning, tuning, self.batch))
        fonts, voices = part.own(fonts), part.own(voices)
        audio = [
            render_clip(self.synths[font], notes, instrument, self.seconds, cents)
            for (notes, instrument), font, cents in zip(part.own(self._excerpts(step)), fonts, detuned, strict=True)
        ]
        return np.stack(audio), fonts * len(self.train) + voices % len(self.train)


def voice_groups(instruments: int, shares: Sequence[int]) -> np.ndarray:
    """Voices in the order in which a batch runs through them: soundfont ``f`` has ``shares[f]`` slots an instrument."""
    return np.concatenate(
        [np.tile(font * instruments + np.arange(instruments), share) for font, share in enumerate(shares)]
    )
