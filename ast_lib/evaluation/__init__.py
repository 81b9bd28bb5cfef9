"""Evaluation: outputs and true targets in; metrics, intervals, baselines, probes and the report out."""
