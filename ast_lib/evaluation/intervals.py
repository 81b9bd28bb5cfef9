"""Intervals over pieces: the bootstrap of a ratio of sums, equation ``bootstrap-ratio``; for shares the exact interval.

Chapter: ``notebooks/12_evaluation.md``. Pieces, not values, are sampled with replacement, since values of one piece are
not independent. Tables have the columns ``piece`` and ``value``; every function returns the value and the lower and
upper end of its 95 % interval.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats

Interval = tuple[float, float, float]


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Ratio of two sums over pieces, of one number each a piece; both ends are the value where there is one piece."""
    pair = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)

    def ratio(a, b, axis=-1):
        return a.sum(axis=axis) / b.sum(axis=axis)

    value = float(ratio(*pair))
    if len(pair[0]) < 2:
        return value, value, value
    found = scipy.stats.bootstrap(pair, ratio, paired=True, n_resamples=2000, method="percentile", rng=0)
    return value, *map(float, found.confidence_interval)


def mean_interval(table: pd.DataFrame) -> Interval:
    """Mean of a table's values: the ratio of their sum to their number."""
    by_piece = table.groupby("piece")["value"].agg(["sum", "count"])
    return ratio_interval(by_piece["sum"], by_piece["count"])


def share_interval(table: pd.DataFrame) -> Interval:
    """Share of ones among a table's values, which are 0 or 1: the exact binomial interval (Clopper and Pearson, 1934).

    A bootstrap of ones alone cannot see the zeros that other clips would have. The table has one clip of each piece.
    """
    found = scipy.stats.binomtest(int(table["value"].sum()), len(table))
    return found.statistic, *found.proportion_ci()


def difference_interval(table: pd.DataFrame, other: pd.DataFrame) -> Interval:
    """Mean over pieces of how much more the table has than the other; both have one value a piece."""
    difference = table.set_index("piece")["value"] - other.set_index("piece")["value"]
    return ratio_interval(difference, np.ones(len(difference)))


def quotient_interval(table: pd.DataFrame, other: pd.DataFrame) -> Interval:
    """Quotient of the two tables' means over pieces."""
    return ratio_interval(*(part.groupby("piece")["value"].mean() for part in (table, other)))
