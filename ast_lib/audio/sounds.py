"""Audio files: any rate, channel count and format in; mono at one rate out; and back to a file.

Chapter: ``notebooks/15_listening.md``. :mod:`ast_lib.audio.decoding` gives a file's frames; here they become one
channel without its mean, at the wanted rate, block by block, so that memory does not grow with a file's length. Reading
and writing is libsndfile's, the change of sample rate is the SoX resampler's.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import soundfile
import soxr

from ast_lib.audio.decoding import Decoder, VirtualFile, open_decoder
from ast_lib.errors import AstError
from ast_lib.files import check_target, replacing

SAMPLE_RATE = 22050  # Hz, of the project's data; a model names its own
SILENCE = 1e-4  # RMS below which a file counts as silent: -80 dB below full scale
LOWEST_RATE = 2000  # Hz, of a file: below it nothing of an instrument is left
LARGEST = 1e9  # of a sample, where full scale is 1: beyond, sums of squares lose their meaning in float32
CANCELLED = 0.01  # power of the channels' mean, relative to that of channels that know nothing of each other
BLOCK = 65536  # samples handed on at a time
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
    # A constant is no sound, but a single sample is a click.
    if not allow_silence and (np.std(audio, dtype=np.float64) if len(audio) > 1 else np.abs(audio[0])) < SILENCE:
        raise AstError(f"{name}: found silence, accepted is audio above {20 * np.log10(SILENCE):.0f} dB of full scale")
    return audio


def check_rate(name: str, rate: int):
    """Raise :class:`AstError` for a file's ``rate`` below :data:`LOWEST_RATE`."""
    if rate < LOWEST_RATE:
        raise AstError(
            f"{name}: found a rate of {rate} Hz, accepted is {LOWEST_RATE} Hz or more; "
            "below it nothing of an instrument is left"
        )


# --- in


class AudioWarning(UserWarning):
    """What a user should know about an audio file that is read nevertheless: that it ends early, for example."""


def warn(message: str):
    """Tell the user: the command prints one line of it, other code may catch or ignore the :class:`AudioWarning`."""
    warnings.warn(message, AudioWarning, stacklevel=3)


