"""Live: states and how one is drawn in; a figure out whose state a slider chooses, on a page without a kernel.

Every state is drawn when the cell runs and stands in the output as a picture, so the page needs no kernel and loads
nothing. ``book/_static/live.js`` swaps pictures, ``live.css`` sets them. The site loads both; anywhere else, such as in
Jupyter, the output carries them along. Paper and a page without scripts show the first state.
Page: ``book/contributing.md`` says how to add one.
"""

import base64
import html
import io
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ast_lib import audio as audio_files
from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.errors import AstError
from ast_lib.files import ROOT

STATES = 12  # at most: a slider with more is no easier to read
BYTES = 25_000  # of a state's picture, at most; 12 of them stay below 0.5 MB
DPI = 110
# Of WebP, in this order until the picture is small enough; spectrograms are not without loss.
CODINGS = ({"lossless": True}, {"quality": 80}, {"quality": 60})
STATIC = ROOT / "book" / "_static"


class LiveFigure:
    """What :func:`figure` returns: HTML, and the first state as PNG for whatever shows no HTML."""

    def __init__(self, data: str, png: bytes, alt: str):
        self.data, self.png, self.alt = data, png, alt

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        few = io.BytesIO()  # 256 colours, a quarter of the size
        Image.open(io.BytesIO(self.png)).convert("RGB").quantize(256).save(few, "PNG", optimize=True)
        png = base64.b64encode(few.getvalue()).decode()
        return {"text/html": self.data, "image/png": png, "text/plain": self.alt}


def figure(
    states: Sequence | Mapping[str, object],
    draw: Callable[[object], Figure],
    *,
    label: str,
    alt: str | Callable[[object], str],
    unit: str = "",
    start: int = 0,
    sound: Callable[[object], np.ndarray] | None = None,
    files: str | os.PathLike | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> LiveFigure:
    """A figure with a slider: arrow keys, pointer and touch choose its state.

    Args:
        states: numbers in the order of the slider, or names of states with what ``draw`` takes; 2 to 12.
        draw: a state to a matplotlib figure, of the same size and with the same axes for every state.
        label: what the slider changes.
        alt: what is to be seen; a function of the state where that changes.
        unit: of the numbers.
        start: index of the state that is shown first, and on paper.
        sound: a state to audio ``(samples,)``, played below the picture.
        files: folder and first part of the names of the sounds, as ``folder / "audio" / "name"``. Pages refer to them
            as ``../<folder's name>/``, as in :func:`ast_lib.book.display.sound_grid`.
        sample_rate: of the sounds, Hz.

    Raises:
        AstError: for fewer or more states, two of the same name, a start that is none of them, an empty label or text,
            sounds without files, axes that differ between states, or a picture of more than 25 kB.
    """
    named = dict(states) if isinstance(states, Mapping) else {value_text(state, unit): state for state in states}
    texts = [alt(state) if callable(alt) else alt for state in named.values()]
    check(len(states), list(named), start, label, texts, sound, files)
    pages, frame, first = [], None, b""
    for index, (name, state) in enumerate(named.items()):
        drawn = draw(state)
        frame = frame or axes_of(drawn)
        if axes_of(drawn) != frame:
            raise AstError(f"{label} {name}: found the axes {axes_of(drawn)}, accepted are those before it, {frame}")
        png = as_png(drawn)
        first = png if index == start else first
        picture = image(png, f"{label} {name}", texts[index])
        played = player(f"{label} {name}", sound(state), pathlib.Path(files), index, sample_rate) if sound else ""
        kind = 'class="live-state live-first"' if index == start else 'class="live-state" hidden'
        value = f'<p class="live-value" data-value="{html.escape(name)}">{html.escape(f"{label}: {name}")}</p>'
        pages.append(f"<div {kind}>{value}{picture}{played}</div>")
    slider = (
        f'<label class="live-control">{html.escape(label)} <input type="range" min="0" max="{len(named) - 1}" step="1" '
        f'value="{start}" aria-valuetext="{html.escape(list(named)[start])}" autocomplete="off"></label>'
    )
    data = f'<figure class="live">{slider}{"".join(pages)}</figure>{beside()}'
    return LiveFigure(data, first, f"{label} {list(named)[start]}. {texts[start]}")


def value_text(state: object, unit: str) -> str:
    """A number with its unit as a reader sees it, such as ``0.1 ms``; anything else as text."""
    number = isinstance(state, int | float | np.number) and not isinstance(state, bool)
    return f"{f'{state:g}' if number else state} {unit}".rstrip().replace("-", "−" if number else "-")


def check(count: int, names: list[str], start: int, label: str, texts: list[str], sound: object, files: object) -> None:
    """Raise :class:`AstError` for arguments of :func:`figure` that no figure can be made of."""
    if not 2 <= count <= STATES:
        raise AstError(f"states: found {count}, accepted are 2 to {STATES}")
    if len(names) != count:
        raise AstError(
            f"states: found {count} with {len(names)} names, {', '.join(names)}; accepted is a name for each"
        )
    if not 0 <= start < count:
        raise AstError(f"start: found {start}, accepted is the index of a state, 0 to {count - 1}")
    if not label.strip() or not all(text.strip() for text in texts):
        raise AstError("label, alt: found an empty text, accepted is one that says what changes and what is seen")
    if (sound is None) != (files is None):
        raise AstError("sound, files: found one without the other, accepted are both or neither")


def axes_of(drawn: Figure) -> list[tuple]:
    """Size of a figure, and the limits of each of its axes: what may not change between states."""
    limits = [tuple(round(float(end), 9) for end in (*axis.get_xlim(), *axis.get_ylim())) for axis in drawn.axes]
    return [tuple(float(side) for side in drawn.get_size_inches()), *limits]


def as_png(drawn: Figure) -> bytes:
    """The picture of a figure, which is closed so that a notebook does not show it as well."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    plt.close(drawn)
    return buffer.getvalue()


def image(png: bytes, name: str, alt: str) -> str:
    """The tag of a picture that it holds itself, as WebP, without loss where it is small enough.

    Raises:
        AstError: when it is too large with loss, too.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for options in CODINGS:
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", **options)
        if buffer.tell() <= BYTES:
            break
    else:
        raise AstError(f"{name}: found a picture of {buffer.tell():,} bytes, accepted are {BYTES:,}; draw it smaller")
    source = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    width, height = picture.size
    return f'<img src="{source}" width="{width}" height="{height}" alt="{html.escape(f"{name}. {alt}")}">'


def player(name: str, sound: np.ndarray, files: pathlib.Path, index: int, sample_rate: int) -> str:
    """A labelled player of one state's sound, whose file is written beside the pages."""
    path = files.with_name(f"{files.name}_{index}.mp3")
    path.parent.mkdir(parents=True, exist_ok=True)
    audio_files.save(path, sound, sample_rate)
    source = html.escape(f"../{path.parent.name}/{path.name}")
    return f'<audio controls preload="none" src="{source}" aria-label="{html.escape(name)}"></audio>'


def beside() -> str:
    """Style and script for an output that no site gives them to; nothing in a build (``tools/kernels.py`` says so)."""
    if os.environ.get("AST_SITE"):
        return ""
    style, script = ((STATIC / name).read_text(encoding="utf-8") for name in ("live.css", "live.js"))
    return f"<style>{style}</style><script>{script}</script>"
