"""What importing the library prepares: one computing thread, a user's name, a folder for what Numba compiles."""

import getpass
import importlib.util
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest
import torch

from ast_lib import environment
from ast_lib.files import ROOT


def output(code, prefix=(), **variables):
    """What a new interpreter prints that runs ``code`` with these environment variables only."""
    known = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run([*prefix, sys.executable, "-c", code], env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# --- Threads


def test_the_tests_compute_in_as_many_threads_as_asked_for():
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])


@pytest.mark.parametrize("first", ["ast_lib, torch", "torch, ast_lib"])
def test_one_thread_is_the_default_whichever_is_imported_first(first):
    code = f"import {first}, os; print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'])"
    assert output(code) == ["1", "1"]


def test_a_number_of_threads_that_the_user_sets_is_kept():
    assert output("import ast_lib, torch; print(torch.get_num_threads())", OMP_NUM_THREADS="2") == ["2"]


def test_later_changes_are_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(torch, "set_num_threads", lambda count: pytest.fail("set again"))
    environment.prepare()


# --- The user's name


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found"), OSError("No username set")])
def test_a_user_without_a_name_gets_one(monkeypatch, error):
    def no_name():
        raise error

    monkeypatch.setenv("LOGNAME", "")  # so that it is put back afterwards
    monkeypatch.setattr(getpass, "getuser", no_name)
    environment.name_user()
    assert os.environ["LOGNAME"] == f"user{os.getuid()}"


def test_a_user_with_a_name_keeps_it(monkeypatch):
    monkeypatch.setenv("LOGNAME", "clara")
    environment.name_user()
    assert getpass.getuser() == "clara"


# --- Numba's folder


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Numba's two folders, neither of which can be made: a file is in their way."""
    (tmp_path / "file").touch()
    spec = importlib.util.spec_from_file_location("librosa", tmp_path / "file" / "librosa.py")
    monkeypatch.setattr(importlib.util, "find_spec", {"librosa": spec}.get)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    removed = []
    monkeypatch.setattr(environment.atexit, "register", lambda *call, **options: removed.append((call, options)))
    yield removed
    for (remove, *arguments), options in removed:
        remove(*arguments, **options)


def test_numba_gets_a_private_folder_where_it_has_none(cache, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # so that it is put back afterwards
    environment.place_cache()
    folder = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700
    (remove, *arguments), options = cache.pop()
    remove(*arguments, **options)
    assert not folder.exists()


def test_a_users_cache_will_do(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    environment.place_cache()
    assert "NUMBA_CACHE_DIR" not in os.environ and (tmp_path / "home" / "numba").is_dir()


def test_a_folder_that_the_user_names_is_kept(cache, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/named")
    environment.place_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == "/named" and cache == []


# --- All of it, as in a container


def test_a_nameless_user_whose_home_and_python_are_read_only_can_compute():
    """Rendering, pitch tracking and training import what asks for a name and for a folder to compile into."""
    librosa = shlex.quote(str(pathlib.Path(importlib.util.find_spec("librosa").origin).parent))
    read_only = f"mount --bind {librosa} {librosa} && mount -o remount,ro,bind {librosa}"
    script = f'{read_only} && exec unshare --user --map-user=12345 --map-group=12345 "$@"'
    prefix = ["unshare", "--mount", "bash", "-c", script, "bash"]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("unshare cannot make a user without a name and a read-only folder here; it needs root on Linux")
    code = """
import ast_lib.data.manifest, ast_lib.training
import getpass, os, pathlib
import librosa, numpy
librosa.pyin(numpy.random.default_rng(0).normal(size=4096), fmin=200, fmax=400, sr=22050)
print(getpass.getuser(), os.listdir(os.environ["NUMBA_CACHE_DIR"]) != [], os.environ["NUMBA_CACHE_DIR"])
"""
    name, compiled, folder = output(code, prefix, HOME="/proc/nowhere")
    assert (name, compiled) == ("user12345", "True") and not pathlib.Path(folder).exists()
