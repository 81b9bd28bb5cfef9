"""Display: functions, sounds and the library's map in; their source, spectrograms, players and a drawing out.

Chapters: all; the map is for ``notebooks/01_paper.md``, the grid of sounds for ``notebooks/15_listening.md``.
"""

import html
import inspect
import os
import pathlib
import re
import textwrap
from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Code
from matplotlib.figure import Figure

import ast_lib
from ast_lib import audio as audio_files
from ast_lib.audio.mono import SAMPLE_RATE

BESIDE = ("published", "browser", "book")  # rooms that the core does not import


def show_source(thing: Callable) -> Code:
    """The real source text of a function, method or class of this library, coloured, below the name of its file."""
    file = pathlib.Path(inspect.getsourcefile(inspect.unwrap(thing))).relative_to(pathlib.Path(__file__).parents[2])
    return Code(f"# {file.as_posix()}\n{textwrap.dedent(inspect.getsource(thing))}", language="python")


def rooms() -> dict[str, str]:
    """The map of the library, from the docstring of :mod:`ast_lib`: each room and what goes in and out of it."""
    lines = re.findall(r"^    (\w+) +(.+)$", ast_lib.__doc__, flags=re.MULTILINE)
    return dict(lines)


def map_of_the_library() -> Figure:
    """The :func:`rooms` as boxes, one below the other in the order of the data; what they may import is above them."""
    figure, axis = plt.subplots(figsize=(9.5, 6.2), layout="constrained")
    axis.set(xlim=(0, 9.5), ylim=(-len(rooms()) + 0.4, 0.6))
    axis.axis("off")
    for index, (name, text) in enumerate(rooms().items()):
        beside = name in BESIDE
        colour, style = ("#fce5cd", "dashed") if beside else ("#cfe2f3", "solid")
        box = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "0.3", "linestyle": style}
        axis.text(1.0, -index, name, ha="center", va="center", fontsize=11, bbox=box)
        axis.text(2.1, -index, textwrap.fill(text, 95), va="center", fontsize=10)
        if not beside and index:
            axis.annotate(
                "", (1.0, -index + 0.72), (1.0, -index + 0.28), arrowprops={"arrowstyle": "-|>", "color": "0.3"}
            )
    return figure


def decibel_spectrogram(audio: np.ndarray, n_fft: int = 1024, hop: int = 256) -> np.ndarray:
    """Magnitude in dB relative to the metric's floor of 1e-3, ``(F, T)``, from audio ``(samples,)``; 0 dB and above."""
    padded = np.pad(audio, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop] * np.hanning(n_fft)
    return 20 * np.log10(np.abs(np.fft.rfft(frames)).T / 1e-3 + 1)


def spectrogram_grid(
    sounds: Mapping[str, np.ndarray],
    columns: int = 2,
    top: float = 6000.0,
    sample_rate: int = SAMPLE_RATE,
    dpi: int = 72,
) -> Figure:
    """Spectrograms side by side on the same axes and the same colours.

    Args:
        sounds: title to audio ``(samples,)``.
        columns: of the grid.
        top: highest frequency shown, Hz.
        sample_rate: Hz.
        dpi: pixels per inch; spectrograms hardly compress, and a page may have 4 MB.
    """
    rows = -(-len(sounds) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5 * columns, 2.6 * rows), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    figure.set_dpi(dpi)
    for axis in axes.flat[len(sounds) :]:
        axis.set_visible(False)
    for axis, (title, sound) in zip(axes.flat, sounds.items(), strict=False):
        image = axis.imshow(
            decibel_spectrogram(sound),
            origin="lower",
            aspect="auto",
            extent=(0, len(sound) / sample_rate, 0, sample_rate / 2000),
            vmin=0,
            vmax=90,
            cmap="magma",
        )
        axis.set(title=title, ylim=(0, top / 1000))
        axis.grid(False)
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    for axis in axes[:, 0]:
        axis.set_ylabel("frequency (kHz)")
    figure.colorbar(image, ax=axes, label="level above 10$^{-3}$ (dB)")
    return figure


def sound_grid(
    sounds: Mapping[str, Mapping[str, np.ndarray]],
    folder: str | os.PathLike,
    prefix: str,
    sample_rate: int = SAMPLE_RATE,
) -> HTML:
    """A table of players: one row per clip, one labelled column per system; each sound stored once as MP3.

    Args:
        sounds: row label to column label to audio ``(samples,)``.
        folder: where the files go, created when missing. Pages refer to it as ``../<folder's name>/``, which is right
            for an executed notebook beside it and for the published site.
        prefix: first part of the file names.
        sample_rate: Hz.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(next(iter(sounds.values())))
    lines = ['<table class="sound-grid"><thead><tr><th scope="col">clip</th>']
    lines += [f'<th scope="col">{html.escape(column)}</th>' for column in columns]
    lines.append("</tr></thead><tbody>")
    for row, (label, cells) in enumerate(sounds.items()):
        lines.append(f'<tr><th scope="row">{html.escape(label)}</th>')
        for column, name in enumerate(columns):
            path = folder / f"{prefix}_{row}_{column}.mp3"
            audio_files.save(path, cells[name], sample_rate)
            lines.append(
                f'<td><audio controls preload="none" style="width: 7rem" src="../{folder.name}/{path.name}" '
                f'aria-label="{html.escape(f"{label}: {name}", quote=True)}"></audio></td>'
            )
        lines.append("</tr>")
    lines.append("</tbody></table>")
    return HTML("".join(lines))
