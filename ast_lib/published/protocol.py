"""The published evaluation beside a sound one: a model and paired clips in; one row a clip and metric out.

Chapter: ``notebooks/13_published_run.md``. Files and lines are those of the published repository:
evaluation_reconstruction.py at commit 5f6d593, evaluation_style_transfer.py at commit 77a92a4, one hour younger, which
differs from 5f6d593 only in the decoder, its weights and the device. *Whitened* is a spectrum divided by the standard
deviations of its instrument, as the decoder predicts it; the published scripts never undo that.

Where :func:`published` differs from the scripts:

- a reference is drawn from the *other* pieces, since the clips are pairs here; the draw has a seed;
- two sounds are cut to the shorter one before their features are computed, and not after;
- the metrics treat silence without an error;
- clips are rendered, not MP3 files, and all of one length.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ast_lib.audio.levels import normalise_rms
from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import stack_audio
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import lsd
from ast_lib.evaluation.systems import directions
from ast_lib.published.model import PublishedModel
from ast_lib.published.representation import as_complex, join_sections, to_sections
from ast_lib.published.table1 import CONTENT, RECONSTRUCTION, TIMBRE
from ast_lib.transfer.pipeline import class_style

BATCH = 8  # clips of each instrument that the transfer script reads at once; it uses the first half of them
COLUMNS = ("protocol", "task", "system", "piece", "metric", "value")
LSD = {"LSD": lsd}  # dB; in the sound protocol only


def evaluation_overlap(model: PublishedModel) -> int:
    """Frames that sections share in the evaluation scripts: 86 of 287, where the loader cuts with 96.

    Source: evaluation_style_transfer.py:25-27.
    """
    return int(0.3 * model.config.representation.section_frames)


# --- Sections and sound


def whitened(model: PublishedModel, audio: Tensor, instrument: str) -> Tensor:
    """What the decoder has to predict of clips ``(B, samples)`` of an instrument: ``(B, S, 2, T, F)``."""
    cut = model.representation(audio).spectrum(model.output)
    return model.normalise(cut, model.output, _voices(model, instrument, len(audio)))


def played(model: PublishedModel, sections: Tensor, overlap: int) -> Tensor:
    """Sections ``(B, S, 2, T, F)`` joined and turned into sound as they are: ``(B, samples)``."""
    stft = join_sections(as_complex(sections), overlap)
    return model.representation.spectrogram.invert(stft, (stft.shape[1] - 1) * model.config.representation.hop)


def played_rightly(model: PublishedModel, sections: Tensor, instrument: str, samples: int) -> Tensor:
    """Sections with their whitening undone and their own overlap: ``(B, samples)`` at RMS 0.07."""
    restored = model.denormalise(sections, model.output, _voices(model, instrument, len(sections)))
    audio = played(model, restored, model.config.representation.section_overlap)
    return normalise_rms(torch.nn.functional.pad(audio, (0, samples - audio.shape[1])))


def constant_spectrum(sections: Tensor, seed: int = 0) -> Tensor:
    """A decoder that knows nothing but the average power of every bin, at random phase: of the same shape.

    Whitened, that power is 1 for the real and 1 for the imaginary part.
    """
    angle = 2 * torch.pi * torch.rand(sections[:, :, 0].shape, generator=torch.Generator().manual_seed(seed))
    return 2**0.5 * torch.stack([angle.cos(), angle.sin()], dim=2).to(sections)


def _voices(model: PublishedModel, instrument: str, clips: int) -> Tensor:
    return torch.full((clips,), model.config.instruments.index(instrument))


# --- The networks


@torch.no_grad()
def generated(model: PublishedModel, inputs: Tensor, style: Tensor) -> Tensor:
    """Free-running output ``(B, S, 2, T, F)`` for encoder inputs ``(B, S, 2T, F)`` and a style ``(size,)``."""
    content = model.content_encoder(inputs)
    prediction = model.generate(content, style.expand(len(content), -1))
    return torch.stack([prediction.real, prediction.imaginary], dim=2)


def _inputs(model: PublishedModel, audio: Tensor, instrument: str) -> Tensor:
    features = model.representation(audio)
    return model.encoder_input(dataclasses.replace(features, voices=_voices(model, instrument, len(audio))))


def raw_inputs(model: PublishedModel, audio: Tensor) -> Tensor:
    """Encoder inputs as the transfer script makes them: cut with the other overlap, and never normalised.

    Source: evaluation_style_transfer.py:135-141.
    """
    shape = model.config.representation
    stft = model.representation.spectrogram(audio)
    both = torch.cat([stft, model.representation.constant_q(audio)[:, : stft.shape[1]]], dim=-1)
    cut = to_sections(both, shape.section_frames, evaluation_overlap(model))
    return torch.cat([cut.real, cut.imag], dim=2)


@torch.no_grad()
def first_clip_styles(model: PublishedModel, clips: list[PairedClip]) -> dict[str, Tensor]:
    """The published prototypes: the style of one test clip of each instrument, the first, which is scored too.

    Source: evaluation_reconstruction.py:124-155, evaluation_style_transfer.py:38-69, 277.
    """
    firsts = {instrument: stack_audio(clips[:1], instrument) for instrument in model.config.instruments}
    return {
        instrument: model.style_encoder(_inputs(model, audio, instrument))[0] for instrument, audio in firsts.items()
    }


# --- The two protocols


def published(model: PublishedModel, clips: list[PairedClip], name: str | None = None, seed: int = 0) -> pd.DataFrame:
    """Table 1 as the published scripts compute it, with rows for what learnt nothing.

    A reconstruction is section 0 alone, whitened, against the whitened section 0 of every other clip. A transfer is
    made of, and its chroma compared with, the whitened source cut with one overlap and joined with another, which
    stretches it; its timbre is compared with a raw clip of another piece.

    Args:
        model: with statistics; its networks count where ``name`` is given.
        clips: held-out pairs of one length, 4 or more.
        name: of the model's rows; none without it.
        seed: of the random references and phases.

    Returns:
        columns ``protocol, task, system, piece, metric, value``, with the systems ``perfect_decoder``, ``source_copy``,
        ``another_piece``, ``constant_spectrum``, ``silence`` and ``name``.

    Source: evaluation_reconstruction.py:39-118, 161-185, 289-343; evaluation_style_transfer.py:80-159, 277-322.
    """
    _check(clips)
    rows, overlap = [], evaluation_overlap(model)
    styles = first_clip_styles(model, clips) if name else {}
    for instrument in model.config.instruments:
        scored = clips[::2]
        audio = stack_audio(scored, instrument)
        true = whitened(model, audio, instrument)
        systems = _without_learning(true, true, seed)
        if name:
            systems[name] = generated(model, _inputs(model, audio, instrument), styles[instrument])
        sounds = {system: played(model, sections[:, :1], 0) for system, sections in systems.items()}
        task = f"{instrument}_reconstruction"
        rows += _rows("published", task, scored, sounds, RECONSTRUCTION, sounds["perfect_decoder"])
    random = np.random.default_rng(seed)
    for source, target, task in directions(model.config):
        scored = [clip for start in range(0, len(clips), BATCH) for clip in _first_half(clips[start : start + BATCH])]
        heard, truth = (whitened(model, stack_audio(scored, instrument), instrument) for instrument in (source, target))
        sounds = {
            system: played(model, sections, overlap)
            for system, sections in _without_learning(heard, truth, seed).items()
        }
        original = sounds["source_copy"]
        if name:
            sounds[name] = played(model, generated(model, raw_inputs(model, original), styles[target]), overlap)
        others = [[other for other in clips if other.piece != clip.piece] for clip in scored]
        references = stack_audio([each[random.integers(len(each))] for each in others], target)
        rows += _rows("published", task, scored, sounds, CONTENT, original)
        rows += _rows("published", task, scored, sounds, TIMBRE, references)
    return pd.DataFrame(rows, columns=COLUMNS)


def sound(model: PublishedModel, clips: list[PairedClip], name: str | None = None, seed: int = 0) -> pd.DataFrame:
    """The same metrics and LSD on what a listener hears: whole clips, whitening undone, seams right, true targets.

    Reconstructions are compared with the clip; a transfer's chroma with the source, its timbre and LSD with the same
    notes on the target instrument. Styles are the prototypes of training clips. Arguments and result as of
    :func:`published`, with all clips.
    """
    _check(clips)
    rows, samples = [], len(next(iter(clips[0].audio.values())))
    pairs = [(i, i, f"{i}_reconstruction") for i in model.config.instruments] + list(directions(model.config))
    for source, target, task in pairs:
        heard, truth = stack_audio(clips, source), stack_audio(clips, target)
        systems = _without_learning(whitened(model, heard, source), whitened(model, truth, target), seed)
        if name:
            systems[name] = generated(model, _inputs(model, heard, source), class_style(model, target)[0])
        sounds = {system: played_rightly(model, sections, target, samples) for system, sections in systems.items()}
        sounds |= {"source_copy": heard, "another_piece": truth.roll(1, dims=0), "silence": torch.zeros_like(truth)}
        if source == target:
            rows += _rows("sound", task, clips, sounds, RECONSTRUCTION | LSD, truth)
        else:
            rows += _rows("sound", task, clips, sounds, CONTENT, heard)
            rows += _rows("sound", task, clips, sounds, TIMBRE | LSD, truth)
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation with divisor n, as published, and n of the finite values of each system and metric.

    Source: evaluation_reconstruction.py:410-421.
    """
    finite = table[np.isfinite(table["value"])]
    grouped = finite.groupby(["protocol", "task", "metric", "system"], sort=False)["value"]
    return grouped.agg(mean="mean", std=lambda values: values.std(ddof=0), n="size")


def _check(clips: list[PairedClip]) -> None:
    pieces = len({clip.piece for clip in clips})
    if pieces < 4:
        raise AstError(f"clips: found {pieces} pieces, accepted are 4 or more, of which half are scored")


def _first_half(batch: list[PairedClip]) -> list[PairedClip]:
    return batch[: len(batch) // 2]


def _without_learning(heard: Tensor, truth: Tensor, seed: int) -> dict[str, Tensor]:
    """Whitened sections of systems that need no training."""
    return {
        "perfect_decoder": truth,
        "source_copy": heard,
        "another_piece": truth.roll(1, dims=0),
        "constant_spectrum": constant_spectrum(truth, seed),
        "silence": torch.zeros_like(truth),
    }


def _rows(
    protocol: str, task: str, clips: list[PairedClip], sounds: dict[str, Tensor], metrics: dict, others: Tensor
) -> Iterator[tuple]:
    for system, made in sounds.items():
        length = min(made.shape[1], others.shape[1])
        for clip, estimate, other in zip(clips, made[:, :length], others[:, :length], strict=True):
            for metric, function in metrics.items():
                yield protocol, task, system, clip.piece, metric, float(function(estimate, other))
