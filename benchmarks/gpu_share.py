"""The share of a GPU's peak that a training step reaches: its counted operations against those of one large product.

The peak is measured too, not looked up: bfloat16 products of 8192 × 8192 matrices. What a step lacks to it are kernels
too small to fill the device (width 224), operations without matrix products (norms, losses, optimiser, which
are not counted) and waiting for the processor that starts them; ``busy`` says how much of the time any kernel runs.
"""

import time

import torch
from torch.autograd import DeviceType
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ast_lib.book.results import Record
from ast_lib.config import override, preset
from ast_lib.data import build_dataset
from ast_lib.errors import AstError
from ast_lib.files import CACHE
from ast_lib.training import Trainer
from ast_lib.training.batches import Batch
from ast_lib.training.cuda_graphs import StepGraphs
from benchmarks.measuring import number

SIZE = 8192
ONE_SOUNDFONT = 'soundfonts=["TimGM6mb"]'


class Operations(TorchDispatchMode):
    """Counts the operations of matrix products and convolutions.

    ``torch.utils.flop_counter.FlopCounterMode`` counts the same, but its hooks on modules refuse a decoder that is
    called without gradients on codes that have them.
    """

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def per_second(operations: float, run, repeats: int) -> float:
    """Operations a second of a function that does ``operations`` on the GPU, after three runs to warm up."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    torch.cuda.synchronize()
    return operations * repeats / (time.perf_counter() - start)


def busy(run: Trainer, batch: Batch) -> float:
    """Share of a step's time in which the GPU runs a kernel."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        run.train_step(batch)
        torch.cuda.synchronize()
        took = time.perf_counter() - start
    kernels = sum(event.device_time for event in profiler.events() if event.device_type == DeviceType.CUDA) / 1e6
    return kernels / took


def measure(repeats: int, profile: str = "full", batches: tuple[int, ...] = (16, 64, 256)) -> list[Record]:
    """Share of the peak for several batch sizes, with the networks called and replayed
    (:mod:`ast_lib.training.cuda_graphs`).

    Raises:
        AstError: without a CUDA device.
    """
    if not torch.cuda.is_available():
        raise AstError("gpu_share: found no CUDA device, accepted is a machine with one")
    a, b = (torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    peak = per_second(2 * SIZE**3, lambda: a @ b, 10 * repeats)
    records = [number("peak", "matrix_product", "gpu", peak / 1e12, "TFLOP/s", profile)]
    for batch_size in batches:
        config = override(preset(profile), f"training.batch={batch_size}", ONE_SOUNDFONT)
        run = Trainer(config, build_dataset(config, CACHE), "cuda")
        run.step = config.training.steps - 1
        batch = run.batch(0)
        with Operations() as counter:
            run.train_step(batch)
        for system in ("gpu_replayed", "gpu_called"):
            if system == "gpu_called":
                run.graphs.end()  # from here on calls are calls
                run.graphs = StepGraphs(())
            reached = per_second(counter.total, lambda run=run, batch=batch: run.train_step(batch), 10 * repeats)
            task = f"batch_of_{batch_size}"
            records.append(number("share_of_peak", task, system, reached / peak, "1", profile))
            records.append(number("busy", task, system, busy(run, batch), "1", profile))
    return records
