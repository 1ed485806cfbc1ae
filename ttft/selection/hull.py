"""Hull: the query as a convex combination of few texts (HullFT, Khamis & Maalouf 2026, arXiv 2605.30337).

Written from the paper's description. Three steps:

1. Frank-Wolfe on  min_w |q - P^T w|^2  over the simplex (w >= 0, sum w = 1), started at the nearest vertex, with
   exact line search, at most `iterations` steps, until half the duality gap is below `tolerance`; at most n vectors
   get a weight.
2. Whole numbers c_i with sum n: floor(n w_i), the rest filled greedily, then `passes` passes in which a copy moves
   from one text to another whenever that lowers  |q - sum_i (c_i / n) x_i|^2.
3. Texts in descending weight, the copies of one text one after the other.

A text that lies near the query gets many copies, one behind it none: what is chosen depends on n, and the choice for a
smaller n is not a beginning of the choice for a larger one. (The paper's gradient reuse: finetuning/gradient_reuse.py.)

Symbols: P `pool` (K,d), w `weights` (K,), q `query`; u = P P^T w and b = P q are kept, so that an iteration costs
O(K), and a column of P P^T is computed once for each vector that enters.
"""

from __future__ import annotations

import numpy as np

from ttft.selection.picks import TIE, Picks, check, first_best


def hull(
    pool: np.ndarray, query: np.ndarray, n: int, *, iterations: int = 250, tolerance: float = 1e-5, passes: int = 2
) -> Picks:
    """n positions out of pool (K,d), with repeats: each text as often as its share of the query; scores are the shares
    c_i/n.

    Several query vectors are replaced by their mean, which is the same minimisation.
    """
    pool, query = check(pool, query, n)
    if len(pool) == 0 or n == 0:
        return Picks(np.zeros(0, dtype=np.int64), np.zeros(0), None, "n" if n == 0 else "pool")
    target = query.mean(0)
    weights = frank_wolfe(pool, target, n, iterations, tolerance)
    support = np.flatnonzero(weights)
    counts = whole_counts(pool[support], target, weights[support], n, passes)
    by_weight = np.lexsort((support, -weights[support], -counts))
    order = np.repeat(support[by_weight], counts[by_weight])
    return Picks(order, np.repeat(counts[by_weight] / n, counts[by_weight]), None, "n")


def frank_wolfe(pool: np.ndarray, target: np.ndarray, size: int, iterations: int, tolerance: float) -> np.ndarray:
    """Weights (K,) on the simplex, at most `size` of them above 0, that bring pool.T @ weights near the target (d,)."""
    b = pool @ target
    start = first_best(2 * b - np.einsum("kd,kd->k", pool, pool), TIE)  # the nearest vertex
    columns = {start: pool @ pool[start]}
    weights = np.zeros(len(pool))
    weights[start] = 1.0
    u, norm, toward = columns[start].copy(), columns[start][start], b[start]  # P P^T w, |P^T w|^2, <q, P^T w>
    for _ in range(iterations):
        descent = b - u
        full = len(columns) == size  # then move within the support
        best = max(columns, key=lambda i: (descent[i], -i)) if full else first_best(descent, TIE)
        gap = descent[best] - (toward - norm)
        if gap <= tolerance:
            break
        if best not in columns:
            columns[best] = pool @ pool[best]
        column = columns[best]
        length = column[best] - 2 * u[best] + norm  # |x - P^T w|^2
        step = min(1.0, gap / length)
        norm = (1 - step) ** 2 * norm + 2 * step * (1 - step) * u[best] + step**2 * column[best]
        toward += step * (b[best] - toward)
        u += step * (column - u)
        weights *= 1 - step
        weights[best] += step
    return weights


def whole_counts(vectors: np.ndarray, target: np.ndarray, weights: np.ndarray, n: int, passes: int) -> np.ndarray:
    """Counts (s,) with sum n near n * weights, for vectors (s,d): floor, greedy fill, then moves of single copies."""
    gram, b = vectors @ vectors.T / n**2, vectors @ target / n
    square = np.diagonal(gram)
    counts = np.floor(n * weights + 1e-9).astype(np.int64)
    slope = gram @ counts - b  # half the gradient of the error by each count
    for _ in range(n - counts.sum()):
        best = first_best(-(2 * slope + square), TIE)
        counts[best] += 1
        slope += gram[:, best]
    for _ in range(passes):
        moved = False
        for source in np.flatnonzero(counts):
            error = 2 * (slope - slope[source]) + square + square[source] - 2 * gram[:, source]
            best = first_best(-error, TIE)
            if error[best] < -TIE:
                counts[source] -= 1
                counts[best] += 1
                slope += gram[:, best] - gram[:, source]
                moved = True
        if not moved:
            break
    return counts
