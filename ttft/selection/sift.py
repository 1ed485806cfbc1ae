"""SIFT: Selecting Informative data for Fine-Tuning (Huebotter et al., ICLR 2025, arXiv 2410.08020).

Greedy minimisation of the posterior variance of the query under a Gaussian process with linear kernel k(x,y) = <x,y>
and observation noise lambda:

    x_{n+1} = argmin_x sigma^2_{X_n + x}(q),     sigma^2_X(q) = k(q,q) - k_X(q)^T (K_X + lambda I)^{-1} k_X(q)

One more x lowers it by c(x)^2 / (v(x) + lambda), with v and c the variance of x and its covariance with q given X_n
(`posterior.py`). With several query vectors the variances, and so the reductions, are summed (VTL).

A small lambda asks for diversity, a large one for nearness (lambda -> infinity: the nearest neighbour again and again).
A text may be taken more than once: a second look at it still lowers the variance, by less. So n may exceed K.
A zero vector teaches nothing and is taken only when nothing else does.

Here: one prompt. `sift_batch.py`: many prompts at once. `sift_whole.py`: all of an index as the pool.
"""

from __future__ import annotations

import numpy as np

from ttft.selection.picks import TIE, Picks, check, check_lambda, first_best
from ttft.selection.posterior import Posterior
from ttft.selection.stopping import Stop


def sift(
    pool: np.ndarray, query: np.ndarray, n: int, lambda_: float = 0.01, stop: Stop | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy SIFT over pool (K,d) for query (d,) or (m,d): ids (t,) and variances (t+1,) after 0..t picks, t <= n.

    t < n only if `stop` said so, or the pool is empty. Of equal candidates the first in the pool is taken. Computed in
    float64. Raises ValueError for lambda_ <= 0, wrong shapes or numbers that are not finite.
    """
    picks = select_sift(pool, query, n, lambda_=lambda_, stop=stop)
    assert picks.variances is not None
    return picks.order, picks.variances


def select_sift(
    pool: np.ndarray, query: np.ndarray, n: int, *, lambda_: float = 0.01, stop: Stop | None = None
) -> Picks:
    """SIFT as a strategy: see `sift`; scores are the variance reductions of the picks."""
    pool, query = check(pool, query, n)
    check_lambda(lambda_)
    ended = "n" if len(pool) or n == 0 else "pool"
    n = n if len(pool) else 0
    posterior = Posterior(pool, query, lambda_, n, all_of_them=stop is None)
    order, scores = np.empty(n, dtype=np.int64), np.empty(n)
    variances = np.empty(n + 1)
    variances[0] = posterior.variance
    for t in range(n):
        gains = posterior.reductions()
        order[t] = best = first_best(gains, TIE * variances[0])
        scores[t] = gains[best]
        variances[t + 1] = variances[t] - gains[best]
        if stop is not None and (keep := stop(np.sqrt(np.maximum(variances[: t + 2], 0.0)))) is not None:
            return Picks(order[:keep], scores[:keep], variances[: keep + 1], stop.reason)
        if t + 1 < n:
            posterior.observe(best)
    return Picks(order, scores, variances, ended)
