"""Files that are whole or absent: written under a temporary name in the same folder, then renamed."""

import os
import pathlib

from ast_lib.errors import AstError


def write_bytes(path: str | os.PathLike, data: bytes) -> pathlib.Path:
    """Write ``data`` to ``path``; whatever stops it halfway leaves neither a part of the file nor a temporary one.

    An earlier file of the same name stays as it was until the new one is complete.

    Raises:
        AstError: when the folder is missing, ``path`` is a folder, or writing fails (disk full, no permission).
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise AstError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise AstError(f"{path}: found a folder, accepted is the name of a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            # Without this a full disk may show only after the rename.
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise AstError(f"{path}: could not be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


ROOT = pathlib.Path(__file__).resolve().parent.parent  # of the repository


def output_folder(profile: str, output: str = "") -> pathlib.Path:
    """Where a chapter writes: ``build/<profile>`` of the repository, or the folder ``output``; created when missing.

    Raises:
        AstError: when the folder cannot be made.
    """
    folder = pathlib.Path(output) if output else ROOT / "build" / profile
    try:
        for part in ("results", "weights", "audio"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AstError(f"output: {folder} cannot be a folder to write to: {error}") from error
    return folder


CACHE = ROOT / "build" / "cache"  # of parsed scores
