"""The metrics of the paper's Table 1, as its evaluation scripts compute them, flaws included.

Chapters: ``notebooks/01_paper.md``, ``notebooks/13_published_run.md``. Each docstring says what is wrong with its
metric. ``estimate`` is what a system made, ``original`` the source clip, ``reference`` a clip of the target instrument,
of whatever piece: ``(samples,)`` at 22,050 Hz, both of one length. Bad audio raises :class:`AstError`, as in
:mod:`ast_lib.evaluation.metrics`. What the scripts apply them to is in :mod:`ast_lib.published.protocol`.

Source: evaluation_reconstruction.py:39-118 and evaluation_style_transfer.py:80-133 of the published repository, the
former at commit 5f6d593, the latter at 77a92a4.
"""

import librosa
import numpy as np

from ast_lib.audio import SAMPLE_RATE
from ast_lib.evaluation.metrics import Audio, checked_pair, correlation, is_silent


def _published_chroma(audio: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """librosa's chroma with its defaults: each frame's maximum is 1, tuning guessed; zeros for silence."""
    if is_silent(audio):
        return np.zeros((12, 1 + len(audio) // hop))
    return librosa.feature.chroma_stft(y=audio, sr=SAMPLE_RATE, n_fft=n_fft, hop_length=hop)


def published_chroma_distance(estimate: Audio, original: Audio) -> float:
    """Mean over frames of the Euclidean distance of chroma vectors (Hann 2048, hop 512, maximum 1); 0 is best.

    Every frame is scaled to 1 at its strongest class and the tuning is guessed, so even noise has a chroma. Silent
    frames are zero vectors.
    """
    x, y = (_published_chroma(audio, 2048, 512) for audio in checked_pair(estimate, original))
    return float(np.linalg.norm(x - y, axis=0).mean())


def published_onset_f1(estimate: Audio, original: Audio) -> float:
    """F1 of onset frames (hop 512) that coincide exactly: a detection one frame, 23 ms, late is wrong.

    Random frames score the harmonic mean of the two rates of onsets (equation ``chance-f1``), 0.07 for music.

    Returns:
        0 to 1; 1 when neither has an onset, 0 when one alone has.
    """
    x, y = (
        set(librosa.onset.onset_detect(y=audio, sr=SAMPLE_RATE)) if not is_silent(audio) else set()
        for audio in checked_pair(estimate, original)
    )
    return 2 * len(x & y) / (len(x) + len(y)) if x or y else 1.0


def published_pitch_correlation(estimate: Audio, original: Audio) -> float:
    """Correlation over frames of ``librosa.piptrack``'s frequencies averaged over all 1025 bins, most of them 0.

    The mean mixes the number of spectral peaks with their frequencies and is no pitch; 0 for silence.
    """
    x, y = (librosa.piptrack(y=audio, sr=SAMPLE_RATE)[0].mean(axis=0) for audio in checked_pair(estimate, original))
    return correlation(x, y)


def published_mse_spectrogram(estimate: Audio, original: Audio) -> float:
    """Mean squared difference of linear STFT magnitudes (Hann 1024, hop 256).

    Loud partials decide, so silence does well.
    """
    x, y = (np.abs(librosa.stft(audio, n_fft=1024, hop_length=256)) for audio in checked_pair(estimate, original))
    return float(np.mean(np.square(x - y)))


def published_chroma_similarity(estimate: Audio, original: Audio) -> float:
    """Mean over the 12 pitch classes of the correlation over time (Hann 1024, hop 256); 1 is best, silence gives 0.

    The paper reads a *low* value as strong transfer; it means that the notes were lost. A window of 1024 samples cannot
    tell semitones apart below 500 Hz. Classes that do not vary are left out.
    """
    x, y = (_published_chroma(audio, 1024, 256) for audio in checked_pair(estimate, original))
    varies = (x.std(axis=1) > 0) & (y.std(axis=1) > 0)
    values = [correlation(a, b) for a, b in zip(x[varies], y[varies], strict=True)]
    return float(np.mean(values)) if values else 0.0


def published_mfcc_distance(estimate: Audio, reference: Audio) -> float:
    """Mean over frames of the Euclidean distance of 13 MFCCs (hop 256), frame by frame; 0 is best.

    The paper compares with a clip of another piece, so different notes count as different timbre; the first
    coefficient is loudness and outweighs the rest.
    """
    pair = checked_pair(estimate, reference)
    x, y = (librosa.feature.mfcc(y=audio, sr=SAMPLE_RATE, n_mfcc=13, hop_length=256) for audio in pair)
    return float(np.linalg.norm(x - y, axis=0).mean())


def published_instrumentation_similarity(estimate: Audio, reference: Audio) -> float:
    """Correlation over bins of the magnitudes summed over time (Hann 2048, hop 512); 1 is best, silence gives 0."""
    x, y = (np.abs(librosa.stft(audio)).sum(axis=1) for audio in checked_pair(estimate, reference))
    return correlation(x, y)


def published_self_similarity_distance(estimate: Audio, reference: Audio) -> float:
    """Share of entries in which two recurrence matrices differ, 0 to 1.

    The published matrices are 20 × 20: the features are transposed, so the recurrence is between MFCC *coefficients*,
    not between moments in time.
    """
    x, y = (
        librosa.segment.recurrence_matrix(librosa.feature.mfcc(y=audio, sr=SAMPLE_RATE).T)
        for audio in checked_pair(estimate, reference)
    )
    return float(np.mean(x != y))
