"""Datasets as lists of recordings: ViolinEtudes, PianoMotion10M, and any folder with a folder per instrument.

Chapter: ``notebooks/16_your_own.md``. The audio is the user's own copy: none of these may be downloaded by a script.
:mod:`ast_lib.data.bach_violin` reads the Bach Violin Dataset.
"""

import os
import pathlib

from ast_lib.data.recordings import Recording, Selection
from ast_lib.errors import AstError

EXTENSIONS = (
    *(".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".oga", ".mp2", ".au", ".caf", ".w64"),
    *(".m4a", ".aac", ".wma", ".webm", ".mp4"),
)
NO_AUDIO = "without an audio file's extension"
# PianoMotion10M's official lists, and the splits that they are.
LISTS = {"train": "train", "valid": "validation", "test": "test"}


def audio_files(folder: pathlib.Path) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Audio files of a folder and of the folders in it, and the other files, sorted; hidden ones are in neither."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder).parts))
    audio = [path for path in found if path.suffix.lower() in EXTENSIONS]
    return audio, [path for path in found if path.suffix.lower() not in EXTENSIONS]


def _hidden(parts: tuple[str, ...]) -> bool:
    # Macs add a folder of such a name to their archives.
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _folder(root: str | os.PathLike, what: str) -> pathlib.Path:
    root = pathlib.Path(root)
    if not root.is_dir():
        raise AstError(f"{root}: no such folder, accepted is {what}")
    return root


def instrument_folders(
    root: str | os.PathLike, dataset: str = "folders", licence: str = "not stated"
) -> Selection[Recording]:
    """Recordings in ``root/<instrument>/`` and the folders in it, with one of :data:`EXTENSIONS`; a file is a piece.

    Files of the same place in their instrument's folder and the same name (without extension) are one piece, also in
    two instruments' folders.

    Args:
        root: the folder.
        dataset, licence: what the clips say about where they came from.

    Returns:
        the recordings; left out are files :data:`NO_AUDIO`.

    Raises:
        AstError: when there is no folder of an instrument, or one holds no audio.
    """
    root = _folder(root, "a folder with a folder of audio files for each instrument")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not _hidden((path.name,)))
    if not folders:
        raise AstError(f"{root}: found no folder in it, accepted is one for each instrument")
    recordings, others = [], []
    for folder in folders:
        files, more = audio_files(folder)
        others += more
        if not files:
            raise AstError(f"{folder}: found no audio file, accepted are {', '.join(EXTENSIONS)}")
        for path in files:
            place = path.relative_to(folder)
            name, piece = f"{dataset}/{folder.name}/{place.as_posix()}", place.with_suffix("").as_posix()
            recordings.append(Recording(name, dataset, piece, folder.name, path, licence))
    return Selection(recordings, _left_out(root, others))


def _left_out(root: pathlib.Path, others: list[pathlib.Path]) -> dict[str, list[str]]:
    return {NO_AUDIO: [path.relative_to(root).as_posix() for path in others]} if others else {}


def violin_etudes(root: str | os.PathLike, licence: str = "not stated") -> Selection[Recording]:
    """ViolinEtudes (Tamer et al. 2022, DOI 10.5281/zenodo.6564408): a piece is an etude, that is a book and a number.

    Args:
        root: the folder whose part ``original``, or which itself, holds ``<book>/<number>/*`` or ``<book>/<number>.*``
            in mp3, wav or another of :data:`EXTENSIONS`, as in ``DanclaOp84/No01/028zC_Oo3WNhE00000128.mp3``.
        licence: what the clips say; the audio comes from videos, whose terms the dataset does not state.

    Returns:
        the recordings; left out are files :data:`NO_AUDIO`.

    Raises:
        AstError: when there is no audio, or a file that is in no book's folder.
    """
    root = _folder(root, "the folder of ViolinEtudes")
    # The folders beside it, resynthesised and synchronised, hold the same performances again.
    base = root / "original" if (root / "original").is_dir() else root
    recordings, (files, others) = [], audio_files(base)
    for path in files:
        parts = path.relative_to(base).with_suffix("").parts
        if len(parts) not in (2, 3):
            raise AstError(f"{path}: found {len(parts) - 1} folders above it, accepted is <book>/<number>/<file>")
        name = path.relative_to(base).as_posix()
        recordings.append(
            Recording(f"violin-etudes/{name}", "violin-etudes", "/".join(parts[:2]), "violin", path, licence)
        )
    if not recordings:
        raise AstError(f"{base}: found no audio file, accepted are {', '.join(EXTENSIONS)} in <book>/<number>/")
    return Selection(recordings, _left_out(base, others))


def piano_motion(root: str | os.PathLike, licence: str = "not stated") -> Selection[Recording]:
    """PianoMotion10M (Gan et al. 2024, Zenodo 13297386): a piece is a video, and the splits are the official ones.

    Args:
        root: the folder with ``train.txt``, ``valid.txt`` and ``test.txt``, whose lines are ``uploader BVid``, and
            ``audio/<uploader>/<BVid>/<BVid>_seq_0000.mp3`` and so on.
        licence: what the clips say.

    Returns:
        the recordings; left out are the videos whose audio is ``missing``.

    Raises:
        AstError: when a list is missing, a line has another form, or a video is in a list twice.
    """
    root = _folder(root, "the folder of PianoMotion10M")
    recordings, missing, seen = [], [], {}
    for name, split in LISTS.items():
        path = root / f"{name}.txt"
        if not path.is_file():
            raise AstError(f"{path}: no such file, accepted is the official list of videos")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise AstError(f"{path}: not UTF-8 text from byte {error.start} on; accepted is a list in UTF-8") from error
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            # The names become folders: what could lead out of the dataset is no name.
            if len(words) != 2 or any("/" in word or "\\" in word or word in (".", "..") for word in words):
                raise AstError(f"{path}, line {number}: found {line!r}, accepted is an uploader and a video")
            video = "/".join(words)
            if video in seen:
                raise AstError(f"{path}, line {number}: found {video} again, it is in {seen[video]}")
            seen[video] = f"{path.name}, line {number}"
            files, _ = audio_files(root / "audio" / video)
            if not files:
                missing.append(video)
            recordings += [
                Recording(
                    f"piano-motion/{video}/{file.name}", "piano-motion", video, "piano", file, licence, split=split
                )
                for file in files
            ]
    return Selection(recordings, {"missing": missing} if missing else {})
