"""Recordings come in; clips that are long and loud enough, dealt to splits by piece, go out as a manifest.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/16_your_own.md``. A clip has 10 s, mono at 22,050 Hz, at RMS 0.07
whatever the instrument. A violin file gives one to three, a piano piece one; clips with long silence are left out, and
the splits are 80/10/10 by piece. :mod:`ast_lib.data.readers` and :mod:`ast_lib.data.bach_violin` list the recordings,
:mod:`ast_lib.data.audit` compares their sources.
"""

import dataclasses
import os
import pathlib
from collections import defaultdict
from collections.abc import Sequence

import librosa
import numpy as np
import soxr

from ast_lib import audio
from ast_lib.audio.decoding import open_decoder
from ast_lib.audio.levels import normalise_rms
from ast_lib.data.manifest import SPLITS, Clip, write_manifest
from ast_lib.errors import AstError

SECONDS = 10.0  # of a clip
PAPER_CLIPS = 768  # of each instrument
MAX_SILENCE = 1.0  # seconds on end in a clip that may be silent
SILENT_FRAME_DB = 40.0  # below a clip's loudest frame, at which a frame of it counts as silent
ONE_OF_A_PIECE = "piano"  # the instrument of which a piece gives one clip only
HELD_OUT = 0.1  # of an instrument's pieces are for validation, as many for the test
NAMED = 10  # of the things left out that a summary names


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recording as a dataset lists it: the part ``start``..``end`` (seconds; None is the end) of the file ``path``.

    The other fields are those of :class:`ast_lib.data.manifest.Clip`; ``split`` is set where the dataset has official
    ones.
    """

    id: str
    dataset: str
    piece: str
    instrument: str
    path: pathlib.Path
    licence: str
    start: float = 0.0
    end: float | None = None
    split: str = ""


@dataclasses.dataclass
class Selection:
    """What a step kept, and the names of what it left out, by reason; ``print`` it to read the count of each.

    ``items`` are :class:`Recording` s or :class:`ast_lib.data.manifest.Clip` s. A name counts once.
    """

    items: list
    left_out: dict[str, list[str]]

    def __post_init__(self):
        self.left_out = {reason: list(dict.fromkeys(names)) for reason, names in self.left_out.items() if names}

    def __str__(self):
        counts = [f"{len(names)} left out: {reason} ({_some(names)})" for reason, names in self.left_out.items()]
        return "; ".join([f"{len(self.items)} kept", *counts])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f", and {len(names) - NAMED} more" if len(names) > NAMED else "")


# --- audio of a recording


def read_segment(path: str | os.PathLike, start: float, seconds: float, allow_silence: bool = False) -> np.ndarray:
    """A stretch of an audio file as :func:`ast_lib.audio.load` would give it, without decoding the rest if
    possible.

    Args:
        path: a file that :func:`ast_lib.audio.decoding.open_decoder` accepts.
        start, seconds: of the stretch, in the file's own time.
        allow_silence: accept a stretch whose RMS is below :data:`ast_lib.audio.SILENCE`.

    Returns:
        float32 ``(round(seconds * 22050),)``, the mean of the channels without its own mean over time.

    Raises:
        AstError: when the file is missing or unreadable, ends before the stretch does, or the stretch is silent or
            holds NaN or infinite samples.
    """
    with open_decoder(path) as decoder:
        samples, rate = decoder.stretch(start, seconds)
    if len(samples) < max(1, round(seconds * rate)):
        raise AstError(f"{path}: found {len(samples) / rate:.2f} s from {start:g} s on, accepted are {seconds:g} s")
    mixer = audio.Mixer(str(path), [samples], allow_silence)
    signal = soxr.resample(mixer(samples), rate, audio.SAMPLE_RATE)
    # The resampler may round a sample up or down.
    return librosa.util.fix_length(signal, size=round(seconds * audio.SAMPLE_RATE))


def load_clip(clip: Clip) -> np.ndarray:
    """Audio ``(samples,)`` float32 of a clip: mono, 22,050 Hz, RMS 0.07.

    Raises:
        AstError: as :func:`read_segment`.
    """
    return normalise_rms(read_segment(clip.path, clip.start, clip.seconds))


def check_files(clips: Sequence[Clip]) -> None:
    """Read the last clip of every file, so that hours of training do not end at one that is gone or too short.

    Raises:
        AstError: for files that are missing, unreadable or end before their clips do; it names and counts them.
    """
    errors, last = [], {clip.path: clip for clip in sorted(clips, key=lambda clip: clip.start + clip.seconds)}
    for clip in last.values():
        try:
            load_clip(clip)
        except AstError as error:
            errors.append(str(error))
    if errors:
        raise AstError(f"manifest: {len(errors)} of {len(last)} files cannot be used ({_some(errors)}); make it again")


def _rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


def longest_silence(signal: np.ndarray, below: float = SILENT_FRAME_DB) -> float:
    """The longest stretch, in seconds, that stays ``below`` dB under the loudest frame (2048 samples, hop 512).

    Audio whose RMS is below :data:`ast_lib.audio.SILENCE` is silent from end to end.
    """
    if _rms(signal) < audio.SILENCE:
        return len(signal) / audio.SAMPLE_RATE
    sounding = librosa.effects.split(signal, top_db=below)
    # From the end of each sounding stretch to the start of the next, the clip's own start and end included.
    gaps = np.diff([0, *sounding.ravel(), len(signal)])[::2]
    return float(gaps.max()) / audio.SAMPLE_RATE


# --- clips


def segment_starts(duration: float, seconds: float, most: int) -> list[float]:
    """Where to cut clips: the middles of 1, 2 or 3 equal parts, none if the recording is shorter than a clip.

    A recording below 4 clips' length gives one, below 7 two, and more of it three; ``most``
    is an upper bound. A single clip is the middle of the recording.
    """
    if duration < seconds:
        return []
    count = min(most, 1 + (duration >= 4 * seconds) + (duration >= 7 * seconds))
    return [(i + 0.5) * duration / count - seconds / 2 for i in range(count)]


def cut(
    recordings: Sequence[Recording],
    seconds: float = SECONDS,
    max_silence: float = MAX_SILENCE,
    skip_unreadable: bool = False,
) -> Selection:
    """Cut clips out of recordings: one to three of each (:func:`segment_starts`), but one of a piano piece.

    That one is from the middle one of the piece's recordings.

    Args:
        recordings: from a reader.
        seconds: length of a clip.
        max_silence: a clip with a longer silence is left out (:func:`longest_silence`), seconds.
        skip_unreadable: leave unreadable recordings out instead of stopping.

    Returns:
        the clips; left out are recordings ``shorter than a clip``, ``not the piece's one recording``, ``unreadable``,
        and clips with ``long silence``.

    Raises:
        AstError: when recordings are unreadable and ``skip_unreadable`` is false; it counts and names them.
    """
    if not seconds > 0:
        raise AstError(f"cut: found {seconds} seconds, accepted are more than 0")
    pieces, clips, errors = defaultdict(list), [], {}
    for recording in recordings:
        if recording.instrument == ONE_OF_A_PIECE:
            pieces[recording.dataset, recording.piece].append(recording.id)
    others = {name for names in map(sorted, pieces.values()) for name in names if name != names[len(names) // 2]}
    left_out = defaultdict(list, {"not the piece's one recording": sorted(others)})
    for recording in (recording for recording in recordings if recording.id not in others):
        try:
            rate, stretches = _stretches(recording, seconds)
        except AstError as error:
            errors[recording.id] = str(error)
            continue
        if not stretches:
            left_out["shorter than a clip"].append(recording.id)
        for number, (start, signal) in enumerate(stretches, start=1):
            name, source = f"{recording.id}#{number}", (recording.dataset, recording.piece, recording.instrument)
            if longest_silence(signal) > max_silence:
                left_out["long silence"].append(name)
            else:
                stretch = str(recording.path), round(start, 6), seconds, rate
                clips.append(Clip(name, *source, *stretch, recording.licence, recording.split, _rms(signal)))
    if errors and not skip_unreadable:
        found = f"{len(errors)} of {len(recordings)} are unreadable ({_some(list(errors.values()))})"
        raise AstError(f"recordings: {found}; skip_unreadable=True leaves them out")
    return Selection(clips, left_out | {"unreadable": list(errors)})


def _stretches(recording: Recording, seconds: float) -> tuple[int, list[tuple[float, np.ndarray]]]:
    """The file's rate, and where each clip of a recording starts and what is heard there, silent ones included."""
    with audio.open_sound(recording.path, allow_silence=True) as sound:
        length, rate = (recording.end or sound.seconds) - recording.start, sound.rate
    most = 1 if recording.instrument == ONE_OF_A_PIECE else 3
    starts = [recording.start + offset for offset in segment_starts(length, seconds, most)]
    return rate, [(start, read_segment(recording.path, start, seconds, allow_silence=True)) for start in starts]


