"""Several notes at once, and onsets, by the network of Basic Pitch without its package.

Chapter: ``notebooks/12_evaluation.md``. The package pins TensorFlow, so only its model file is used. Fetch the wheel
once, ``pip download --no-deps --only-binary :all: -d build/cache basic-pitch==0.4.0``; the file is read out of it,
compared with its SHA-256 and run by ONNX Runtime, which the extra ``judges`` installs.

Source: Bittner, Bosch, Rubinstein, Meseguer-Brocal and Ewert, "A lightweight instrument-agnostic model for polyphonic
note transcription and multipitch estimation" (ICASSP 2022). Windows, overlap and thresholds are those of
``basic_pitch/inference.py``, version 0.4.0.
"""

import functools
import hashlib
import os
import pathlib
import zipfile

import librosa
import mir_eval
import numpy as np
import scipy.signal

from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.data.scores import Notes
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import Audio, checked_clip, is_silent
from ast_lib.files import CACHE
from benchmarks.judges.extras import optional

WHEEL = "basic_pitch-0.4.0-py2.py3-none-any.whl"
MODEL = "basic_pitch/saved_models/icassp_2022/nmp.onnx"
SHA256 = "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec"
OUTPUTS = ["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"]  # posteriors of notes and of onsets
LOWEST, PITCHES = 21, 88  # MIDI note of the first of them, A0
HOP, WINDOW, OVERLAP = 256, 43844, 30  # samples, samples, frames of a window that its neighbours have too
NOTE, ONSET = 0.3, 0.5  # posteriors from which there is one
TOGETHER = 0.05  # seconds within which onsets of several pitches are one


def model_file(folder: str | os.PathLike = CACHE) -> bytes:
    """The content of the model file, out of the wheel in ``folder``.

    Raises:
        AstError: where the wheel is missing, with the command that fetches it, or has another model.
    """
    path = pathlib.Path(folder, WHEEL)
    try:
        with zipfile.ZipFile(path) as wheel:
            content = wheel.read(MODEL)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        command = f"pip download --no-deps --only-binary :all: -d {folder} basic-pitch==0.4.0"
        raise AstError(f"{path}: found no model of Basic Pitch ({error}); run: {command}") from error
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise AstError(f"{path}: found a model with the SHA-256 {found}, accepted is {SHA256}")
    return content


@functools.cache
def _session():
    runtime = optional("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(model_file(), options, providers=["CPUExecutionProvider"])


def posteriors(audio: Audio) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posteriors of a clip ``(samples,)``, frame by frame, each 12 ms.

    Returns:
        times ``(T,)`` in seconds, ``T = 1 + samples // 256``; and for each MIDI note from 21 to 108, whether it sounds
        and whether it begins, ``(T, 88)`` each, 0 to 1. All are 0 in silence.
    """
    audio = checked_clip("audio", audio)
    frames, inner = 1 + len(audio) // HOP, WINDOW // HOP + 1 - OVERLAP  # a window has 172 frames
    times = np.arange(frames) * HOP / SAMPLE_RATE
    if is_silent(audio):
        return times, np.zeros((frames, PITCHES)), np.zeros((frames, PITCHES))
    count = -(-frames // inner)
    padded = np.pad(audio, (OVERLAP // 2 * HOP, count * inner * HOP + WINDOW))
    windows = np.stack([padded[i * inner * HOP :][:WINDOW] for i in range(count)])[..., None]
    found = _session().run(OUTPUTS, {"serving_default_input_2:0": windows})
    kept = slice(OVERLAP // 2, -(OVERLAP // 2))
    return times, *(each[:, kept].reshape(-1, PITCHES)[:frames].astype(np.float64) for each in found)


def pitch_sets(audio: Audio) -> tuple[np.ndarray, np.ndarray]:
    """The notes that sound at once: times ``(T,)`` in seconds, and whether each does, ``(T, 88)``, boolean."""
    times, notes, _ = posteriors(audio)
    return times, notes >= NOTE


def onset_times(audio: Audio) -> np.ndarray:
    """Onsets in seconds ``(N,)``, a ``detect`` for :func:`ast_lib.evaluation.metrics.onset_f1`.

    Peaks over time of each note's posterior; those within :data:`TOGETHER` of an earlier one are the same.
    """
    times, _, onsets = posteriors(audio)
    frames, pitches = scipy.signal.argrelmax(onsets, axis=0)
    kept: list[float] = []
    for time in np.sort(times[frames[onsets[frames, pitches] >= ONSET]]):
        if not kept or time - kept[-1] > TOGETHER:
            kept.append(time)
    return np.array(kept)


def multipitch_scores(audio: Audio, notes: Notes) -> dict[str, float]:
    """Precision, recall and accuracy of the sounding notes against the score, by ``mir_eval.multipitch``.

    Every frame counts, rests too; a note is right within half a semitone. Accuracy is the number of right notes over
    that of all in either: the Jaccard similarity of all frames together.
    """
    times, sounding = pitch_sets(audio)
    hz = librosa.midi_to_hz(LOWEST + np.arange(PITCHES))
    active = (times[:, None] >= notes.onset) & (times[:, None] < notes.onset + notes.duration)
    reference = [np.unique(librosa.midi_to_hz(notes.pitch[row])) for row in active]
    scores = mir_eval.multipitch.evaluate(times, reference, times, [hz[row] for row in sounding])
    return {name.lower(): float(scores[name]) for name in ("Precision", "Recall", "Accuracy")}
