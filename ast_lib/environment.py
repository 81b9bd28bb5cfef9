"""What a process needs from its machine before PyTorch and Numba load: one computing thread, a name, a cache folder.

Importing :mod:`ast_lib` calls :func:`prepare`, and with it the command, the trainer, the tests and the chapters.

**One thread.** The networks are small and their operations short. Two OpenMP threads wait for each other after each of
them, and they spin while they wait, in vain when the partner has no core. Seconds on two cores, alone and beside two
endless loops::

    threads                       alone: one   two   two asleep   beside loops: one   two   two asleep
    transfer of 10 s, full               1.0   1.0          3.1                 2.1   115          1.6
    transfer of 10 s, quick              1.3   1.0          2.6                 2.9   5.2          1.6
    three training steps, quick          2.4   2.4          2.7                 4.4    57          4.3
    tests/networks/test_decoder.py       3.6   4.3                              7.8    66

Threads that sleep while they wait (``OMP_WAIT_POLICY=PASSIVE``) cost as little as one beside the loops, but up to three
times as much alone. In one thread a busy machine costs its share of the cores and no more: ``python -m benchmarks
threads`` measures it again. ``OMP_NUM_THREADS``, where it is set, decides instead.
"""

import atexit
import contextlib
import getpass
import importlib.util
import os
import pathlib
import shutil
import sys
import tempfile


def prepare() -> None:
    """Set in ``os.environ`` what is not set yet and needed: see :func:`limit_threads`, :func:`name_user`,
    :func:`place_cache`."""
    limit_threads()
    name_user()
    place_cache()


def limit_threads() -> None:
    """Let this process and those that it starts compute in one thread, unless ``OMP_NUM_THREADS`` says otherwise.

    A later ``torch.set_num_threads`` is respected.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    # PyTorch reads the variable when it loads, and no more afterwards.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def name_user() -> None:
    """Give a user id that has no name one: PyTorch names a folder after the user and knows no other way.

    Containers run under such ids; ``getpass.getuser`` takes the name from ``LOGNAME``.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # the latter from Python 3.13 on
        os.environ["LOGNAME"] = f"user{os.getuid()}"


def place_cache() -> None:
    """Give Numba a private temporary folder where it could not write beside librosa's code nor in the user's cache.

    Numba keeps there what it compiles for librosa, and refuses to compile without a folder. It is removed at the end.
    """
    librosa = importlib.util.find_spec("librosa")  # finds the package without importing it
    if os.environ.get("NUMBA_CACHE_DIR") or librosa is None:
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for cache in (pathlib.Path(librosa.origin).parent / "__pycache__", pathlib.Path(home) / "numba"):
        # Tried, since access rights do not tell.
        with contextlib.suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=cache).close()
            return
    folder = tempfile.mkdtemp(prefix="ast-numba-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = folder
