"""Computing threads of a process: what a second one gains on an idle machine, and what it costs on a busy one.

Of ``quick``: a transfer of 10 s, and two training steps; each in a process of its own, alone and beside as many
endless loops as there are cores. Two threads wait for each other after every small operation: by spinning, as the
OpenMP of PyTorch does unless told otherwise, or asleep (``OMP_WAIT_POLICY=PASSIVE``). Target: one thread beside the
loops takes at most 3 times what it takes alone, for it has half a core.
"""

import contextlib
import os
import subprocess
import sys
import timeit
from collections.abc import Iterator

import numpy as np

from ast_lib.book.results import Record
from ast_lib.config import preset
from ast_lib.data import build_dataset
from ast_lib.files import CACHE, ROOT
from ast_lib.training import Trainer
from ast_lib.transfer import transfer
from benchmarks.measuring import ratio, untrained

SETTINGS = {
    "one": {"OMP_NUM_THREADS": "1"},
    "two": {"OMP_NUM_THREADS": "2"},
    "two_asleep": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
}
TASKS = ("transfer", "training")


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep ``loops`` other processes computing."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def work(task: str, profile: str, amount: float) -> float:
    """Seconds that ``amount`` of a task takes in this process after a smaller amount to warm up.

    Args:
        task: ``transfer`` of so many seconds of audio, or ``training`` for so many steps.
        profile: of the configuration.
    """
    if task == "transfer":
        model, rate = untrained(profile), preset(profile).representation.sample_rate
        source = np.random.default_rng(0).normal(0, 0.07, round(amount * rate)).astype(np.float32)
        transfer(model, source[:rate], "violin")
        return timeit.timeit(lambda: transfer(model, source, "violin"), number=1)
    run = Trainer(preset(profile), build_dataset(preset(profile), CACHE), "cpu")
    batch = run.batch(0)
    run.train_step(batch)
    return timeit.timeit(lambda: run.train_step(batch), number=round(amount))


def took(task: str, profile: str, amount: float, setting: str) -> float:
    """:func:`work` in a process of its own that has so many threads."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.threads", task, profile, str(amount)],
        cwd=ROOT,
        env=environment | SETTINGS[setting],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout)


def measure(repeats: int, profile: str = "quick", amounts: tuple[float, ...] = (10, 2)) -> list[Record]:
    """Ratios of times; ``amounts`` of the two tasks in seconds of audio and in steps. Three turns do: they are long."""
    repeats = min(repeats, 3)
    loops = len(os.sched_getaffinity(0))
    records = []
    for task, amount in zip(TASKS, amounts, strict=True):
        idle, loaded = [], []
        for _ in range(repeats):
            idle.append([took(task, profile, amount, setting) for setting in SETTINGS])
            with busy(loops):
                loaded.append([took(task, profile, amount, setting) for setting in SETTINGS])
        for place, times in (("alone", np.transpose(idle)), ("beside_loops", np.transpose(loaded))):
            for setting, column in list(zip(SETTINGS, times, strict=True))[1:]:
                records.append(ratio(f"{setting}_to_one_thread_{place}", task, column, times[0], profile))
        records.append(
            ratio("one_thread_beside_loops_to_alone", task, np.transpose(loaded)[0], np.transpose(idle)[0], profile)
        )
    return records


if __name__ == "__main__":
    print(work(sys.argv[1], sys.argv[2], float(sys.argv[3])))
