"""Batches: the number of a step in; its clips, cut by a worker process, as features on the training device out.

Chapter: ``notebooks/11_training.md``. Batch number ``step`` is a function of the seed and ``step`` alone, so that it is
the same whichever worker makes it, however many there are, and in a resumed run. On the processor a worker computes the
features too; for a GPU it only cuts, and the GPU computes them.
"""

import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ast_lib.config import Config
from ast_lib.data.rooms import record_in_room
from ast_lib.data.samplers import Sampler
from ast_lib.errors import AstError
from ast_lib.processes import Part
from ast_lib.representation.features import Features, Representation
from ast_lib.training.augment import ROOM, TIMBRE, equalise, ride_fader

MOST_WORKERS = 14  # on a machine with more cores; each takes the memory of the scores and soundfonts
AHEAD = 3  # batches that each worker makes ahead
SHARED_MEMORY = "/dev/shm"  # through which workers on Linux hand over what they made


@dataclasses.dataclass(frozen=True)
class Batch:
    """One training batch on the training device.

    Attributes:
        features: of B clips, the target and what the style encoder hears.
        labels: their voices ``(B,)``.
        groups: ``(B,)``, numbered from 0 in the global batch; the clips of a group share voice and timbre, and their
            mean style is the decoder's.
        heard: what the content encoder hears of them: perhaps another player (:mod:`ast_lib.data.pool`), in a room.
        heard_labels: the voices ``(B,)`` of ``heard``; -100 for an instrument that is never played.
    """

    features: Features
    labels: Tensor
    groups: Tensor
    heard: Features
    heard_labels: Tensor


class Batches:
    """The batches of a run; ``batches[step]`` is what a worker makes, :meth:`batch` a complete batch.

    Args:
        config: of the run.
        sampler: of its clips.
        representation: on the device that trains.
        device: that trains.
        part: which clips of the global batch are this process's.
    """

    def __init__(
        self, config: Config, sampler: Sampler, representation: Representation, device: torch.device, part: Part
    ):
        self.config, self.sampler, self.part = config, sampler, part
        self.representation, self.device = representation, device

    def __getitem__(self, step: int) -> Batch | tuple[Tensor, ...] | AstError:
        """Batch ``step``, for a GPU its sounds; an error is handed over: raised, it would come as a traceback."""
        try:
            sounds = self.sounds(step)
        except AstError as error:
            return error
        return sounds if self.device.type == "cuda" else self.prepare(sounds, step)

    def sounds(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """This process's clips of batch number ``step``, as a :class:`ast_lib.data.samplers.Cut` has them."""
        return tuple(map(torch.from_numpy, self.sampler(step, self.part)))

    @torch.no_grad()
    def prepare(self, sounds: Sequence[Tensor], step: int) -> Batch:
        """The features of a batch, with the chance that belongs to its number."""
        training, shape, part = self.config.training, self.config.representation, self.part
        random = torch.Generator().manual_seed((2 * training.seed + 1) * 10**8 + step)
        clips, labels, heard, heard_labels = (tensor.to(self.device) for tensor in sounds)
        groups = len(self.sampler.groups)
        features = self.representation(clips)
        heard = ride_fader(heard, shape.sample_rate, training.fader, random, part)
        if training.domain_randomisation:
            heard = record_in_room(heard, shape.sample_rate, ROOM, random, part)
        changed = features if torch.equal(heard, clips) else self.representation(heard)
        if training.domain_randomisation:
            features = equalise(features, shape, TIMBRE, random, groups, part)
        group = part.own(torch.arange(training.batch) % groups).to(labels.device)
        return Batch(features, labels, group, changed, heard_labels)

    def batch(self, step: int) -> Batch:
        """Batch number ``step``, made here and now.

        Raises:
            AstError: from the sampler.
        """
        return self.prepare(self.sounds(step), step)

    def stream(self, start: int, stop: int, workers: int | None = None) -> Iterator[Batch]:
        """The batches ``start`` to ``stop - 1`` in order, made ahead by ``workers`` processes (:func:`workers_here`).

        Raises:
            AstError: from the sampler.
        """
        workers = workers_here() if workers is None else workers
        ahead = AHEAD if workers else None
        loader = DataLoader(
            self, batch_size=None, sampler=range(start, stop), num_workers=workers, prefetch_factor=ahead
        )
        for step, made in enumerate(loader, start):
            if isinstance(made, AstError):
                raise made
            yield made if isinstance(made, Batch) else self.prepare(made, step)


def workers_here() -> int:
    """How many processes render: one core less than this process may use, since one trains; 1 to :data:`MOST_WORKERS`.

    None, with a warning, where the system's shared memory is too small to hand batches over, as in some containers.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if os.path.isdir(SHARED_MEMORY):
        status = os.statvfs(SHARED_MEMORY)
        free = status.f_bavail * status.f_frsize
        if free < 2**30:
            warnings.warn(
                f"{SHARED_MEMORY}: found {free / 2**20:.0f} MiB free, accepted for rendering in processes of their own "
                "is 1024 MiB or more; batches are made between the steps",
                stacklevel=2,
            )
            return 0
    return max(1, min(cores - 1, MOST_WORKERS))
