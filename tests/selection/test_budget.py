"""Spreading a budget: against all possible allocations, and what must hold of a greedy one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ttft.selection.budget import majorant, spread


def total(gains: list[np.ndarray], given, weights) -> float:
    return sum(w * g[:c].sum() for g, c, w in zip(gains, given, weights, strict=True))


def best_total(gains: list[np.ndarray], steps: int, weights) -> float:
    """The largest weighted sum of gains over all ways to give at most `steps` steps: brute force."""
    ways = itertools.product(*(range(len(g) + 1) for g in gains))
    return max(total(gains, way, weights) for way in ways if sum(way) <= steps)


def evenly(gains: list[np.ndarray], steps: int) -> list[int]:
    """The budget of prompts that weigh the same."""
    return spread(gains, steps, weights=[1.0] * len(gains))


@pytest.mark.parametrize("alike", [True, False], ids=["equal weights", "other weights"])
@pytest.mark.parametrize("seed", range(40))
def test_falling_gains_are_spread_in_the_best_way_there_is(seed, alike):
    rng = np.random.default_rng(seed)
    gains = [np.sort(rng.normal(size=rng.integers(0, 5)))[::-1] for _ in range(4)]
    weights = [1.0] * 4 if alike else rng.uniform(0.1, 10, size=4)
    for steps in range(12):
        given = spread(gains, steps, weights=weights)
        assert sum(given) <= steps and all(c <= len(g) for c, g in zip(given, gains, strict=True))
        assert total(gains, given, weights) == pytest.approx(best_total(gains, steps, weights), abs=1e-12)


def test_a_small_gain_does_not_hide_a_large_one_behind_it():
    assert evenly([np.array([0.0, 0.0, 9.0]), np.array([2.0, 2.0, 2.0])], 3) == [3, 0]
    assert evenly([np.array([-1.0, 5.0]), np.array([1.0])], 3) == [2, 1]


def test_a_step_that_promises_nothing_is_not_taken():
    assert evenly([np.array([1.0, -0.5]), np.array([-1.0]), np.array([0.0])], 10) == [1, 0, 0]


def test_a_gain_in_bits_per_byte_is_worth_the_bytes_of_its_prompt():
    """.010 on 100 bytes saves one bit, .009 on 10,000 bytes ninety: the measure is a ratio of sums."""
    gains, size = [np.array([0.010]), np.array([0.009])], [100, 10_000]
    assert spread(gains, 1, weights=size) == [0, 1]
    assert evenly(gains, 1) == [1, 0]


def test_weights_in_another_unit_spread_alike():
    rng = np.random.default_rng(5)
    gains, size = [rng.normal(0.3, 1, size=9) for _ in range(6)], rng.integers(100, 9000, size=6)
    for steps in range(50):
        assert spread(gains, steps, weights=size) == spread(gains, steps, weights=size * 2.0**-10)


def test_a_caller_cannot_forget_the_weights():
    with pytest.raises(TypeError, match="weights"):
        spread([np.ones(1)], 1)


def test_a_larger_budget_takes_no_step_away():
    rng = np.random.default_rng(3)
    gains = [rng.normal(0.3, 1, size=12) for _ in range(6)]
    allocations = [evenly(gains, steps) for steps in range(60)]
    for less, more in itertools.pairwise(allocations):
        assert all(a <= b for a, b in zip(less, more, strict=True))
    assert allocations == [evenly(gains, steps) for steps in range(60)]


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
    assert evenly([], 5) == [] and evenly([np.zeros(0)], 5) == [0] and evenly([np.ones(3)], 0) == [0]
    with pytest.raises(ValueError, match="budget"):
        evenly([np.ones(1)], -1)
    with pytest.raises(ValueError, match="finite"):
        evenly([np.array([np.nan])], 1)
    for weight in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="weight"):
            spread([np.ones(1)], 1, weights=[weight])
    with pytest.raises(ValueError, match="shorter"):
        spread([np.ones(1), np.ones(1)], 1, weights=[1.0])
