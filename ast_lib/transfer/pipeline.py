"""Transfer: audio in, the same notes in another instrument's style out.

Chapters: ``notebooks/15_listening.md``, ``notebooks/16_your_own.md``. The style is an instrument's prototype or that of
any clip (one-shot, :mod:`ast_lib.transfer.one_shot`). The complex spectrogram comes from predicted magnitudes and
accumulated phase advances (``predicted``); a few Griffin-Lim steps from there make it more consistent (``refined``).
A source out of tune is moved to A = 440 Hz, and its transfer back (:mod:`ast_lib.transfer.tuning`).
"""

import functools
import io
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ast_lib import audio
from ast_lib.audio.levels import NO_LEVEL, RMS, dynamics_gain, measure, pause_gain, with_gain
from ast_lib.audio.streams import BLOCK, Stream, under
from ast_lib.errors import AstError
from ast_lib.networks import checkpoint
from ast_lib.networks.model import TransferModel
from ast_lib.representation.griffin_lim import refine_blocks, refine_phase
from ast_lib.transfer.latency import in_time
from ast_lib.transfer.one_shot import clip_style
from ast_lib.transfer.tuning import in_tune, stretched

PHASES = {"predicted": 0, "refined": 16}  # Griffin-Lim steps
BAR = "{percentage:3.0f}% |{bar}| {n:.0f}/{total:.0f} s of sound, {remaining} left"
BAR_AFTER = 3.0  # seconds: what takes less shows no bar


def class_style(model: TransferModel, instrument: str, clips: int = 1) -> Tensor:
    """The prototype of an instrument, repeated: ``(clips, style_size)``.

    Raises:
        AstError: when the model does not know the instrument.
    """
    instruments = model.config.instruments
    if instrument not in instruments:
        raise AstError(f"instrument: found {instrument!r}, accepted by these weights are {', '.join(instruments)}")
    return model.prototypes[instruments.index(instrument)].expand(clips, -1)


def check_choice(to: str | None, style: object, phase: str) -> None:
    """Raise :class:`AstError` unless exactly one of ``to`` and ``style`` is given, and ``phase`` is known."""
    if (to is None) == (style is None):
        found = "neither" if to is None else "both"
        raise AstError(f"to, style: found {found}, accepted is one of them: an instrument, or a clip of its sound")
    if phase not in PHASES:
        raise AstError(f"phase: found {phase!r}, accepted are {', '.join(PHASES)}")


def synthesise(model: TransferModel, stft: Tensor, samples: int, phase: str) -> Tensor:
    """Complex STFT ``(B, T, F)`` to audio ``(B, samples)``.

    Raises:
        AstError: for a phase other than ``predicted`` or ``refined``.
    """
    if phase not in PHASES:
        raise AstError(f"phase: found {phase!r}, accepted are {', '.join(PHASES)}")
    return refine_phase(model.representation.spectrogram, stft, samples, PHASES[phase])


