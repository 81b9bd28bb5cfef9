"""Speed as ratios of two things measured in one run: one file a question, each with a function ``measure``.

``make bench`` asks them all, prints a table and writes ``results/benchmarks.json``; ``python -m benchmarks features``
asks one. A ratio of two medians says the same on a fast and on a slow machine, seconds do not.
"""
