"""Transfer: audio in, the same notes in another instrument's style out.

Chapter: ``notebooks/15_listening.md``. The complex spectrogram comes from predicted magnitudes and accumulated phase
advances (``predicted``); a few Griffin-Lim steps from there make it more consistent (``refined``).
"""

import os
import pathlib

import numpy as np
import torch
from torch import Tensor

from ast_lib import audio, checkpoint
from ast_lib.clips import normalise_rms
from ast_lib.errors import AstError
from ast_lib.model import TransferModel
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
    features = model.representation(source)
    with torch.autocast(source.device.type, torch.bfloat16, enabled=model.config.training.precision == "bf16-mixed"):
        content = model.encode_content(features)
        prediction = model.generate(content, style.to(content.dtype))
    return model.to_stft(prediction, 1 + source.shape[-1] // model.config.representation.hop)


def transfer(model: TransferModel, source: np.ndarray, to: str, phase: str = "refined") -> np.ndarray:
    """Transfer one recording of any length.

    Args:
        source: float32 ``(samples,)`` mono at the model's sample rate, any loudness.
        to: the target instrument, one of ``model.config.instruments``.
        phase: ``predicted`` or ``refined``.

    Returns:
        float32 ``(samples,)`` at the source's RMS.

    Raises:
        AstError: unknown instrument or phase, empty or silent source, NaN.
    """
    style = class_style(model, to)
    if phase not in PHASES:
        raise AstError(f"phase: found {phase!r}, accepted are {', '.join(PHASES)}")
    source = audio.check("source", np.asarray(source, dtype=np.float32))
    level = float(np.sqrt(np.mean(np.square(source, dtype=np.float64))))
    stft = transfer_batch(model, torch.from_numpy(normalise_rms(source))[None], style)
    output = synthesise(model, stft, len(source), phase)[0].numpy()
    return normalise_rms(output, level)


def transfer_file(
    source: str | os.PathLike,
    to: str,
    output: str | os.PathLike,
    weights: str | os.PathLike | None = None,
    phase: str = "refined",
) -> pathlib.Path:
    """Transfer an audio file: read, convert, write at the model's sample rate, mono. The one-call form of the command.

    Args:
        source: wav, flac, mp3, ogg or opus; any sample rate, channels and length.
        to: target instrument.
        output: path ending in wav, flac, ogg or mp3; written whole or not at all.
        weights: a weights file; by default :func:`ast_lib.checkpoint.find_weights`.
        phase: ``predicted`` or ``refined``.

    Raises:
        AstError: whatever is wrong with the files or the names.
    """
    audio.check_output(output)
    model = checkpoint.load_weights(checkpoint.find_weights() if weights is None else weights)
    rate = model.config.representation.sample_rate
    result = transfer(model, audio.load(source, rate), to, phase)
    return audio.save(output, result, rate)