class Mixer:
    """Frames to mono: measured on all frames of a signal first, then applied to any of them.

    The result is the mean of the channels without its own mean over time, since a constant is no sound. Channels that
    cancel each other give the loudest one instead.

    Args:
        name: of the signal, in messages.
    """

    def __init__(self, name: str):
        self.name, self.frames, self._bad, self._peak = name, 0, 0, 0.0
        self._sums = self._products = 0.0  # (channels,) and (channels, channels)

    def measure(self, frames: np.ndarray):
        """Take note of frames ``(samples, channels)``."""
        wide = frames.astype(np.float64)
        sums, products = wide.sum(axis=0), wide.T @ wide
        self.frames += len(frames)
        if np.isfinite(products).all():
            self._peak = max(self._peak, float(wide.max(initial=0.0)), -float(wide.min(initial=0.0)))
            self._sums, self._products = self._sums + sums, self._products + products
        else:
            self._bad += len(frames) - np.count_nonzero(np.isfinite(frames).all(axis=1))

    def decide(self, allow_silence: bool = False):
        """Choose the weights of the channels and the mean, and with them ``rms``, full scale 1.

        Raises:
            AstError: for no frames, NaN or infinite samples, samples beyond :data:`LARGEST` or, unless allowed,
                silence.
        """
        if not self.frames:
            raise AstError(f"{self.name}: found 0 samples, accepted is 1 or more")
        if self._bad:
            raise AstError(f"{self.name}: found {self._bad} samples that are NaN or infinite")
        if self._peak > LARGEST:
            raise AstError(
                f"{self.name}: found samples up to {self._peak:.3g}, accepted are those up to {LARGEST:.0e}; "
                "full scale is 1"
            )
        # A single sample has no mean over time: it is a click, no constant.
        means = self._sums / self.frames * (self.frames > 1)
        covariance = self._products / self.frames - np.outer(means, means)
        powers, channels = np.diag(covariance), len(means)
        loudest, self.weights = int(np.argmax(powers)), np.full(channels, 1 / channels)
        if covariance.sum() < CANCELLED * powers.sum() and powers[loudest] >= SILENCE**2:
            self.weights = np.eye(channels)[loudest]
            warn(f"{self.name}: its {channels} channels cancel each other; only the louder, {loudest + 1}, is used")
        power = self.weights @ covariance @ self.weights
        self.mean, self.rms = float(self.weights @ means), float(np.sqrt(max(power, 0.0)))
        if not allow_silence and self.rms < SILENCE:
            constant = f" (a constant of {self.mean:.3g} is no sound)" if abs(self.mean) >= SILENCE else ""
            raise AstError(
                f"{self.name}: found silence{constant}, "
                f"accepted is audio above {20 * np.log10(SILENCE):.0f} dB of full scale"
            )

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames ``(samples, channels)`` as float32 ``(samples,)``."""
        return (frames @ self.weights - self.mean).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Sound:
    """An audio file that :func:`open_sound` has measured; memory does not grow with its length.

    Attributes:
        path: the file's.
        rate: Hz, of the file.
        samples: of each channel, at that rate: what was really found.
        rms: of the mono signal without its mean; full scale is 1.
    """

    path: pathlib.Path
    rate: int
    samples: int
    rms: float
    _decoder: Decoder
    _mixers: dict[int, Mixer]  # by part

    @property
    def seconds(self) -> float:
        """Length of what was really found."""
        return self.samples / self.rate

    def blocks(self, sample_rate: int = SAMPLE_RATE, size: int = BLOCK) -> Iterator[np.ndarray]:
        """The mono signal without its mean at ``sample_rate``: float32 ``(size,)``, the last one shorter.

        Every call decodes the file again.

        Raises:
            AstError: when the file has no sample left at this rate, or can no longer be read.
        """
        waiting, found = np.empty(0, np.float32), 0
        for piece in self._resampled(sample_rate):
            waiting, found = np.concatenate([waiting, piece]), found + len(piece)
            whole = len(waiting) - len(waiting) % size
            yield from waiting[:whole].reshape(-1, size)
            waiting = waiting[whole:]
        if not found:
            raise AstError(f"{self.path}: too short, it has no sample left at {sample_rate} Hz")
        if len(waiting):
            yield waiting

    def _resampled(self, sample_rate: int) -> Iterator[np.ndarray]:
        # A part keeps its rate and channels, the next one may have others.
        for part, blocks in itertools.groupby(self._decoder, key=lambda block: block.part):
            mono = ((block.rate, self._mixers[part](block.frames)) for block in blocks)
            rate, first = next(mono)
            yield from resampled(itertools.chain([first], (samples for _, samples in mono)), rate, sample_rate)


def resampled(blocks: Iterable[np.ndarray], rate: int, wanted: int) -> Iterator[np.ndarray]:
    """Blocks of one float32 signal at ``rate`` Hz to blocks at ``wanted`` Hz, with no seams between them."""
    stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


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
        mixers, rates = {}, {}
        for part, rate, frames in decoder:
            check_rate(str(path), rate)
            mixers.setdefault(part, Mixer(str(path))).measure(frames)
            rates[part] = rate
        if not mixers:
            raise AstError("; ".join([f"{path}: found 0 samples, accepted is 1 or more", *decoder.notes]))
        for mixer in mixers.values():
            # Of several parts one may be a pause.
            mixer.decide(allow_silence or len(mixers) > 1)
        for note in decoder.notes:
            warn(f"{path}: {note}")
        seconds = np.array([mixer.frames / rates[part] for part, mixer in mixers.items()])
        powers = np.array([mixer.rms**2 for mixer in mixers.values()])
        rms, rate = float(np.sqrt((seconds * powers).sum() / seconds.sum())), rates[min(rates)]
        yield Sound(pathlib.Path(path), rate, round(seconds.sum() * rate), rms, decoder, mixers)


def load(path: str | os.PathLike, sample_rate: int = SAMPLE_RATE, allow_silence: bool = False) -> np.ndarray:
    """Read an audio file as mono: all blocks of :func:`open_sound`, whose arguments and errors these are.

    Args:
        sample_rate: of the result, Hz.

    Returns:
        float32 ``(samples,)``, the mean of the channels without its mean over time; full scale is ±1.
    """
    with open_sound(path, allow_silence) as sound:
        return np.concatenate(list(sound.blocks(sample_rate)))


# --- out


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
    path: str | os.PathLike,
    audio: np.ndarray | Iterable[np.ndarray],
    sample_rate: int = SAMPLE_RATE,
    gain: float = 1.0,
) -> pathlib.Path:
    """Write mono audio; the extension names the format, one of :data:`FORMATS`.

    Audio above full scale is scaled down to a peak of :data:`PEAK`, so nothing clips. Opus has no rate of 22,050 Hz:
    such files are resampled to the next rate that it has. Blocks wait for the last one on disk, not in memory.

    Args:
        path: of the file; its folder exists. An earlier file is replaced only by a complete one.
        audio: ``(samples,)``, finite; or an iterable of such blocks, of any lengths, which follow each other.
        sample_rate: Hz.
        gain: what the audio is multiplied by.

    Raises:
        AstError: for an unknown extension, a missing folder, audio of another shape or with NaN, or a full disk.
    """
    path = check_output(path)
    container, coding = FORMATS[path.suffix.lower()]
    blocks, rate, peak = ([audio] if isinstance(audio, np.ndarray) else audio), sample_rate, 0.0
    blocks = (check(str(path), block, allow_silence=True).astype(np.float32) for block in blocks if np.size(block))
    if coding == "OPUS" and rate not in OPUS_RATES:
        rate = next((rate for rate in OPUS_RATES if rate >= sample_rate), OPUS_RATES[-1])
        blocks = resampled(blocks, sample_rate, rate)
    with replacing(path) as file, tempfile.TemporaryFile(dir=pathlib.Path(os.path.realpath(path)).parent) as waiting:
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0.0)) * abs(gain))
            waiting.write(block.tobytes())
        if not waiting.tell():
            raise AstError(f"{path}: found audio of shape (0,), accepted is (samples,) with 1 sample or more")
        waiting.seek(0)
        scale = np.float32(gain * (PEAK / peak if peak > 1 else 1.0))
        encoded = VirtualFile(file)
        try:
            with soundfile.SoundFile(encoded, "w", rate, 1, coding, format=container) as sound:
                # In pieces: libsndfile's Vorbis encoder overruns the stack when it is given minutes at once.
                while len(block := np.frombuffer(waiting.read(4 * BLOCK), np.float32)):
                    sound.write(block * scale)
                    encoded.check()
        except soundfile.LibsndfileError as error:
            raise AstError(f"{path}: {rate} Hz cannot be written as {path.suffix}: {error.error_string}") from error
        encoded.check()
    return path
