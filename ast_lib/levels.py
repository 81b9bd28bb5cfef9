"""Levels: what every clip is scaled to.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/15_listening.md``. Levels are root mean squares, full scale is 1.
"""

import numpy as np

RMS = 0.07  # of every clip, in units of full scale: loudness must not give the class away


def normalise_rms(audio: np.ndarray, rms: float = RMS) -> np.ndarray:
    """Scale one signal ``(samples,)`` to a root mean square (equation ``rms``); silence (below -100 dB) stays."""
    level = np.sqrt(np.mean(np.square(audio, dtype=np.float64)))
    return audio if level < 1e-5 else (audio * (rms / level)).astype(np.float32)
