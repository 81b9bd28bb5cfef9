"""From an audio file to its frames, whatever the format; how they become mono is :mod:`ast_lib.audio`'s affair."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from ast_lib.errors import AstError

BLOCK = 65536  # frames handed on at a time


class Block(NamedTuple):
    """Some frames of a file: float32 ``(samples, channels)`` at ``rate`` Hz, of the file's ``part`` 0, 1, ..."""

    part: int
    rate: int
    frames: np.ndarray


class Stream:
    """A binary file as libsndfile may use it: errors in its callbacks would be lost, so they wait for :meth:`check`."""

    def __init__(self, file: BinaryIO):
        self._file, self._error = file, None

    def check(self):
        """Raise the :class:`OSError` that stopped reading or writing, if one did."""
        if self._error:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of a file."""
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """As of a file; nothing after an error."""
        try:
            return b"" if self._error else self._file.read(size)
        except OSError as error:
            self._error = error
            return b""

    def write(self, data: bytes) -> int:
        """As of a file; after an error nothing is written any more."""
        try:
            if not self._error:
                self._file.write(data)
        except OSError as error:
            self._error = error
        return len(data)


class Decoder:
    """The frames of an audio file: iterate over it, as often as needed, for its :class:`Block` s.

    Attributes:
        notes: after an iteration, what a user should know about the file.
    """

    def __init__(self, path: pathlib.Path):
        self.path, self.notes = path, []

    def __iter__(self) -> Iterator[Block]:
        self.notes = []
        try:
            with soundfile.SoundFile(self.path) as file:
                for frames in file.blocks(BLOCK, dtype="float32", always_2d=True):
                    yield Block(0, file.samplerate, frames)
        # libsndfile's own errors; a TypeError for headerless ".raw" files, whose rate nobody can know.
        except (soundfile.LibsndfileError, TypeError) as error:
            reason = getattr(error, "error_string", "a headerless format")
            raise AstError(
                f"{self.path}: not readable as audio ({reason.rstrip('.')}); accepted are wav, flac, ogg, opus, mp3"
            ) from error


@contextlib.contextmanager
def open_decoder(path: str | os.PathLike) -> Iterator[Decoder]:
    """The frames of an audio file.

    Raises:
        AstError: when the file is missing, a folder, or unreadable.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise AstError(f"{path}: found a folder, accepted is an audio file")
    if not path.is_file():
        raise AstError(f"{path}: no such file")
    yield Decoder(path)
