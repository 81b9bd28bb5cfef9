"""Recordings to clips: segments, silence, splits by piece, and training batches.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/16_your_own.md``. The recipe is the paper's: clips of 10 s, one to
three of a violin file and one of a piano piece, mono at 22,050 Hz, both instruments at RMS 0.07, clips with long
silence left out, 80/10/10 by piece. :mod:`ast_lib.data.readers` and :mod:`ast_lib.data.bach_violin` list the
recordings, :mod:`ast_lib.data.audit` compares their sources.
"""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Sequence
from typing import Generic, TypeVar

import librosa
import numpy as np
import soundfile
import soxr

from ast_lib import audio
from ast_lib.audio.decoding import open_decoder
from ast_lib.audio.levels import normalise_rms
from ast_lib.data.manifest import SPLITS, Clip, write_manifest
from ast_lib.data.synth import SAMPLE_RATE
from ast_lib.errors import AstError
from ast_lib.processes import ALONE, Part

SECONDS = 10.0  # of a clip
PAPER_CLIPS = 768  # of each instrument
MAX_SILENCE = 1.0  # seconds on end in a clip that may be silent
SILENCE_DB = 40.0  # below a clip's loudest frame, at which a frame counts as silent
FRACTIONS = (0.8, 0.1, 0.1)  # of the pieces, in the order of SPLITS
NAMED = 10  # of the things left out that a summary names

Item = TypeVar("Item")


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


@dataclasses.dataclass(frozen=True)
class Selection(Generic[Item]):
    """What a step kept, and the names of what it left out, by reason; ``print`` it to read the count of each."""

    items: list[Item]
    left_out: dict[str, list[str]]

    def __str__(self):
        parts = [f"{len(self.items)} kept"]
        parts += [f"{len(names)} left out: {reason} ({_some(names)})" for reason, names in self.left_out.items()]
        return "; ".join(parts)


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])


# --- audio of a recording


def length(path: str | os.PathLike) -> tuple[float, int]:
    """Length in seconds of what is really in an audio file, and its sample rate in Hz; all of it is decoded.

    Raises:
        AstError: when the file is missing, unreadable, has no samples, or too low a rate.
    """
    with open_decoder(path) as decoder:
        samples = sum(map(len, decoder))
        for note in decoder.notes:
            audio.warn(f"{path}: {note}")
    return samples / decoder.rate, decoder.rate


def read_segment(path: str | os.PathLike, start: float, seconds: float, allow_silence: bool = False) -> np.ndarray:
    """A stretch of an audio file as :func:`ast_lib.audio.reading.load` would give it, without decoding the rest if
    possible.

    Args:
        path: a file that :func:`ast_lib.audio.decoding.open_decoder` accepts.
        start, seconds: of the stretch, in the file's own time.
        allow_silence: accept a stretch whose RMS is below :data:`ast_lib.audio.reading.SILENCE`.

    Returns:
        float32 ``(round(seconds * 22050),)``, the mean of the channels without its own mean over time.

    Raises:
        AstError: when the file is missing or unreadable, ends before the stretch does, or the stretch is silent or
            holds NaN or infinite samples.
    """
    with open_decoder(path) as decoder:
        samples, rate = decoder.stretch(start, seconds)
    if len(samples) < round(seconds * rate) or not len(samples):
        raise AstError(
            f"{path}: found {len(samples) / rate:.2f} s from {start:g} s on, {seconds:g} s were expected; "
            "the file is shorter than its header or its table says"
        )
    mixer = audio.Mixer(str(path))
    mixer.measure(samples)
    mixer.decide(allow_silence)
    # The resampler may round a sample up or down.
    return librosa.util.fix_length(soxr.resample(mixer(samples), rate, SAMPLE_RATE), size=round(seconds * SAMPLE_RATE))


def load_clip(clip: Clip) -> np.ndarray:
    """Audio ``(samples,)`` float32 of a clip: mono, 22,050 Hz, RMS 0.07.

    Raises:
        AstError: as :func:`read_segment`.
    """
    return normalise_rms(read_segment(clip.path, clip.start, clip.seconds))


def check_files(clips: Sequence[Clip]) -> None:
    """Open every file of a manifest, so that hours of training do not end at one that is gone or too short.

    Raises:
        AstError: for files that are missing, unreadable or end before their clips do; it names and counts them.
    """
    ends, reasons = {}, []
    for clip in clips:
        ends[clip.path] = max(ends.get(clip.path, 0.0), clip.start + clip.seconds)
    for path, end in ends.items():
        try:
            # A header is quick to read, and only doubted where it promises too little.
            found = _promised(path)
            found = found if found >= end - 0.01 else length(path)[0]
            if found < end - 0.01:
                reasons.append(f"{path}: found {found:.2f} s, its clips end at {end:.2f} s")
        except AstError as error:
            reasons.append(str(error))
    if reasons:
        raise AstError(
            f"manifest: {len(reasons)} of {len(ends)} files cannot be used ({_some(reasons)}); make it again"
        )


