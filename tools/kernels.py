"""Kernels that execute chapters: private to one chapter, watched while they work, gone when it is done.

A kernel is reached through sockets in a private folder. It reads no configuration of the user's that could change what
a page shows (start-up files of IPython, a backend or a style of matplotlib), and it computes on one thread, since
chapters run side by side. A thread watches the processor time of the kernel and of the processes that it started: a
cell that computes may take as long as it needs, a kernel that does nothing for :data:`PATIENCE` seconds is ended.
"""

import contextlib
import importlib.util
import os
import pathlib
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator

import filelock
import psutil
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

from ast_lib.environment import prepare

PREFIX = "ast-kernel-"  # of private folders
PATIENCE = 45.0  # s without work after which a kernel is silent
INTERVAL = 5.0  # s between two looks at it
IDLE = 0.01  # processors that a waiting kernel may use: its heartbeat and its look-out for its parent take under 0.001
START = 300  # s in which a kernel must have started, on a busy machine as well


@contextlib.contextmanager
def private_folder() -> Iterator[pathlib.Path]:
    """A folder that is removed at the end; folders that killed runs have left are removed, too.

    Its lock says that it is in use: the system frees the lock of a process that is killed.
    """
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Somebody else's, removed meanwhile, or too young to be locked: not ours to judge.
        with contextlib.suppress(OSError):
            if os.access(folder, os.W_OK) and time.time() - folder.stat().st_mtime > 60:
                with filelock.FileLock(folder / "lock", blocking=False):
                    shutil.rmtree(folder)
    # A kernel that is being ended may still write.
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        with filelock.FileLock(f"{folder}/lock"):
            yield pathlib.Path(folder)


def has_sockets(folder: pathlib.Path) -> bool:
    """Whether a folder can hold Unix sockets: its file system must have them, its path may have some 100 bytes."""
    if not hasattr(socket, "AF_UNIX"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(folder / "probe"))
        except OSError:
            return False
    return True


def environment(folder: pathlib.Path, root: pathlib.Path) -> dict[str, str]:
    """Variables of a kernel's process: the user's, but for those that would change what a chapter shows.

    The library is that of ``root``, whichever is installed.
    """
    prepare()  # a cache folder and a user's name, where the machine has none: chapters may import librosa first
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"}
    matplotlib = pathlib.Path(importlib.util.find_spec("matplotlib").origin).parent
    return {
        "OMP_NUM_THREADS": "1",
        **kept,
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder),
        "MATPLOTLIBRC": str(matplotlib / "mpl-data" / "matplotlibrc"),
        "PYTHONPATH": os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "AST_SITE": "1",  # the site loads what an output would else carry along (ast_lib/book/live.py)
    }


@contextlib.contextmanager
def kernel(folder: pathlib.Path, root: pathlib.Path) -> Iterator[AsyncKernelManager]:
    """A kernel of this interpreter that runs in ``root``, its sockets in ``folder`` (TCP where there can be none)."""
    address = {"transport": "ipc", "ip": str(folder / "k")} if has_sockets(folder) else {"transport": "tcp"}
    manager = AsyncKernelManager(kernel_name="python3", connection_file=str(folder / "kernel.json"), **address)
    # The kernel of this environment, whatever kernels of that name a user has.
    manager.kernel_spec.argv, manager.kernel_spec.env = make_ipkernel_cmd(), {}
    run_sync(manager.start_kernel)(cwd=str(root), env=environment(folder, root))
    process = psutil.Process(manager.provisioner.process.pid)
    try:
        yield manager
    finally:
        started = descendants(process)
        if run_sync(manager.is_alive)():
            run_sync(manager.shutdown_kernel)()
        run_sync(manager.cleanup_resources)()
        end(started)


def free_memory() -> float:
    """GB that processes may still take: what the machine has available, less where a control group allows less."""
    free = psutil.virtual_memory().available
    group = pathlib.Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # no such group, or one with the limit "max"
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return free / 1e9


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it started, directly or not; empty where it has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end(processes: list[psutil.Process]) -> None:
    """Kill processes; those that have ended are passed over."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def processor_time(process: psutil.Process) -> tuple[float, bool]:
    """Seconds that a process and all that it started have computed, and whether one of them computes or reads now."""
    total, busy = 0.0, False
    for one in descendants(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
            busy |= one.status() in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
    return total, busy


@contextlib.contextmanager
def watched(manager: AsyncKernelManager, silent: threading.Event) -> Iterator[None]:
    """End a kernel that does no work for :data:`PATIENCE` seconds, and set ``silent``.

    Looks are counted, not seconds, so that a machine that slept has not made a kernel silent.
    """
    over = threading.Event()
    process = psutil.Process(manager.provisioner.process.pid)

    def watch() -> None:
        quiet, (before, _) = 0, processor_time(process)
        while quiet * INTERVAL < PATIENCE:
            if over.wait(INTERVAL) or not process.is_running():
                return
            now, busy = processor_time(process)
            # A child that ends may take its time with it: less is work, too.
            quiet = 0 if busy or abs(now - before) > IDLE * INTERVAL else quiet + 1
            before = now
        silent.set()
        end(descendants(process))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
