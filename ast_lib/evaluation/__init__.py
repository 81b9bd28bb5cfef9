"""Evaluation: outputs and the true targets in; metrics with intervals, probes and the report out."""

from ast_lib.evaluation.systems import (
    at_rms,
    ceiling,
    directions,
    evaluate,
    mean_interval,
    measure,
    one_shot,
    outputs,
    published_table,
    ratio_interval,
    score,
    teacher_forced_batch,
    to_records,
    transferred,
    unseen_source,
)

__all__ = [
    "at_rms",
    "ceiling",
    "directions",
    "evaluate",
    "mean_interval",
    "measure",
    "one_shot",
    "outputs",
    "published_table",
    "ratio_interval",
    "score",
    "teacher_forced_batch",
    "to_records",
    "transferred",
    "unseen_source",
]
