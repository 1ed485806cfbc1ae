"""ITL: information-based transductive learning (Huebotter et al., Transductive Active Learning, NeurIPS 2024).

At each step the text whose observation says most about all target vectors A = q_1..q_m jointly:

    x_{n+1} = argmax_x I(f_A ; y_x | X_n) = argmax_x -1/2 log(1 - c(x)^T S^{-1} c(x) / (v(x) + lambda))

with S (m,m) the posterior covariance of the targets, c(x) (m,) their covariances with x, v(x) its variance, all given
X_n (`posterior.py`). It shrinks the determinant of S where SIFT (VTL) shrinks its trace: a reduction counts by its
share of what is left of a target, so a target that is half known goes on counting. With one target the two agree.
"""

from __future__ import annotations

import numpy as np

from ttft.selection.picks import TIE, Picks, check, check_lambda, first_best
from ttft.selection.posterior import Posterior

JITTER = 1e-9


def itl(pool: np.ndarray, query: np.ndarray, n: int, *, lambda_: float = 0.01) -> Picks:
    """Greedy picks out of pool (K,d) for targets (m,d), repeats allowed; scores are the information gains in nats.

    S may be singular (a target given twice): 1e-9 of its mean diagonal at the start is added to its diagonal, as if the
    targets were asked for with that little noise. Variances are the targets' sum, as SIFT reports it.
    """
    pool, query = check(pool, query, n)
    check_lambda(lambda_)
    posterior = Posterior(pool, query, lambda_, n, all_of_them=True)
    if len(pool) == 0:
        ended = "pool" if n else "n"
        return Picks(np.zeros(0, dtype=np.int64), np.zeros(0), np.array([posterior.variance]), ended)
    targets = query @ query.T
    jitter = JITTER * max(posterior.variance / len(query), np.finfo(float).eps) * np.eye(len(query))
    order, scores = np.empty(n, dtype=np.int64), np.empty(n)
    variances = np.empty(n + 1)
    variances[0] = posterior.variance
    for t in range(n):
        c = posterior.covariance
        told = np.einsum("mk,mk->k", c, np.linalg.solve(targets + jitter, c)) / posterior.noisy
        gains = -0.5 * np.log1p(-np.clip(told, 0.0, 1.0 - 1e-15))
        order[t] = best = first_best(gains, TIE)
        scores[t] = gains[best]
        variances[t + 1] = variances[t] - c[:, best] @ c[:, best] / posterior.noisy[best]
        targets = targets - np.outer(c[:, best], c[:, best]) / posterior.noisy[best]
        posterior.observe(best)
    return Picks(order, scores, variances, "n")
