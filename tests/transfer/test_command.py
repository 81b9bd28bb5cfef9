"""The command line: what it writes, and that every problem is one line, a status, and no file."""

import os
import re
import resource
import subprocess
import sys
import warnings

import numpy as np
import pytest
import soundfile
from models import noise, tiny, tone, untrained

from ast_lib.__main__ import main
from ast_lib.networks import checkpoint
from ast_lib.networks.checkpoint import save_weights

RATE = 44100


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", untrained(tiny()), {}, {})


@pytest.fixture
def folder(tmp_path):
    """A folder with one input, ``in.wav``: a second of stereo at 44.1 kHz, the right channel softer."""
    left = tone(1.0, rate=RATE)
    soundfile.write(tmp_path / "in.wav", np.stack([left, 0.5 * left], axis=1), RATE)
    return tmp_path


def command(folder, *arguments, **options):
    # CI is set as on a build service, where some libraries print more; the command's output must not change.
    return subprocess.run(
        [sys.executable, "-m", "ast_lib", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "CI": "true"},
        capture_output=True,
        text=True,
        **options,
    )


def one_line(error):
    assert re.fullmatch(r"ast: [^\n]+\n", error), error
    return error


# --- As a program


def test_a_stereo_file_at_another_rate_becomes_a_mono_one(folder, weights):
    done = command(folder, "transfer", "in.wav", "--to", "violin", "-o", "out.wav", "--weights", weights)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out.wav\n", "")
    sound, rate = soundfile.read(folder / "out.wav")
    assert rate == 22050 and sound.ndim == 1 and abs(len(sound) - 22050) <= 1
    level = 0.75 * 0.1 / np.sqrt(2)  # of the mean of both channels
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(level, rel=0.01)
    assert sorted(path.name for path in folder.iterdir()) == ["in.wav", "out.wav"]


def test_a_clip_gives_the_style(folder, weights, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    sound(folder / "bright.wav", noise(1.0))
    for clip, output in (("in.wav", "one.wav"), ("bright.wav", "two.wav")):
        assert main(["transfer", "in.wav", "--style", clip, "-o", output, "--weights", str(weights)]) == 0
        assert capfd.readouterr() == (f"{output}\n", "")
    one, two = (soundfile.read(folder / name)[0] for name in ("one.wav", "two.wav"))
    assert one.shape == two.shape and np.abs(one - two).max() > 1e-3
    sound(folder / "short.wav", noise(0.1))
    assert main(["transfer", "in.wav", "--style", "short.wav", "-o", "three.wav", "--weights", str(weights)]) == 1
    assert "short.wav: found 0.05 s, accepted as a style is 0.5 s or more" in one_line(capfd.readouterr().err)
    assert not (folder / "three.wav").exists()


def test_a_full_disk(folder, weights):
    (folder / "out.wav").write_bytes(b"an earlier result")

    def limit():
        # The system refuses to let any file grow beyond 8 kB: a real write that fails halfway.
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    arguments = ("transfer", "in.wav", "--to", "violin", "-o", "out.wav", "--weights", weights)
    done = command(folder, *arguments, preexec_fn=limit)
    assert done.returncode == 1 and done.stdout == ""
    assert "out.wav: could not be written: File too large" in one_line(done.stderr)
    assert (folder / "out.wav").read_bytes() == b"an earlier result"
    assert sorted(path.name for path in folder.iterdir()) == ["in.wav", "out.wav"]


def test_a_problem_is_one_line_and_a_status(folder, weights):
    done = command(folder, "transfer", "none.wav", "--to", "violin", "-o", "out.wav", "--weights", weights)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "ast: none.wav: no such file\n")
    assert [path.name for path in folder.iterdir()] == ["in.wav"]


def test_names_in_any_bytes_and_a_terminal_of_another_encoding(folder, weights):
    names = (b"\xff\xfe.wav", "ü🎻.wav".encode(), b"two\nlines.wav", b"-dash.wav")
    for name in names:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write((folder / "in.wav").read_bytes())
    for name, encoding in zip(names, ("utf-8", "ascii", "ascii", "cp1252"), strict=True):
        done = subprocess.run(
            [sys.executable, "-m", "ast_lib", "transfer", name, "--to", "violin", "-o", name, "--weights", weights],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == (b"-dash.wav" if name.startswith(b"-") else name) + b"\n"
        assert soundfile.info(os.path.join(os.fsencode(folder), name)).samplerate == 22050
    assert len(list(folder.iterdir())) == 5


def test_a_pipe_and_the_standard_input(folder, weights):
    arguments = ("--to", "violin", "--weights", weights, "-o")
    with open(folder / "in.wav", "rb") as file:
        cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        done = command(folder, "transfer", "/dev/stdin", *arguments, "out.wav", stdin=cat.stdout)
        cat.stdout.close()
        assert cat.wait() == 0
    assert (done.returncode, done.stdout, done.stderr) == (0, "out.wav\n", "")
    with open(folder / "in.wav", "rb") as file:
        done = command(folder, "transfer", "/dev/stdin", *arguments, "again.wav", stdin=file)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "out.wav").read_bytes() == (folder / "again.wav").read_bytes()


