"""A synth comes in; the onset latency of a voice goes out: how long after its time in the score a note is heard.

Chapter: ``notebooks/10b_decoding.md``. A bow needs tens of milliseconds to speak, a hammer none. The latencies are
measured on single notes and stored with the weights; :mod:`ast_lib.transfer.latency` uses them.
"""

import functools

import numpy as np

from ast_lib.data.scores import Notes
from ast_lib.data.synth import BLOCK, Synth

BELOW = 15.0  # dB below a note's loudest, where it begins to be heard: Vos and Rasch found 6 to 15, see chapter 10b
PITCHES = range(55, 91, 3)  # G3, a violin's lowest note, to F#6
BEFORE = 0.1  # seconds of silence before the note


def onset_delay(sound: np.ndarray, sample_rate: int, start: float, below: float = BELOW) -> float:
    """Seconds from ``start`` until a sound first comes within ``below`` dB of its loudest; 0 for silence.

    The level is the root mean square of the 10 ms around a sample.

    Args:
        sound: ``(samples,)``, one note.
        sample_rate: Hz.
        start: where the score has the note, seconds.
        below: dB.

    Source: Vos and Rasch, "The perceptual onset of musical tones" (1981).
    """
    width = round(0.01 * sample_rate) | 1
    power = np.convolve(np.square(sound, dtype=np.float64), np.ones(width) / width, "same")
    if power.max() == 0:
        return 0.0
    return float(np.argmax(power >= power.max() * 10 ** (-below / 10))) / sample_rate - start


@functools.cache
def voice_latency(synth: Synth, instrument: str, below: float = BELOW) -> float:
    """Median :func:`onset_delay` of an instrument's notes at :data:`PITCHES`, held for a second, in seconds."""
    start = round(BEFORE * synth.sample_rate / BLOCK) * BLOCK / synth.sample_rate  # where the synth begins the note
    delays = []
    for pitch in PITCHES:
        note = Notes(np.array([BEFORE]), np.array([1.0]), np.array([pitch]), np.array([80]))
        delays.append(onset_delay(synth.render(note, instrument, BEFORE + 1), synth.sample_rate, start, below))
    return float(np.median(delays))
