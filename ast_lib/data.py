"""From a configuration to the data of a run: pieces, splits, synths, batches and held-out clips.

Chapter: ``notebooks/02_dataset.md``.
"""

import dataclasses
import os

import torch
from torch import Tensor

from ast_lib.clips import BatchSampler, PairedClip, Splits, paired_clips, split_by_piece
from ast_lib.config import Config
from ast_lib.scores import load_pieces
from ast_lib.synth import Synth, shared_synth


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Splits by piece, the synths that play them, and batches by step (:class:`BatchSampler`)."""

    config: Config
    splits: Splits
    synths: list[Synth]
    sampler: BatchSampler

    def held_out(self, split: str) -> list[PairedClip]:
        """Paired clips of ``validation`` (as long as training's) or ``test``, on the first soundfont."""
        data = self.config.data
        pieces = {"validation": self.splits.validation, "test": self.splits.test}[split]
        seconds = self.config.training.seconds if split == "validation" else data.test_seconds
        return paired_clips(pieces, self.config.instruments, seconds, data.seed, self.synths[0])


def build_splits(config: Config, cache: str | os.PathLike) -> Splits:
    """Read the scores and deal them out: the part of :func:`build_dataset` that needs no soundfont."""
    data = config.data
    pieces = load_pieces(data.pieces_per_kind, cache)
    return split_by_piece(pieces, config.instruments, data.seed, data.test_pieces, data.validation_pieces)


def build_dataset(config: Config, cache: str | os.PathLike) -> Dataset:
    """Read the scores, deal them out and load the soundfonts.

    Args:
        config: ``data``, ``instruments``, ``soundfonts`` and ``training`` are used.
        cache: folder for parsed scores.

    Raises:
        AstError: from :mod:`ast_lib.scores`, :mod:`ast_lib.clips` and :mod:`ast_lib.synth`.
    """
    training, splits = config.training, build_splits(config, cache)
    synths = [shared_synth(soundfont) for soundfont in config.soundfonts]
    sampler = BatchSampler(
        splits.train, training.seconds, training.batch, training.seed, synths, config.soundfont_shares
    )
    return Dataset(config, splits, synths, sampler)


def stack_audio(clips: list[PairedClip], instrument: str) -> Tensor:
    """The clips' audio on one instrument as ``(clips, samples)``."""
    return torch.stack([torch.from_numpy(clip.audio[instrument]) for clip in clips])
