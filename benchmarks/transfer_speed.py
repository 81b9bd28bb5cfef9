"""Transfer against real time, end to end: features, encoders, decoding, refined phase. Target: 15 times as fast.

Of ``quick``, and of ``full``, which also listens to who plays before it moves the source, and draws without the past.
"""

import numpy as np

from ast_lib.config import preset
from ast_lib.results import Record
from ast_lib.transfer import transfer
from benchmarks.measuring import ratio, seconds, untrained


def measure(
    repeats: int, profiles: tuple[str, ...] = ("quick", "full"), durations: tuple[float, ...] = (10, 60)
) -> list[Record]:
    """Seconds of audio for each second of computing."""
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
    return records
