"""Recordings come in; clips that are long and loud enough, dealt to splits by piece, go out as a manifest.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/16_your_own.md``. The recipe is the paper's: clips of 10 s, one to
three of a violin file and one of a piano piece, mono at 22,050 Hz, both instruments at RMS 0.07, clips with long
silence left out, 80/10/10 by piece. :mod:`ast_lib.data.readers` and :mod:`ast_lib.data.bach_violin` list the
recordings, :mod:`ast_lib.data.audit` compares their sources.
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
    if not rate or len(samples) < round(seconds * rate) or not len(samples):
        found = len(samples) / max(rate, 1)
        raise AstError(f"{path}: found {found:.2f} s from {start:g} s on, accepted are {seconds:g} s")
    mixer = audio.Mixer(str(path), [samples], allow_silence)
    # The resampler may round a sample up or down.
    return librosa.util.fix_length(
        soxr.resample(mixer(samples), rate, audio.SAMPLE_RATE), size=round(seconds * audio.SAMPLE_RATE)
    )


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

    As in the published code, a recording below 4 clips' length gives one, below 7 two, and more of it three; ``most``
    is an upper bound. A single clip is the middle of the recording.
    """
    if duration < seconds:
        return []
    count = min(most, 1 + (duration >= 4 * seconds) + (duration >= 7 * seconds))
    return [(i + 0.5) * duration / count - seconds / 2 for i in range(count)]


def cut(
    recordings: Sequence[Recording],
    seconds: float = SECONDS,
    most: int = 3,
    one_per_piece: Sequence[str] = ("piano",),
    max_silence: float = MAX_SILENCE,
    skip_unreadable: bool = False,
) -> Selection:
    """Cut clips out of recordings.

    Args:
        recordings: from a reader.
        seconds: length of a clip.
        most: clips of a recording, 1 to 3 (:func:`segment_starts`).
        one_per_piece: instruments of which a piece gives one clip only, from the middle one of its recordings.
        max_silence: a clip with a longer silence is left out (:func:`longest_silence`), seconds.
        skip_unreadable: leave unreadable recordings out instead of stopping.

    Returns:
        the clips; left out are recordings ``shorter than a clip``, ``not the piece's one recording``, ``unreadable``,
        and clips with ``long silence``.

    Raises:
        AstError: when recordings are unreadable and ``skip_unreadable`` is false; it names and counts them all.
    """
    if not seconds > 0 or not 1 <= most <= 3:
        raise AstError(f"cut: found seconds {seconds} and most {most}, accepted are seconds above 0 and most 1, 2 or 3")
    pieces, measured, errors = defaultdict(list), {}, {}
    for recording in recordings:
        if recording.instrument in one_per_piece:
            pieces[recording.dataset, recording.piece, recording.instrument].append(recording.id)
    others = {name for names in map(sorted, pieces.values()) for name in names if name != names[len(names) // 2]}
    for recording in (recording for recording in recordings if recording.id not in others):
        count = 1 if recording.instrument in one_per_piece else most
        try:
            measured[recording.id] = _measured_clips(recording, seconds, count)
        except AstError as error:
            errors[recording.id] = str(error)
    if errors and not skip_unreadable:
        raise AstError(
            f"recordings: {len(errors)} of {len(recordings)} are unreadable ({'; '.join(errors.values())}); "
            "skip_unreadable=True leaves them out"
        )
    clips = [clip_and_silence for found in measured.values() for clip_and_silence in found]
    left_out = {
        "not the piece's one recording": sorted(others),
        "unreadable": list(errors),
        "shorter than a clip": [name for name, found in measured.items() if not found],
        "long silence": [clip.id for clip, silence in clips if silence > max_silence],
    }
    return Selection([clip for clip, silence in clips if silence <= max_silence], left_out)


def _measured_clips(recording: Recording, seconds: float, most: int) -> list[tuple[Clip, float]]:
    """The clips of one recording, each with its longest silence in seconds."""
    with audio.open_sound(recording.path, allow_silence=True) as sound:
        end, rate = recording.end or sound.seconds, sound.rate
    same = {name: getattr(recording, name) for name in ("dataset", "piece", "instrument", "licence", "split")}
    same |= {"path": str(recording.path), "seconds": seconds, "sample_rate": rate}
    found = []
    for number, offset in enumerate(segment_starts(end - recording.start, seconds, most), start=1):
        start = recording.start + offset
        signal = read_segment(recording.path, start, seconds, allow_silence=True)
        clip = Clip(id=f"{recording.id}#{number}", start=round(start, 6), rms=_rms(signal), **same)
        found.append((clip, longest_silence(signal)))
    return found


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
    """From recordings to a manifest to train on; without further arguments by the paper's recipe.

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
    found, rng, chosen = cut(recordings, **cutting), np.random.default_rng(seed), []
    for instrument in sorted({clip.instrument for clip in found.items}):
        clips = [clip for clip in found.items if clip.instrument == instrument]
        chosen += [clips[i] for i in sorted(rng.permutation(len(clips))[:most_clips])]
    kept = {clip.id for clip in chosen}
    beyond = [clip.id for clip in found.items if clip.id not in kept]
    clips = assign_splits(chosen, seed)
    write_manifest(path, clips)
    return Selection(clips, found.left_out | {f"beyond {most_clips} of an instrument": beyond})