def assign_splits(clips: Sequence[Clip], seed: int) -> list[Clip]:
    """Deal the pieces of each instrument to train, validation and test; clips that have a split already keep it.

    A piece that several instruments play is in the same split for all of them. Validation and test get
    :data:`HELD_OUT` of an instrument's pieces each, one at least.

    Args:
        clips: from :func:`cut`.
        seed: of the shuffle.

    Returns:
        the clips in the same order, each with its split.

    Raises:
        AstError: when an instrument has too few pieces to give every split one.
    """
    rng, splits = np.random.default_rng(seed), {(clip.dataset, clip.piece): clip.split for clip in clips if clip.split}
    for instrument in sorted({clip.instrument for clip in clips}):
        pieces = sorted({(clip.dataset, clip.piece) for clip in clips if clip.instrument == instrument})
        free = [piece for piece in pieces if piece not in splits]
        free, share = [free[i] for i in rng.permutation(len(free))], max(1, round(HELD_OUT * len(pieces)))
        for split in ("test", "validation"):
            lacking = max(0, share - sum(splits.get(piece) == split for piece in pieces))
            splits.update(dict.fromkeys(free[:lacking], split))
            free = free[lacking:]
        splits.update(dict.fromkeys(free, "train"))
        empty = ", ".join(split for split in SPLITS if split not in {splits[piece] for piece in pieces})
        if empty:
            raise AstError(
                f"instrument {instrument}: found {len(pieces)} pieces, none for {empty}; accepted is 1 for each"
            )
    return [dataclasses.replace(clip, split=splits[clip.dataset, clip.piece]) for clip in clips]


