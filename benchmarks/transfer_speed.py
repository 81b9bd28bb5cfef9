"""Transfer against real time, end to end: features, encoders, decoding, refined phase. Target: 15 times as fast.

Of ``quick``, and of ``full``, which also encodes the style of the source before it moves the source, and generates
every section twice, with and without context. Then the peak memory of a process that transfers a file of an hour,
against one of 10 s. Target: 300 MB more.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from ast_lib import audio
from ast_lib.book.results import Record
from ast_lib.config import preset
from ast_lib.files import ROOT
from ast_lib.networks.checkpoint import save_weights
from ast_lib.transfer import transfer, transfer_file
from benchmarks.decoding import resident
from benchmarks.measuring import number, ratio, seconds, untrained


def peak(duration: float, profile: str) -> float:
    """Memory in MB at the peak of a process that transfers a file of ``duration`` seconds."""
    command = [sys.executable, "-m", "benchmarks.transfer_speed", str(duration), profile]
    return float(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(
    repeats: int,
    profiles: tuple[str, ...] = ("quick", "full"),
    durations: tuple[float, ...] = (10, 60),
    files: tuple[float, float] = (10, 3600),
) -> list[Record]:
    """Seconds of audio for each second of computing; memory for a long file against a short one, of the first profile.

    Args:
        repeats: turns.
        profiles: of the models.
        durations: of what is transferred, seconds.
        files: of the two files, seconds.
    """
    records = []
    for profile in profiles:
        model, rate = untrained(profile), preset(profile).representation.sample_rate
        if model.config.model.align_onsets:
            model.latency.fill_(0.01)
        for duration in durations:
            source = np.random.default_rng(0).normal(0, 0.07, round(duration * rate)).astype(np.float32)
            (took,) = seconds(repeats, lambda model=model, source=source: transfer(model, source, "violin"))
            real_time = np.full(repeats, float(duration))
            records.append(ratio(f"real_time_to_computing_{duration:g}_s", "transfer", real_time, took, profile))
    short, long = (peak(duration, profiles[0]) for duration in files)
    task = f"memory_at_{files[1]:g}_s_to_{files[0]:g}_s"
    return [
        *records,
        ratio(task, "transfer", np.array([long]), np.array([short]), profiles[0]),
        number("memory_beyond_short", task, "transfer", long - short, "MB", profiles[0]),
    ]


def main(duration: str, profile: str) -> None:
    """Print the peak memory in MB of this process, once it has transferred a file of noise."""
    rate = preset(profile).representation.sample_rate
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        source, weights, result = (pathlib.Path(folder) / name for name in ("in.flac", "w.safetensors", "out.flac"))
        audio.save(source, (random.normal(0, 0.07, rate) for _ in range(round(float(duration)))), rate)
        save_weights(weights, untrained(profile), {}, {})
        transfer_file(source, "violin", result, weights)
    print(resident("VmHWM") / 1e6)


if __name__ == "__main__":
    main(*sys.argv[1:])