def _promised(path: str) -> float:
    """Seconds that a file's header promises, 0 where it promises nothing."""
    try:
        header = soundfile.info(os.fsencode(path))
        # libsndfile's largest number stands for a length that it does not know.
        return header.duration if header.frames < 2**62 else 0.0
    except (soundfile.LibsndfileError, TypeError):
        return 0.0


def longest_silence(signal: np.ndarray, below: float = SILENCE_DB) -> float:
    """The longest stretch, in seconds, that stays ``below`` dB under the loudest frame (2048 samples, hop 512).

    Audio whose RMS is below :data:`ast_lib.audio.reading.SILENCE` is silent from end to end.
    """
    if np.sqrt(np.mean(np.square(signal, dtype=np.float64))) < audio.SILENCE:
        return len(signal) / SAMPLE_RATE
    sounding = librosa.effects.split(signal, top_db=below)
    # From the end of each sounding stretch to the start of the next, the clip's own start and end included.
    gaps = np.diff([0, *sounding.ravel(), len(signal)])[::2]
    return float(gaps.max()) / SAMPLE_RATE


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
) -> Selection[Clip]:
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
    left_out = {"not the piece's one recording": [], "unreadable": [], "shorter than a clip": [], "long silence": []}
    chosen, reasons, clips = _one_per_piece(recordings, one_per_piece), [], []
    for recording in recordings:
        if recording.instrument in one_per_piece and recording.id not in chosen:
            left_out["not the piece's one recording"].append(recording.id)
            continue
        try:
            found, silent = _cut_one(
                recording, seconds, 1 if recording.instrument in one_per_piece else most, max_silence
            )
        except AstError as error:
            left_out["unreadable"].append(recording.id)
            reasons.append(str(error))
            continue
        left_out["long silence"] += silent
        if not found and not silent:
            left_out["shorter than a clip"].append(recording.id)
        clips += found
    if reasons and not skip_unreadable:
        raise AstError(
            f"recordings: {len(reasons)} of {len(recordings)} are unreadable ({'; '.join(reasons)}); "
            "mend them, or leave them out with skip_unreadable=True"
        )
    return Selection(clips, {reason: names for reason, names in left_out.items() if names})


def _one_per_piece(recordings: Sequence[Recording], instruments: Sequence[str]) -> set[str]:
    pieces: dict[tuple, list[str]] = {}
    for recording in recordings:
        if recording.instrument in instruments:
            pieces.setdefault((recording.dataset, recording.piece, recording.instrument), []).append(recording.id)
    return {sorted(ids)[len(ids) // 2] for ids in pieces.values()}


def _cut_one(recording: Recording, seconds: float, most: int, max_silence: float) -> tuple[list[Clip], list[str]]:
    """The clips of one recording, and the ids of those with long silence."""
    duration, rate = length(recording.path)
    end = duration if recording.end is None else recording.end
    clips, silent = [], []
    for number, offset in enumerate(segment_starts(end - recording.start, seconds, most), start=1):
        name, start = f"{recording.id}#{number}", recording.start + offset
        signal = read_segment(recording.path, start, seconds, allow_silence=True)
        if longest_silence(signal) > max_silence:
            silent.append(name)
            continue
        clips.append(
            Clip(
                id=name,
                dataset=recording.dataset,
                piece=recording.piece,
                instrument=recording.instrument,
                path=str(recording.path),
                start=round(start, 6),
                seconds=seconds,
                sample_rate=rate,
                licence=recording.licence,
                split=recording.split,
                rms=float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))),
            )
        )
    return clips, silent