def make_manifest(
    path: str | os.PathLike, recordings: Sequence[Recording], most_clips: int = PAPER_CLIPS, seed: int = 0, **cutting
) -> Selection:
    """From recordings to a manifest to train on; without further arguments as chapter 16 describes.

    At most ``most_clips`` of an instrument, chosen at random, are cut (:func:`cut`), dealt to splits by piece
    (:func:`assign_splits`) and listed in a manifest, whose path is the configuration's ``data.manifest``.

    Args:
        path: of the manifest, a name ending in ``.jsonl`` for example; its folder exists.
        recordings: from one reader or several.
        most_clips: of an instrument.
        seed: of the choice and the splits.
        cutting: keywords of :func:`cut`.

    Raises:
        AstError: as :func:`cut` and :func:`assign_splits`; nothing is written then.
    """
    found, rng, kept = cut(recordings, **cutting), np.random.default_rng(seed), set()
    for instrument in sorted({clip.instrument for clip in found.items}):
        names = [clip.id for clip in found.items if clip.instrument == instrument]
        kept.update(names[i] for i in rng.permutation(len(names))[:most_clips])
    clips = assign_splits([clip for clip in found.items if clip.id in kept], seed)
    write_manifest(path, clips)
    beyond = [clip.id for clip in found.items if clip.id not in kept]
    return Selection(clips, found.left_out | {f"beyond {most_clips} of an instrument": beyond})
