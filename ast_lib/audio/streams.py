"""Streams: sound of any length that comes in blocks, and the overlapping windows that are cut from it.

Chapter: ``notebooks/15_listening.md``. Each step of a transfer reads windows of what the step before it writes. It sees
as much of the neighbouring windows as it needs: the result is that of the whole sound at once, but no step ever holds
the whole.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 1 << 16  # samples that a stream hands over at a time


def cut(blocks: Iterable[Tensor], spans: Iterable[tuple[int, int]]) -> Iterator[Tensor]:
    """Windows of a stream along its second axis.

    Args:
        blocks: ``(B, n, ...)`` one after the other in time, of any lengths ``n``.
        spans: ``(start, stop)`` of each window; none starts before the one before it, or leaves a gap to it.
    """
    blocks, held, begin = iter(blocks), [], 0
    for start, stop in spans:
        end = begin + sum(block.shape[1] for block in held)
        while end < stop:
            held.append(next(blocks))
            end += held[-1].shape[1]
        joined = held[0] if len(held) == 1 else torch.cat(held, dim=1)
        held, begin = [joined[:, start - begin :]], start
        yield held[0][:, : stop - start]


def under(context: Callable[[], contextlib.AbstractContextManager], blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same blocks, each computed in a context of its own; who reads them is outside of it."""
    blocks = iter(blocks)
    while True:
        with context():
            block = next(blocks, None)
        if block is None:
            return
        yield block


class Stream(NamedTuple):
    """Sound of ``samples`` samples that can be read any number of times.

    ``blocks()`` begins anew with every call, and gives tensors ``(B, n)`` of any lengths ``n``.
    """

    blocks: Callable[[], Iterable[Tensor]]
    samples: int

    @classmethod
    def of(cls, audio: Tensor) -> "Stream":
        """A stream of audio ``(B, samples)`` that is there already, in one block."""
        return cls(lambda: [audio], audio.shape[1])

    def whole(self) -> Tensor:
        """All of it, ``(B, samples)``."""
        return torch.cat(list(self.blocks()), dim=1)
