"""Intervals over pieces: known values, the normal theory, and what is drawn together."""

import numpy as np
import pandas as pd
import pytest

from ast_lib.evaluation.intervals import (
    difference_interval,
    mean_interval,
    quotient_interval,
    ratio_interval,
    share_interval,
)


def test_a_ratio_of_sums_and_its_interval():
    assert ratio_interval([3.0], [2.0]) == (1.5, 1.5, 1.5)
    values = np.random.default_rng(0).normal(10, 2, 50)
    value, low, high = ratio_interval(values, np.ones(50))
    assert value == pytest.approx(values.mean())
    # The percentile bootstrap of a mean agrees with the normal theory.
    half = 1.96 * values.std() / np.sqrt(50)
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.15 * half)
    assert ratio_interval(values, np.ones(50)) == (value, low, high)
    # A constant ratio is certain however much its parts vary: they are drawn together.
    assert ratio_interval(0.9 * values, values) == pytest.approx((0.9, 0.9, 0.9))


def test_the_interval_of_a_share_knows_what_a_sample_of_ones_does_not():
    # With n of n the lower end p solves p**n = 0.025; with 1 of 2 the ends solve p**2 = 0.025 and 1 - (1 - p)**2.
    for n in (1, 12, 40):
        assert share_interval(pd.DataFrame({"value": np.ones(n)})) == pytest.approx((1, 0.025 ** (1 / n), 1))
    low = 1 - 0.975**0.5
    assert share_interval(pd.DataFrame({"value": [0.0, 1.0]})) == pytest.approx((0.5, low, 1 - low))


def test_the_interval_of_a_mean_draws_pieces_not_values():
    table = pd.DataFrame({"piece": np.repeat(list("abcdefgh"), 25), "value": np.repeat(np.arange(8.0), 25)})
    value, low, high = mean_interval(table)
    assert value == 3.5
    assert (low, high) == pytest.approx(ratio_interval(np.arange(8.0), np.ones(8))[1:])


def test_differences_and_quotients_are_paired_by_piece():
    hard = np.random.default_rng(1).normal(0, 5, 20)  # some pieces are harder than others
    table = pd.DataFrame({"piece": list("abcdefghijklmnopqrst"), "value": 30 + hard})
    other = table.assign(value=table["value"] - 2).sample(frac=1, random_state=0)  # in another order
    assert difference_interval(table, other) == pytest.approx((2, 2, 2))
    half = table.assign(value=table["value"] / 2)
    assert quotient_interval(half, table) == pytest.approx((0.5, 0.5, 0.5))
    several = pd.concat([half.assign(value=half["value"] - 1), half.assign(value=half["value"] + 1)])
    assert quotient_interval(several, table) == pytest.approx((0.5, 0.5, 0.5))