# --- Usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.wav", "--to", "violin", "-o", "out.wav", "--phase", "true"], "invalid choice: 'true'"),
        (["in.wav", "--to", "violin"], "-o/--output"),
        (["in.wav", "-o", "out.wav"], "one of the arguments --to --style is required"),
        (["in.wav", "--to", "violin", "--style", "in.wav", "-o", "out.wav"], "not allowed with argument --to"),
        (["--to", "violin", "-o", "out.wav"], "INPUT"),
        (["in.wav", "--to", "violin", "-o", "out.wav", "--speed", "2"], "unrecognized arguments: --speed 2"),
    ],
)
def test_wrong_usage_names_the_argument(folder, monkeypatch, capfd, arguments, message):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as stopped:
        main(["transfer", *arguments])
    error = capfd.readouterr().err
    assert stopped.value.code == 2 and error.startswith("usage: python -m ast_lib") and message in error
    assert [path.name for path in folder.iterdir()] == ["in.wav"]


def test_no_command_is_wrong_usage(capfd):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2 and "required: command" in capfd.readouterr().err


def test_help_names_every_option_and_waits_for_no_library(folder):
    script = "import sys; from ast_lib.__main__ import main; sys.argv = ['ast', 'transfer', '--help']; import atexit; "
    script += "atexit.register(lambda: print('torch' in sys.modules)); main()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    for option in ("INPUT", "--to", "--style CLIP", "--output", "--weights", "--phase {predicted,refined}"):
        assert option in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


# --- Whatever is wrong with the input: the same code in this process, which saves the start-up


def sound(path, samples, rate=RATE, **options):
    soundfile.write(path, samples, rate, **options)


def broken_inputs(folder, weights):
    """Files with something wrong, in ``folder``."""
    nan = noise(0.5)
    nan[7] = np.nan
    sound(folder / "nan.wav", nan, subtype="FLOAT")
    sound(folder / "silent.wav", np.zeros(5000))
    sound(folder / "empty.wav", np.zeros(0))
    (folder / "nothing.wav").write_bytes(b"")
    (folder / "text.wav").write_text("la la la\n" * 100)
    (folder / "text.txt").write_text("la la la\n" * 100)
    (folder / "cut.wav").write_bytes((folder / "in.wav").read_bytes()[:30])
    sound(folder / "constant.wav", np.full(5000, 0.25))
    sound(folder / "huge.wav", noise(0.5) * 3e38 / np.abs(noise(0.5)).max(), subtype="FLOAT")
    sound(folder / "slow.wav", noise(0.1), 999)
    (folder / "cut.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + np.random.default_rng(0).bytes(3000))
    (folder / "random.safetensors").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "cut.safetensors").write_bytes(weights.read_bytes()[:100_000])
    (folder / "folder").mkdir()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "none.wav"}, "none.wav: no such file"),
        ({"input": "folder"}, "folder: found a folder"),
        ({"input": "text.wav"}, "text.wav: not readable as audio"),
        ({"input": "text.txt"}, "text.txt: not readable as audio"),
        ({"input": "nothing.wav"}, "nothing.wav: not readable as audio"),
        ({"input": "cut.wav"}, "cut.wav: "),
        ({"input": "empty.wav"}, "empty.wav: found 0 samples"),
        ({"input": "silent.wav"}, "silent.wav: found silence"),
        ({"input": "nan.wav"}, "nan.wav: found 1 samples that are NaN or infinite"),
        ({"input": "constant.wav"}, "constant.wav: found silence (a constant of 0.25 is no sound)"),
        ({"input": "huge.wav"}, "huge.wav: found samples up to 3e+38, accepted are those up to 1e+09"),
        ({"input": "slow.wav"}, "slow.wav: found a rate of 999 Hz, accepted is 2000 Hz or more"),
        ({"input": "cut.m4a"}, "cut.m4a: not readable as audio"),
        ({"input": "/dev/null"}, "/dev/null: found a device"),
        ({"input": "two\nlines.wav"}, "two\\nlines.wav: no such file"),
        ({"output": "a" * 300 + ".wav"}, ".wav: could not be written: File name too long"),
        ({"to": "kazoo"}, "instrument: found 'kazoo', accepted by these weights are piano, violin"),
        ({"to": ""}, "instrument: found ''"),
        ({"weights": "none.safetensors"}, "weights: no file at none.safetensors"),
        ({"weights": "random.safetensors"}, "weights: random.safetensors is not a readable safetensors file"),
        ({"weights": "cut.safetensors"}, "weights: cut.safetensors is not a readable safetensors file"),
        ({"weights": "in.wav"}, "weights: in.wav is not a readable safetensors file"),
        ({"weights": ""}, "weights: no file at"),
        ({"output": "none/out.wav"}, "none/out.wav: the folder none does not exist"),
        ({"output": "out.xyz"}, "out.xyz: found the extension '.xyz', accepted are .wav"),
        ({"output": "out"}, "out: found the extension ''"),
        ({"output": "folder"}, "folder: found the extension ''"),
    ],
)
def test_each_problem_is_one_line_and_leaves_no_file(folder, weights, monkeypatch, capfd, changes, message):
    broken_inputs(folder, weights)
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    options = {"input": "in.wav", "to": "violin", "output": "out.wav", "weights": str(weights)} | changes
    arguments = ["transfer", options["input"], "--to", options["to"], "-o", options["output"]]
    assert main([*arguments, "--weights", options["weights"]]) == 1
    output, error = capfd.readouterr()
    assert output == "" and message in one_line(error)
    assert sorted(folder.rglob("*")) == before


