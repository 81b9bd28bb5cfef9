"""From an audio file to its frames, whatever the format; :mod:`ast_lib.audio.sounds` makes them mono.

Chapter: ``notebooks/15_listening.md``. libsndfile decodes what :mod:`ast_lib.audio.containers` finds in a file, to the
real end of the data, and ffmpeg what libsndfile does not know. What was damaged, missing or left out is noted.
"""

import contextlib
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from ast_lib.audio.containers import Part, find_parts, mpeg_parts
from ast_lib.errors import AstError

BLOCK = 1 << 17  # samples of all channels handed on at a time
TOLERANCE = 4096  # frames that may be missing of an MP3 without a word: encoders count what they padded
STEP = 4096  # frames decoded at a time: at a damaged place libsndfile loses count of more
ID3V1 = 128  # bytes of such a tag, the last ones of a file
FFMPEG_SECONDS = 600  # longest wait for ffmpeg
NATIVE = "wav, flac, ogg, opus, mp3"
FOREIGN = "m4a, aac, wma, webm, mp4"


class Block(NamedTuple):
    """Some frames of a file: float32 ``(samples, channels)`` at ``rate`` Hz, of the file's ``part`` 0, 1, ..."""

    part: int
    rate: int
    frames: np.ndarray


class VirtualFile:
    """A file, or a part of one, as libsndfile uses it.

    An error in one of libsndfile's callbacks would be lost, so it waits for :meth:`check`.
    """

    def __init__(self, file: BinaryIO, part: Part | None = None):
        self._file, self._part, self._place, self._error = file, part, 0, None

    def check(self):
        """Raise the :class:`OSError` that stopped reading or writing, if one did."""
        if self._error:
            raise self._error

    def at_end(self) -> bool:
        """Whether a part was read to its end."""
        return self._place >= self._part.end - self._part.start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        if self._part is None:
            return self._file.seek(offset, whence)
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._part.size}[whence]
        return self._place

    def tell(self) -> int:
        """As of a file."""
        return self._file.tell() if self._part is None else self._place

    def read(self, size: int) -> bytes:
        """As of a file; nothing after an error."""
        part, start = self._part, self._place
        if part.end - part.start <= start < part.size and start >= part.size - ID3V1:
            # Beyond the data, but not beyond what the decoder was told: it looks for a tag there.
            self._place += min(size, part.size - start)
            return bytes(self._place - start)
        try:
            self._file.seek(part.start + start)
            data = bytearray(self._file.read(max(0, min(size, part.end - part.start - start))))
        except OSError as error:
            self._error = error
            return b""
        self._place += len(data)
        place, new = part.patch
        for at in range(max(place, start), min(place + len(new), start + len(data))):
            data[at - start] = new[at - place]
        return bytes(data)

    def write(self, data: bytes) -> int:
        """As of a file; after an error nothing is written any more."""
        try:
            if not self._error:
                self._file.write(data)
        except OSError as error:
            self._error = error
        return len(data)


class _Sequential(soundfile.SoundFile):
    """A sound read from its start to where its data end, whatever length its header announces."""

    def seekable(self) -> bool:
        # Opus is the exception: libsndfile 1.2 repeats 312 samples there unless it is told its place after every read.
        return self.subtype == "OPUS"


