"""Evaluation: outputs and the true targets in; metrics with intervals, probes and the report out."""

from ast_lib.evaluation.systems import (
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
    transferred,
    unseen_source,
)
