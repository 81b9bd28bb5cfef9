"""Files that are whole or absent: written under a temporary name in the same folder, then renamed."""

import contextlib
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from ast_lib.errors import AstError


def check_target(path: pathlib.Path):
    """Raise :class:`AstError` where ``path`` cannot be written: no such folder, no permission, too long a name."""
    try:
        if path.is_dir():
            raise AstError(f"{path}: found a folder, accepted is the name of a file")
        for folder in (path.parent, pathlib.Path(os.path.realpath(path)).parent):  # and where a link leads
            if not folder.is_dir():
                raise AstError(f"{path}: the folder {folder} does not exist")
            if not os.access(folder, os.W_OK):
                raise AstError(f"{path}: the folder {folder} cannot be written to")
    # What a path may not be at all, such as one whose name is too long.
    except OSError as error:
        raise AstError(f"{path}: could not be written: {error.strerror or error}") from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file to write to, which becomes ``path`` when the block ends; an error leaves the earlier file alone.

    A link stays a link, to the new content, and an earlier file's permissions stay as they were.

    Raises:
        AstError: when the folder is missing, ``path`` is a folder, or writing fails (disk full, no permission).
    """
    path = pathlib.Path(path)
    check_target(path)
    try:
        target = pathlib.Path(os.path.realpath(path))
        # A short name of its own: one made from the file's could be too long.
        temporary = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            with open(temporary, "wb") as file:
                yield file
                # Without this a full disk may show only after the rename.
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise AstError(f"{path}: could not be written: {error.strerror or error}") from error


def write_bytes(path: str | os.PathLike, data: bytes) -> pathlib.Path:
    """Write ``data`` to ``path``; whatever stops it halfway leaves neither a part of the file nor a temporary one.

    Raises:
        AstError: as :func:`replacing`.
    """
    with replacing(path) as file:
        file.write(data)
    return pathlib.Path(path)


ROOT = pathlib.Path(__file__).resolve().parent.parent  # of the repository
CACHE = ROOT / "build" / "cache"  # of parsed scores
