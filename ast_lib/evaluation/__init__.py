"""Evaluation: outputs and the true targets in; metrics with intervals, probes and the report out."""
