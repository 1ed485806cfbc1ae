"""What a strategy returns, and the checks and the tie rule that all strategies share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TIE = 1e-12


@dataclass(frozen=True)
class Picks:
    """order (t,): positions in the pool in training order, t <= n; scores (t,): the strategy's own score of each;
    variances (t+1,): posterior variance of the query after 0..t picks, None where the strategy does not model it;
    stopped_because: "n", "pool" (nothing left), or the `reason` of the rule that stopped."""

    order: np.ndarray
    scores: np.ndarray
    variances: np.ndarray | None
    stopped_because: str


def check(pool: np.ndarray, query: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pool (K,d) and query (m,d) as float64; a query (d,) becomes (1,d).

    Raises ValueError for other shapes, a negative n, or numbers that are not finite.
    """
    pool, query = np.asarray(pool, dtype=np.float64), np.atleast_2d(np.asarray(query, dtype=np.float64))
    if pool.ndim != 2 or query.ndim != 2 or pool.shape[1] != query.shape[1] or len(query) == 0:
        raise ValueError(f"pool (K,d) and query (m,d) with m > 0 expected, got {pool.shape} and {query.shape}")
    check_count(n)
    if not (np.isfinite(pool).all() and np.isfinite(query).all()):
        raise ValueError("pool or query holds numbers that are not finite")
    return pool, query


def check_count(n: int) -> None:
    if n < 0:
        raise ValueError(f"n is {n}, must be 0 or more")


def check_lambda(lambda_: float) -> None:
    if not lambda_ > 0:
        raise ValueError(f"lambda_ is {lambda_}, must be above 0")


def first_best(scores: np.ndarray, tie: float) -> int:
    """Position of the first of all scores (K,) that are within `tie` of the largest.

    Copies of a text differ in the last bits of a matrix product, by where they stand in it; without the tolerance it
    would be chance which one is taken, and it would change with the batch, the block or the machine.
    """
    best = scores.argmax()
    return int((scores >= scores[best] - tie).argmax())
