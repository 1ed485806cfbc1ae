"""SIFT: Selecting Informative data for Fine-Tuning (Huebotter et al., ICLR 2025, arXiv 2410.08020).

Greedy minimisation of the posterior variance of the query under a Gaussian process with linear kernel k(x,y) = <x,y>
and observation noise lambda:

    x_{n+1} = argmin_x sigma^2_{X_n + x}(q),     sigma^2_X(q) = k(q,q) - k_X(q)^T (K_X + lambda I)^{-1} k_X(q)

A small lambda asks for diversity, a large one for nearness (lambda -> infinity: the nearest neighbour again and again).
A text may be taken more than once: a second look at it still lowers the variance, by less.

Incremental form. Conditioning on one more x lowers sigma^2(q) by c(x)^2 / (v(x) + lambda), with the residuals given X_n

    v(x) = k(x,x) - |L_x|^2           `residual`    (K,)     variance of each candidate
    c(x) = k(x,q) - L_x . L_q         `covariance`  (K,m)    covariance with each query vector
    L_x = row of the Cholesky factor  `factor`      (n,K)    one new row per pick

so a pick costs O(K*(d + n + m)), memory is O(K*(n + m)) beyond the pool, and no K*K matrix is ever made.
With several query vectors the variances, and so the reductions, are summed.
"""

from __future__ import annotations

import numpy as np

from ttft.selection.picks import Picks, check
from ttft.selection.stopping import Stop


def sift(
    pool: np.ndarray, query: np.ndarray, n: int, lambda_: float = 0.01, stop: Stop | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy SIFT over pool (K,d) for query (d,) or (m,d): ids (t,) and variances (t+1,) after 0..t picks, t <= n.

    t < n only if `stop(t, sigma_t)` said so, or the pool is empty. Of equal candidates the first in the pool is taken.
    Computed in float64. Raises ValueError for lambda_ <= 0, wrong shapes or numbers that are not finite.
    """
    picks = select_sift(pool, query, n, lambda_=lambda_, stop=stop)
    assert picks.variances is not None
    return picks.order, picks.variances


def select_sift(
    pool: np.ndarray, query: np.ndarray, n: int, *, lambda_: float = 0.01, stop: Stop | None = None
) -> Picks:
    """SIFT as a strategy: see `sift`; scores are the variance reductions of the picks."""
    pool, query = check(pool, query, n)
    if not lambda_ > 0:
        raise ValueError(f"lambda_ is {lambda_}, must be above 0")
    residual = np.einsum("kd,kd->k", pool, pool)
    covariance = np.ascontiguousarray((pool @ query.T).T)  # (m,K)
    factor = np.empty((n, len(pool)))
    order, scores = np.empty(n, dtype=np.int64), np.empty(n)
    variances = np.empty(n + 1)
    variances[0] = np.einsum("md,md->", query, query)
    if len(pool) == 0:
        return Picks(order[:0], scores[:0], variances[:1], "pool")
    for t in range(n):
        gains = np.einsum("mk,mk->k", covariance, covariance) / (residual + lambda_)
        best = int(np.argmax(gains))
        order[t], scores[t] = best, gains[best]
        variances[t + 1] = variances[t] - gains[best]
        if stop is not None and stop(t + 1, float(np.sqrt(max(variances[t + 1], 0.0)))):
            return Picks(order[: t + 1], scores[: t + 1], variances[: t + 2], "uncertainty")
        if t + 1 < n:
            _condition(pool, best, lambda_, factor, t, residual, covariance)
    return Picks(order, scores, variances, "n")


def _condition(
    pool: np.ndarray,
    best: int,
    lambda_: float,
    factor: np.ndarray,
    t: int,
    residual: np.ndarray,
    covariance: np.ndarray,
) -> None:
    """Observe pool[best]: write row t of the Cholesky factor and update the residuals in place."""
    known = factor[:t]
    root = np.sqrt(residual[best] + lambda_)
    row = (pool @ pool[best] - known[:, best] @ known) / root
    covariance -= np.outer(covariance[:, best] / root, row)
    residual -= row * row
    np.maximum(residual, 0.0, out=residual)  # rounding must not make a variance negative
    factor[t] = row


def posterior_variances(chosen: np.ndarray, query: np.ndarray, lambda_: float = 0.01) -> np.ndarray:
    """Variance of the query (summed over its m vectors) after observing the first 0..t rows of chosen (t,d): (t+1,).

    For any order of picks, whoever chose them: the measure by which strategies are compared.
    """
    chosen, query = check(chosen, query, 0)
    steps = np.zeros(len(chosen))
    if len(chosen):
        gram = chosen @ chosen.T + lambda_ * np.eye(len(chosen))
        whitened = np.linalg.solve(np.linalg.cholesky(gram), chosen @ query.T)
        steps = np.einsum("tm,tm->t", whitened, whitened)
    return np.einsum("md,md->", query, query) - np.concatenate([[0.0], np.cumsum(steps)])
