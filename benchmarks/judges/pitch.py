"""Two other trackers of the fundamental frequency, in the form of :func:`ast_lib.evaluation.metrics.pitch_track`.

Chapter: ``notebooks/12_evaluation.md``. Each is a ``track`` for
:func:`~ast_lib.evaluation.metrics.raw_pitch_accuracy`: a clip ``(samples,)`` at 22,050 Hz in, the times ``(T,)`` of
frames in seconds and frequencies ``(T,)`` in Hz out, negative where the tracker thinks the frame unvoiced but has a
guess. Silence has the frequency 0 everywhere. Both hear 16 kHz.
"""

import functools

import numpy as np
import soxr
import torch

from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.evaluation.metrics import PITCH_RANGE, Audio, checked_clip, is_silent
from benchmarks.judges.extras import optional

RATE = 16000  # Hz
CREPE_HOP = 320  # samples at that rate
CREPE_BINS = 10 * 2 ** ((1997.3794 + 20 * np.arange(360)) / 1200)  # Hz, up to B6: no note above is ever right


@functools.cache
def _swift_f0():
    return optional("swift_f0").SwiftF0(threads=1)


def swift_f0_track(audio: Audio) -> tuple[np.ndarray, np.ndarray]:
    """Fundamental frequency by SwiftF0, 16 ms hop: a small convolutional network that reads an STFT.

    Source: Nieradzik, "SwiftF0: fast and accurate monophonic pitch detection" (2025); package ``swift-f0``.
    """
    audio = checked_clip("audio", audio)
    detector = _swift_f0()
    found = detector.detect(soxr.resample(audio, SAMPLE_RATE, RATE), RATE, *PITCH_RANGE)
    if is_silent(audio):
        return found.timestamps, np.zeros(len(found.timestamps))
    return found.timestamps, np.where(found.confidence >= 0.5, found.pitch_hz, -found.pitch_hz)


def crepe_track(audio: Audio) -> tuple[np.ndarray, np.ndarray]:
    """Fundamental frequency by CREPE's smallest network, 20 ms hop, 64 ms window, frame by frame.

    The frequency is the mean of the bins within 80 cents of the most probable one, weighted by their posteriors, as in
    CREPE's own code. The decoders of ``torchcrepe`` are not used: they add random numbers of up to 20 cents, and its
    Viterbi path forbids leaps of more than 240 cents between frames, which a melody is made of.

    Source: Kim, Salamon, Li and Bello, "CREPE: a convolutional representation for pitch estimation" (ICASSP 2018), in
    the weights of the package ``torchcrepe``.
    """
    audio, crepe = checked_clip("audio", audio), optional("torchcrepe")
    heard = torch.from_numpy(soxr.resample(audio, SAMPLE_RATE, RATE))[None]
    with torch.inference_mode():
        frames = torch.cat(list(crepe.preprocess(heard, RATE, CREPE_HOP, batch_size=256)))
        posterior = crepe.infer(frames, "tiny").numpy().astype(np.float64)
    times = np.arange(len(posterior)) * CREPE_HOP / RATE
    if is_silent(audio):
        return times, np.zeros(len(times))
    possible = (CREPE_BINS >= PITCH_RANGE[0]) & (CREPE_BINS <= PITCH_RANGE[1])
    best = np.where(possible, posterior, 0).argmax(axis=1, keepdims=True)
    weights = posterior * (np.abs(np.arange(len(CREPE_BINS)) - best) <= 4)
    frequency = np.exp(weights @ np.log(CREPE_BINS) / weights.sum(axis=1))
    voiced = np.take_along_axis(posterior, best, 1)[:, 0] >= 0.5
    return times, np.where(voiced, frequency, -frequency)
