"""Random pools with copies in them, and what the tests of all strategies ask of picks."""

from __future__ import annotations

import numpy as np

from ttft.selection.picks import Picks

LAMBDAS = [0.001, 0.01, 0.1, 1.0]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def make_pool(rng: np.random.Generator, k: int, d: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """A pool (k,d) with exact and near duplicates in it and m queries near it."""
    pool = unit(rng.normal(size=(k, d)))
    for i in range(k // 4):
        pool[rng.integers(k)] = pool[i]
    for i in range(k // 4):
        pool[rng.integers(k)] = unit(pool[i] + 1e-4 * rng.normal(size=d))
    return pool, unit(pool[rng.integers(k, size=m)] + 0.5 * rng.normal(size=(m, d)))


def random_pool(seed: int, largest: int = 39, most: int = 14, m: int = 4) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Pool, 1 to m queries, n and lambda; K is 1 to `largest` and n is 1 to `most`."""
    rng = np.random.default_rng(seed)
    k, d = int(rng.integers(1, largest + 1)), int(rng.integers(2, 24))
    pool, query = make_pool(rng, k, d, int(rng.integers(1, m + 1)))
    return pool, query, int(rng.integers(1, most + 1)), float(rng.choice(LAMBDAS))


def first_copies(pool: np.ndarray) -> np.ndarray:
    """For every row the first row that is the same, bit by bit."""
    _, first, group = np.unique(pool, axis=0, return_index=True, return_inverse=True)
    return first[group.reshape(-1)]


def assert_same(picks: Picks, expected: Picks, tolerance: float = 1e-12) -> None:
    assert picks.order.tolist() == expected.order.tolist() and picks.order.dtype == expected.order.dtype
    assert picks.stopped_because == expected.stopped_because
    np.testing.assert_allclose(picks.scores, expected.scores, rtol=0, atol=tolerance)
    assert (picks.variances is None) == (expected.variances is None)
    if picks.variances is not None:
        np.testing.assert_allclose(picks.variances, expected.variances, rtol=0, atol=tolerance)
