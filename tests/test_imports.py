"""What a transfer needs of a machine: no library of training, no synthesiser, no name of the user, no home."""

import os
import subprocess
import sys

import pytest
import soundfile
from models import tiny, tone, untrained

from ast_lib.networks.checkpoint import save_weights

# What training, rendering, measuring and plotting need.
UNUSED = ("lightning_fabric", "pandas", "librosa", "numba", "sklearn", "scipy", "matplotlib", "joblib", "IPython")
UNUSED += (
    "music21",
    "pretty_midi",
    "fluidsynth",
    "torchaudio",
    "torch._dynamo",
    "ast_lib.training",
    "ast_lib.data.synth",
)

NO_NAME = """
import pwd
def missing(user):
    raise KeyError(f"getpwuid(): uid not found: {user}")
pwd.getpwuid = missing
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a sound, ``in.wav``, weights, and a folder ``modules`` in front of all others."""
    soundfile.write(tmp_path / "in.wav", tone(0.5), 22050)
    save_weights(tmp_path / "w.safetensors", untrained(tiny()), {}, {})
    (tmp_path / "modules").mkdir()
    return tmp_path


def transfer(folder, *before, **environment):
    """The command in a process of its own, after statements ``before`` it."""
    program = [*before, "import sys", "from ast_lib.__main__ import main"]
    arguments = ["transfer", "in.wav", "--to", "violin", "-o", "out.wav", "--weights", "w.safetensors"]
    program += [f"status = main({arguments})", "print(*sorted(sys.modules))", "sys.exit(status)"]
    path = os.pathsep.join([str(folder / "modules"), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", "\n".join(program)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )


def worked(folder, done):
    assert (done.returncode, done.stderr) == (0, "")
    assert soundfile.info(folder / "out.wav").frames == 11025
    return done.stdout.splitlines()


def test_the_command_imports_what_it_needs(folder):
    written, modules = worked(folder, transfer(folder))
    assert written == "out.wav" and {"torch", "soundfile", "ast_lib.transfer"} <= set(modules.split())
    assert sorted(set(UNUSED) & set(modules.split())) == []


def test_a_user_without_a_name(folder):
    """A container's user id need not be in the list of users; what asks for its name fails."""
    (folder / "modules" / "sitecustomize.py").write_text(NO_NAME)
    nameless = dict.fromkeys(("USER", "LOGNAME", "LNAME", "USERNAME"), "")
    worked(folder, transfer(folder, "import pwd, pytest", "with pytest.raises(KeyError): pwd.getpwuid(0)", **nameless))


@pytest.mark.parametrize("error", ["OSError('libfluidsynth.so.3: cannot open')", "AttributeError('no Synth')"])
def test_a_broken_synthesiser(folder, error):
    (folder / "modules" / "fluidsynth.py").write_text(f"raise {error}\n")
    worked(folder, transfer(folder))


def test_no_home(folder):
    nowhere = str(folder / "in.wav" / "home")  # in a file: no folder can be made there, by nobody
    worked(folder, transfer(folder, HOME=nowhere, XDG_CACHE_HOME=nowhere, TMPDIR=nowhere))
    assert {path.name for path in folder.iterdir()} == {"in.wav", "modules", "out.wav", "w.safetensors"}
