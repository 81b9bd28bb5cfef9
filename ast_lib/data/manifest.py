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
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ast_lib.checked import checked, from_values
from ast_lib.config import Count, NonNegative, Positive
from ast_lib.errors import AstError
from ast_lib.files import write_bytes

SPLITS = ("train", "validation", "test")
Text = Annotated[str, Field(pattern=r"\S", description="a text that is not blank")]


@checked
class Clip:
    """A stretch of an audio file; a field that is not accepted raises :class:`ast_lib.errors.AstError`.

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
    start: NonNegative
    seconds: Positive
    sample_rate: Count
    licence: Text
    split: Literal["", *SPLITS]
    rms: Positive


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
        AstError: for an id used twice, a piece in two splits, or a file that cannot be written.
    """
    path, lines = pathlib.Path(path), []
    folder = path.parent.resolve()
    for clip in clips:
        source = pathlib.Path(clip.path).resolve()
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
            try:
                clip = from_values(Clip, json.loads(line))
            except (AstError, ValueError) as error:
                raise AstError(f"{path}, line {number}, {error}") from error
            clips.append(dataclasses.replace(clip, path=str(path.parent.resolve() / clip.path)))
    _check_together(clips, path)
    return clips
