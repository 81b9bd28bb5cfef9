"""Judges from outside: networks that others trained and published, and distances of others' papers.

Chapter: ``notebooks/12_evaluation.md``. A metric that one detector decides can be right about the detector alone: a
second and a third one say which conclusions depend on it. Each is an optional extra, ``pip install -e '.[judges]'``;
without it, the function that needs it raises an :class:`~ast_lib.errors.AstError`. Conventions are those of
:mod:`ast_lib.evaluation.metrics`. A judge's row stands beside the truth's own with the same judge.
"""
