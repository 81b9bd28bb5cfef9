"""Compile what librosa compiles when it is first used, in one process: ``python tools/compile_metrics.py``.

Numba keeps the machine code beside librosa. Processes that find none and compile the same function at the same time can
crash, and the chapters of a build run at the same time. So the set-up does it once, in half a minute.
"""

import sys

import numpy as np

from ast_lib.audio import SAMPLE_RATE
from ast_lib.data.scores import Notes
from ast_lib.evaluation import metrics
from ast_lib.published import metrics as published


def main() -> int:
    """Call every metric that librosa compiles for, on a second of a tone."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sound = (0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    notes = Notes(np.zeros(1), np.ones(1), np.array([69]), np.array([80]))
    accuracy = metrics.raw_pitch_accuracy(sound, notes)
    metrics.onset_f1(sound, notes)
    metrics.chroma_cosine(sound, sound)
    published.published_onset_f1(sound, sound)
    published.published_pitch_correlation(sound, sound)
    published.published_self_similarity_distance(sound, sound)
    print(f"environment: librosa's functions are compiled (440 Hz found in {100 * accuracy:.0f} % of frames)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
