"""Metrics: how far an output is from the true target, and from the score.

Chapters: ``notebooks/11_training.md`` (transfer curve), ``notebooks/12_evaluation.md`` (every metric with its equation)
and ``notebooks/15_listening.md``. Conventions, unless a docstring says otherwise:

- Audio is one clip, ``(samples,)``, a numpy array or a tensor, at 22,050 Hz; ``estimate`` is what a system made,
  ``truth`` the same notes rendered on the target instrument. Both have the same length: nothing is trimmed in silence.
- ``notes`` are :class:`ast_lib.data.scores.Notes` of the clip, in seconds from its start.
- Log-spectral distances are in dB, all other metrics are plain numbers.
- NaN, infinite or empty input raises :class:`AstError`. Silence (RMS below :data:`~ast_lib.audio.levels.NO_LEVEL`,
  -100 dB) is valid and its value is documented.

Pitch and onsets are scored by ``mir_eval``, features come from ``librosa``.
"""

from collections.abc import Callable

import librosa
import mir_eval
import numpy as np
import torch
from torch import Tensor

from ast_lib.audio.levels import NO_LEVEL, normalise_rms
from ast_lib.audio.mono import SAMPLE_RATE, check
from ast_lib.data.scores import Notes
from ast_lib.errors import AstError
from ast_lib.representation.spectrogram import Spectrogram

Audio = np.ndarray | Tensor
# The tracker's range, C3 to C7, holds every tune of the corpus. The window is six periods of C3; pYIN needs two.
PITCH_RANGE = (130.0, 2100.0)  # Hz
PYIN = {"fmin": PITCH_RANGE[0], "fmax": PITCH_RANGE[1], "frame_length": 1024, "hop_length": 512}  # samples
ONSET_HOP = 256  # samples, 12 ms


def checked_clip(name: str, audio: Audio) -> np.ndarray:
    """One checked clip as float32 ``(samples,)``."""
    audio = np.asarray(audio.detach().cpu() if isinstance(audio, Tensor) else audio, dtype=np.float32)
    return check(name, audio, allow_silence=True)


def checked_pair(estimate: Audio, truth: Audio) -> tuple[np.ndarray, np.ndarray]:
    """Both clips as float32 ``(samples,)``.

    Raises:
        AstError: for another shape, no samples, NaN or infinite ones, or two lengths.
    """
    estimate, truth = checked_clip("estimate", estimate), checked_clip("truth", truth)
    if len(estimate) != len(truth):
        raise AstError(f"estimate: found {len(estimate)} samples, accepted is the truth's {len(truth)}")
    return estimate, truth


