"""From mono audio to a file, whole or not at all; the extension names the format. libsndfile encodes.

Chapter: ``notebooks/15_listening.md``.
"""

import os
import pathlib
import tempfile
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
import soundfile

from ast_lib.audio.mono import SAMPLE_RATE, check, resampled
from ast_lib.errors import AstError
from ast_lib.files import check_target, replacing

PEAK = 0.99  # of full scale: what a file that would clip is scaled down to
# libsndfile's name of the container, by extension; its usual coding is taken, but for .opus.
FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3"}
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # Hz: the codec knows no others


class VirtualFile:
    """A file as libsndfile writes to it: an ``error`` in one of libsndfile's callbacks would be lost, and is kept."""

    def __init__(self, file: BinaryIO):
        self._file, self.error, self.seek, self.tell = file, None, file.seek, file.tell

    def write(self, data: bytes) -> int:
        """As of a file; after an error nothing is written any more."""
        try:
            if not self.error:
                self._file.write(data)
        except OSError as error:
            self.error = error
        return len(data)


def check_output(path: str | os.PathLike) -> pathlib.Path:
    """Return ``path`` if :func:`save` could write there: known extension, existing folder, not itself a folder.

    Raises:
        AstError: otherwise, so that nobody waits for a result that has nowhere to go.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in FORMATS:
        raise AstError(f"{path}: found the extension {path.suffix!r}, accepted are {', '.join(FORMATS)}")
    check_target(path)
    return path


def save(
    path: str | os.PathLike, audio: np.ndarray | Iterable[np.ndarray], sample_rate: int = SAMPLE_RATE
) -> pathlib.Path:
    """Write mono audio; the extension names the format, one of :data:`FORMATS`.

    Audio above full scale is scaled down to a peak of :data:`PEAK`, so nothing clips. Opus has no rate of 22,050 Hz:
    such files are resampled to the next rate that it has. Blocks wait for the last one on disk, not in memory.

    Args:
        path: of the file; its folder exists. An earlier file is replaced only by a complete one.
        audio: ``(samples,)``, finite; or an iterable of such blocks, of any lengths, which follow each other.
        sample_rate: Hz.

    Raises:
        AstError: for an unknown extension, a missing folder, audio of another shape or with NaN, or a full disk.
    """
    path = check_output(path)
    container, coding = FORMATS[path.suffix.lower()], "OPUS" if path.suffix.lower() == ".opus" else None
    blocks, rate, peak = ([audio] if isinstance(audio, np.ndarray) else audio), sample_rate, 0.0
    blocks = (check(str(path), block, allow_silence=True).astype(np.float32) for block in blocks if np.size(block))
    if coding == "OPUS" and rate not in OPUS_RATES:
        rate = next((rate for rate in OPUS_RATES if rate >= sample_rate), OPUS_RATES[-1])
        blocks = resampled(blocks, sample_rate, rate)
    with replacing(path) as file, tempfile.TemporaryFile(dir=pathlib.Path(os.path.realpath(path)).parent) as waiting:
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            waiting.write(block.tobytes())
        if not waiting.tell():
            raise AstError(f"{path}: found audio of shape (0,), accepted is (samples,) with 1 sample or more")
        waiting.seek(0)
        scale = np.float32(PEAK / peak if peak > 1 else 1.0)
        encoded = VirtualFile(file)
        try:
            with soundfile.SoundFile(encoded, "w", rate, 1, coding, format=container) as sound:
                # In pieces: libsndfile's Vorbis encoder overruns the stack when it is given minutes at once.
                while len(block := np.frombuffer(waiting.read(1 << 18), np.float32)) and not encoded.error:
                    sound.write(block * scale)
        except soundfile.LibsndfileError as error:
            raise AstError(f"{path}: {rate} Hz cannot be written as {path.suffix}: {error.error_string}") from error
        if encoded.error:
            raise encoded.error
    return path
