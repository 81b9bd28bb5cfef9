"""Several processes that share a batch: which clips are whose, and what all of them share.

Chapter: ``notebooks/11_training.md``. Every process has the whole networks and an equal part of the global batch. The
loss of a process is the mean over its own clips, or a function of the codes of *all* clips, brought together by
:meth:`Part.gather`. The gradient of the global batch is then the mean of the processes' gradients
(:func:`average_gradients`): for means over clips that is plain; a gathered code receives the gradients that it has in
the losses of all ``N`` processes, ``N`` times that of the one global loss, which the mean divides by ``N`` again.
"""

import dataclasses
import os
from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Part:
    """The clips of the global batch that are this process's: number ``rank`` of ``count`` equal parts in a row.

    ``fabric`` connects the processes; it is not needed where there is one.
    """

    rank: int = 0
    count: int = 1
    fabric: Fabric | None = None

    def own(self, whole):
        """The rows of a sequence, array or tensor ``(B, ...)`` of the global batch that are this process's."""
        size = len(whole) // self.count
        return whole[self.rank * size : (self.rank + 1) * size]

    def draw(self, sample: Callable, clips: int, *shape: int, generator: torch.Generator) -> Tensor:
        """Random numbers ``(clips, *shape)`` for this process's ``clips``, the same however many processes there are.

        Each process samples for the whole batch and keeps its rows. ``sample`` is ``torch.rand`` or ``torch.randn``.
        """
        return self.own(sample(clips * self.count, *shape, generator=generator))

    def noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Normal noise of the shape and on the device of ``like`` ``(clips, ...)``: each clip's from a seed of its own.

        For large tensors: nothing is sampled for others, and nothing is moved to the device.
        """
        seeds = self.own(torch.randint(2**62, (len(like) * self.count,), generator=generator))
        rows = [torch.Generator(like.device).manual_seed(seed) for seed in seeds.tolist()]
        return torch.stack([torch.randn(like.shape[1:], generator=row, device=like.device) for row in rows])

    def gather(self, own: Tensor) -> Tensor:
        """This process's rows ``(clips, ...)`` to those of the global batch, in its order; gradients flow back."""
        return own if self.count == 1 else self.fabric.all_gather(own, sync_grads=True).flatten(0, 1)


ALONE = Part()  # one process: the whole batch is its own


def launched() -> dict:
    """``devices`` and ``num_nodes`` for Fabric: what ``torchrun`` or ``fabric run`` started, else one process."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = int(os.environ.get("WORLD_SIZE", 1)) // local
    # fabric run hands its own --devices to Fabric, which accepts no second opinion.
    return {"devices": "auto" if "LT_DEVICES" in os.environ else local, "num_nodes": nodes}


def average_gradients(module: nn.Module, part: Part) -> None:
    """Give every process the mean of all processes' gradients, in one exchange.

    DistributedDataParallel would do the same from inside ``forward``; here the parts of a network are called one by
    one, the decoder twice.
    """
    if part.count == 1:
        return
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    mean = part.fabric.all_reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduce_op="mean")
    for gradient, values in zip(gradients, mean.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(values.view_as(gradient))