def is_silent(audio: np.ndarray) -> bool:
    """Whether the RMS of a clip ``(samples,)`` is below -100 dB."""
    return bool(np.sqrt(np.mean(np.square(audio, dtype=np.float64))) < NO_LEVEL)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two series; 0 where one of them does not vary."""
    a, b = (series.astype(np.float64) - series.mean(dtype=np.float64) for series in (a, b))
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.dot(a, b) / size) if size > 1e-12 else 0.0


# --- Distance to the true target -------------------------------------------------------------------------------------


def log_spectral_distance(estimate: Tensor, truth: Tensor, floor: float = 1e-3) -> Tensor:
    """Mean over frames of the RMS over bins of ``20 log10((|X| + floor) / (|Y| + floor))``.

    Args:
        estimate, truth: STFTs ``(..., T, F)``, complex or magnitudes, of the same shape.
        floor: magnitude below which differences fade; for STFTs of audio at RMS 0.07 and a Hann window of 1024 it is
            87 dB below a sine of that level.

    Returns:
        ``(...)`` in dB, 0 for equal magnitudes; two silent spectra are equal.

    Raises:
        AstError: for shapes that differ, are empty, or values that are NaN or infinite.
    """
    if estimate.shape != truth.shape or estimate.ndim < 2 or not estimate.numel():
        raise AstError(
            f"estimate and truth: found spectra of shapes {tuple(estimate.shape)} and {tuple(truth.shape)}, "
            "accepted are two equal shapes (..., T, F) that are not empty"
        )
    difference = 20 * torch.log10((estimate.abs() + floor) / (truth.abs() + floor))
    if not torch.isfinite(difference).all():
        raise AstError("estimate and truth: found NaN or infinite values in their spectra")
    return difference.square().mean(dim=-1).sqrt().mean(dim=-1)


def lsd(estimate: Audio, truth: Audio) -> np.ndarray:
    """:func:`log_spectral_distance` of audio: each clip brought to RMS 0.07, then STFT with Hann 1024, hop 256.

    Args:
        estimate, truth: ``(B, samples)`` or ``(samples,)``.

    Returns:
        float64 ``(B,)`` or ``()`` in dB. A silent clip stays silent: against another silent one it scores 0, against
        music about 20 to 40.
    """
    if np.ndim(estimate) == 2 and np.shape(estimate) == np.shape(truth):
        return np.array([lsd(*pair) for pair in zip(estimate, truth, strict=True)])
    spectrogram = Spectrogram()
    x, y = (spectrogram(torch.from_numpy(normalise_rms(audio))[None]) for audio in checked_pair(estimate, truth))
    return np.float64(log_spectral_distance(x, y).item())


def chroma(audio: Audio) -> np.ndarray:
    """Energy in each of the 12 pitch classes, ``(12, T)``, class C first: STFT power (Hann 4096, hop 1024), A4 = 440
    Hz.

    The tuning is fixed, not estimated, so that a system that is out of tune does not have its chroma bins moved for it.
    """
    audio = checked_clip("audio", audio)
    audio = np.pad(audio, (0, max(4096 - len(audio), 0)))
    return librosa.feature.chroma_stft(y=audio, sr=SAMPLE_RATE, n_fft=4096, hop_length=1024, tuning=0.0, norm=None)


def chroma_cosine(estimate: Audio, truth: Audio) -> float:
    """Mean over frames of the cosine between the :func:`chroma` of output and truth, equation ``eval-chroma``.

    Frames in which the truth is silent (60 dB below its loudest frame) are left out. Frames in which the truth sounds
    and the estimate is silent count as 0: leaving them out would reward a system for falling silent.

    Returns:
        0 to 1, 1 for equal pitch classes; 0 when either signal is silent.
    """
    estimate, truth = checked_pair(estimate, truth)
    if is_silent(estimate) or is_silent(truth):
        return 0.0
    vectors = []
    for frames in (chroma(estimate), chroma(truth)):
        size = np.linalg.norm(frames, axis=0)
        vectors.append(np.where(size > 1e-6 * size.max(), frames / np.where(size > 0, size, 1), 0))
    x, y = vectors
    return float(np.sum(x * y, axis=0)[y.any(axis=0)].mean())


# --- Distance to the score -------------------------------------------------------------------------------------------


def pitch_track(audio: Audio, resolution: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Fundamental frequency by pYIN (Mauch and Dixon 2014), within :data:`PITCH_RANGE`, 23 ms hop, 46 ms window.

    With a window twice as long, the fast notes of a fiddle tune run together
    (raw pitch accuracy of rendered pianos falls from 0.93 to 0.87).

    Args:
        resolution: spacing of the candidates in semitones; a quarter is five times as fast as pYIN's usual tenth and
            gave the same raw pitch accuracy on rendered clips (0.931 and 0.931 on piano, 0.874 and 0.874 on violin).

    Returns:
        times ``(T,)`` of the frames' centres in seconds, and frequencies ``(T,)`` in Hz in ``mir_eval``'s convention:
        negative where the tracker thinks the frame unvoiced but has a guess. Silence has the frequency 0 everywhere.
    """
    audio = checked_clip("audio", audio)
    times = np.arange(1 + len(audio) // PYIN["hop_length"]) * PYIN["hop_length"] / SAMPLE_RATE
    if is_silent(audio):
        return times, np.zeros(len(times))
    frequency, voiced, _ = librosa.pyin(audio, sr=SAMPLE_RATE, resolution=resolution, fill_na=None, **PYIN)
    return times, np.where(voiced, frequency, -frequency)


def score_pitch(notes: Notes, times: np.ndarray) -> np.ndarray:
    """Frequency in Hz of the note that sounds at each time ``(T,)``, 0 in a rest: the reference of :func:`pitch_track`.

    A note sounds from its onset up to, not including, its end, as the score says; where two overlap (within the
    tolerance of :attr:`Notes.monophonic`) the later one counts.
    """
    frequency = np.zeros(len(times))
    for onset, duration, pitch in zip(notes.onset, notes.duration, notes.pitch, strict=True):
        frequency[(times >= onset) & (times < onset + duration)] = librosa.midi_to_hz(pitch)
    return frequency


def raw_pitch_accuracy(audio: Audio, notes: Notes, track: Callable = pitch_track) -> float:
    """Share of frames with a note in the *score* whose tracked pitch is within 50 cents of it (``mir_eval.melody``).

    Equation ``eval-pitch``. Frames whose centre lies in a rest do not count. A guess counts whether or not the tracker
    thinks the frame voiced. True targets do not reach 1 either (ringing strings, slow attacks): report the value beside
    theirs.

    Args:
        track: the tracker, a function with the results of :func:`pitch_track`; others are in
            :mod:`benchmarks.judges.pitch`.

    Returns:
        0 to 1; 0 for silence.

    Raises:
        AstError: also for notes that are polyphonic, outside the tracker's range or all outside the clip.
    """
    if not notes.monophonic:
        raise AstError("notes: found several at once, raw pitch accuracy accepts monophonic ones")
    lowest, highest = librosa.hz_to_midi(PITCH_RANGE)
    if len(notes) and (notes.pitch.min() < lowest or notes.pitch.max() > highest):
        raise AstError(
            f"notes: found pitches {notes.pitch.min()} to {notes.pitch.max()}, "
            f"accepted by the pitch tracker are {int(np.ceil(lowest))} to {int(highest)}"
        )
    times, estimate = track(audio)
    reference = score_pitch(notes, times)
    if not reference.any():
        raise AstError(f"notes: found {len(notes)}, none of which sounds within the clip")
    if not estimate.any():
        return 0.0
    # Without the signs: raw pitch accuracy is of the guesses, voiced or not.
    series = mir_eval.melody.to_cent_voicing(times, reference, times, np.abs(estimate))
    return float(mir_eval.melody.raw_pitch_accuracy(*series, cent_tolerance=50))


def pitch_by_age(audio: Audio, notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """How soon after the beginning of a note its pitch is right: :func:`raw_pitch_accuracy` frame by frame.

    Args:
        audio, notes: as there.

    Returns:
        of each frame with a note in the score: seconds since that note began ``(n,)``, and whether the tracked pitch
        is within 50 cents of it ``(n,)``.
    """
    times, estimate = pitch_track(audio)
    reference = score_pitch(notes, times)
    sounding = reference > 0
    starts = np.sort(notes.onset)
    age = times[sounding] - starts[np.searchsorted(starts, times[sounding], side="right") - 1]
    ratio = np.abs(estimate[sounding]) / reference[sounding]
    return age, np.abs(12 * np.log2(np.maximum(ratio, 1e-9))) <= 0.5


def detected_onsets(audio: Audio) -> np.ndarray:
    """Onsets in seconds ``(N,)``: peaks of the spectral flux (``librosa``); none in silence."""
    audio = checked_clip("audio", audio)
    if is_silent(audio):
        return np.zeros(0)
    padded = np.pad(audio, (0, max(2048 - len(audio), 0)))  # librosa's window
    return librosa.onset.onset_detect(y=padded, sr=SAMPLE_RATE, hop_length=ONSET_HOP, units="time")


def onset_f1(audio: Audio, notes: Notes, window: float = 0.05, detect: Callable = detected_onsets) -> float:
    """F1 of onsets that ``detect`` finds against the score's, matched within ``window`` seconds.

    Equation ``eval-onset``. Notes that start together are one onset. Onsets in the first ``window`` seconds are left
    out on both sides: a note that already sounds when the clip begins has no attack in it.

    Returns:
        0 to 1; 1 when neither side has an onset, 0 when one side alone has. Silence has none.
    """
    reference, detected = np.unique(notes.onset[notes.onset < len(audio) / SAMPLE_RATE]), detect(audio)
    reference, detected = reference[reference >= window], detected[detected >= window]
    if not len(reference) or not len(detected):
        return float(len(reference) == len(detected))
    return float(mir_eval.onset.f_measure(reference, detected, window=window)[0])


def level_curve(audio: Audio) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds and level in dB of ``(samples,)``: RMS of 1024 samples every 256, -80 dB or more."""
    rms = librosa.feature.rms(y=np.asarray(audio), frame_length=1024, hop_length=256)[0]
    return np.arange(len(rms)) * 256 / SAMPLE_RATE, 20 * np.log10(np.maximum(rms, 1e-4))


def long_notes(times: np.ndarray, samples: int, notes: Notes, least: float, trim: float = 0.0) -> list[np.ndarray]:
    """Which times lie, ``trim`` seconds off its ends, in each note that sounds ``least`` seconds or more in a clip."""
    end = np.minimum(notes.onset + notes.duration, samples / SAMPLE_RATE)
    # Rounding in the clip's times must not drop a note of exactly the shortest duration.
    chosen = np.flatnonzero(end - notes.onset >= least - 1e-6)
    return [(times >= notes.onset[i] + trim) & (times < end[i] - trim) for i in chosen]


def envelope_correlation(estimate: Audio, truth: Audio, notes: Notes, min_duration: float = 1.0) -> np.ndarray:
    """Correlation of the two level envelopes over each long note: does a violin's note sustain and a piano's decay?

    Equation ``eval-envelope``, of :func:`level_curve` over the frames centred within the note.

    Returns:
        ``(N,)``, -1 to 1, one value for each note of at least ``min_duration`` seconds in the clip, in their order;
        empty when there is none. A level that does not change (silence) correlates 0 with anything.
    """
    estimate, truth = checked_pair(estimate, truth)
    (times, x), (_, y) = level_curve(estimate), level_curve(truth)
    return np.array([correlation(x[note], y[note]) for note in long_notes(times, len(truth), notes, min_duration)])


def held_slope(audio: Audio, notes: Notes, min_duration: float = 1.0) -> np.ndarray:
    """Slope in dB/s of the level within each long note: about 0 for one that is held, negative for one that dies away.

    The line is fitted without the note's first and last tenth of a second, which are attack and release.

    Returns:
        ``(N,)``, one value for each span of a note of at least ``min_duration`` seconds in the clip, or of notes that
        begin and end together; empty when there is none.
    """
    times, level = level_curve(audio)
    held = np.reshape(long_notes(times, len(audio), notes, min_duration, trim=0.1), (-1, len(times)))
    # Notes that sound together have one level.
    return np.array([np.polyfit(times[note], level[note], 1)[0] for note in np.unique(held, axis=0)])
