"""Display: functions, sounds and the library's map in; their source, spectrograms, players and a drawing out.

Chapters: all; the map is for ``notebooks/01_paper.md``, the grid of sounds for ``notebooks/15_listening.md``.
"""

import html
import inspect
import json
import os
import pathlib
import re
import textwrap
from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Code
from matplotlib.figure import Figure
from scipy import signal

import ast_lib
from ast_lib import audio as audio_files
from ast_lib.audio.mono import SAMPLE_RATE

BESIDE = ("published", "browser", "book")  # packages that the core does not import
LOUDNESS = -23.0  # LUFS, to which the sounds of one comparison are matched
PICTURE = 640, 112  # pixels of a spectrogram beside a player
TOP = 6000.0  # Hz, up to which it shows


def show_source(thing: Callable) -> Code:
    """The real source text of a function, method or class of this library, coloured, below the name of its file.

    Of a docstring it has the first paragraph; the rest, arguments and results, is in the file.
    """
    file = pathlib.Path(inspect.getsourcefile(inspect.unwrap(thing))).relative_to(pathlib.Path(__file__).parents[2])
    first = r'(:\n *""")((?:(?!"""|\n *\n).)+)\n *\n(?:(?!""").)*"""'
    source = re.sub(first, r'\1\2 …"""', inspect.getsource(thing), flags=re.DOTALL)
    return Code(f"# {file.as_posix()}\n{textwrap.dedent(source)}", language="python")


def packages() -> dict[str, str]:
    """The map of the library, from the docstring of :mod:`ast_lib`: each package and what goes in and out of it."""
    lines = re.findall(r"^    (\w+) +(.+)$", ast_lib.__doc__, flags=re.MULTILINE)
    return dict(lines)


def map_of_the_library() -> Figure:
    """The :func:`packages` as boxes, one below the other in the order of the data; they import from above."""
    figure, axis = plt.subplots(figsize=(9.5, 6.2), layout="constrained")
    axis.set(xlim=(0, 9.5), ylim=(-len(packages()) + 0.4, 0.6))
    axis.axis("off")
    for index, (name, text) in enumerate(packages().items()):
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


def weighting(sample_rate: int) -> np.ndarray:
    """The two filters of ITU-R BS.1770 as second-order sections ``(2, 6)``: the head's shelf, then a high-pass."""
    sections = []
    for centre, quality, gain in ((1681.974, 0.7072, 3.99984), (38.1355, 0.5003, None)):
        k = np.tan(np.pi * centre / sample_rate)
        bottom = [1 + k / quality + k**2, 2 * (k**2 - 1), 1 - k / quality + k**2]
        if gain is None:
            top = [1.0, -2.0, 1.0]
        else:
            high, band = 10 ** (gain / 20), 10 ** (gain / 20 * 0.49967)
            top = [high + band * k / quality + k**2, 2 * (k**2 - high), high - band * k / quality + k**2]
            top = [value / bottom[0] for value in top]
        sections.append([*top, 1.0, bottom[1] / bottom[0], bottom[2] / bottom[0]])
    return np.array(sections)


