"""Dataset: a configuration in; the data of a run, scores that are played or the recordings of a manifest, out.

Chapters: ``notebooks/02_dataset.md``, and ``notebooks/16_your_own.md`` for recordings.
"""

import dataclasses
import inspect
import os
from collections.abc import Sequence

import joblib
import torch
from torch import Tensor

from ast_lib.config import Config
from ast_lib.data import clips, duplicates, scores
from ast_lib.data.clips import PairedClip, Splits, paired_clips
from ast_lib.data.manifest import Clip, read_manifest
from ast_lib.data.onsets import voice_latency
from ast_lib.data.pool import Pool
from ast_lib.data.recordings import check_files
from ast_lib.data.samplers import Recordings, Sampler
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
    """Splits by piece, the synths that play them, and batches by step."""

    config: Config
    splits: Splits
    synths: list[Synth]
    sampler: Sampler

    def held_out(self, split: str, extension: bool = False) -> list[PairedClip]:
        """Paired clips of ``validation`` (as long as training's) or ``development``, on the first soundfont.

        What both instruments can play or, with ``extension``, whole chorales (:mod:`ast_lib.data.clips`).
        """
        data = self.config.data
        pieces = {"validation": self.splits.validation, "development": self.splits.development}[split]
        seconds = self.config.training.seconds if split == "validation" else data.development_seconds
        common = self.config.instruments, seconds, data.seed, self.synths[0]
        return paired_clips(pieces, *common, extension=extension)

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
    """The clips of a manifest (``data.manifest``), and batches by step."""

    config: Config
    clips: list[Clip]
    sampler: Sampler

    def held_out(self, split: str, extension: bool = False) -> list[PairedClip]:
        """Nothing: nobody has played these clips on another instrument, only scores can be played again.

        Raises:
            AstError: always. For recordings with paired truth see :func:`ast_lib.data.bach_violin.aligned_pairs`.
        """
        found = self.config.data.manifest
        raise AstError(f"data.manifest: found {found!r}, accepted for {split} clips on all instruments is ''")

    def latencies(self) -> list[float]:
        """None is known without a score: 0 for each instrument, so that no source is moved."""
        return [0.0] * len(self.config.instruments)

    def validation_tasks(self) -> list[Task]:
        """Reconstruction of ``data.validation_pieces`` stretches of each instrument: no measure of transfer.

        Raises:
            AstError: when an instrument has no clip in the split.
        """
        instruments, count = self.config.instruments, self.config.data.validation_pieces
        seconds, batch = self.config.training.seconds, len(instruments) * count
        recordings = Recordings(self.clips, instruments, seconds, "validation")
        sampler = Sampler(recordings, range(len(instruments)), seconds, batch, self.config.data.seed)
        audio = torch.from_numpy(sampler(0).clip)
        sounds = [audio[label :: len(instruments)] for label in range(len(instruments))]
        return [Task(f"{i}_reconstruction", i, sound, sound) for i, sound in zip(instruments, sounds, strict=True)]


def build_splits(config: Config, cache: str | os.PathLike) -> Splits:
    """Read the scores and deal them out: the part of :func:`build_dataset` that needs no soundfont."""
    data = config.data
    held_out = data.development_pieces, data.validation_pieces
    deal = joblib.Memory(cache, verbose=0).cache(_deal, ignore=["cache"])  # to compare all pieces takes seconds
    code = joblib.hash([inspect.getsource(module) for module in (clips, duplicates, scores)])
    return deal(data.pieces_per_kind, config.instruments, (data.seed, *held_out), code, cache)


def _deal(
    per_kind: int, instruments: Sequence[str], how: tuple[int, int, int], code: str, cache: str | os.PathLike
) -> Splits:
    """Split by piece; kept as long as the ``code`` that decides it is the same."""
    return clips.split_by_piece(scores.load_pieces(per_kind, cache), instruments, *how)


def build_dataset(config: Config, cache: str | os.PathLike) -> Dataset | RecordedDataset:
    """Read the scores, deal them out and load the soundfonts; or read the manifest that ``data.manifest`` names.

    Args:
        config: ``data``, ``instruments``, ``soundfonts`` and ``training`` are used.
        cache: folder for parsed scores and rendered performances.

    Raises:
        AstError: from :mod:`ast_lib.data.scores`, :mod:`ast_lib.data.clips` and :mod:`ast_lib.data.synth`, or
            :mod:`ast_lib.data.manifest` and :mod:`ast_lib.data.recordings`; for one instrument under two names.
    """
    data, training, instruments = config.data, config.training, config.instruments
    common = training.seconds, training.batch, training.seed
    if data.manifest:
        clips = [clip for clip in read_manifest(data.manifest) if clip.instrument in instruments]
        check_files(clips)
        recordings = Recordings(clips, instruments, training.seconds)
        return RecordedDataset(config, clips, Sampler(recordings, range(len(instruments)), *common))
    if len({program_of(instrument) for instrument in instruments}) < len(instruments):
        raise AstError(f"instruments: found {instruments}, accepted are different General-MIDI programs")
    splits, synths = build_splits(config, cache), [shared_synth(soundfont) for soundfont in config.soundfonts]
    pool = Pool(config, splits.train, synths, cache)
    return Dataset(config, splits, synths, Sampler(pool, config.groups, *common))


def stack_audio(clips: list[PairedClip], instrument: str) -> Tensor:
    """The clips' audio on one instrument as ``(clips, samples)``."""
    return torch.stack([torch.from_numpy(clip.audio[instrument]) for clip in clips])
