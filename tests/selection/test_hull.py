"""Hull: the weights against an independent solver, the counts against every move of a copy, and the picks they make."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.optimize
from selection.pools import first_copies, make_pool, random_pool

from ttft.selection.hull import frank_wolfe, hull, whole_counts


def error(pool: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    return float(np.square(target - weights @ pool).sum())


def optimum(pool: np.ndarray, target: np.ndarray) -> float:
    """The least error over the simplex: non-negative least squares, with the sum of the weights as a heavy equation."""
    heavy = 1e4
    rows = np.vstack([pool.T, np.full(len(pool), heavy)])
    weights = scipy.optimize.nnls(rows, np.append(target, heavy))[0]
    return error(pool, target, weights / weights.sum())


def random_problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    k, d = int(rng.integers(1, 60)), int(rng.integers(2, 40))
    pool, query = make_pool(rng, k, d, 1)
    if seed % 2:
        pool = pool * rng.uniform(0.5, 1.5, size=(k, 1))
    inside = rng.dirichlet(np.full(k, 0.2)) @ pool  # a target that some weights give exactly
    return pool, (query[0], inside, 0.5 * inside)[seed % 3]


@pytest.mark.parametrize("seed", range(60))
def test_frank_wolfe_comes_near_the_optimum(seed):
    pool, target = random_problem(seed)
    best = optimum(pool, target)
    for iterations, near in ((250, 6e-3), (2500, 6e-4)):  # Frank-Wolfe's error falls as one over its steps
        weights = frank_wolfe(pool, target, len(pool), iterations, 1e-5)
        assert weights.sum() == pytest.approx(1.0) and (weights >= 0).all()
        assert best - 1e-6 <= error(pool, target, weights) <= best + near


def test_frank_wolfe_ends_when_the_gap_says_how_near_the_optimum_is():
    for seed in range(30):
        pool, target = random_problem(seed)
        weights = frank_wolfe(pool, target, len(pool), 100_000, 5e-4)
        gradient = 2 * pool @ (weights @ pool - target)
        assert weights @ gradient - gradient.min() <= 1e-3 + 1e-9
        assert error(pool, target, weights) <= optimum(pool, target) + 1e-3


def test_at_most_n_texts_get_a_weight_and_more_of_them_are_no_worse():
    for seed in range(20):
        pool, target = random_problem(seed)
        errors = []
        for size in (1, 2, 3, 5, 60):
            weights = frank_wolfe(pool, target, size, 250, 1e-5)
            assert (weights > 0).sum() <= size and weights.sum() == pytest.approx(1.0)
            errors.append(error(pool, target, weights))
        assert errors[0] == pytest.approx(np.square(target - pool).sum(1).min())  # one text: the nearest
        assert (np.diff(errors) <= 1e-3).all()


def test_a_full_support_is_still_optimised():
    pool, target = np.vstack([np.eye(6), 0.9 * np.eye(6)]), np.array([0.5, 0.3, 0.2, 0.0, 0.0, 0.0])
    weights = frank_wolfe(pool, target, 2, 5000, 1e-9)
    support = np.flatnonzero(weights)
    assert len(support) == 2 and error(pool, target, weights) == pytest.approx(optimum(pool[support], target), abs=1e-6)


def test_of_copies_only_the_first_gets_a_weight():
    rng = np.random.default_rng(0)
    for k in range(2, 40):  # where a row stands in a matrix product may change its last bits
        texts, query = make_pool(rng, k, 384, 1)
        pool = np.vstack([texts] * 3)
        support = np.flatnonzero(frank_wolfe(pool, query[0], 10, 250, 1e-5))
        assert (first_copies(pool)[support] == support).all()


def counted_error(vectors: np.ndarray, target: np.ndarray, counts: np.ndarray) -> float:
    return error(vectors, target, counts / counts.sum())


@pytest.mark.parametrize("seed", range(40))
def test_no_move_of_one_copy_brings_the_counts_nearer(seed):
    rng = np.random.default_rng(seed)
    vectors, target = random_problem(seed)
    vectors, n = vectors[:8], int(rng.integers(1, 15))
    counts = whole_counts(vectors, target, rng.dirichlet(np.ones(len(vectors))), n, passes=1000)
    assert counts.sum() == n and (counts >= 0).all()
    here = counted_error(vectors, target, counts)
    for source, to in itertools.permutations(range(len(vectors)), 2):
        if counts[source]:
            moved = counts.copy()
            moved[source] -= 1
            moved[to] += 1
            assert counted_error(vectors, target, moved) >= here - 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_without_passes_counts_are_rounded_down_and_filled_greedily(seed):
    rng = np.random.default_rng(seed)
    vectors, target = random_problem(seed)
    vectors, n = vectors[:6], int(rng.integers(1, 12))
    weights = rng.dirichlet(np.ones(len(vectors)))
    expected = np.floor(n * weights).astype(int)
    while expected.sum() < n:
        errors = [error(vectors, target, (expected + one) / n) for one in np.eye(len(vectors), dtype=int)]
        expected[next(i for i, e in enumerate(errors) if e <= min(errors) + 1e-12)] += 1
    counts = whole_counts(vectors, target, weights, n, passes=0)
    assert counts.tolist() == expected.tolist()
    after = whole_counts(vectors, target, weights, n, passes=2)
    assert counted_error(vectors, target, after) <= counted_error(vectors, target, counts) + 1e-12


def test_weights_that_are_whole_but_for_rounding_stay():
    vectors, weights = np.eye(2), np.array([0.29, 0.71])
    assert 100 * 0.29 < 29
    assert whole_counts(vectors, vectors[1], weights, 100, passes=0).tolist() == [29, 71]
    assert whole_counts(vectors, weights, weights, 100, passes=2).tolist() == [29, 71]


def test_picks_are_whole_counts_in_descending_order_with_copies_together():
    for seed in range(40):
        pool, query, n, _ = random_pool(seed)
        picks = hull(pool, query, n)
        texts = [text for text, _ in itertools.groupby(picks.order.tolist())]
        assert len(picks.order) == n and len(set(texts)) == len(texts)  # copies of one text follow one another
        assert np.allclose(picks.scores, [(picks.order == i).sum() / n for i in picks.order])
        assert (np.diff(picks.scores) <= 0).all()
        assert picks.variances is None and picks.stopped_because == "n"


def test_many_picks_come_as_near_as_the_weights_do():
    for seed in range(20):
        pool, target = random_problem(seed)
        shares = np.bincount(hull(pool, target, 400).order, minlength=len(pool)) / 400
        assert error(pool, target, shares) <= optimum(pool, target) + 6e-3


def test_a_query_that_is_in_the_pool_gets_only_that_text():
    pool = random_pool(2)[0]
    for i, first in enumerate(first_copies(pool)):
        picks = hull(pool, pool[i], 4)
        assert picks.order.tolist() == [first] * 4 and picks.scores.tolist() == [1.0] * 4


def test_a_query_between_two_texts_gets_both_and_a_text_behind_it_none():
    pool = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert hull(pool, np.array([0.25, 0.75, 0.0]), 4).order.tolist() == [1, 1, 1, 2]
    assert hull(pool, np.array([0.25, 0.75, 9.0]), 8).order.tolist() == [1] * 6 + [2] * 2


def test_several_queries_are_their_mean():
    for seed in range(10):
        pool, query, n, _ = random_pool(seed, m=4)
        several, one = hull(pool, query, n), hull(pool, query.mean(0), n)
        assert several.order.tolist() == one.order.tolist() and several.scores.tolist() == one.scores.tolist()
