"""Transfer against real time, end to end: features, encoders, decoding, refined phase. Target: 15 times as fast."""

import numpy as np

from ast_lib.config import preset
from ast_lib.results import Record
from ast_lib.transfer import transfer
from benchmarks.measuring import ratio, seconds, untrained


def measure(repeats: int, profile: str = "quick", durations: tuple[float, ...] = (10, 60)) -> list[Record]:
    """Seconds of audio for each second of computing."""
    model, rate = untrained(profile), preset(profile).representation.sample_rate
    records = []
    for duration in durations:
        source = np.random.default_rng(0).normal(0, 0.07, round(duration * rate)).astype(np.float32)
        (took,) = seconds(repeats, lambda source=source: transfer(model, source, "violin"))
        real_time = np.full(repeats, float(duration))
        records.append(ratio(f"real_time_to_computing_{duration:g}_s", "transfer", real_time, took, profile))
    return records
