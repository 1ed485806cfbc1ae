"""What is still unknown after some texts were observed: a Gaussian process over a pool, conditioned one text at a time.

Kernel k(x,y) = <x,y>, observation noise lambda (SIFT, arXiv 2410.08020; Transductive Active Learning, Huebotter et al.,
NeurIPS 2024). Given the observed X_n, with L_x the row of x in the Cholesky factor of K_X + lambda I,

    v(x) = k(x,x) - |L_x|^2            variance of a candidate
    c(x) = k(x,q) - L_x . L_q          its covariance with a query vector

Observing one more x changes both by a new row of the factor, so an observation costs O(K*(d + n + m)) and memory is
O(K*(n + m)) beyond the pool: no K*K matrix is made. Where most of a small pool will be observed, the K*K matrix of
inner products is made after all, once: one matrix product is faster than many products with a vector.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from ttft.runtime import one_blas_thread

GRAM_UP_TO = 4  # times n candidates: measured at n = 50, d = 384 and 1024


class Posterior:
    """noisy (K,): v(x) + lambda;  covariance (m,K): c(x) with each query vector;  variance: that of the query vectors
    before any observation, summed. Pool (K,d) and query (m,d) are float64 and are not changed; `n` observations fit.

    all_of_them: whether n observations are certain, so that the inner products may be computed ahead.
    """

    def __init__(
        self, pool: np.ndarray, query: np.ndarray, lambda_: float, n: int, *, all_of_them: bool = False
    ) -> None:
        self.pool, self.lambda_ = pool, lambda_
        self.gram: np.ndarray | None = None
        if all_of_them and len(pool) <= GRAM_UP_TO * n:
            with one_blas_thread():  # two for so little would gain half, and lose tenfold where the other core is busy
                self.gram = pool @ pool.T
        squares = np.einsum("kd,kd->k", pool, pool) if self.gram is None else np.diagonal(self.gram)
        self.noisy = squares + lambda_
        self.covariance = query @ pool.T
        self.variance = float(np.einsum("md,md->", query, query))
        self._factor = np.empty((n, len(pool)))
        self._observed = 0
        self._gains, self._scratch = np.empty(len(pool)), np.empty(len(pool))

    def reductions(self) -> np.ndarray:
        """By how much observing each candidate would lower the query's variance, summed over its vectors: (K,).

        The array is used again by the next call.
        """
        if len(self.covariance) == 1:
            np.multiply(self.covariance[0], self.covariance[0], out=self._gains)
        else:
            np.einsum("mk,mk->k", self.covariance, self.covariance, out=self._gains)
        return np.divide(self._gains, self.noisy, out=self._gains)

    def observe(self, best: int) -> None:
        """Condition on pool[best]. The same text may be observed again: its noise is new each time."""
        row, scratch = self._factor[self._observed], self._scratch
        similarity = np.dot(self.pool, self.pool[best], out=scratch) if self.gram is None else self.gram[best]
        if self._observed:
            known = self._factor[: self._observed]
            np.subtract(similarity, known[:, best] @ known, out=row)
        else:
            row[:] = similarity
        root = sqrt(self.noisy[best])
        row *= 1.0 / root
        for covariance in self.covariance:
            covariance -= np.multiply(row, covariance[best] / root, out=scratch)
        self.noisy -= np.multiply(row, row, out=scratch)
        np.maximum(self.noisy, self.lambda_, out=self.noisy)  # rounding must not make a variance negative
        self._observed += 1


def posterior_variances(chosen: np.ndarray, query: np.ndarray, lambda_: float = 0.01) -> np.ndarray:
    """Variance of the query (summed over its m vectors) after observing the first 0..t rows of chosen (t,d): (t+1,).

    For any order of picks, whoever chose them: the measure by which strategies are compared. float64 arrays.
    """
    steps = np.zeros(len(chosen))
    if len(chosen):
        gram = chosen @ chosen.T + lambda_ * np.eye(len(chosen))
        whitened = np.linalg.solve(np.linalg.cholesky(gram), chosen @ query.T)
        steps = np.einsum("tm,tm->t", whitened, whitened)
    return np.einsum("md,md->", query, query) - np.concatenate([[0.0], np.cumsum(steps)])
