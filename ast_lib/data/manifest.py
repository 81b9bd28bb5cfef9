"""The manifest: one line per clip, the same for recordings and for rendered audio.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/16_your_own.md``. A manifest is a text file of
JSON lines (``pandas.read_json(path, lines=True)`` reads it too) whose keys are the fields of :class:`Clip`. It names
audio, it does not copy it.
"""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from ast_lib import audio
from ast_lib.data.clips import PairedClip
from ast_lib.data.synth import SAMPLE_RATE
from ast_lib.errors import AstError
from ast_lib.files import write_bytes

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Clip:
    """A stretch of an audio file.

    ``piece`` is what may not be in two splits (a movement, an etude, a video, a score); it is unique within ``dataset``
    only. ``start`` and ``seconds`` are in the file's own time. ``sample_rate`` (Hz) and ``rms`` (of full scale) are the
    source's, before it became mono at 22,050 Hz and RMS 0.07. ``split`` is one of :data:`SPLITS`, or empty as long as
    nobody has dealt the pieces out.
    """

    id: str
    dataset: str
    piece: str
    instrument: str
    path: str
    start: float
    seconds: float
    sample_rate: int
    licence: str
    split: str
    rms: float


# Per field: the types that JSON may give it, what its value must satisfy, and that in words.
RULES = {
    **{
        name: (str, lambda value: value.strip() != "", "a text that is not empty")
        for name in ("id", "dataset", "piece", "instrument", "path", "licence")
    },
    "start": ((int, float), lambda value: 0 <= value < math.inf, "a number of seconds, 0 or more"),
    "seconds": ((int, float), lambda value: 0 < value < math.inf, "a number of seconds above 0"),
    "sample_rate": (int, lambda value: value > 0, "a whole number of hertz above 0"),
    "split": (str, lambda value: value in ("", *SPLITS), f"'', {', '.join(map(repr, SPLITS))}"),
    "rms": ((int, float), lambda value: 0 < value < math.inf, "a number above 0"),
}


def _clip(record: object, place: str) -> Clip:
    """The clip that a parsed line describes; ``place`` begins every error message."""
    if not isinstance(record, dict):
        raise AstError(f"{place}: found {record!r}, accepted is an object with the keys {', '.join(RULES)}")
    missing, unknown = [name for name in RULES if name not in record], [name for name in record if name not in RULES]
    if missing or unknown:
        found = [f"no field {name}" for name in missing] + [f"the unknown field {name}" for name in unknown]
        raise AstError(f"{place}: found {', '.join(found)}; accepted are exactly {', '.join(RULES)}")
    for name, (types, accepts, accepted) in RULES.items():
        value = record[name]
        if isinstance(value, bool) or not isinstance(value, types) or not accepts(value):
            raise AstError(f"{place}, field {name}: found {value!r}, accepted is {accepted}")
    return Clip(**record)


def _check(clips: Sequence[Clip], places: Sequence[str]):
    """Refuse two clips of one id, and a piece in two splits."""
    ids, splits = {}, {}
    for clip, place in zip(clips, places, strict=True):
        if clip.id in ids:
            raise AstError(f"{place}, field id: found {clip.id!r}, which {ids[clip.id]} has too; ids are unique")
        ids[clip.id] = place
        split, first = splits.setdefault((clip.dataset, clip.piece), (clip.split, place))
        if split != clip.split:
            raise AstError(
                f"{place}, field split: found {clip.split!r} for the piece {clip.piece!r}, which is in {split!r} at "
                f"{first}; a piece is in one split only"
            )


def write_manifest(path: str | os.PathLike, clips: Sequence[Clip]) -> pathlib.Path:
    """Write a manifest, whole or not at all.

    Audio below the manifest's folder is named relative to it, so that the folder can move; other audio absolutely.

    Raises:
        AstError: for a field that :func:`read_manifest` would refuse, or a file that cannot be written.
    """
    path = pathlib.Path(path)
    folder, lines = path.parent.resolve(), []
    places = [f"{path}, clip {number}" for number in range(1, len(clips) + 1)]
    for clip, place in zip(clips, places, strict=True):
        source = pathlib.Path(_clip(dataclasses.asdict(clip), place).path).resolve()
        name = source.relative_to(folder) if source.is_relative_to(folder) else source
        lines.append(json.dumps({**dataclasses.asdict(clip), "path": name.as_posix()}, ensure_ascii=False))
    _check(clips, places)
    return write_bytes(path, "".join(line + "\n" for line in lines).encode())


def read_manifest(path: str | os.PathLike) -> list[Clip]:
    """Read what :func:`write_manifest` wrote; paths come back absolute. The audio files are not opened.

    Raises:
        AstError: for a missing file, a line that is not JSON, a missing, unknown or unacceptable field, an id used
            twice, or a piece in two splits; it names the file, the line and the field.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise AstError(f"{path}: no such manifest")
    try:
        # Not splitlines: a piece's name may hold one of the line separators that JSON does not escape.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise AstError(f"{path}: not UTF-8 text from byte {error.start} on; accepted are JSON lines") from error
    clips, places = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise AstError(f"{place}: not JSON ({error.msg} at column {error.colno})") from error
        clip = _clip(record, place)
        clips.append(dataclasses.replace(clip, path=str(path.parent.resolve() / clip.path)))
        places.append(place)
    _check(clips, places)
    return clips


def save_rendered(
    pairs: Sequence[PairedClip], folder: str | os.PathLike, split: str, dataset: str = "rendered"
) -> list[Clip]:
    """Write rendered clips as FLAC files and describe them like recordings.

    Args:
        pairs: from :func:`ast_lib.data.clips.paired_clips`; each is written once per instrument.
        folder: exists; files are named by number and instrument.
        split: one of :data:`SPLITS`, for all of them.
        dataset: what the clips' field ``dataset`` says.

    Raises:
        AstError: for another split, a missing folder or a full disk.
    """
    if split not in SPLITS:
        raise AstError(f"split: found {split!r}, accepted are {', '.join(SPLITS)}")
    clips = []
    for number, pair in enumerate(pairs):
        for instrument, signal in pair.audio.items():
            name = f"{split}-{number:04d}-{instrument}"
            path = audio.save(pathlib.Path(folder) / f"{name}.flac", signal)
            level = float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
            clips.append(
                Clip(
                    id=f"{dataset}/{name}",
                    dataset=dataset,
                    piece=pair.piece,
                    instrument=instrument,
                    path=str(path),
                    start=0.0,
                    seconds=len(signal) / SAMPLE_RATE,
                    sample_rate=SAMPLE_RATE,
                    licence="public domain",
                    split=split,
                    rms=level,
                )
            )
    return clips
