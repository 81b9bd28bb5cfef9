"""From a configuration to the data of a run: scores that are played, or the recordings of a manifest.

Chapters: ``notebooks/02_dataset.md``, and ``notebooks/16_your_own.md`` for recordings.
"""

import dataclasses
import os

import torch
from torch import Tensor

from ast_lib.config import Config
from ast_lib.data.clips import SLOW, BatchSampler, PairedClip, Splits, paired_clips, split_by_piece
from ast_lib.data.manifest import Clip, read_manifest
from ast_lib.data.onsets import voice_latency
from ast_lib.data.recordings import RecordingSampler, check_files
from ast_lib.data.scores import load_pieces
from ast_lib.data.synth import Synth, program_of, shared_synth
from ast_lib.errors import AstError


@dataclasses.dataclass(frozen=True)
class Task:
    """What validation measures: ``heard``, played on ``target``, against ``truth``; both ``(clips, samples)``.

    ``name`` is ``piano_to_violin`` for a transfer, ``piano_reconstruction`` where no truth of a transfer exists.
    """

    name: str
    target: str
    heard: Tensor
    truth: Tensor


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

    def validation_tasks(self) -> list[Task]:
        """Transfer in every direction, against the same notes on the target."""
        clips, instruments = self.held_out("validation"), self.config.instruments
        sounds = {instrument: stack_audio(clips, instrument) for instrument in instruments}
        return [Task(f"{a}_to_{b}", b, sounds[a], sounds[b]) for a in instruments for b in instruments if a != b]

    def latencies(self) -> list[float]:
        """How late each voice speaks, in seconds, in the order of ``config.voices``."""
        return [voice_latency(synth, instrument) for synth in self.synths for instrument in self.config.instruments]


@dataclasses.dataclass(frozen=True)
class RecordedDataset:
    """The clips of a manifest (``data.manifest``), and batches by step (:class:`RecordingSampler`)."""

    config: Config
    clips: list[Clip]
    sampler: RecordingSampler

    def held_out(self, split: str) -> list[PairedClip]:
        """Nothing: nobody has played these clips on another instrument.

        Raises:
            AstError: always; it names what does have paired truth.
        """
        raise AstError(
            f"data.manifest: found {self.config.data.manifest!r}, whose {split} clips have no truth on another "
            "instrument; accepted for paired clips is '' (rendered scores), or ast_lib.data.bach_violin.aligned_pairs"
        )

    def validation_tasks(self) -> list[Task]:
        """Reconstruction of ``data.validation_pieces`` stretches of each instrument: no measure of transfer.

        Raises:
            AstError: when an instrument has no clip in the split.
        """
        data, training, instruments = self.config.data, self.config.training, self.config.instruments
        batch = len(instruments) * data.validation_pieces
        audio, labels = RecordingSampler(
            self.clips, instruments, training.seconds, batch, data.seed, split="validation"
        )(0)
        sounds = [torch.from_numpy(audio[labels == label]) for label in range(len(instruments))]
        return [Task(f"{i}_reconstruction", i, sound, sound) for i, sound in zip(instruments, sounds, strict=True)]


def build_splits(config: Config, cache: str | os.PathLike) -> Splits:
    """Read the scores and deal them out: the part of :func:`build_dataset` that needs no soundfont."""
    data = config.data
    pieces = load_pieces(data.pieces_per_kind, cache)
    return split_by_piece(pieces, config.instruments, data.seed, data.test_pieces, data.validation_pieces)


def build_dataset(config: Config, cache: str | os.PathLike) -> Dataset | RecordedDataset:
    """Read the scores, deal them out and load the soundfonts; or read the manifest that ``data.manifest`` names.

    Args:
        config: ``data``, ``instruments``, ``soundfonts`` and ``training`` are used.
        cache: folder for parsed scores.

    Raises:
        AstError: from :mod:`ast_lib.data.scores`, :mod:`ast_lib.data.clips` and :mod:`ast_lib.data.synth`, or
            :mod:`ast_lib.data.manifest` and :mod:`ast_lib.data.recordings`; for one instrument under two names.
    """
    data, training = config.data, config.training
    if data.manifest:
        clips = [clip for clip in read_manifest(data.manifest) if clip.instrument in config.instruments]
        check_files(clips)
        return RecordedDataset(
            config, clips, RecordingSampler(clips, config.instruments, training.seconds, training.batch, training.seed)
        )
    if len({program_of(instrument) for instrument in config.instruments}) < len(config.instruments):
        raise AstError(f"instruments: found {config.instruments}, accepted are different General-MIDI programs")
    splits = build_splits(config, cache)
    synths = [shared_synth(soundfont) for soundfont in config.soundfonts]
    options = (
        training.seconds,
        training.batch,
        training.seed,
        synths,
        config.soundfont_shares,
        SLOW if training.domain_randomisation else 0.0,
    )
    return Dataset(config, splits, synths, BatchSampler(splits.train, *options))


def stack_audio(clips: list[PairedClip], instrument: str) -> Tensor:
    """The clips' audio on one instrument as ``(clips, samples)``."""
    return torch.stack([torch.from_numpy(clip.audio[instrument]) for clip in clips])
