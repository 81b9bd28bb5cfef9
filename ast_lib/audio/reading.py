"""Reading: an audio file of any rate, channel count and format in; mono blocks at one rate out.

Chapter: ``notebooks/15_listening.md``. :mod:`ast_lib.audio.decoding` gives a file's frames; here
:mod:`ast_lib.audio.mono` makes them one channel without its mean, at the wanted rate, block by block, so that memory
does not grow with a file's length. :mod:`ast_lib.audio.writing` is the way back.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator

import numpy as np

from ast_lib.audio.decoding import Decoder, open_decoder
from ast_lib.audio.mono import SAMPLE_RATE, AudioWarning, Mixer, resampled
from ast_lib.errors import AstError


class Sound:
    """An audio file that :func:`open_sound` has measured; memory does not grow with its length.

    Attributes:
        name: of the file, in messages.
        rate: Hz, of the file.
        samples, seconds: of each channel, at that rate: what was really found.
        rms: of the mono signal without its mean; full scale is 1.
    """

    def __init__(self, name: str, decoder: Decoder, mixer: Mixer):
        self.name, self.rate, self._decoder, self._mixer = name, decoder.rate, decoder, mixer
        self.samples, self.seconds, self.rms = mixer.frames, mixer.frames / decoder.rate, mixer.rms

    def blocks(self, sample_rate: int = SAMPLE_RATE) -> Iterator[np.ndarray]:
        """The mono signal without its mean at ``sample_rate``: float32 ``(samples,)``, of any lengths.

        Every call decodes the file again.

        Raises:
            AstError: when the file has no sample left at this rate, or can no longer be read.
        """
        if 2 * self.samples * sample_rate < self.rate:
            raise AstError(f"{self.name}: too short, it has no sample left at {sample_rate} Hz")
        yield from filter(len, resampled(map(self._mixer, self._decoder), self.rate, sample_rate))


@contextlib.contextmanager
def open_sound(path: str | os.PathLike, allow_silence: bool = False) -> Iterator[Sound]:
    """Open an audio file and measure all of it; what is odd about it is an :class:`AudioWarning`.

    Args:
        path: of a file that :func:`ast_lib.audio.decoding.open_decoder` accepts.
        allow_silence: accept a file whose RMS is below :data:`SILENCE`.

    Raises:
        AstError: when the file is missing, a folder, unreadable, empty, silent or constant, has a rate below
            :data:`LOWEST_RATE`, or holds samples that are NaN, infinite or beyond :data:`LARGEST`.
    """
    with open_decoder(path) as decoder:
        mixer = Mixer(str(path), decoder, allow_silence)
        for note in decoder.notes:
            warnings.warn(f"{path}: {note}", AudioWarning, stacklevel=2)
        yield Sound(str(path), decoder, mixer)


def load(path: str | os.PathLike, sample_rate: int = SAMPLE_RATE, allow_silence: bool = False) -> np.ndarray:
    """Read an audio file as mono: all blocks of :func:`open_sound`, whose arguments and errors these are.

    Args:
        sample_rate: of the result, Hz.

    Returns:
        float32 ``(samples,)``, the mean of the channels without its mean over time; full scale is ±1.
    """
    with open_sound(path, allow_silence) as sound:
        return np.concatenate(list(sound.blocks(sample_rate)))
