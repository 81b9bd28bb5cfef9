"""Networks replayed as CUDA graphs: a GPU is not left waiting for the processor that starts its kernels.

Chapter: ``notebooks/11_training.md``. A training step starts some four thousand kernels of a few microseconds each,
and a processor needs longer to start one than a GPU to run it. The calls of the networks have the same shapes in every
step of a phase of the curriculum. Each is recorded once, with its backward pass, and from then on started as a whole
(:func:`torch.cuda.make_graphed_callables`). Results are those of the plain calls, up to rounding.
"""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Call(nn.Module):
    """One call of a network within a step, its result as a tuple of tensors.

    Args:
        network: named for its parameters.
        plain: its ``forward``.
        inputs: :func:`signature` of what it was called with.
        kind: of its result, a tensor or a dataclass of tensors.
    """

    def __init__(self, network: nn.Module, plain: Callable, inputs: list, kind: type):
        super().__init__()
        self.network, self.plain, self.inputs, self.kind, self.recorded = network, plain, inputs, kind, False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        result = self.plain(*inputs)
        if self.kind is Tensor:
            return (result,)
        return tuple(tensor for tensor in vars(result).values() if tensor is not None)


def signature(inputs: tuple[Tensor, ...]) -> list:
    """What must be the same from step to step for a recorded call to be valid."""
    return [(each.shape, each.dtype, torch.is_grad_enabled() and each.requires_grad) for each in inputs]


class StepGraphs:
    """Replays the calls of some networks within a training step, in the order in which they come.

    After :meth:`begin` with a new key, one step runs as it is and is noted down; the calls of later steps with that key
    are recorded when they first come, then replayed. A call with other shapes than were noted runs as it is.

    Args:
        networks: whose calls are replayed, modules that return a tensor or a dataclass of tensors; they are called with
            bfloat16 autocast. Without any, every call runs as it is.
    """

    def __init__(self, networks: Sequence[nn.Module]):
        self.key: object = None
        self.calls: list[Call] = []
        self.position: int | None = None  # of the next call in the step; None while calls are noted
        for network in networks:
            network.forward = functools.partial(self._call, network, network.forward)

    def begin(self, key: object) -> None:
        """A step begins; ``key`` stands for everything that decides which calls it makes (the phase)."""
        self.position = 0 if key == self.key else None
        if key != self.key:
            self.key, self.calls = key, []

    def end(self) -> None:
        """The step is over: calls from here on, such as those of another loss, run as they are."""
        self.position = len(self.calls)

    def _call(self, network: nn.Module, plain: Callable, *inputs: Tensor):
        if self.position is None:
            result = plain(*inputs)
            self.calls.append(Call(network, plain, signature(inputs), type(result)))
            return result
        if self.position >= len(self.calls) or self.calls[self.position].inputs != signature(inputs):
            return plain(*inputs)
        call = self.calls[self.position]
        self.position += 1
        if not call.recorded:
            self._record(call, inputs)
            call.recorded = True
        tensors = call(*inputs)
        return tensors[0] if call.kind is Tensor else call.kind(*tensors)

    def _record(self, call: Call, inputs: tuple[Tensor, ...]) -> None:
        samples = tuple(each.detach().clone().requires_grad_(each.requires_grad) for each in inputs)
        # Weights are cast inside the graph: a cached cast would be of the weights as they were when it was recorded.
        with torch.enable_grad(), torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            torch.cuda.make_graphed_callables(call, samples, allow_unused_input=True)
