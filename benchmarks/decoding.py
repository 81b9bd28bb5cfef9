"""Decoding: what keys and values that are kept save, and how time and memory grow with the length.

Targets: 5 times as fast as without a cache at 10 s; time in proportion to the length up to 5 minutes (here the time of
a second of audio at 5 minutes against 1 minute, 1 at best); memory beyond the result itself bounded (the ratio of what
5 minutes and 1 minute need beyond it).
"""

import pathlib
import subprocess
import sys

import numpy as np
import torch
from torch import Tensor

from ast_lib.book.results import Record
from ast_lib.files import ROOT
from ast_lib.networks.model import TransferModel
from benchmarks.measuring import number, ratio, seconds, untrained

BYTES = 3 * 4  # of a bin of a prediction: magnitude, cosine, sine in float32


def sections(model: TransferModel, duration: float) -> int:
    """Sections of ``duration`` seconds."""
    shape = model.config.representation
    return max(1, round(duration * shape.sample_rate / shape.hop / shape.section_frames))


def codes(model: TransferModel, duration: float) -> tuple[Tensor, Tensor]:
    """Random ``z_content`` of ``duration`` seconds and a style."""
    return torch.randn(1, sections(model, duration), model.config.model.content_size), model.prototypes[:1]


def uncached(model: TransferModel, content: Tensor, style: Tensor) -> Tensor:
    """Magnitudes as :meth:`TransferModel.generate` makes them, each section from a pass over all before it."""
    shape, overlap = model.config.representation, model.config.model.overlap
    context = torch.zeros(*content.shape[:2], shape.section_frames, shape.stft_bins)
    for start, stop in model.windows(content.shape[1]):
        for section in range(start + (overlap if start else 0), stop):
            seen = context[:, start : section + 1]
            keep = torch.ones(seen.shape[:2], dtype=torch.bool)
            context[:, section] = model.decoder(seen, keep, content[:, start:stop], style).magnitude[:, -1]
    return context


def beyond_the_result(duration: float, profile: str) -> float:
    """Memory in MB that decoding ``duration`` seconds needs at its peak beyond its result, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.decoding", str(duration), profile],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout)


@torch.inference_mode()
def measure(repeats: int, profile: str = "quick", lengths: tuple[float, ...] = (10, 60, 300)) -> list[Record]:
    """Ratios of decoding; ``lengths`` in seconds, the first for the cache, the others for growth."""
    model = untrained(profile)
    short, long, longest = (codes(model, length) for length in lengths)
    error = (uncached(model, *short) - model.generate(*short).magnitude).abs().max()
    assert error < 1e-3, f"cached and uncached decoding differ by {error:g}"
    slow, fast = seconds(repeats, lambda: uncached(model, *short), lambda: model.generate(*short))
    at_length, at_longest = seconds(repeats, lambda: model.generate(*long), lambda: model.generate(*longest))
    memory = [beyond_the_result(length, profile) for length in lengths[1:]]
    return [
        ratio("uncached_to_cached", "decoding", slow, fast, profile),
        ratio("second_at_longest_to_long", "decoding", at_longest / lengths[2], at_length / lengths[1], profile),
        ratio("memory_at_longest_to_long", "decoding", *(np.array([mb]) for mb in reversed(memory)), profile),
        number("memory_beyond_result", "longest", "decoding", memory[1], "MB", profile),
    ]


def resident(field: str) -> int:
    """Bytes of this process's memory as Linux counts them: ``VmRSS`` now, ``VmHWM`` at its peak."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def main(duration: str, profile: str) -> None:
    """Print the memory in MB that one decoding needs beyond its result."""
    with torch.inference_mode():
        model = untrained(profile)
        model.generate(*codes(model, 1.0))
        given = codes(model, float(duration))
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        before = resident("VmRSS")
        result = model.generate(*given)
        peak = resident("VmHWM") - before
    print((peak - BYTES * result.magnitude.numel()) / 1e6)


if __name__ == "__main__":
    main(*sys.argv[1:])
