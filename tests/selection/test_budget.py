"""Spreading a budget: against all possible allocations, and what must hold of a greedy one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ttft.selection.budget import majorant, spread


def best_total(gains: list[np.ndarray], steps: int) -> float:
    """The largest sum of gains over all ways to give at most `steps` steps: brute force."""
    ways = itertools.product(*(range(len(g) + 1) for g in gains))
    return max(sum(g[:c].sum() for g, c in zip(gains, way, strict=True)) for way in ways if sum(way) <= steps)


@pytest.mark.parametrize("seed", range(40))
def test_falling_gains_are_spread_in_the_best_way_there_is(seed):
    rng = np.random.default_rng(seed)
    gains = [np.sort(rng.normal(size=rng.integers(0, 5)))[::-1] for _ in range(4)]
    for steps in range(12):
        given = spread(gains, steps)
        assert sum(given) <= steps and all(c <= len(g) for c, g in zip(given, gains, strict=True))
        total = sum(g[:c].sum() for g, c in zip(gains, given, strict=True))
        assert total == pytest.approx(best_total(gains, steps), abs=1e-12)


def test_a_small_gain_does_not_hide_a_large_one_behind_it():
    assert spread([np.array([0.0, 0.0, 9.0]), np.array([2.0, 2.0, 2.0])], 3) == [3, 0]
    assert spread([np.array([-1.0, 5.0]), np.array([1.0])], 3) == [2, 1]


def test_a_step_that_promises_nothing_is_not_taken():
    assert spread([np.array([1.0, -0.5]), np.array([-1.0]), np.array([0.0])], 10) == [1, 0, 0]


def test_weights_say_what_a_gain_is_worth():
    gains = [np.array([1.0]), np.array([1.0])]
    assert spread(gains, 1) == [1, 0] and spread(gains, 1, weights=[1.0, 3.0]) == [0, 1]


def test_a_larger_budget_takes_no_step_away():
    rng = np.random.default_rng(3)
    gains = [rng.normal(0.3, 1, size=12) for _ in range(6)]
    allocations = [spread(gains, steps) for steps in range(60)]
    for less, more in itertools.pairwise(allocations):
        assert all(a <= b for a, b in zip(less, more, strict=True))
    assert allocations == [spread(gains, steps) for steps in range(60)]


def test_the_majorant_is_the_least_falling_curve_above():
    rng = np.random.default_rng(4)
    for _ in range(30):
        gains = rng.normal(size=rng.integers(1, 9))
        slopes = majorant(gains)
        assert (np.diff(slopes) <= 1e-12).all()
        total, hull = np.concatenate([[0], np.cumsum(gains)]), np.concatenate([[0], np.cumsum(slopes)])
        assert (hull >= total - 1e-9).all() and hull[-1] == pytest.approx(total[-1])
        corners = [0, *(np.flatnonzero(np.diff(slopes) < -1e-12) + 1), len(gains)]
        assert np.allclose(hull[corners], total[corners])  # it touches wherever it bends: nothing lower is concave


def test_edges():
    assert spread([], 5) == [] and spread([np.zeros(0)], 5) == [0] and spread([np.ones(3)], 0) == [0]
    with pytest.raises(ValueError, match="budget"):
        spread([np.ones(1)], -1)
    with pytest.raises(ValueError, match="finite"):
        spread([np.array([np.nan])], 1)