def loudness(audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Loudness of ``(samples,)`` in LUFS after ITU-R BS.1770: blocks of 0.4 s, gated; minus infinity for silence."""
    weighted = signal.sosfilt(weighting(sample_rate), np.asarray(audio, np.float64))
    length = min(len(weighted), round(0.4 * sample_rate))
    blocks = np.lib.stride_tricks.sliding_window_view(weighted, length)[:: max(1, length // 4)]
    powers = np.square(blocks).mean(axis=1)
    gate = 10 ** ((-70 + 0.691) / 10)
    for _ in range(2):  # the absolute gate, then 10 LU below what has passed it
        powers = powers[powers > gate]
        if not len(powers):
            return -np.inf
        gate = powers.mean() / 10
    return float(-0.691 + 10 * np.log10(powers.mean()))


def matched(sounds: Mapping[str, np.ndarray], sample_rate: int = SAMPLE_RATE) -> dict[str, np.ndarray]:
    """The sounds at one loudness: :data:`LOUDNESS`, or as near to it as leaves all of them below full scale.

    Silence stays, and so does what is below -60 LUFS: nothing is to be heard there.
    """
    levels = {name: loudness(sound, sample_rate) for name, sound in sounds.items()}
    heard = {name: level for name, level in levels.items() if level > -60}
    peaks = {name: np.abs(sounds[name]).max() * 10 ** ((LOUDNESS - level) / 20) for name, level in heard.items()}
    scale = min([1.0, *(0.98 / peak for peak in peaks.values())])
    gains = {name: scale * 10 ** ((LOUDNESS - level) / 20) for name, level in heard.items()}
    return {name: np.asarray(sound * gains.get(name, 1.0), np.float32) for name, sound in sounds.items()}


def picture_of(sound: np.ndarray, path: pathlib.Path, seconds: float, sample_rate: int = SAMPLE_RATE) -> None:
    """Write the spectrogram of one player as WebP: 0 to ``seconds``, 0 to :data:`TOP`, 0 to 90 dB, as all others."""
    n_fft, hop = 1024, 256
    width, height = PICTURE
    frames = round(seconds * sample_rate / hop) + 1
    levels = decibel_spectrogram(sound, n_fft, hop)[: round(TOP * n_fft / sample_rate)]
    canvas = np.zeros((len(levels), frames))
    canvas[:, : levels.shape[1]] = levels[:, :frames]
    for axis, size in enumerate((height, width)):
        edges = np.arange(size) * canvas.shape[axis] // size
        counts = np.maximum(np.diff([*edges, canvas.shape[axis]]), 1)
        canvas = np.add.reduceat(canvas, edges, axis=axis) / np.expand_dims(counts, 1 - axis)
    colours = plt.get_cmap("magma")(np.clip(canvas[::-1] / 90, 0, 1), bytes=True)[..., :3]
    plt.imsave(path, colours, format="webp", pil_kwargs={"quality": 75})


def sound_grid(
    sounds: Mapping[str, Mapping[str, np.ndarray]],
    folder: str | os.PathLike,
    prefix: str,
    sample_rate: int = SAMPLE_RATE,
    notes: Mapping[str, str] | None = None,
    blind: tuple[str, str] | None = None,
) -> HTML:
    """Players to compare, one group a clip: in each, every system with its name, its player and its spectrogram.

    The sounds of a group are matched in loudness, and its spectrograms share their axes. Without scripts, and in
    Jupyter, the players stand beside each other; on the page of the book, ``listen.js`` plays one at a time and
    switches between them at the same instant.

    Args:
        sounds: label of a clip to name of a system to audio ``(samples,)``.
        folder: where the files go, created when missing. Pages refer to it as ``../<folder's name>/``, which is right
            for an executed notebook beside it and for the published site.
        prefix: first part of the file names.
        sample_rate: Hz.
        notes: what to listen for, by label of a clip.
        blind: names of the true sound and of another one: below the players, a blind test asks which is the true one.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    groups, trials = [], []
    for row, (label, given) in enumerate(sounds.items()):
        for column, sound in enumerate(given.values()):
            audio_files.check(str(folder / f"{prefix}_{row}_{column}.mp3"), sound, allow_silence=True)
        cells = matched(given, sample_rate)
        seconds = max(len(sound) for sound in cells.values()) / sample_rate
        lines, sources = [], {}
        for column, (name, sound) in enumerate(cells.items()):
            path = folder / f"{prefix}_{row}_{column}.mp3"
            audio_files.save(path, sound, sample_rate)
            picture_of(sound, path.with_suffix(".webp"), seconds, sample_rate)
            sources[name] = f"../{folder.name}/{path.name}"
            lines.append(player(f"{label}: {name}", name, sources[name]))
        note = f'<p class="listen-note">{html.escape(notes[label])}</p>' if notes and label in notes else ""
        text = html.escape(label, quote=True)
        groups.append(
            f'<div class="listen" id="listen-{prefix}-{row}" role="group" aria-label="{text}" '
            f'data-seconds="{seconds:.2f}"><p class="listen-title">{html.escape(label)}</p>{note}'
            f'<ol class="listen-rows">{"".join(lines)}</ol></div>'
        )
        if blind and set(blind) <= set(sources):
            trials.append({"clip": label, "true": sources[blind[0]], "other": sources[blind[1]]})
    if trials:
        groups.append(blind_test(trials, *blind))
    return HTML("".join(groups))


def player(label: str, name: str, source: str) -> str:
    """One row of a group: a name, a player that needs no script, and the spectrogram of what it plays."""
    width, height = PICTURE
    text = f"Spectrogram of {label}, 0 to {TOP / 1000:.0f} kHz"
    return (
        f'<li class="listen-row"><span class="listen-name">{html.escape(name)}</span> '
        f'<audio controls preload="none" src="{source}" aria-label="{html.escape(label, quote=True)}"></audio>'
        f'<span class="listen-picture"><img src="{source.removesuffix(".mp3")}.webp" width="{width}" height="{height}" '
        f'loading="lazy" alt="{html.escape(text, quote=True)}"></span></li>'
    )


def blind_test(trials: list[dict[str, str]], true: str, other: str) -> str:
    """A test that the page runs: which of two sounds, A and B in an order drawn there, is the true one?"""
    data = html.escape(json.dumps({"true": true, "other": other, "trials": trials}), quote=True)
    question = f"Which of two sounds is “{true}”, and which is “{other}”?"
    return (
        f'<div class="listen-blind" role="group" aria-label="Blind test" data-test="{data}">'
        f'<p class="listen-title">Blind test</p><p>{html.escape(question)} '
        "The page draws clips and their order, counts your answers and offers them as a file.</p>"
        '<p class="listen-needs">The test needs scripts: open the page of the book in a browser.</p></div>'
    )
