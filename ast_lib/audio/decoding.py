"""From an audio file to its frames, whatever the format; :mod:`ast_lib.audio` makes them mono.

Chapter: ``notebooks/15_listening.md``. FFmpeg decodes, through PyAV, whose packages bring it along. It finds the sound
by what is in the file, not by its name, and goes on behind damage and to the real end. What a header announced and is
not there, and what was damaged, is noted.
"""

import contextlib
import itertools
import mmap
import os
import pathlib
import re
import shutil
import stat
import tempfile
import types
from collections.abc import Iterator

import av
import numpy as np

from ast_lib.errors import AstError

TOGETHER = 16  # of FFmpeg's frames in a block; one has a thousand samples, or some thousands
LOWEST_RATE = 2000  # Hz, of a file: below it nothing of an instrument is left
PREROLL = 0.3  # seconds decoded before a stretch: a lossy frame needs those before it
PADDING = 4096  # samples that may be missing of a lossy file without a word: encoders count what they padded
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # no sound, and no damage
SIZES = {"wav": (4, 4, 8), "w64": (16, 8, 0)}  # place and width of a field with the file's size, and what it leaves out
CHUNK = re.compile(rb"(?!.?RIFF).?[ -~]{4}", re.DOTALL)  # what may follow a WAV file: a chunk or tag, no second file


class Decoder:
    """The frames of an audio file: iterate over it, as often as needed, for blocks of them.

    Attributes:
        rate: Hz, once it was iterated over; ``notes`` are then what a user should know about the file.
    """

    def __init__(self, name: str, path: pathlib.Path):
        self._name, self._path, self.rate, self.notes = name, path, 0, []

    def __iter__(self) -> Iterator[np.ndarray]:
        """Blocks float32 ``(samples, channels)``, full scale 1.

        Raises:
            AstError: for a file that is not readable as audio, empty, or below :data:`LOWEST_RATE`.
        """
        with self._opened() as stream:
            track, self.rate = _Track(stream), stream.rate
            frames = map(_floats, track)
            while pieces := list(itertools.islice(frames, TOGETHER)):
                yield np.concatenate(pieces)
            self.notes = track.notes(self._path)
        if not track.samples:
            raise AstError("; ".join([f"{self._name}: found 0 samples, accepted is 1 or more", *self.notes]))

    def stretch(self, start: float, seconds: float) -> tuple[np.ndarray, int]:
        """Frames float32 ``(samples, channels)`` from ``start`` on, and their rate.

        They are fewer where the file ends before, or its times do not lead there. What comes before is only decoded
        where times in the file are not exact, or start again, as with each file of a chain of Ogg files.

        Raises:
            AstError: as an iteration does, but for an empty file.
        """
        with self._opened() as stream:
            track, tick, origin = _Track(stream), stream.time_base, stream.start_time or 0
            first, wanted = round(start * track.rate), round(seconds * track.rate)
            pieces, place = [np.empty((0, track.channels), np.float32)], 0
            exact, ogg = (1 / (track.rate * tick)).denominator == 1, stream.container.format.name == "ogg"
            if start > PREROLL and exact and not (ogg and _ogg_marks(self._path)[0] > 1):
                stream.container.seek(origin + round((start - PREROLL) / tick), stream=stream)
                place = None
            for frame in track:
                if place is None:
                    place = first + wanted if frame.pts is None else round((frame.pts - origin) * tick * track.rate)
                pieces.append(_floats(frame)[max(0, first - place) : max(0, first + wanted - place)])
                place += frame.samples
                if place >= first + wanted:
                    break
        return np.concatenate(pieces), track.rate

    @contextlib.contextmanager
    def _opened(self) -> Iterator[av.AudioStream]:
        with _errors_of(self._name), open(self._path, "rb") as file:
            # Without a name, which could lead FFmpeg astray; and playlists may name other files and addresses.
            nameless = types.SimpleNamespace(read=file.read, seek=file.seek, tell=file.tell)
            # Without looking for films' sound in the samples of a WAV file, which takes 30 times as long as to open it.
            options = {"protocol_whitelist": "none", "max_probe_packets": "1"}
            with av.open(nameless, options=options, metadata_errors="ignore") as container:
                stream = next((stream for stream in container.streams.audio if stream.codec_context), None)
                rate = stream.rate if stream else 0
                if not rate:
                    raise AstError(f"{self._name}: not readable as audio (there is no sound in it)")
                if rate < LOWEST_RATE:
                    raise AstError(f"{self._name}: found a rate of {rate} Hz, accepted is {LOWEST_RATE} Hz or more")
                if stream.codec_context.name == "flac":  # otherwise its damaged frames sound as noise
                    stream.codec_context.options = {"err_detect": "crccheck+explode"}
                yield stream


