"""A manifest file comes in and clips go out, or the reverse; a clip is a stretch of an audio file.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/16_your_own.md``. A manifest is a text file of
JSON lines (``pandas.read_json(path, lines=True)`` reads it too) whose keys are the fields of :class:`Clip`. It names
audio, it does not copy it.
"""

import codecs
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import pydantic

from ast_lib.errors import AstError
from ast_lib.files import write_bytes

SPLITS = ("train", "validation", "test")
Text = Annotated[str, pydantic.StringConstraints(pattern=r"\S")]  # not blank


@dataclasses.dataclass(frozen=True)
class Clip:
    """A stretch of an audio file. The fields' types are checked when a manifest is read or written.

    ``piece`` is what may not be in two splits (a movement, an etude, a video, a score); it is unique within ``dataset``
    only. ``start`` and ``seconds`` are in the file's own time. ``sample_rate`` (Hz) and ``rms`` (of full scale) are the
    source's, before it became mono at 22,050 Hz and RMS 0.07. ``split`` is one of :data:`SPLITS`, or empty as long as
    nobody has dealt the pieces out.
    """

    id: Text
    dataset: Text
    piece: Text
    instrument: Text
    path: Text
    start: pydantic.NonNegativeFloat
    seconds: pydantic.PositiveFloat
    sample_rate: pydantic.PositiveInt
    licence: Text
    split: Literal["", *SPLITS]
    rms: pydantic.PositiveFloat

    __pydantic_config__ = pydantic.ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, revalidate_instances="always"
    )


CLIP = pydantic.TypeAdapter(Clip)


def _checked(check: Callable[[object], Clip], value: object, where: str) -> Clip:
    """The clip that ``check`` makes of a value; an error message begins with ``where``."""
    try:
        return check(value)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = "".join(f", field {name}" for name in first["loc"])
        raise AstError(f"{where}{field}: found {first['input']!r}; {first['msg']}") from error


def _check_together(clips: Sequence[Clip], path: pathlib.Path):
    """Refuse two clips of one id, and a piece in two splits."""
    ids, splits = set(), {}
    for clip in clips:
        if clip.id in ids:
            raise AstError(f"{path}, field id: found {clip.id!r} twice, accepted are different ones")
        ids.add(clip.id)
        if splits.setdefault((clip.dataset, clip.piece), clip.split) != clip.split:
            raise AstError(f"{path}, field split: found two for the piece {clip.piece!r}, accepted is one")


def write_manifest(path: str | os.PathLike, clips: Sequence[Clip]) -> pathlib.Path:
    """Write a manifest, whole or not at all.

    Audio below the manifest's folder is named relative to it, so that the folder can move; other audio absolutely.

    Raises:
        AstError: for a field that :func:`read_manifest` would refuse, or a file that cannot be written.
    """
    path, lines = pathlib.Path(path), []
    folder = path.parent.resolve()
    for number, clip in enumerate(clips, start=1):
        source = pathlib.Path(_checked(CLIP.validate_python, clip, f"{path}, clip {number}").path).resolve()
        name = source.relative_to(folder) if source.is_relative_to(folder) else source
        lines.append(json.dumps(dataclasses.asdict(clip) | {"path": name.as_posix()}, ensure_ascii=False) + "\n")
    _check_together(clips, path)
    return write_bytes(path, "".join(lines).encode())


def read_manifest(path: str | os.PathLike) -> list[Clip]:
    """Read what :func:`write_manifest` wrote; paths come back absolute. The audio files are not opened.

    Raises:
        AstError: for a missing file, a line that is not JSON, a missing, unknown or unacceptable field, an id used
            twice, or a piece in two splits; it names the file, the line and the field.
    """
    path, clips = pathlib.Path(path), []
    if not path.is_file():
        raise AstError(f"{path}: no such manifest")
    for number, line in enumerate(path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line.strip():
            clip = _checked(CLIP.validate_json, line, f"{path}, line {number}")
            clips.append(dataclasses.replace(clip, path=str(path.parent.resolve() / clip.path)))
    _check_together(clips, path)
    return clips
