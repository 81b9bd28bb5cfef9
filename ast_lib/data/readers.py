"""The folder of a dataset comes in; the list of its recordings goes out.

Chapters: ``notebooks/16_your_own.md``, ``notebooks/17_variants.md``. Listed are ViolinEtudes, PianoMotion10M, and any
folder with a folder per instrument. The audio is the user's own copy: none of these may be downloaded by a script.
:mod:`ast_lib.data.bach_violin` reads the Bach Violin Dataset.
"""

import os
import pathlib
import re

from ast_lib.data.recordings import Recording, Selection
from ast_lib.errors import AstError

EXTENSIONS = ".wav .flac .mp3 .ogg .opus .aif .aiff .oga .mp2 .au .caf .w64 .m4a .aac .wma .webm .mp4".split()
ETUDES, MOTION = "violin-etudes", "piano-motion"
NO_AUDIO = "without an audio file's extension"
# PianoMotion10M's official lists, and the splits that they are.
LISTS = {"train": "train", "valid": "validation", "test": "test"}


def audio_files(folder: pathlib.Path) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Audio files of a folder and of the folders in it, and the other files, sorted; hidden ones are in neither."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path.relative_to(folder))]
    audio = [path for path in files if path.suffix.lower() in EXTENSIONS]
    return audio, sorted(set(files) - set(audio))


def _hidden(path: pathlib.Path) -> bool:
    # Macs add a folder of the second name to their archives.
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def instrument_folders(root: str | os.PathLike, dataset: str = "folders", licence: str = "not stated") -> Selection:
    """Recordings in ``root/<instrument>/`` and the folders in it, with one of :data:`EXTENSIONS`; a file is a piece.

    Files of the same path in their instrument's folder and the same name (without extension) are one piece, also in
    two instruments' folders.

    Args:
        root: the folder.
        dataset, licence: what the clips say about where they came from.

    Returns:
        the recordings; left out are files :data:`NO_AUDIO`.

    Raises:
        AstError: when there is no folder of an instrument, or one holds no audio.
    """
    root, recordings, others = pathlib.Path(root), [], []
    folders = [path for path in sorted(root.glob("*/")) if not _hidden(path.relative_to(root))]
    if not folders:
        raise AstError(f"{root}: found no folder in it, accepted is one for each instrument")
    for folder in folders:
        files, more = audio_files(folder)
        others += [path.relative_to(root).as_posix() for path in more]
        if not files:
            raise AstError(f"{folder}: found no audio file, accepted are {', '.join(EXTENSIONS)}")
        for path in files:
            name, piece = path.relative_to(root).as_posix(), path.relative_to(folder).with_suffix("").as_posix()
            recordings.append(Recording(f"{dataset}/{name}", dataset, piece, folder.name, path, licence))
    return Selection(recordings, {NO_AUDIO: others})


def violin_etudes(root: str | os.PathLike, licence: str = "not stated") -> Selection:
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
    # The folders beside it, resynthesised and synchronised, hold the same performances again.
    base = original if (original := pathlib.Path(root, "original")).is_dir() else pathlib.Path(root)
    recordings, (files, others) = [], audio_files(base)
    for path in files:
        name = path.relative_to(base)
        if len(name.parts) not in (2, 3):
            raise AstError(f"{path}: found {len(name.parts) - 1} folders above it, accepted is <book>/<number>/<file>")
        piece = "/".join(name.with_suffix("").parts[:2])
        recordings.append(Recording(f"{ETUDES}/{name.as_posix()}", ETUDES, piece, "violin", path, licence))
    if not files:
        raise AstError(f"{base}: found no audio file, accepted are {', '.join(EXTENSIONS)} in <book>/<number>/")
    return Selection(recordings, {NO_AUDIO: [path.relative_to(base).as_posix() for path in others]})


def piano_motion(root: str | os.PathLike, licence: str = "not stated") -> Selection:
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
    recordings, missing, seen = [], [], set()
    for name, split in LISTS.items():
        path = pathlib.Path(root, f"{name}.txt")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise AstError(f"{path}: found no text ({error}), accepted is the official list of videos") from error
        for number, line in enumerate(lines, start=1):
            video = "/".join(line.split())
            if not video:
                continue
            # The names become folders: what could lead out of the dataset is no name.
            if not re.fullmatch(r"[\w-]+/[\w-]+", video) or video in seen:
                raise AstError(f"{path}, line {number}: found {line!r}, accepted is an uploader and a new video")
            seen.add(video)
            files, _ = audio_files(pathlib.Path(root, "audio", video))
            missing += [] if files else [video]
            for file in files:
                name = f"{MOTION}/{video}/{file.name}"
                recordings.append(Recording(name, MOTION, video, "piano", file, licence, split=split))
    return Selection(recordings, {"missing": missing})