class Decoder:
    """The frames of an audio file: iterate over it, as often as needed, for its :class:`Block` s.

    Attributes:
        notes: after an iteration, what a user should know about the file.
    """

    def __init__(self, name: str, path: pathlib.Path, parts: list[Part], notes: list[str]):
        self._name, self._path, self._parts, self._found, self.notes = name, path, parts, notes, []

    def __iter__(self) -> Iterator[Block]:
        """Raises :class:`AstError` when the file can no longer be read."""
        self.notes = list(self._found)
        try:
            if not self._parts:  # a format that only the file's name tells
                with _Sequential(os.fsencode(self._path)) as sound:
                    yield from self._frames(0, sound, 1.0, None)
            with open(self._path, "rb") as file:
                for number, part in enumerate(self._parts):
                    stream = VirtualFile(file, part)
                    if number and (reason := _try(VirtualFile(file, part))):
                        self.notes.append(f"sound {number + 1} of {len(self._parts)} in it is not readable ({reason})")
                        continue
                    with _Sequential(stream) as sound:
                        yield from self._frames(number, sound, part.announced if part.counted else None, stream)
                    stream.check()
        except soundfile.LibsndfileError as error:
            raise AstError(f"{self._name}: not readable as audio ({_reason(error)}); accepted are {NATIVE}") from error
        except OSError as error:
            raise AstError(f"{self._name}: not readable ({error.strerror or error})") from error

    def stretch(self, start: float, seconds: float) -> tuple[np.ndarray, int]:
        """Frames float32 ``(samples, channels)`` from ``start`` on, fewer where the file ends before; and their rate.

        What comes before is only decoded where the file's header is not to be trusted.

        Raises:
            AstError: when the file cannot be read, or its rate or channels change within the stretch.
        """
        if len(self._parts) == 1 and self._parts[0].counted:
            with open(self._path, "rb") as file, soundfile.SoundFile(VirtualFile(file, self._parts[0])) as sound:
                first, wanted = round(start * sound.samplerate), round(seconds * sound.samplerate)
                if sound.seekable() and first + wanted <= sound.frames < 2**62:
                    # Where this fails the way through the whole file says why.
                    with contextlib.suppress(soundfile.LibsndfileError):
                        sound.seek(first)
                        frames = sound.read(wanted, dtype="float32", always_2d=True)
                        if len(frames) == wanted:
                            return frames, sound.samplerate
        pieces, passed, rate = [], 0.0, 0
        for block in self:
            first, last = (round((time - passed) * block.rate) for time in (start, start + seconds))
            piece = block.frames[max(first, 0) : max(last, 0)]
            if pieces and (rate, pieces[0].shape[1]) != (block.rate, piece.shape[1]):
                raise AstError(f"{self._name}: found two rates or numbers of channels within {seconds:g} s")
            if len(piece):
                pieces.append(piece)
            passed, rate = passed + len(block.frames) / block.rate, block.rate
            if last <= len(block.frames):
                break
        return np.concatenate(pieces) if pieces else np.empty((0, 1), np.float32), rate

    def _frames(
        self, number: int, sound: soundfile.SoundFile, announced: float | None, stream: VirtualFile | None
    ) -> Iterator[Block]:
        """All frames of one sound; ``announced`` is :attr:`Part.announced`, None where nothing is."""
        rate, frames, damaged, ended = sound.samplerate, 0, {}, False
        size = max(STEP, BLOCK // sound.channels // STEP * STEP)
        while not ended:
            block, filled = np.full((size, sound.channels), np.nan, np.float32), 0
            while filled < size and not ended:
                step = block[filled : filled + STEP]
                try:
                    got = len(sound.read(out=step))
                    ended = not got
                except soundfile.LibsndfileError:
                    # What was decoded all the same is there, and the decoder goes on behind the damage, unless it
                    # has stood still twice.
                    got, place = int(np.isfinite(step[:, 0]).sum()), frames + filled
                    ended = damaged.get(place) == place
                    damaged[place] = place + got
                filled += got
            if filled:
                frames += filled
                yield Block(number, rate, block[:filled])
        inside = [place for place, after in damaged.items() if after < frames or (stream and not stream.at_end())]
        announced, few = _announced(sound, frames, announced), TOLERANCE if sound.format == "MP3" else 1
        what = "it" if len(self._parts) < 2 else f"sound {number + 1} of {len(self._parts)} in it"
        found = f"found {frames / rate:.2f} s" + (f" of {announced / rate:.2f} s announced" if announced else "")
        if inside:
            places = ", ".join(f"{place / rate:.2f} s" for place in inside[:3])
            self.notes.append(f"{what} is damaged at {places}: {found}")
        elif damaged or announced > frames + few:
            self.notes.append(f"{what} ends early: {found}")


def _announced(sound: soundfile.SoundFile, frames: int, times: float | None) -> int:
    """Frames that a header announces, 0 where none is to be believed."""
    if times is None or sound.frames >= 2**62:
        return 0
    # libsndfile corrects a length by the file's size, and says so in its log. Writers to a pipe announce the largest
    # numbers there are.
    for found, size in re.findall(
        r"^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)", sound.extra_info, re.M
    ):
        if int(found) % 2**31 < 2**31 - 2**16 and int(size):
            times = max(times, int(found) / int(size))
    return round(max(sound.frames, frames) * times)


def _reason(error: Exception) -> str:
    """Libsndfile's words; a TypeError comes for headerless ".raw" files, whose rate nobody can know."""
    return getattr(error, "error_string", "a headerless format").rstrip(".")


@contextlib.contextmanager
def open_decoder(path: str | os.PathLike) -> Iterator[Decoder]:
    """The frames of an audio file.

    Args:
        path: of a file, or of a pipe, which is first copied to a temporary file. What libsndfile does not read, ffmpeg
            converts into one.

    Raises:
        AstError: when the file is missing, a folder, a device, or not readable as audio.
    """
    name = str(path)
    with contextlib.ExitStack() as stack:
        try:
            decoder = _decoder(name, _on_disk(name, pathlib.Path(path), stack), stack)
        except FileNotFoundError as error:
            raise AstError(f"{name}: no such file") from error
        except OSError as error:
            raise AstError(f"{name}: not readable ({error.strerror or error})") from error
        yield decoder


def _on_disk(name: str, path: pathlib.Path, stack: contextlib.ExitStack) -> pathlib.Path:
    """The path, or that of a copy of what comes out of a pipe."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise AstError(f"{name}: found a folder, accepted is an audio file")
    if stat.S_ISREG(mode):
        return path
    if not stat.S_ISFIFO(mode):
        raise AstError(f"{name}: found a device, accepted is an audio file or a pipe")
    copy = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) / "sound"
    with open(path, "rb") as pipe, open(copy, "wb") as file:
        shutil.copyfileobj(pipe, file)
    return copy


def _decoder(name: str, path: pathlib.Path, stack: contextlib.ExitStack) -> Decoder:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        whole = Part(0, size, size)
        parts, notes = find_parts(file, size)
        reason = _try(VirtualFile(file, parts[0] if parts else whole))
        if reason and not parts:
            parts, notes = mpeg_parts(file, size)
            reason = _try(VirtualFile(file, parts[0])) if parts else reason
        if not reason:
            return Decoder(name, path, parts or [whole], notes)
    # Some formats show in a file's name only. Not so MP3, in which anything sounds like something.
    if path.suffix.lower() != ".mp3" and not _try(os.fsencode(path)):
        return Decoder(name, path, [], [])
    converted, notes = _convert(name, path, reason, stack)
    size = converted.stat().st_size
    return Decoder(name, converted, [Part(0, size, size)], notes)


def _try(source: VirtualFile | bytes) -> str:
    """Why libsndfile cannot open this, or an empty text."""
    try:
        with _Sequential(source):
            return ""
    except (soundfile.LibsndfileError, TypeError) as error:
        return _reason(error)


def _convert(name: str, path: pathlib.Path, reason: str, stack: contextlib.ExitStack) -> tuple[pathlib.Path, list[str]]:
    """The file as WAV, made by ffmpeg in a temporary folder, and what ffmpeg had to say."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise AstError(
            f"{name}: not readable as audio ({reason}); accepted are {NATIVE}, and once ffmpeg is installed "
            f"{FOREIGN} too"
        )
    output = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) / "sound.wav"
    # Playlists may name addresses: only files are opened.
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file", "-i", b"file:" + os.fsencode(path)]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-rf64", "auto", f"file:{output}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=FFMPEG_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise AstError(f"{name}: ffmpeg did not read it within {FFMPEG_SECONDS} s") from error
    said = [re.sub(r"\[[^]]*\] ?", "", line) for line in done.stderr.decode(errors="replace").splitlines()]
    said = [line.removeprefix("file:").strip().rstrip(".") for line in said if line.strip()]
    if done.returncode or not output.is_file():
        reason = f"{reason}; ffmpeg: {said[-1]}" if said else reason
        raise AstError(f"{name}: not readable as audio ({reason}); accepted are {NATIVE}, and what ffmpeg reads")
    return output, [f"it is damaged; ffmpeg: {said[0]}"] if said else []
