"""The two distances by which one-shot style transfer was first measured against a paired truth.

Chapter: ``notebooks/12_evaluation.md``. Source: Cífka, Ozerov, Şimşekli and Richard, "Self-supervised VQ-VAE for
one-shot music style transfer" (ICASSP 2021), section 4, as their code has them: github.com/cifkao/ss-vq-vae, commit
2dbabac, ``experiments/paper_eval.ipynb``, ``eval_example_target`` and ``eval_example_content``.
"""

import librosa
import numpy as np
import soxr

from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import Audio, checked_pair

RATE = 16000  # Hz


def _mel_decibels(audio: np.ndarray) -> np.ndarray:
    heard = soxr.resample(audio, SAMPLE_RATE, RATE)
    heard = heard / (np.sqrt(np.mean(heard**2)) + np.finfo(heard.dtype).eps)
    return librosa.power_to_db(librosa.feature.melspectrogram(y=heard, sr=RATE))


def mel_lsd(estimate: Audio, truth: Audio) -> float:
    """Log-spectral distance in 128 mel bands, in dB: for each band the RMS over *frames*, then the mean over bands.

    Clips are resampled to 16 kHz and brought to RMS 1; powers are of windows of 2048 with hop 512, at least 80 dB
    below the loudest of the clip. Their code takes the RMS along time; :func:`ast_lib.evaluation.metrics.lsd` takes it
    along frequency, as is usual.

    Returns:
        0 for the same sound at any level; two silent clips are equal.
    """
    estimate, truth = (_mel_decibels(audio) for audio in checked_pair(estimate, truth))
    return float(np.sqrt(np.mean((estimate - truth) ** 2, axis=1)).mean())


def pitch_jaccard(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Mean over frames of the Jaccard *distance* of two sets of pitches: 1 minus what both have over what either has.

    Args:
        estimate, truth: boolean ``(T, pitches)``, which semitones sound, as of
            :func:`benchmarks.judges.basic_pitch.pitch_sets`. There, the sets are those of Essentia's
            ``MultiPitchMelodia``, so that values are not theirs.

    Returns:
        0 to 1; a frame with no pitch on either side counts as 0, and with none on one side as 1.

    Raises:
        AstError: for tables that are empty, not boolean or of two shapes.
    """
    estimate, truth = np.asarray(estimate), np.asarray(truth)
    if (
        estimate.shape != truth.shape
        or estimate.ndim != 2
        or not estimate.size
        or {estimate.dtype, truth.dtype} != {np.dtype(bool)}
    ):
        raise AstError(
            f"estimate, truth: found {estimate.dtype} {estimate.shape} and {truth.dtype} {truth.shape}, "
            "accepted are two boolean tables (T, pitches)"
        )
    either = (estimate | truth).sum(axis=1)
    return float(np.mean(np.where(either, 1 - (estimate & truth).sum(axis=1) / np.maximum(either, 1), 0)))
