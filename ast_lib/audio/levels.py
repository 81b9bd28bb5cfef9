"""Levels: what every clip is scaled to, and what gives a transferred recording its dynamics and quiet pauses back.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/15_listening.md``. Levels are root mean squares, full scale is 1;
powers are their squares. A frame is :data:`FRAME` samples.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

RMS = 0.07  # of every clip, in units of full scale: loudness must not give the class away
NO_LEVEL = 1e-5  # RMS, -100 dB, below which there is nothing to scale or to measure
FRAME = 256  # samples
STROKE = 13  # frames, 0.15 s around a rise of the level in which a note is loudest
FAINT = 45.0  # dB below the loudest, from where a rise is no note
PHRASE = 172  # frames, 2 s: width of each of three moving averages, together about a Gaussian one of 1 s
AROUND = 862  # frames, 10 s: as far around a frame as the loudest one and the floor of noise are looked for
SOFT = 30.0  # dB below the loudest around it, from where a frame may be a pause; a held note of a piano goes as low
SILENT = 40.0, 50.0  # dB below it, between which a frame becomes a pause whatever is heard there
STEADY = 43, 3.0  # frames (0.5 s) over which the level of a pause stays within so many dB; a piano's note falls by more


def normalise_rms(audio: np.ndarray | Tensor, rms: float = RMS) -> np.ndarray | Tensor:
    """Scale signals ``(..., samples)``, each by itself, to a root mean square (equation ``rms``); silence stays.

    Returns:
        a float32 array or, for a tensor, a tensor on its device; silence is below :data:`NO_LEVEL`.
    """
    if isinstance(audio, Tensor):
        level = audio.square().mean(dim=-1, keepdim=True).sqrt()
        return torch.where(level < NO_LEVEL, audio, audio * (rms / level.clamp_min(NO_LEVEL)))
    level = np.sqrt(np.mean(np.square(audio, dtype=np.float64), axis=-1, keepdims=True))
    return np.where(level < NO_LEVEL, audio, audio * (rms / np.maximum(level, NO_LEVEL))).astype(np.float32)


class Level(NamedTuple):
    """Mean powers of a sound's frames, ``(frames,)``, of which the last may be shorter; its samples, and its RMS."""

    powers: np.ndarray
    samples: int
    rms: float


def measure(blocks: Iterable[np.ndarray]) -> Level:
    """The :class:`Level` of sound that comes in blocks ``(n,)``, one sample or more; it keeps 2.5 MB of an hour."""
    powers, rest, samples = [], np.zeros(0), 0
    for block in blocks:
        squares = np.concatenate([rest, np.square(block, dtype=np.float64)])
        whole = len(squares) - len(squares) % FRAME
        powers.append(squares[:whole].reshape(-1, FRAME).mean(axis=1))
        rest, samples = squares[whole:], samples + len(block)
    if len(rest):
        powers.append(rest.mean(keepdims=True))
    powers = np.concatenate(powers)
    last = samples - FRAME * (len(powers) - 1)
    return Level(powers, samples, float(np.sqrt((FRAME * powers[:-1].sum() + last * powers[-1]) / samples)))


def pause_gain(source: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Factors that keep a recording's pauses as quiet as they were: ``(frames,)``, 1 outside of pauses, never above 1.

    In a pause the level of the output is bounded by that of the source. Elsewhere it is free, since a violin holds a
    note that dies away on the piano. So a pause is told from a note by how its level moves: a room, a hum or a hiss
    stays as it is, and where the source is steady no note of the output should fade or swell either. A frame is a pause

    - if it is :data:`SOFT` dB or more below the loudest frame of the 10 s on both sides, and lies in half a second
      whose level is steady (:data:`STEADY`), or is no more than 3 dB louder than the quietest such half second around;
    - or, more and more, from 40 to 50 dB below (:data:`SILENT`): nothing is left of any note.

    Args:
        source, output: mean powers of the frames of both, ``(frames,)``; only what differs within each counts.
    """
    heard, slow = _decibels(source, 4), _decibels(source, 16)
    below = _most(heard, 2 * AROUND + 1) - heard
    length, span = STEADY
    still = (_most(slow, length) + _most(-slow, length) < span) & (-_most(-below, length) > SOFT)
    still[: length // 2] = still[-(length // 2) :] = False  # around these there is no half second
    steady = _most(still.astype(np.float64), length) > 0
    floor = -_most(np.where(steady, -heard, -np.inf), 2 * AROUND + 1)  # infinite where there is none
    noise = steady | ((below > SOFT) & (heard < np.where(np.isfinite(floor), floor + 3, -np.inf)))
    pause = np.maximum(noise, np.interp(below, SILENT, (0.0, 1.0)))
    # Levels are compared with those of the music, not of the whole: a long pause must not count as soft music.
    music = [10 * np.log10(max(((1 - pause) * powers).mean(), 1e-30)) for powers in (source, output)]
    excess = np.maximum((_decibels(output, 4) - music[1]) - (heard - music[0]), 0.0)
    return 10 ** (-excess * _mean(pause, 8) / 20)


def dynamics_gain(source: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Factors that give the output the dynamics of its source: ``(frames,)``, all 1 where nothing is struck.

    How loud a note is shows where it begins. Later a piano's note has died away and a violin's has not, so frames count
    as much as the source's level rises in them. Around each frame, over some seconds (:data:`PHRASE`), the loudest
    levels around such rises are averaged for both sounds; their difference, without its mean, is the gain in dB.

    Args:
        source, output: as for :func:`pause_gain`.
    """
    heard, made = (_most(_decibels(powers, 2), STROKE) for powers in (source, output))
    rises = np.maximum(np.diff(_decibels(source, 2), prepend=np.inf), 0.0) * (heard > heard.max() - FAINT)
    if not rises.any():
        return np.ones(len(rises))
    softer = heard - made - np.average(heard - made, weights=rises)
    sums = [functools.reduce(_mean, 3 * [PHRASE], values) for values in (rises * np.clip(softer, -20, 20), rises)]
    known = np.flatnonzero(sums[1] > 1e-6 * sums[1].max())  # within reach of a rise
    return 10 ** (np.interp(np.arange(len(rises)), known, sums[0][known] / sums[1][known]) / 20)


def with_gain(blocks: Iterable[np.ndarray], gain: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks ``(n,)`` times the factors ``(frames,)`` of the middles of frames; between them in proportion."""
    begin, middles = 0, FRAME * (np.arange(len(gain)) + 0.5)
    for block in blocks:
        time = begin + np.arange(len(block)) + 0.5
        yield (block * np.interp(time, middles, gain)).astype(np.float32)
        begin += len(block)


def _mean(values: np.ndarray, width: int) -> np.ndarray:
    """Moving average over ``width`` frames, at the ends over those that there are."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.arange(len(values)) - width // 2
    start, stop = np.maximum(first, 0), np.minimum(first + width, len(values))
    return (sums[stop] - sums[start]) / (stop - start)


def _decibels(powers: np.ndarray, width: int) -> np.ndarray:
    """Levels of ``width`` frames around each, at most 120 dB below that of the whole."""
    return 10 * np.log10(np.maximum(_mean(powers, width), max(1e-12 * powers.mean(), 1e-30)))


def _most(values: np.ndarray, width: int) -> np.ndarray:
    """The largest of ``width`` frames around each, an odd number."""
    return F.max_pool1d(torch.from_numpy(values)[None], width, stride=1, padding=width // 2)[0].numpy()
