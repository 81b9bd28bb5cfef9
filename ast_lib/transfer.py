"""Transfer: audio in, the same notes in another instrument's style out.

Chapters: ``notebooks/15_listening.md``, ``notebooks/16_your_own.md``. The style is an instrument's prototype or that of
any clip (one-shot, :mod:`ast_lib.one_shot`). The complex spectrogram comes from predicted magnitudes and accumulated
phase advances (``predicted``); a few Griffin-Lim steps from there make it more consistent (``refined``).
"""

import os
import pathlib

import numpy as np
import torch
from torch import Tensor

from ast_lib import audio, checkpoint
from ast_lib.errors import AstError
from ast_lib.latency import in_time
from ast_lib.levels import normalise_rms
from ast_lib.model import TransferModel
from ast_lib.one_shot import clip_style
from ast_lib.representation import refine_phase

PHASES = {"predicted": 0, "refined": 16}  # Griffin-Lim steps


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


@torch.inference_mode()
def transfer_batch(model: TransferModel, source: Tensor, style: Tensor) -> Tensor:
    """Free-running transfer: audio ``(B, samples)`` at RMS 0.07 and styles ``(B, style_size)`` to a complex STFT."""
    features = model.representation(in_time(model, source, style))
    with torch.autocast(source.device.type, torch.bfloat16, enabled=model.config.training.precision == "bf16-mixed"):
        content = model.encode_content(features)
        prediction = model.generate(content, style.to(content.dtype))
    return model.to_stft(prediction, 1 + source.shape[-1] // model.config.representation.hop)


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
        style: a clip ``(samples,)`` that sounds as the result should, see :func:`ast_lib.one_shot.clip_style`.
        phase: ``predicted`` or ``refined``.

    Returns:
        float32 ``(samples,)`` at the source's RMS.

    Raises:
        AstError: both or neither of ``to`` and ``style``; unknown instrument or phase; an empty or silent source or
            style clip, or one with NaN; a style clip that is too short.
    """
    check_choice(to, style, phase)
    return _transfer(model, source, class_style(model, to) if style is None else clip_style(model, style), phase)


def _transfer(model: TransferModel, source: np.ndarray, style: Tensor, phase: str) -> np.ndarray:
    source = audio.check("source", np.asarray(source, dtype=np.float32))
    level = float(np.sqrt(np.mean(np.square(source, dtype=np.float64))))
    stft = transfer_batch(model, torch.from_numpy(normalise_rms(source))[None], style)
    return normalise_rms(synthesise(model, stft, len(source), phase)[0].numpy(), level)


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
        source: wav, flac, mp3, ogg or opus; any sample rate, channels and length.
        to: target instrument, None where ``style`` is given.
        output: path ending in wav, flac, ogg, opus or mp3; written whole or not at all.
        weights: a weights file; by default :func:`ast_lib.checkpoint.find_weights`.
        phase: ``predicted`` or ``refined``.
        style: an audio file whose sound is the target, instead of ``to``.

    Raises:
        AstError: whatever is wrong with the files or the names.
    """
    check_choice(to, style, phase)
    audio.check_output(output)
    model = checkpoint.load_weights(checkpoint.find_weights() if weights is None else weights)
    rate = model.config.representation.sample_rate
    sound = audio.load(source, rate)
    target = class_style(model, to) if style is None else clip_style(model, audio.load(style, rate), str(style))
    return audio.save(output, _transfer(model, sound, target, phase), rate)
