"""What tests of metrics hear: tones at MIDI pitches, scales of decaying tones with their notes, noise."""

import numpy as np

from ast_lib.data.scores import Notes

RATE = 22050
TIME = np.arange(2 * RATE) / RATE
SILENCE = np.zeros(len(TIME), dtype=np.float32)


def hz(pitch):
    return 440 * 2 ** ((pitch - 69) / 12)


def tone(pitch, time=TIME, partials=1):
    """Sum of equal-phase partials with amplitudes 1, 1/2, 1/3, ... at a MIDI pitch."""
    return sum(0.3 / k * np.sin(2 * np.pi * k * hz(pitch) * time) for k in range(1, partials + 1)).astype(np.float32)


def notes(*rows):
    """Notes from ``(onset, duration, pitch)`` rows."""
    onset, duration, pitch = (np.array(column) for column in zip(*rows, strict=True))
    return Notes(onset.astype(float), duration.astype(float), pitch, np.full(len(rows), 80))


def scale(pitches, seconds=0.5, transpose=0):
    """Audio of decaying tones one after another, and its notes."""
    time = np.arange(round(seconds * RATE)) / RATE
    audio = np.concatenate([tone(p + transpose, time, 5) * np.exp(-3 * time) for p in pitches]).astype(np.float32)
    return audio, notes(*[(i * seconds, seconds, p) for i, p in enumerate(pitches)])


def noise(seed, samples=2 * RATE):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)