def test_what_is_odd_about_the_input_is_one_line_and_no_obstacle(folder, weights, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["ast"])
    (folder / "cut.wav").write_bytes((folder / "in.wav").read_bytes()[:100_044])
    left = tone(1.0, rate=RATE)
    sound(folder / "opposite.wav", np.stack([left, -0.5 * left], axis=1))
    sound(folder / "against.wav", np.stack([left, -left], axis=1))
    for name, message in (
        ("cut.wav", "it is incomplete: found 0.57 s of 1.00 s announced"),
        ("against.wav", "its 2 channels cancel each other; only the louder, 1, is used"),
    ):
        arguments = ["transfer", name, "--to", "violin", "-o", "out.wav", "--weights", str(weights)]
        for _ in range(2):  # the second time as the first
            assert main(arguments) == 0
            assert capfd.readouterr() == ("out.wav\n", f"ast: warning: {name}: {message}\n")
    assert main(["transfer", "opposite.wav", "--to", "violin", "-o", "out.wav", "--weights", str(weights)]) == 0
    assert capfd.readouterr() == ("out.wav\n", "")


def test_other_warnings_are_one_line_too(folder, weights, monkeypatch, capfd):
    monkeypatch.chdir(folder)

    def odd(**arguments):
        warnings.warn("something else", UserWarning, stacklevel=1)
        return "out.wav"

    monkeypatch.setattr("ast_lib.transfer.transfer_file", odd)
    assert main(["transfer", "in.wav", "--to", "violin", "-o", "out.wav"]) == 0
    assert capfd.readouterr() == ("out.wav\n", "ast: warning: something else\n")


def test_no_weights_anywhere(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(checkpoint, "PUBLISHED", folder / "full.safetensors")
    monkeypatch.setattr(checkpoint, "TRAINED", folder / "quick.safetensors")
    assert main(["transfer", "in.wav", "--to", "violin", "-o", "out.wav"]) == 1
    assert "run 'make book' to train, or give --weights" in one_line(capfd.readouterr().err)
    assert [path.name for path in folder.iterdir()] == ["in.wav"]


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("phase", ["predicted", "refined"])
def test_every_format_and_phase_is_written(folder, weights, monkeypatch, capfd, extension, phase):
    monkeypatch.chdir(folder)
    output = f"out.{extension}"
    assert main(["transfer", "in.wav", "--to", "piano", "-o", output, "--weights", str(weights), "--phase", phase]) == 0
    assert capfd.readouterr() == (f"{output}\n", "")
    assert soundfile.info(output).duration == pytest.approx(1.0, abs=0.1)
    assert sorted(path.name for path in folder.iterdir()) == ["in.wav", output]


def test_the_input_may_be_overwritten(folder, weights, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["transfer", "in.wav", "--to", "violin", "-o", "in.wav", "--weights", str(weights)]) == 0
    assert soundfile.info("in.wav").samplerate == 22050 and [path.name for path in folder.iterdir()] == ["in.wav"]
