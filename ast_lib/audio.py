"""Audio files: any rate, channel count and format in; mono at one rate out; and back to a file.

Chapter: ``notebooks/15_listening.md``. Reading and writing is libsndfile's (wav, flac, ogg, mp3, opus and more), the
change of sample rate is the SoX resampler's.
"""

import io
import os
import pathlib

import numpy as np
import soundfile
import soxr

from ast_lib.errors import AstError
from ast_lib.files import write_bytes

SAMPLE_RATE = 22050  # Hz, of the project's data; a model names its own
SILENCE = 1e-4  # RMS below which a file counts as silent: -80 dB below full scale
BLOCK = 65536  # samples handed to an encoder at a time
PEAK = 0.99  # of full scale: what a file that would clip is scaled down to
# libsndfile's name of the container and of the coding, by extension.
FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # Hz: the codec knows no others


def check(name: str, audio: np.ndarray, allow_silence: bool = False) -> np.ndarray:
    """Return ``audio`` if it is mono, finite and, unless allowed, above :data:`SILENCE`.

    Args:
        name: what an error message calls it.
        audio: expected as ``(samples,)``.

    Raises:
        AstError: for another shape, no samples, NaN or infinite samples, or silence.
    """
    if audio.ndim != 1 or not audio.size:
        raise AstError(f"{name}: found audio of shape {audio.shape}, accepted is (samples,) with 1 sample or more")
    if not np.isfinite(audio).all():
        raise AstError(f"{name}: found {np.count_nonzero(~np.isfinite(audio))} samples that are NaN or infinite")
    if not allow_silence and np.sqrt(np.mean(np.square(audio, dtype=np.float64))) < SILENCE:
        raise AstError(f"{name}: found silence, accepted is audio above {20 * np.log10(SILENCE):.0f} dB of full scale")
    return audio


def load(path: str | os.PathLike, sample_rate: int = SAMPLE_RATE, allow_silence: bool = False) -> np.ndarray:
    """Read an audio file as mono.

    Args:
        path: a file that libsndfile reads (wav, flac, ogg, opus, mp3, aiff, ...), at any rate, with any channel count.
        sample_rate: of the result, Hz.
        allow_silence: accept a file whose RMS is below :data:`SILENCE`.

    Returns:
        float32 ``(samples,)``, the mean of the channels; full scale is ±1.

    Raises:
        AstError: when the file is missing, a folder, unreadable, empty, silent, or holds NaN or infinite samples.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise AstError(f"{path}: found a folder, accepted is an audio file")
    if not path.is_file():
        raise AstError(f"{path}: no such file")
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    # libsndfile's own errors; a TypeError for headerless ".raw" files, whose rate nobody can know.
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = getattr(error, "error_string", "a headerless format")
        raise AstError(
            f"{path}: not readable as audio ({reason.rstrip('.')}); accepted are wav, flac, ogg, opus, mp3"
        ) from error
    if not len(audio):
        raise AstError(f"{path}: found 0 samples, accepted is 1 or more")
    audio = check(str(path), audio.mean(axis=1), allow_silence)
    audio = soxr.resample(audio, rate, sample_rate)
    if not len(audio):
        raise AstError(f"{path}: too short, it has no sample left at {sample_rate} Hz")
    return audio


def check_output(path: str | os.PathLike) -> pathlib.Path:
    """Return ``path`` if :func:`save` could write there: known extension, existing folder, not itself a folder.

    Raises:
        AstError: otherwise, so that nobody waits for a result that has nowhere to go.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in FORMATS:
        raise AstError(f"{path}: found the extension {path.suffix!r}, accepted are {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise AstError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise AstError(f"{path}: found a folder, accepted is the name of a file")
    return path


def save(path: str | os.PathLike, audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> pathlib.Path:
    """Write mono audio; the extension names the format, one of :data:`FORMATS`.

    Audio above full scale is scaled down to a peak of :data:`PEAK`, so nothing clips. Opus has no rate of 22,050 Hz:
    such files are resampled to the next rate that it has.

    Args:
        path: of the file; its folder exists. An earlier file is replaced only by a complete one.
        audio: ``(samples,)``, finite.
        sample_rate: Hz.

    Raises:
        AstError: for an unknown extension, a missing folder, audio of another shape or with NaN, or a full disk.
    """
    path = check_output(path)
    audio = check(str(path), np.asarray(audio), allow_silence=True).astype(np.float32)
    container, coding = FORMATS[path.suffix.lower()]
    if coding == "OPUS" and sample_rate not in OPUS_RATES:
        rate = next((rate for rate in OPUS_RATES if rate >= sample_rate), OPUS_RATES[-1])
        audio, sample_rate = soxr.resample(audio, sample_rate, rate), rate
    peak = np.abs(audio).max(initial=0.0)
    if peak > 1:
        audio = audio * (PEAK / peak)
    # Encoded in memory first: libsndfile does not report every failed write to a full disk, Python does.
    encoded = io.BytesIO()
    try:
        with soundfile.SoundFile(encoded, "w", sample_rate, 1, coding, format=container) as file:
            # In pieces: libsndfile's Vorbis encoder overruns the stack when it is given minutes at once.
            for start in range(0, len(audio), BLOCK):
                file.write(audio[start : start + BLOCK])
    except soundfile.LibsndfileError as error:
        raise AstError(f"{path}: {sample_rate} Hz cannot be written as {path.suffix}: {error.error_string}") from error
    return write_bytes(path, encoded.getvalue())
