"""What the questions share: systems timed in turn, their ratios as records, the machine in words."""

import os
import pathlib
import platform
import re
import timeit
from collections.abc import Callable

import numpy as np
import torch

from ast_lib.book.results import Record
from ast_lib.config import preset
from ast_lib.networks.model import TransferModel


def seconds(repeats: int, *systems: Callable[[], object]) -> list[np.ndarray]:
    """Time of each system, ``(repeats,)`` seconds, after one run to warm up.

    They run in turn: what slows the machine down for a while slows all of them.
    """
    for system in systems:
        system()
    return list(np.transpose([[timeit.timeit(system, number=1) for system in systems] for _ in range(repeats)]))


def ratio(task: str, system: str, slow: np.ndarray, fast: np.ndarray, profile: str, metric: str = "ratio") -> Record:
    """Ratio of the medians of two results of :func:`seconds`; its deviation is that of the ratios turn by turn.

    Args:
        task: what was done, and in which two ways.
        system: what did it.
        slow, fast: numerator and denominator.
        profile: of the configuration.
        metric: ``ratio``, or its name in words.
    """
    turns = slow / fast
    std = float(turns.std(ddof=1)) if len(turns) > 1 else 0.0
    value = float(np.median(slow) / np.median(fast))
    return Record(metric, task, system, value, std, len(turns), "1", profile, "none", 0)


def number(metric: str, task: str, system: str, value: float, unit: str, profile: str) -> Record:
    """One plain number as a record."""
    return Record(metric, task, system, float(value), 0.0, 1, unit, profile, "none", 0)


def untrained(profile: str) -> TransferModel:
    """A model of a profile with random weights, in evaluation mode: as fast as a trained one."""
    torch.manual_seed(0)
    model = TransferModel(preset(profile)).eval()
    model.prototypes.normal_()
    return model


def machine() -> tuple[str, list[Record]]:
    """The machine in words, and its cores and threads as records; their system is the processor's name."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.is_file() else []
    kind = names[0] if names else platform.processor() or platform.machine()
    cores, threads = len(os.sched_getaffinity(0)), torch.get_num_threads()
    words = f"{cores} cores of {kind} ({platform.machine()}, {platform.system()}), {threads} threads"
    system = re.sub("[^a-z0-9]+", "_", f"cpu_{kind}".lower()).strip("_")
    return words, [
        number(name, "machine", system, value, "1", "quick") for name, value in (("cores", cores), ("threads", threads))
    ]