def transfer_windows(model: TransferModel, source: Stream, style: Tensor) -> Iterator[Tensor]:
    """Free-running transfer of a stream of any length: a complex STFT ``(B, T, F)`` in blocks of a few seconds.

    Args:
        source: ``(B, samples)`` at RMS 0.07; it is read two or three times.
        style: ``(B, style_size)``.
    """
    mixed = {"dtype": torch.bfloat16, "enabled": model.config.training.precision == "bf16-mixed"}
    networks = functools.partial(torch.autocast, style.device.type, **mixed)
    transforms = functools.partial(torch.autocast, style.device.type, enabled=False)
    moved, sections = in_time(model, source, style), model.representation.sections(source.samples)
    inputs = under(transforms, model.input_windows(moved))
    contents = under(networks, model.content_windows(inputs, sections))
    generated = under(networks, model.generated_windows(contents, sections, style))
    return model.stft_windows(generated, 1 + source.samples // model.config.representation.hop)


@torch.no_grad()
def transfer_batch(model: TransferModel, source: Tensor, style: Tensor) -> Tensor:
    """:func:`transfer_windows` of audio ``(B, samples)``, joined."""
    return torch.cat(list(transfer_windows(model, Stream.of(source), style)), dim=1)


def transfer(
    model: TransferModel,
    source: np.ndarray,
    to: str | None = None,
    phase: str = "refined",
    style: np.ndarray | None = None,
) -> np.ndarray:
    """Transfer one recording of any length, to an instrument or (one-shot) to the sound of a clip.

    Args:
        source: float32 ``(samples,)`` mono at the model's sample rate, any loudness.
        to: the target instrument, one of ``model.config.instruments``; or
        style: a clip ``(samples,)`` that sounds as the result should, see :func:`ast_lib.transfer.one_shot.clip_style`.
        phase: ``predicted`` or ``refined``.

    Returns:
        float32 ``(samples,)`` at the source's RMS, with its dynamics and in its tuning.

    Raises:
        AstError: both or neither of ``to`` and ``style``; unknown instrument or phase; an empty or silent source or
            style clip, or one with NaN; a style clip that is too short.
    """
    check_choice(to, style, phase)
    source = audio.without_mean("source", source)
    target = class_style(model, to) if style is None else clip_style(model, style)
    return np.concatenate(list(_transfer(model, lambda: [source], target, phase)))


@torch.no_grad()
def _transfer(
    model: TransferModel,
    source: Callable[[], Iterable[np.ndarray]],
    style: Tensor,
    phase: str,
    folder: pathlib.Path | None = None,
) -> Iterator[np.ndarray]:
    """Transfer a source that ``source()`` gives in blocks, anew with each call: the result in blocks.

    What the model makes is kept until its level is known: in memory or, with a bar of progress, in ``folder``.
    """
    heard, shape = measure(source()), model.config.representation
    scale = RMS / heard.rms
    sound = Stream(lambda: (torch.from_numpy((b * scale).astype(np.float32))[None] for b in source()), heard.samples)
    tuned = in_tune(sound, shape.sample_rate)
    stft, frames = transfer_windows(model, tuned, style), 1 + tuned.samples // shape.hop
    made = refine_blocks(model.representation.spectrogram, stft, frames, tuned.samples, PHASES[phase])
    blocks = stretched(Stream(lambda: made, tuned.samples), heard.samples).blocks()
    shown = {"unit": " s", "bar_format": BAR, "delay": BAR_AFTER, "leave": False, "disable": None if folder else True}
    with tempfile.TemporaryFile(dir=folder) if folder else io.BytesIO() as store:
        with tqdm(total=heard.samples / shape.sample_rate, **shown) as bar:  # on a terminal only
            for block in blocks:
                store.write(block[0].numpy().tobytes())
                bar.update(block.shape[1] / shape.sample_rate)

        def stored() -> Iterator[np.ndarray]:
            store.seek(0)
            return (np.frombuffer(data, np.float32) for data in iter(lambda: store.read(4 * BLOCK), b""))

        powers = measure(stored()).powers
        gain = dynamics_gain(heard.powers, powers)
        gain = gain * pause_gain(heard.powers, powers * gain**2)
        loudness = measure(with_gain(stored(), gain)).rms
        level = np.float32(heard.rms / loudness if loudness > NO_LEVEL else 1.0)
        for block in with_gain(stored(), gain):
            yield block * level


def transfer_file(
    source: str | os.PathLike,
    to: str | None,
    output: str | os.PathLike,
    weights: str | os.PathLike | None = None,
    phase: str = "refined",
    style: str | os.PathLike | None = None,
) -> pathlib.Path:
    """Transfer an audio file: read, convert, write at the model's sample rate, mono. The one-call form of the command.

    Args:
        source: wav, flac, mp3, ogg, opus, m4a and what else FFmpeg reads; any sample rate, channels and length.
        to: target instrument, None where ``style`` is given.
        output: path ending in wav, flac, ogg, opus or mp3; written whole or not at all.
        weights: a weights file; by default :func:`ast_lib.networks.checkpoint.find_weights`.
        phase: ``predicted`` or ``refined``.
        style: an audio file whose sound is the target, instead of ``to``.

    Raises:
        AstError: whatever is wrong with the files or the names.
    """
    check_choice(to, style, phase)
    audio.check_output(output)
    model = checkpoint.load_weights(checkpoint.find_weights() if weights is None else weights)
    rate = model.config.representation.sample_rate
    with audio.open_sound(source) as sound:
        target = class_style(model, to) if style is None else clip_style(model, audio.load(style, rate), str(style))
        folder = pathlib.Path(output).resolve().parent
        return audio.save(output, _transfer(model, lambda: sound.blocks(rate), target, phase, folder), rate)
