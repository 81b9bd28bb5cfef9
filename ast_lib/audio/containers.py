"""Where the sounds in a file are: what its container's marks say, also where its header says less, more or nothing.

Chapter: ``notebooks/15_listening.md``. libsndfile decodes one sound from its header on, as long as the header says. But
files are put one after the other, cut off, written to a pipe that no header could be completed in, or begin in
mid-stream. So each function here walks over a container's own marks and gives the :class:`Part` s to decode. Sources:
ISO 11172-3 and LAME's Xing header (MPEG audio), RFC 3533 (Ogg), RFC 9639 (FLAC), Microsoft's RIFF, Apple's Core Audio
Format.
"""

import dataclasses
import itertools
import struct
from collections.abc import Iterator
from typing import BinaryIO

# kbit/s of MPEG 1 by layer and of MPEG 2 and 2.5 (layers 2 and 3 alike), by the header's index from 1 on.
BITRATES = {
    (1, 1): range(32, 449, 32),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MPEG_RATES = (44100, 48000, 32000)  # Hz, of MPEG 1; half of it in MPEG 2, a quarter in 2.5
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # of MP3 files: no sound, and no damage
# Times the file's size that is told to the decoder of MPEG audio. It guesses the length from the size and the first
# frame's bit rate, and stops there; rates differ by 40 at most.
GENEROUS = 64
BEGINS, ENDS = 2, 4  # flags of an Ogg page: a stream's first, and its last
SEARCHED = 1 << 20  # bytes in which the first MPEG frame must be


@dataclasses.dataclass(frozen=True)
class Part:
    """A stretch ``start`` .. ``end`` of a file, in bytes, that holds one sound.

    Attributes:
        size: in bytes, what the decoder is told.
        patch: bytes to be read instead of the file's own, and their place from ``start`` on.
        counted: whether the number of samples in the header is to be believed.
        announced: how many times as long as it is the header says that the sound is.
    """

    start: int
    end: int
    size: int
    patch: tuple[int, bytes] = (0, b"")
    counted: bool = True
    announced: float = 1.0


def _bytes(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _find(file: BinaryIO, mark: bytes, place: int, end: int) -> Iterator[int]:
    """The places of ``mark`` from ``place`` on."""
    step = 1 << 16
    while place < end:
        window = _bytes(file, place, min(step, end - place) + len(mark) - 1)
        found = window.find(mark)
        while found >= 0:
            yield place + found
            found = window.find(mark, found + 1)
        place += step


def _left_out(file: BinaryIO, start: int, end: int) -> list[str]:
    """What to say of bytes between sounds: nothing of tags and zeros."""
    head = _bytes(file, start, min(end - start, 4096))
    if head.startswith(TAGS) or not any(head):
        return []
    return [f"bytes {start:,} to {end:,} are no sound and left out"]


# --- MPEG audio


def frame_length(header: bytes) -> int:
    """Bytes of the MPEG audio frame that begins with these 4, or 0 if none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return 0
    version, layer, rate = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3), header[2] >> 2 & 3
    index, padding = header[2] >> 4, header[2] >> 1 & 1
    if version == 1 or layer == 4 or index in (0, 15) or rate == 3:
        return 0
    bits = 1000 * BITRATES[1 if version == 3 else 2, layer][index - 1]
    rate = MPEG_RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 1:
        return 4 * (12 * bits // rate + padding)
    return (72 if layer == 3 and version != 3 else 144) * bits // rate + padding


def _announced(header: bytes) -> tuple[int | None, int | None] | None:
    """Frames and bytes (None: not said) that a frame announces with a Xing, Info or VBRI header; None without one."""
    side = (17, 32) if header[1] >> 3 & 3 == 3 else (9, 17)
    place = 4 + side[header[3] >> 6 != 3]
    if header[36:40] == b"VBRI":
        return None, None
    if header[place : place + 4] not in (b"Xing", b"Info") or len(header) < place + 16:
        return None
    flags, *fields = struct.unpack(">3I", header[place + 4 : place + 16])
    return fields.pop(0) if flags & 1 else None, fields.pop(0) if flags & 2 else None


def mpeg_parts(file: BinaryIO, size: int) -> tuple[list[Part], list[str]]:
    """MPEG audio: stretches of frames that follow each other; an empty list where the file is something else."""
    parts, notes, place = [], [], 0
    while place < size:
        end = size if parts else min(size, after_tags(file, 0) + SEARCHED)
        start = _first_frame(file, place, end, size)
        notes += _left_out(file, place, size if start is None else start) if parts or start else []
        if start is None:
            break
        place, frames, announced = _run(file, start, size)
        if announced and announced[0] is not None and frames > announced[0] + 2:
            # Frames were added without the header's knowledge: the header's frame goes, and with it its count.
            start, announced = start + frame_length(_bytes(file, start, 4)), None
        told = (announced[1] or place - start) if announced else GENEROUS * (place - start)
        parts.append(Part(start, place, told, counted=announced is not None))
    return parts, notes


def after_tags(file: BinaryIO, place: int) -> int:
    """Where the ID3v2 tags that may stand here end; their sizes have 7 bits a byte."""
    while (head := _bytes(file, place, 10)).startswith(b"ID3") and len(head) == 10:
        place += 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return place


def _first_frame(file: BinaryIO, place: int, end: int, size: int) -> int | None:
    """The first frame before ``end`` that two more of its kind follow; at the very start fewer will do."""
    after = after_tags(file, place)
    # Tags may lie about their size: then the frames are looked for inside.
    for start in dict.fromkeys((after, place)):
        for found in _find(file, b"\xff", start, end):
            stop, frames, _ = _run(file, found, size, most=3)
            if frames == 3 or (frames and stop == size and found == after):
                return found
    return None


def _run(file: BinaryIO, start: int, size: int, most: int | None = None) -> tuple[int, int, tuple | None]:
    """Where the frames that follow each other from ``start`` on end, their number, and what a header among them says.

    ``most`` stops the count.
    """
    place, frames, kind, announced = start, 0, None, None
    while place < size and frames != most:
        header = _bytes(file, place, 64)
        length = frame_length(header)
        # Version, layer and rate stay; another header that announces is that of a file that was appended.
        if not length or (kind and (header[1] & 0xFE, header[2] & 0x0C) != kind):
            break
        found = _announced(header)
        if found and frames:
            break
        kind, announced = (header[1] & 0xFE, header[2] & 0x0C), found or announced
        place, frames = place + length, frames + 1
    return min(place, size), frames, announced


# --- Ogg


def ogg_parts(file: BinaryIO, size: int) -> tuple[list[Part], list[str]]:
    """Ogg: links of a chain, each from the pages that begin its streams to the page before the next such one."""
    starts, notes, place, flags, end = [], [], 0, 0, 0
    unended = "a sound in it ends early: the mark of its end is missing"
    while place < size:
        header = _bytes(file, place, 27 + 255)
        length = 27 + header[26] + sum(header[27 : 27 + header[26]]) if len(header) >= 27 else size
        if not header.startswith(b"OggS"):
            found = next(_find(file, b"OggS", place + 1, size), size)
            notes += _left_out(file, place, found)
            place = found
            continue
        # Another page within this one: its end is missing, as where files that were cut off are put together.
        inside = next(_find(file, b"OggS", place + 1, place + length), None)
        if inside is not None and _bytes(file, place + length, 4) != b"OggS":
            place, flags = inside, flags & ~ENDS
            continue
        if place + length > size:
            flags &= ~ENDS
            break
        if header[5] & BEGINS and not flags & BEGINS:
            notes += [unended] if starts and not flags & ENDS else []
            starts.append(place)
        flags, place = header[5], place + length
        end = place
    notes += [unended] if starts and not flags & ENDS else []
    return [Part(start, stop, stop - start) for start, stop in itertools.pairwise([*starts, end])], notes


# --- FLAC


def flac_parts(file: BinaryIO, size: int) -> tuple[list[Part], list[str]]:
    """FLAC: one part, and one for every file that was appended."""
    first = after_tags(file, 0)
    # The mark, and the head of what always follows it, a description of 34 bytes.
    starts = [first, *_find(file, b"fLaC\0\0\0\x22", first + 1, size)]
    return [Part(start, stop, stop - start) for start, stop in itertools.pairwise([*starts, size])], []


# --- WAV and CAF


def wav_parts(file: BinaryIO, size: int, start: int = 0) -> tuple[list[Part], list[str]]:
    """WAV: one part, and one for every file that was appended; a ``data`` chunk's size may be far too small."""
    place = start + 12
    while len(header := _bytes(file, place, 8)) == 8:
        name, length = struct.unpack("<4sI", header)
        after = place + 8 + length
        if name == b"data" and after < size:
            ends = [end for end in (after + length % 2, after) if _may_follow(file, end, size)]
            if not ends:
                # As a writer to a pipe has it: the sound goes on to the end of the file.
                part = Part(start, size, size - start, (place + 4 - start, b"\xff" * 4))
                return [part], [f"its header announces {length:,} bytes of sound, all {size - place - 8:,} are read"]
            if _bytes(file, ends[0], 4) == b"RIFF":
                rest, notes = wav_parts(file, size, ends[0])
                return [Part(start, ends[0], ends[0] - start), *rest], notes
        place = after + length % 2
    return [Part(start, size, size - start)], []


def _may_follow(file: BinaryIO, place: int, size: int) -> bool:
    """Whether a chunk, another file, a tag or padding stands here, or the file ends."""
    head = _bytes(file, place, 4096)
    if len(head) < 8 or not any(head) or head.startswith((b"RIFF", *TAGS)):
        return True
    name, length = struct.unpack("<4sI", head[:8])
    return all(32 <= byte < 127 for byte in name) and place + 8 + length <= size


def caf_parts(file: BinaryIO, size: int) -> tuple[list[Part], list[str]]:
    """CAF: one part; a ``data`` chunk without a size, as streams have it, or with too large a one gets its size."""
    place = 8
    while len(header := _bytes(file, place, 12)) == 12:
        name, length = struct.unpack(">4sq", header)
        found = size - place - 12
        if name == b"data" and not 0 <= length <= found:
            patch = (place + 4, struct.pack(">q", found))
            return [Part(0, size, size, patch, announced=max(length / max(found, 1), 1.0))], []
        place += 12 + max(length, 0)
    return [Part(0, size, size)], []


def find_parts(file: BinaryIO, size: int) -> tuple[list[Part], list[str]]:
    """The parts of a file whose container is one of those above; otherwise an empty list."""
    first = after_tags(file, 0)
    head = _bytes(file, first, 12)
    if head.startswith(b"RIFF") and head[8:] == b"WAVE":
        return wav_parts(file, size, first)
    for mark, walk in ((b"OggS", ogg_parts), (b"fLaC", flac_parts), (b"caff", caf_parts)):
        if head.startswith(mark):
            return walk(file, size)
    return mpeg_parts(file, size) if first or frame_length(head) else ([], [])