class _Track:
    """The sound of a file on one way through it: its frames, and what is learnt about it."""

    def __init__(self, stream: av.AudioStream):
        self.stream, self.rate, self.channels = stream, stream.rate, stream.channels
        self.samples, self.end, self.odd = 0, 0, {}  # found so far, where their bytes end, what to say (as keys)

    def __iter__(self) -> Iterator[av.AudioFrame]:
        try:
            for packet in self.stream.container.demux(self.stream):
                self.end = (packet.pos or 0) + packet.size or self.end
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    frames, data = [], bytes(packet)
                    if any(data) and not data.startswith(TAGS):
                        self.odd[f"it is damaged ({error.strerror})"] = True
                for frame in frames:
                    if (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self.channels):
                        self.odd["the rest, at another rate or with other channels, is left out"] = True
                        return
                    self.samples += frame.samples
                    yield frame
        except av.FFmpegError as error:
            self.odd[f"the rest of it is not readable ({error.strerror})"] = True

    def notes(self, path: pathlib.Path) -> list[str]:
        """What a user should know about the file, after the way through it."""
        announced, kind, size = self._announced(), self.stream.container.format.name, path.stat().st_size
        if kind in SIZES:
            place, width, more = SIZES[kind]
            with open(path, "rb") as file:
                told = int.from_bytes(file.read(place + width)[place:], "little")
                file.seek(self.end)
                after = file.read(4096)
            # Writers to a pipe announce nothing, or the largest numbers there are.
            announced = self.samples * (told + more) / size if told % 2**31 < 2**31 - 2**16 else 0
            if any(after) and not CHUNK.match(after):
                self.odd[f"the {size - self.end:,} bytes after the announced ones are left out"] = True
        if kind == "ogg" and np.diff(_ogg_marks(path)) < 0:
            self.odd["the mark of its end is missing"] = True
        missing = announced - self.samples > (1 if self.stream.codec_context.codec.lossless else PADDING)
        found = f"found {self.samples / self.rate:.2f} s"
        found = f"it is incomplete: {found} of {announced / self.rate:.2f} s announced" if missing else found
        return ["; ".join([found, *self.odd])] if missing or self.odd else []

    def _announced(self) -> float:
        """Samples that the file's header announces, 0 where it says nothing."""
        stream, container = self.stream, self.stream.container
        if stream.duration is None:
            return (container.duration or 0) / av.time_base * self.rate * (len(container.streams) == 1)
        samples = stream.duration * stream.time_base * self.rate
        # What FFmpeg estimates from the bit rate is no whole number of samples.
        estimated = stream.time_base * self.rate < 1 and samples.denominator > 1
        return 0 if estimated else max(float(samples), stream.frames)


def _ogg_marks(path: pathlib.Path) -> tuple[int, int]:
    """How many streams begin in an Ogg file, and how many end, by the flags of its pages (RFC 3533)."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        flags = [page[1][0] for page in re.finditer(rb"OggS\0(.)", data, re.DOTALL)]
    return sum(flag & 2 > 0 for flag in flags), sum(flag & 4 > 0 for flag in flags)


def _floats(frame: av.AudioFrame) -> np.ndarray:
    """A frame as float32 ``(samples, channels)``, full scale 1."""
    samples = frame.to_ndarray()
    samples = samples.reshape(-1, frame.layout.nb_channels) if frame.format.is_packed else samples.T
    scale = 1 if samples.dtype.kind == "f" else 2 ** (8 * samples.itemsize - 1)
    return samples.astype(np.float32) / np.float32(scale) - np.float32(samples.dtype.kind == "u")


@contextlib.contextmanager
def _errors_of(name: str) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise AstError(f"{name}: not readable as audio ({error.strerror}); accepted is what FFmpeg reads") from error
    except OSError as error:
        reason = f"not readable ({error.strerror or error})"
        raise AstError(f"{name}: {'no such file' if isinstance(error, FileNotFoundError) else reason}") from error


@contextlib.contextmanager
def open_decoder(path: str | os.PathLike) -> Iterator[Decoder]:
    """The frames of an audio file.

    Args:
        path: of a file, or of a pipe, which is first copied to a temporary file.

    Raises:
        AstError: when the file is missing, a folder or a device; the decoder raises it for what is no audio.
    """
    name = str(path)
    with _errors_of(name):
        mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
        raise AstError(f"{name}: found a {'folder' if stat.S_ISDIR(mode) else 'device'}, accepted is a file or a pipe")
    with tempfile.NamedTemporaryFile() if stat.S_ISFIFO(mode) else contextlib.nullcontext() as copy:
        if copy:
            with _errors_of(name), open(path, "rb") as pipe:
                shutil.copyfileobj(pipe, copy)
                copy.flush()
        yield Decoder(name, pathlib.Path(copy.name if copy else path))
