"""From frames of any number of channels to one checked signal, at any rate; no files here.

Chapter: ``notebooks/15_listening.md``. Whatever comes in, from a file or an array, is judged by the same rules.
"""

import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from ast_lib.errors import AstError

SAMPLE_RATE = 22050  # Hz, of the project's data; a model names its own
SILENCE = 1e-4  # RMS below which what a user supplies counts as silent: -80 dB below full scale
LARGEST = 1e9  # of a sample, where full scale is 1: beyond, sums of squares lose their meaning in float32
CANCELLED = 0.01  # power of the channels' mean, relative to that of independent channels


class AudioWarning(UserWarning):
    """What a user should know about audio that is used nevertheless: that a file ends early, for example.

    The command prints one line of it; other code may catch or ignore it.
    """


class Mixer:
    """Frames to mono: decided on all frames of a signal first, then applied to any of them.

    The result is the mean of the channels without its own mean over time, since a constant is no sound. Channels that
    cancel each other give the loudest one instead.

    Args:
        name: of the signal, in messages.
        blocks: all of its frames, ``(samples, channels)`` each, one or more.
        allow_silence: accept a signal whose RMS is below :data:`SILENCE`.

    Attributes:
        frames: how many there are.
        rms: of the mono signal, full scale 1.

    Raises:
        AstError: for NaN or infinite samples, samples beyond :data:`LARGEST` or, unless allowed, silence.
    """

    def __init__(self, name: str, blocks: Iterable[np.ndarray], allow_silence: bool = False):
        self.frames, bad, peak = 0, 0, 0.0
        sums = products = 0.0  # (channels,) and (channels, channels)
        for frames in blocks:
            self.frames += len(frames)
            bad += np.count_nonzero(~np.isfinite(frames).all(axis=1))
            if not bad:
                wide = frames.astype(np.float64)
                peak = max(peak, float(np.abs(wide).max()))
                sums, products = sums + wide.sum(axis=0), products + wide.T @ wide
        if bad:
            raise AstError(f"{name}: found {bad} samples that are NaN or infinite")
        if peak > LARGEST:
            raise AstError(f"{name}: found samples up to {peak:.3g}, accepted are those up to {LARGEST:.0e}")
        # A single sample has no mean over time: it is a click, no constant.
        means = sums / self.frames * (self.frames > 1)
        covariance = products / self.frames - np.outer(means, means)
        powers, channels = np.diag(covariance), len(means)
        loudest, self.weights = int(np.argmax(powers)), np.full(channels, 1 / channels)
        if covariance.sum() < CANCELLED * powers.sum() and powers[loudest] >= SILENCE**2:
            self.weights = np.eye(channels)[loudest]
            message = f"{name}: its {channels} channels cancel each other; only the louder, {loudest + 1}, is used"
            warnings.warn(message, AudioWarning, stacklevel=2)
        power = self.weights @ covariance @ self.weights
        self.mean, self.rms = float(self.weights @ means), float(np.sqrt(max(power, 0.0)))
        if not allow_silence and self.rms < SILENCE:
            constant = f" (a constant of {self.mean:.3g} is no sound)" * (abs(self.mean) >= SILENCE)
            accepted = f"accepted is audio above {20 * np.log10(SILENCE):.0f} dB of full scale"
            raise AstError(f"{name}: found silence{constant}, {accepted}")

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames ``(samples, channels)`` as float32 ``(samples,)``."""
        return (frames @ self.weights - self.mean).astype(np.float32)


def check(name: str, audio: np.ndarray, allow_silence: bool = False) -> np.ndarray:
    """Return ``audio`` if it is mono and what a :class:`Mixer` accepts.

    Args:
        name: what an error message calls it.
        audio: expected as ``(samples,)``.
        allow_silence: accept audio below :data:`SILENCE`.

    Raises:
        AstError: for another shape, no samples, and as :class:`Mixer`.
    """
    if audio.ndim != 1 or not audio.size:
        raise AstError(f"{name}: found audio of shape {audio.shape}, accepted is (samples,) with 1 sample or more")
    Mixer(name, [audio[:, None]], allow_silence)
    return audio


def without_mean(name: str, audio: np.ndarray) -> np.ndarray:
    """What :func:`check` accepts, as float32 without its mean over time, as a file is read (:class:`Mixer`)."""
    audio = check(name, np.asarray(audio, dtype=np.float32))
    return (audio - audio.mean(dtype=np.float64) * (len(audio) > 1)).astype(np.float32)


def resampled(blocks: Iterable[np.ndarray], rate: int, wanted: int) -> Iterator[np.ndarray]:
    """Blocks of one float32 signal at ``rate`` Hz to blocks at ``wanted`` Hz, with no seams between them."""
    stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)
