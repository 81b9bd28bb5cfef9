"""Listener: sounds in; the instrument that a classifier, which took no part in training, predicts for each out.

Chapter: ``notebooks/12_evaluation.md``. Clips are ``(B, samples)`` at 22,050 Hz.
"""

from collections.abc import Callable, Mapping, Sequence

import librosa
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import Tensor

from ast_lib.audio import SAMPLE_RATE
from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import stack_audio
from ast_lib.data.rooms import record_in_room


def band_levels(sound: np.ndarray) -> np.ndarray:
    """Levels of 32 mel bands in dB below the clip's loudest, 60 at most: ``(samples,)`` to ``(32, T)``, hop 12 ms."""
    power = librosa.feature.melspectrogram(y=sound, sr=SAMPLE_RATE, n_fft=1024, hop_length=256, n_mels=32)
    return librosa.power_to_db(power, ref=max(float(power.max()), 1e-12), amin=1e-12, top_db=60)


def average_spectrum(audio: np.ndarray) -> np.ndarray:
    """Mean and standard deviation over time of MFCCs 2 to 13, ``(B, 24)``; loudness is left out."""
    cepstra = [librosa.feature.mfcc(S=band_levels(sound), n_mfcc=13)[1:] for sound in audio]
    return np.array([np.concatenate([one.mean(axis=1), one.std(axis=1)]) for one in cepstra])


def movement(audio: np.ndarray) -> np.ndarray:
    """How levels change within 46 ms: seven quantiles in each of 8 bands, ``(B, 56)``.

    Two soundfonts' violins may differ more in their average spectrum than a violin and a piano do; what they share is
    how a note begins, holds and ends. A constant filter changes nothing, silence is all zeros.
    """
    rows = []
    for sound in audio:
        level = band_levels(sound).reshape(8, 4, -1).mean(axis=1)
        change = level[:, 4:] - level[:, :-4]
        rows.append(np.quantile(change, [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98], axis=1).ravel())
    return np.array(rows)


def timbre(audio: np.ndarray) -> np.ndarray:
    """:func:`average_spectrum` and :func:`movement` side by side: ``(B, 80)``."""
    return np.concatenate([average_spectrum(audio), movement(audio)], axis=1)


def train_listener(
    voices: Mapping[str, list[PairedClip]],
    instruments: Sequence[str],
    features: Callable[[np.ndarray], np.ndarray] = timbre,
    seed: int = 0,
) -> Pipeline:
    """A classifier of instruments by sound: ``features``, then logistic regression.

    Args:
        voices: clips of the same pieces on each soundfont; every clip is heard once as it is and once in a random room.
        instruments: the labels.
        features: of audio ``(B, samples)``.
        seed: of the rooms.
    """
    audio, labels = [], []
    generator = torch.Generator().manual_seed(seed)
    for clips in voices.values():
        for instrument in instruments:
            clean = stack_audio(clips, instrument)
            audio += [clean, record_in_room(clean, SAMPLE_RATE, 1.0, generator)]
            labels += [instrument] * 2 * len(clips)
    listener = make_pipeline(FunctionTransformer(features), StandardScaler(), LogisticRegression(max_iter=5000))
    return listener.fit(torch.cat(audio).numpy(), labels)


def called(listener: Pipeline, audio: Tensor, instrument: str) -> np.ndarray:
    """1.0 for each clip of ``(B, samples)`` that the listener calls ``instrument``, else 0.0: ``(B,)``."""
    return (listener.predict(audio.numpy()) == instrument).astype(np.float64)
