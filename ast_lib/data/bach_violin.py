"""The folder of the Bach Violin Dataset comes in; its recordings, and a paired test on real audio, go out.

Chapter: ``notebooks/16_your_own.md``. Dong et al., *Deep Performer*, ICASSP 2022; Zenodo record 6050245. Sonatas and
partitas for solo violin (BWV 1001-1006): ``audio.csv`` lists 42 recordings, ``info.csv`` the 105 movements in them,
29 recordings are distributed. Alignments are in seconds from the movement's ``start`` in ``info.csv``, not from the
start of the file: their last note ends where the movement does, and only so do notes and sound agree.
"""

import dataclasses
import datetime
import os
import pathlib
from collections.abc import Callable, Collection

import numpy as np
import pandas as pd

from ast_lib.audio.levels import normalise_rms
from ast_lib.data.clips import PREROLL, PairedClip, clip_notes, render_clip
from ast_lib.data.recordings import MAX_SILENCE, Recording, Selection, longest_silence, read_segment, segment_starts
from ast_lib.data.scores import SHORTEST, Notes
from ast_lib.data.synth import Synth
from ast_lib.errors import AstError

DATASET = "bach-violin"


def _table(path: pathlib.Path, **columns: Callable[[str], object]) -> pd.DataFrame:
    """Columns of a CSV file, each with what makes values of its texts."""
    try:
        return pd.read_csv(path, usecols=list(columns), converters=columns, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise AstError(f"{path}: not a table with the columns {', '.join(columns)} ({error})") from error


def _seconds(text: str) -> float:
    """Seconds of a time ``h:mm:ss``."""
    time = datetime.datetime.strptime(text, "%H:%M:%S")
    return 3600.0 * time.hour + 60.0 * time.minute + time.second


def piece_of(work: str, movement: int) -> str:
    """What may not be in two splits, whoever plays it: ``BWV1002 mov5``.

    A *Double* of BWV 1002 is a variation on the movement before it, bar by bar: the two are one piece.
    """
    return f"{work} mov{movement - (work == 'BWV1002' and movement % 2 == 0)}"


def recordings(root: str | os.PathLike, licences: Collection[str] | None = None) -> Selection:
    """The movements whose audio is there.

    Args:
        root: the folder with ``audio.csv``, ``info.csv`` and ``audio/<collection>/``.
        licences: those accepted, of ``PD``, ``CC BY``, ``CC BY-NC``, ``CC BY-NC-ND`` and ``-`` (none stated); None
            accepts all.

    Returns:
        a :class:`Recording` per movement; left out are files, each once, for their ``licence`` or as ``missing``.

    Raises:
        AstError: for a missing or malformed table.
    """
    root = pathlib.Path(root)
    files = _table(root / "audio.csv", filename=str, license=str)
    licence_of = dict(zip(files["filename"], files["license"], strict=True))
    columns = {"filename": str, "collection": str, "work": str, "mov": int, "source_filename": str}
    found, left_out = [], {"licence": [], "missing": []}
    for row in _table(root / "info.csv", **columns, start=_seconds, end=_seconds).itertuples():
        path = root / "audio" / row.collection / row.source_filename
        licence = licence_of.get(path.name, "-")
        if licences is not None and licence not in licences:
            left_out["licence"].append(path.name)
        elif not path.is_file():
            left_out["missing"].append(path.name)
        else:
            name, piece = f"{DATASET}/{row.filename}", piece_of(row.work, row.mov)
            found.append(Recording(name, DATASET, piece, "violin", path, licence, row.start, row.end))
    return Selection(found, left_out)


def aligned_notes(root: str | os.PathLike, collection: str, name: str) -> Notes:
    """The notes of a movement as it is played: pitch and velocity of the score, times of the alignment.

    Args:
        root: of the dataset.
        collection: the folder in ``notes`` and ``alignments``.
        name: of the movement, the column ``filename`` of ``info.csv``.

    Returns:
        :class:`Notes` in seconds from the movement's start, sorted by onset. A note lasts 0.05 s or more.

    Raises:
        AstError: for a missing or malformed table, or tables of different length.
    """
    file = pathlib.Path(collection, f"{name}.csv")
    notes = _table(pathlib.Path(root, "notes", file), pitch=int, velocity=int)
    times = _table(pathlib.Path(root, "alignments", file), start=float, end=float)
    if len(notes) != len(times):
        raise AstError(f"{file}: found {len(times)} rows of alignments, accepted are as many as of notes, {len(notes)}")
    notes = notes.join(times).sort_values(["start", "pitch"], kind="stable")
    duration = np.maximum(notes["end"] - notes["start"], SHORTEST)
    return Notes(*(column.to_numpy() for column in (notes["start"], duration, notes["pitch"], notes["velocity"])))


def aligned_pairs(
    root: str | os.PathLike, seconds: float, synth: Synth, instrument: str = "piano", most: int = 3
) -> list[PairedClip]:
    """Real violin, and the notes that it plays rendered on another instrument: a paired test on recordings.

    Times of the alignment are estimates on a grid of 32 ms (of four movements, three sounded about 25 ms late) and
    velocities are the score's, all equal: compare pitch and timbre rather than onsets within 50 ms or dynamics. A
    violin in baroque tuning sounds, and is rendered, a semitone lower.

    Args:
        root: of the dataset, with ``notes`` and ``alignments``.
        seconds: length of a clip.
        synth: what renders the notes.
        instrument: of the truth, not ``violin``.
        most: clips of a movement, 1 to 3 (:func:`ast_lib.data.recordings.segment_starts`); those with long silence are
            not among them.

    Returns:
        clips with ``audio["violin"]`` and ``audio[instrument]``, both ``(samples,)`` at RMS 0.07; ``notes`` are in
        seconds from the clip's start, and ``kind`` is ``aligned``.

    Raises:
        AstError: as :func:`recordings`; when no movement has audio, notes and alignment; for the instrument ``violin``.
    """
    root = pathlib.Path(root)
    if instrument == "violin":
        raise AstError("instrument: found 'violin', accepted is another than the one recorded")
    table, clips = _table(root / "info.csv", filename=str, baroque_tuning=str), []
    baroque = set(table["filename"][table["baroque_tuning"] == "1"])
    for recording in recordings(root).items:
        name, collection = recording.id.removeprefix(f"{DATASET}/"), recording.path.parent.name
        if not (root / "alignments" / collection / f"{name}.csv").is_file():
            continue
        notes = aligned_notes(root, collection, name)
        notes = dataclasses.replace(notes, pitch=notes.pitch - int(name in baroque))
        for number, start in enumerate(segment_starts(recording.end - recording.start, seconds, most), start=1):
            real = read_segment(recording.path, recording.start + start, seconds, allow_silence=True)
            heard = notes.window(start - PREROLL, seconds + PREROLL)
            inside = clip_notes(heard, seconds)
            if longest_silence(real) > MAX_SILENCE or not len(inside):
                continue
            sounds = {"violin": normalise_rms(real), instrument: render_clip(synth, heard, instrument, seconds)}
            clips.append(PairedClip(f"{name}#{number}", "aligned", inside, sounds))
    if not clips:
        raise AstError(f"{root}: found no movement with audio, notes and alignment of {seconds:g} s or more")
    return clips
