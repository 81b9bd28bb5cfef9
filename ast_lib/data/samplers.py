"""Pieces and synths, or a manifest of recordings, come in; balanced training batches of audio go out.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/16_your_own.md``. Batches are unpaired. Batch number ``step`` depends
on the seed and ``step`` alone, so a resumed run hears the same clips. A voice is an instrument played on one soundfont,
numbered soundfont by soundfont; an instrument of recordings is one voice, whoever plays it. The clips of a batch that
share voice and timbre are a group.
"""

from collections.abc import Sequence

import numpy as np

from ast_lib.audio.levels import normalise_rms
from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.data.clips import excerpt, render_clip
from ast_lib.data.manifest import Clip
from ast_lib.data.recordings import load_clip
from ast_lib.data.scores import Piece
from ast_lib.data.synth import Synth
from ast_lib.errors import AstError
from ast_lib.processes import ALONE, Part


def _labels(groups: np.ndarray, batch: int) -> np.ndarray:
    """The voice of each clip of a batch, ``(batch,)``."""
    if batch < 1 or batch % len(groups):
        raise AstError(f"batch: found {batch}, accepted are multiples of {len(groups)}, the number of groups")
    return np.resize(groups, batch)


class BatchSampler:
    """Training batches by number, whose clips are rendered on the fly.

    Args:
        train: pieces by instrument, as in :class:`ast_lib.data.clips.Splits`.
        seconds: length of a clip.
        batch: clips in a batch, a multiple of the number of groups.
        seed: of everything that is sampled.
        synths: one per soundfont.
        shares: groups that each soundfont has per instrument; one each where empty.
        slow: share of clips at a practice tempo, see :func:`ast_lib.data.clips.excerpt`.

    Attributes:
        groups: ``(groups,)``, the voice of each; clip ``i`` of a batch belongs to group ``i % len(groups)``.

    Raises:
        AstError: when the batch cannot be shared equally among the groups.
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
        voices = np.arange(len(train) * len(synths)).reshape(len(synths), len(train))
        self.groups = np.repeat(voices, shares or 1, axis=0).flatten()
        self._labels = _labels(self.groups, batch)
        self.train, self.seconds, self.seed, self.synths, self.slow = train, seconds, seed, synths, slow

    def __call__(self, step: int, part: Part = ALONE) -> tuple[np.ndarray, np.ndarray]:
        """Audio ``(B, samples)`` float32 and voices ``(B,)`` int64 of one step, or of a process's part of it."""
        return self._play(step, self._labels, np.zeros(len(self._labels)), part)

    def another_voice(
        self, step: int, share: float, tuning: float, part: Part = ALONE
    ) -> tuple[np.ndarray, np.ndarray]:
        """The clips of one step as another player of the same instrument would record them.

        Args:
            step: number of the batch, whose notes these are.
            share: probability that a clip is played on a soundfont chosen at random instead of its own.
            tuning: largest detuning of a clip, semitones.
            part: which clips of the batch are wanted.

        Returns:
            as for a call: audio ``(B, samples)`` and the voices ``(B,)`` that play it.
        """
        rng, batch = np.random.default_rng([self.seed, step, 1]), len(self._labels)
        other = rng.random(batch) < share
        voices = rng.integers(len(self.synths), size=batch) * len(self.train) + self._labels % len(self.train)
        return self._play(step, np.where(other, voices, self._labels), rng.uniform(-tuning, tuning, batch), part)

    def _play(self, step: int, voices: np.ndarray, tuning: np.ndarray, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """The clips of one step on the given voices, detuned by semitones."""
        rng, instruments, drawn = np.random.default_rng([self.seed, step]), list(self.train), []
        for voice, semitones in zip(voices, tuning, strict=True):
            font, number = divmod(voice, len(instruments))
            pieces = self.train[instruments[number]]
            notes = excerpt(pieces[rng.integers(len(pieces))], self.seconds, rng, slow=self.slow)
            drawn.append((self.synths[font], notes, instruments[number], self.seconds, semitones))
        return np.stack([render_clip(*clip) for clip in part.own(drawn)]), part.own(voices)


class RecordingSampler:
    """As :class:`BatchSampler`, of recordings: a clip is decoded when first chosen, then kept (0.9 MB for 10 s).

    Args:
        clips: a manifest; only those of ``split`` are used.
        instruments: the voices, in the order of their numbers.
        seconds: length of what is cut from a clip, from a random position on, then scaled to RMS 0.07.
        batch: clips in a batch, a multiple of the number of instruments.
        seed: of everything that is sampled.
        split: one of :data:`ast_lib.data.manifest.SPLITS`.

    Raises:
        AstError: when the batch cannot be shared equally, an instrument has no clip, or a clip is too short.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        instruments: Sequence[str],
        seconds: float,
        batch: int,
        seed: int,
        split: str = "train",
    ):
        self.groups = np.arange(len(instruments))
        self._labels, self.samples, self.seed = _labels(self.groups, batch), round(seconds * SAMPLE_RATE), seed
        clips = [clip for clip in clips if clip.split == split]
        self.clips = [[clip for clip in clips if clip.instrument == name] for name in instruments]
        for name, found in zip(instruments, self.clips, strict=True):
            if not found:
                raise AstError(f"instrument {name}: found no clip in the split {split!r}, accepted is 1 or more")
            short = min(found, key=lambda clip: clip.seconds)
            if short.seconds < seconds:
                raise AstError(f"clip {short.id}: found {short.seconds:g} s, accepted is {seconds:g} s or more")
        self._audio: dict[str, np.ndarray] = {}

    def __call__(self, step: int, part: Part = ALONE) -> tuple[np.ndarray, np.ndarray]:
        """As for :class:`BatchSampler`; with ``part``, no clips but a process's own are read.

        Raises:
            AstError: when a clip's file has become unreadable since the manifest was made.
        """
        rng, rows = np.random.default_rng([self.seed, step]), []
        drawn = [(self.clips[voice][rng.integers(len(self.clips[voice]))], rng.random()) for voice in self._labels]
        for clip, position in part.own(drawn):
            if clip.id not in self._audio:
                self._audio[clip.id] = load_clip(clip)
            signal = self._audio[clip.id]
            start = int(position * (len(signal) - self.samples + 1))
            rows.append(normalise_rms(signal[start : start + self.samples]))
        return np.stack(rows), part.own(self._labels)


Sampler = BatchSampler | RecordingSampler
