"""Samplers: performances or recordings by voice come in; balanced training batches of audio go out.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/16_your_own.md``. Batches are unpaired. Batch number ``step`` depends
on the seed and ``step`` alone, so a resumed run hears the same clips. A voice is an instrument played on one soundfont,
numbered soundfont by soundfont; an instrument of recordings is one voice, whoever plays it. The clips of a batch that
share voice and timbre are a group.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ast_lib.audio.levels import normalise_rms
from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.data.manifest import Clip
from ast_lib.data.recordings import load_clip
from ast_lib.errors import AstError
from ast_lib.processes import ALONE, Part


class Cut(NamedTuple):
    """A stretch of sound: ``clip`` ``(samples,)`` of the voice ``label``, and what the content encoder hears of it."""

    clip: np.ndarray
    label: int
    heard: np.ndarray
    heard_label: int


class Source(Protocol):
    """What batches are cut from: a :class:`ast_lib.data.pool.Pool` of performances, or :class:`Recordings`."""

    items: Sequence[Sequence]  # by voice

    def cut(self, item, position: float, samples: int) -> Cut:
        """``samples`` of an item, from ``position`` (0 to 1) of what can be their start, at RMS 0.07."""


class Sampler:
    """Training batches by number.

    Args:
        source: of the clips.
        groups: the voice of each group ``(groups,)``; clip ``i`` of a batch belongs to group ``i % len(groups)``.
        seconds: length of a clip.
        batch: clips in a batch, a multiple of the number of groups.
        seed: of what is chosen.

    Raises:
        AstError: when the batch cannot be shared equally among the groups.
    """

    def __init__(self, source: Source, groups: Sequence[int], seconds: float, batch: int, seed: int):
        self.source, self.groups, self.seed = source, np.asarray(groups), seed
        self.samples = round(seconds * SAMPLE_RATE)
        if batch < 1 or batch % len(self.groups):
            accepted = f"multiples of {len(self.groups)}, the number of groups"
            raise AstError(f"batch: found {batch}, accepted are {accepted}")
        self.labels = np.resize(self.groups, batch)

    def __call__(self, step: int, part: Part = ALONE) -> Cut:
        """One step's clips or, with ``part``, a process's own: each field of a :class:`Cut` stacked, ``(B, ...)``.

        Raises:
            AstError: when a recording has become unreadable since the manifest was made.
        """
        rng, items = np.random.default_rng([self.seed, step]), self.source.items
        chosen = [(items[voice][rng.integers(len(items[voice]))], rng.random()) for voice in self.labels]
        cuts = [self.source.cut(item, position, self.samples) for item, position in part.own(chosen)]
        return Cut(*map(np.stack, zip(*cuts, strict=True)))


decoded = functools.lru_cache(maxsize=512)(load_clip)  # 0.9 MB each, of 10 s


class Recordings:
    """The clips of a manifest by instrument; one is decoded when chosen, and the last of them are kept.

    Args:
        clips: a manifest; only those of ``split`` are used.
        instruments: the voices, in the order of their numbers.
        seconds: that a clip must have at least.
        split: one of :data:`ast_lib.data.manifest.SPLITS`.

    Raises:
        AstError: when an instrument has no clip, or a clip is too short.
    """

    def __init__(self, clips: Sequence[Clip], instruments: Sequence[str], seconds: float, split: str = "train"):
        clips = [clip for clip in clips if clip.split == split]
        self.instruments = list(instruments)
        self.items = [[clip for clip in clips if clip.instrument == name] for name in instruments]
        for name, found in zip(instruments, self.items, strict=True):
            if not found:
                raise AstError(f"instrument {name}: found no clip in the split {split!r}, accepted is 1 or more")
            short = min(found, key=lambda clip: clip.seconds)
            if short.seconds < seconds:
                raise AstError(f"clip {short.id}: found {short.seconds:g} s, accepted is {seconds:g} s or more")
        decoded.cache_clear()  # a file may have changed

    def cut(self, item: Clip, position: float, samples: int) -> Cut:
        """As :meth:`Source.cut`; the content encoder hears the clip itself."""
        signal, label = decoded(item), self.instruments.index(item.instrument)
        start = int(position * (len(signal) - samples + 1))
        sound = normalise_rms(signal[start : start + samples])
        return Cut(sound, label, sound, label)