def assign_splits(clips: Sequence[Clip], seed: int, fractions: Sequence[float] = FRACTIONS) -> list[Clip]:
    """Deal the pieces of each instrument to train, validation and test; clips that have a split already keep it.

    A piece that several instruments play is in the same split for all of them.

    Args:
        clips: from :func:`cut`.
        seed: of the shuffle.
        fractions: of an instrument's pieces, in the order of :data:`ast_lib.data.manifest.SPLITS`; they sum to 1.

    Returns:
        the clips in the same order, each with its split.

    Raises:
        AstError: when an instrument has too few pieces to give every split one, or the fractions do not sum to 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise AstError(f"fractions: found {tuple(fractions)}, accepted are three numbers, 0 or more, that sum to 1")
    rng, splits = np.random.default_rng(seed), {}
    for clip in clips:
        if clip.split:
            splits[clip.dataset, clip.piece] = clip.split
    for instrument in sorted({clip.instrument for clip in clips}):
        pieces = sorted({(clip.dataset, clip.piece) for clip in clips if clip.instrument == instrument})
        # At least one for every split that is wanted at all.
        wanted = {
            split: max(1, round(fraction * len(pieces))) if fraction else 0
            for split, fraction in zip(SPLITS, fractions, strict=True)
        }
        dealt = Counter(splits[piece] for piece in pieces if piece in splits)
        free = [piece for piece in pieces if piece not in splits]
        free = [free[i] for i in rng.permutation(len(free))]
        for split in ("test", "validation"):
            share = max(0, wanted[split] - dealt[split])
            splits.update(dict.fromkeys(free[:share], split))
            free = free[share:]
        splits.update(dict.fromkeys(free, "train"))
        dealt = Counter(splits[piece] for piece in pieces)
        empty = [split for split in SPLITS if wanted[split] and not dealt[split]]
        if empty:
            raise AstError(
                f"instrument {instrument}: found {len(pieces)} pieces, which leave none for {' and '.join(empty)}; "
                f"accepted is {sum(count > 0 for count in wanted.values())} pieces or more, one for each split"
            )
    return [dataclasses.replace(clip, split=splits[clip.dataset, clip.piece]) for clip in clips]


def make_manifest(
    path: str | os.PathLike,
    recordings: Sequence[Recording],
    most_clips: int = PAPER_CLIPS,
    seed: int = 0,
    **cutting,
) -> Selection[Clip]:
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
    return Selection(clips, found.left_out | ({f"beyond {most_clips} of an instrument": beyond} if beyond else {}))


# --- batches


class RecordingSampler:
    """Balanced, unpaired training batches from recordings; takes the place of :class:`ast_lib.data.clips.BatchSampler`.

    An instrument is one voice, as in a configuration with one soundfont, whoever plays it. A clip is decoded when it is
    first drawn and kept in memory (0.9 MB for 10 s).

    Args:
        clips: a manifest; only those of ``split`` are used.
        instruments: the classes, in the order of their numbers.
        seconds: length of what is drawn from a clip, at a random place, then scaled to RMS 0.07.
        batch: clips in a batch, a multiple of the number of instruments.
        seed: batch number ``step`` depends on ``seed`` and ``step`` alone, so a resumed run sees the same clips.
        split: one of :data:`ast_lib.data.manifest.SPLITS`.

    Raises:
        AstError: when the batch cannot be shared equally, an instrument has no clip, or a clip is too short.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        instruments: Sequence[str],
        seconds: float,
        batch: int,
        seed: int,
        split: str = "train",
    ):
        if not instruments or batch < 1 or batch % len(instruments):
            raise AstError(
                f"batch: found {batch}, accepted are multiples of {len(instruments)}, the number of instruments"
            )
        self.clips = [
            [clip for clip in clips if clip.split == split and clip.instrument == name] for name in instruments
        ]
        for name, found in zip(instruments, self.clips, strict=True):
            if not found:
                raise AstError(f"instrument {name}: found no clip in the split {split!r}, accepted is 1 or more")
            short = min(found, key=lambda clip: clip.seconds)
            if short.seconds < seconds:
                raise AstError(f"clip {short.id}: found {short.seconds:g} s, accepted is {seconds:g} s or more")
        self.voices, self.groups = len(instruments), np.arange(len(instruments))
        self.samples, self.batch, self.seed = round(seconds * SAMPLE_RATE), batch, seed
        self._audio: dict[str, np.ndarray] = {}

    def __call__(self, step: int, part: Part = ALONE) -> tuple[np.ndarray, np.ndarray]:
        """Audio ``(B, samples)`` float32 and classes ``(B,)`` int64 of one step; classes alternate 0, 1, 0, 1, ...

        With ``part``, of the clips that are a process's own; no other is read.

        Raises:
            AstError: when a clip's file has become unreadable since the manifest was made.
        """
        rng = np.random.default_rng([self.seed, step])
        classes = np.arange(self.batch, dtype=np.int64) % len(self.clips)
        drawn = [(self.clips[label][rng.integers(len(self.clips[label]))], rng.random()) for label in classes]
        rows = []
        for clip, place in part.own(drawn):
            if clip.id not in self._audio:
                self._audio[clip.id] = load_clip(clip)
            signal = self._audio[clip.id]
            start = int(place * (len(signal) - self.samples + 1))
            rows.append(normalise_rms(signal[start : start + self.samples]))
        return np.stack(rows), part.own(classes)
