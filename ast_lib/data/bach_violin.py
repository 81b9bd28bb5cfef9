"""The Bach Violin Dataset: its recordings by movement, and a paired test on real recordings from its alignments.

Chapter: ``notebooks/16_your_own.md``. Dong et al., *Deep Performer*, ICASSP 2022; Zenodo record 6050245. Sonatas and
partitas for solo violin (BWV 1001-1006): ``audio.csv`` lists 42 recordings, ``info.csv`` the 105 movements in them,
29 recordings are distributed. Alignments are in seconds from the movement's ``start`` in ``info.csv``, not from the
start of the file: their last note ends where the movement does, and only so do notes and sound agree.
"""

import os
import pathlib
import re
from collections.abc import Collection

import numpy as np
import pandas as pd

from ast_lib.audio.levels import normalise_rms
from ast_lib.data.clips import PREROLL, PairedClip, clip_notes, render_clip
from ast_lib.data.recordings import (
    MAX_SILENCE,
    Recording,
    Selection,
    longest_silence,
    read_segment,
    segment_starts,
)
from ast_lib.data.scores import Notes
from ast_lib.data.synth import Synth
from ast_lib.errors import AstError

DATASET = "bach-violin"
GROUPS = ("movement", "work")
SHORTEST = 0.05  # seconds: what an aligned note lasts at least


def _table(path: pathlib.Path, columns: Collection[str]) -> pd.DataFrame:
    """A CSV file as text; an error message names the file and the columns that it lacks."""
    if not path.is_file():
        raise AstError(f"{path}: no such file, accepted is the table of the Bach Violin Dataset")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise AstError(f"{path}: not a CSV table ({error})") from error
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise AstError(f"{path}: found no column {', '.join(lacking)}; accepted is a table with {', '.join(columns)}")
    return table


def _numbers(path: pathlib.Path, columns: Collection[str]) -> dict[str, np.ndarray]:
    """Columns of a CSV file as float64 ``(rows,)``."""
    table = _table(path, columns)
    numbers = {name: pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in columns}
    for name, values in numbers.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            row = int(bad[0])
            raise AstError(f"{path}, row {row + 1}, field {name}: found {table[name][row]!r}, accepted is a number")
    return numbers


