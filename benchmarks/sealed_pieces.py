"""The sealed test: the music21 corpus comes in; pieces on which nothing is ever chosen go out.

Chapter: ``notebooks/12_evaluation.md``. The rule, written before any figure: songs and airs (the Essen collection,
Aird's airs) and movements of string quartets (Haydn, Mozart, Beethoven, Schumann), so that neither composer nor
collection is one of training's; of each file the first usable tune, of each kind the first :data:`PER_KIND` files of an
even spread; no variant of a training, validation or development piece (:mod:`ast_lib.data.duplicates`). Two soundfonts
play that no choice has heard, :data:`VOICES`. ``results/sealed_test.json`` holds a digest of every piece and soundfont.
"""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable

import joblib
import numpy as np

from ast_lib.data.duplicates import near_duplicates
from ast_lib.data.scores import Piece, notes_digest, notes_from_stream, usable
from ast_lib.data.synth import soundfont_path
from ast_lib.errors import AstError
from ast_lib.files import ROOT

PER_KIND = 20
VOICES = ("GMbank", "Sonivox")  # soundfonts
DIGESTS = ROOT / "results" / "sealed_test.json"
SONGS, QUARTETS = ("airdsAirs", "essenFolksong"), ("haydn", "mozart", "beethoven", "schumann_robert")
MOST_TUNES = 8  # of a file that are looked at


def sealed_pieces(known: list[Piece], cache: str | os.PathLike) -> list[Piece]:
    """The pieces of the sealed test, songs first.

    Args:
        known: every piece that training, validation or development may hold.
        cache: folder in which ``joblib.Memory`` keeps parsed scores (a movement takes half a minute).

    Raises:
        AstError: when they are not those of :data:`DIGESTS`.
    """
    memory = joblib.Memory(cache, verbose=0)
    pieces = _choose(known, memory.cache(_first, ignore=["known"]))
    check_digests({piece.name: notes_digest(piece.notes) for piece in pieces}, "pieces")
    check_digests({name: hashlib.sha256(soundfont_path(name).read_bytes()).hexdigest() for name in VOICES}, "voices")
    return pieces


def _choose(known: list[Piece], first: Callable) -> list[Piece]:
    from music21 import corpus

    paths = sorted(path for path in corpus.getPaths() if path.suffix in (".abc", ".mxl"))
    songs = [p for p in paths if p.parent.name in SONGS and not p.stem.startswith(("test", "variant"))]
    quartets = [p for p in paths if p.parent.parent.name in QUARTETS and re.fullmatch(r"movement\d", p.stem)]
    pieces = []
    for kind, files in (("song", songs), ("quartet", quartets)):
        spread = [files[i] for i in np.argsort((np.arange(len(files)) * 0.6180339887498949) % 1.0)]
        found = joblib.Parallel(n_jobs=-1)(joblib.delayed(first)(kind, path, known) for path in spread[: PER_KIND + 4])
        pieces += [piece for piece in found if piece][:PER_KIND]
    return pieces


def _first(kind: str, path: pathlib.Path, known: list[Piece]) -> Piece | None:
    """The first usable tune of a file, or its only piece."""
    from music21 import converter

    text = path.read_text(encoding="latin-1") if kind == "song" else ""
    for number in map(int, re.findall(r"^X: *(\d+)", text, re.MULTILINE)[:MOST_TUNES]) if text else [None]:
        notes = notes_from_stream(converter.parse(path, number=number, forceSource=True))
        title = "/".join(path.with_suffix("").parts[-3 if number is None else -2 :])
        piece = Piece(f"{title}/{number}" if number else title, kind, notes)
        if usable(notes, monophonic=kind == "song") and not near_duplicates([piece], known):
            return piece
    return None


def check_digests(found: dict[str, str], part: str) -> None:
    """Raise :class:`AstError` unless these are the digests of ``part`` in :data:`DIGESTS`."""
    sealed = json.loads(DIGESTS.read_text(encoding="utf-8"))[part]
    different = sorted(name for name in sealed.keys() | found.keys() if sealed.get(name) != found.get(name))
    if different:
        raise AstError(f"sealed test: {part} differ from {DIGESTS}: {', '.join(different)}")