def _seconds(text: str, place: str) -> float:
    """Seconds of a time ``h:mm:ss``."""
    match = re.fullmatch(r"(\d+):([0-5]\d):([0-5]\d)", text)
    if match is None:
        raise AstError(f"{place}: found {text!r}, accepted is a time h:mm:ss")
    hours, minutes, seconds = map(int, match.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds


def piece_of(work: str, movement: int, group: str = "movement") -> str:
    """What may not be in two splits, whoever plays it: ``BWV1002 mov5``, or ``BWV1002`` for the group ``work``.

    A *Double* of BWV 1002 is a variation on the movement before it, bar by bar: the two are one piece.
    """
    if group == "work":
        return work
    return f"{work} mov{movement - (work == 'BWV1002' and movement % 2 == 0)}"


def recordings(
    root: str | os.PathLike, licences: Collection[str] | None = None, group: str = "movement"
) -> Selection[Recording]:
    """The movements whose audio is there.

    Args:
        root: the folder with ``audio.csv``, ``info.csv`` and ``audio/<collection>/``.
        licences: those accepted, of ``PD``, ``CC BY``, ``CC BY-NC``, ``CC BY-NC-ND`` and ``-`` (none stated); None
            accepts all.
        group: ``movement`` or ``work``, see :func:`piece_of`.

    Returns:
        a :class:`Recording` per movement; left out are files, each once, for their ``licence`` or as ``missing``.

    Raises:
        AstError: for a missing or malformed table, an unknown licence or an unknown group.
    """
    root = pathlib.Path(root)
    if group not in GROUPS:
        raise AstError(f"group: found {group!r}, accepted are {', '.join(GROUPS)}")
    files = _table(root / "audio.csv", ("filename", "collection", "license"))
    licence_of = dict(zip(files["filename"], files["license"], strict=True))
    unknown = sorted(set(licences or ()) - set(licence_of.values()))
    if unknown:
        raise AstError(
            f"licences: found {', '.join(unknown)}, accepted are {', '.join(sorted(set(licence_of.values())))}"
        )
    found, left_out = [], {"licence": [], "missing": []}
    table = _table(
        root / "info.csv",
        ("filename", "collection", "work", "mov", "source_filename", "start", "end"),
    )
    for number, row in enumerate(table.to_dict("records"), start=1):
        place, source = f"{root / 'info.csv'}, row {number}", row["source_filename"]
        if source not in licence_of:
            raise AstError(f"{place}, field source_filename: found {source!r}, which is not in audio.csv")
        if not row["mov"].isdecimal():
            raise AstError(f"{place}, field mov: found {row['mov']!r}, accepted is a number")
        start, end = (_seconds(row[name], f"{place}, field {name}") for name in ("start", "end"))
        if end <= start:
            raise AstError(f"{place}, field end: found {row['end']!r}, accepted is a time after {row['start']}")
        path = root / "audio" / row["collection"] / source
        if licences is not None and licence_of[source] not in licences:
            left_out["licence"].append(source)
        elif not path.is_file():
            left_out["missing"].append(source)
        else:
            piece = piece_of(row["work"], int(row["mov"]), group)
            name = f"{DATASET}/{row['filename']}"
            found.append(Recording(name, DATASET, piece, "violin", path, licence_of[source], start, end))
    # A file that several movements are in is named once.
    return Selection(found, {reason: list(dict.fromkeys(names)) for reason, names in left_out.items() if names})


def aligned_notes(root: str | os.PathLike, collection: str, name: str) -> Notes:
    """The notes of a movement as it is played: pitch and velocity of the score, times of the alignment.

    Args:
        root: of the dataset.
        collection: the folder in ``notes`` and ``alignments``.
        name: of the movement, the column ``filename`` of ``info.csv``.

    Returns:
        :class:`Notes` in seconds from the movement's start, sorted by onset. A note lasts :data:`SHORTEST` or more.

    Raises:
        AstError: for a missing or malformed table, or tables of different length.
    """
    score = pathlib.Path(root) / "notes" / collection / f"{name}.csv"
    alignment = pathlib.Path(root) / "alignments" / collection / f"{name}.csv"
    notes, times = _numbers(score, ("onset", "offset", "pitch", "velocity")), _numbers(alignment, ("start", "end"))
    if len(notes["pitch"]) != len(times["start"]):
        raise AstError(
            f"{alignment}: found {len(times['start'])} rows, accepted are the {len(notes['pitch'])} of {score}"
        )
    order = np.lexsort((notes["pitch"], times["start"]))
    start, end = times["start"][order], times["end"][order]
    if len(start) and start[0] < 0:
        raise AstError(f"{alignment}, field start: found {start[0]:g}, accepted is 0 or more")
    pitch, velocity = (notes[field][order].astype(np.int64) for field in ("pitch", "velocity"))
    return Notes(start, np.maximum(end - start, SHORTEST), pitch, velocity)


def aligned_pairs(
    root: str | os.PathLike,
    seconds: float,
    synth: Synth,
    instrument: str = "piano",
    licences: Collection[str] | None = None,
    most: int = 3,
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
        licences: as for :func:`recordings`.
        most: clips of a movement, 1 to 3 (:func:`ast_lib.data.recordings.segment_starts`); those with long silence are
        not
            among them.

    Returns:
        clips with ``audio["violin"]`` and ``audio[instrument]``, both ``(samples,)`` at RMS 0.07; ``notes`` are in
        seconds from the clip's start, and ``kind`` is ``aligned``.

    Raises:
        AstError: as :func:`recordings`; when no movement has audio, notes and alignment; for the instrument ``violin``.
    """
    root = pathlib.Path(root)
    if instrument == "violin":
        raise AstError("instrument: found 'violin', accepted is another than the one recorded")
    table = _table(root / "info.csv", ("filename", "collection", "baroque_tuning"))
    info = {row["filename"]: row for row in table.to_dict("records")}
    clips = []
    for recording in recordings(root, licences).items:
        name = recording.id.removeprefix(f"{DATASET}/")
        row = info[name]
        if not (root / "alignments" / row["collection"] / f"{name}.csv").is_file():
            continue
        notes = aligned_notes(root, row["collection"], name)
        lowered = int(row["baroque_tuning"] == "1")
        for number, start in enumerate(segment_starts(recording.end - recording.start, seconds, most), start=1):
            real = read_segment(recording.path, recording.start + start, seconds, allow_silence=True)
            heard = _window(notes, start, seconds, lowered)
            inside = clip_notes(heard, seconds)
            if longest_silence(real) > MAX_SILENCE or not len(inside):
                continue
            sounds = {"violin": normalise_rms(real), instrument: render_clip(synth, heard, instrument, seconds)}
            clips.append(PairedClip(f"{name}#{number}", "aligned", inside, sounds))
    if not clips:
        raise AstError(f"{root}: found no movement with audio, notes and alignment of {seconds:g} s or more")
    return clips


def _window(notes: Notes, start: float, seconds: float, lowered: int) -> Notes:
    """The notes that sound in a window, in seconds from the start of its preroll, ``lowered`` by semitones."""
    onset, end = notes.onset - start + PREROLL, notes.onset + notes.duration - start + PREROLL
    heard = (end > SHORTEST) & (onset < seconds + PREROLL)
    onset, end = np.maximum(onset[heard], 0.0), end[heard]
    return Notes(onset, end - onset, notes.pitch[heard] - lowered, notes.velocity[heard])
