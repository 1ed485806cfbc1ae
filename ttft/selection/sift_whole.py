"""SIFT with all of an index as the pool: no pre-selection, K = millions of candidates.

The recursion of `posterior.py`, walked in blocks of rows that fit in the cache: a block is read as it is stored
(float16, float32, memory-mapped), widened to float64, and all that a pick changes for its rows is done at once, blocks
in parallel. A pick reads the vectors once, O(K*(d + n + m)); memory beyond the vectors is 8*K*(n + m + 2) bytes. The
picks are those of `sift.py` on the same vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from ttft.runtime import thread_pool
from ttft.selection.picks import TIE, Picks, check, check_lambda, first_best
from ttft.selection.stopping import Stop

BLOCK_ROWS = 2048


def sift_whole(
    vectors: np.ndarray | Sequence[np.ndarray],
    query: np.ndarray,
    n: int,
    *,
    lambda_: float = 0.01,
    stop: Stop | None = None,
    threads: int | None = None,
) -> Picks:
    """SIFT over vectors (K,d), or a list of such arrays that are one after the other the pool; see `select_sift`.

    threads: default all cores; the picks do not depend on it. Raises ValueError as `select_sift` does.
    """
    shards = [vectors] if isinstance(vectors, np.ndarray) else list(vectors)
    check_lambda(lambda_)
    for shard in shards or [np.zeros((0, np.shape(query)[-1]))]:
        target = check(shard[:0], query, n)[1]
    total = sum(len(shard) for shard in shards)
    if total == 0:
        return Picks(np.zeros(0, np.int64), np.zeros(0), np.array([np.square(target).sum()]), "pool" if n else "n")
    with thread_pool(threads) as pool:
        return _select(_Blocks(shards, target, lambda_, n, pool), n, stop)


def _select(blocks: _Blocks, n: int, stop: Stop | None) -> Picks:
    blocks.start()
    order, scores, variances = np.empty(n, dtype=np.int64), np.empty(n), np.empty(n + 1)
    variances[0] = np.square(blocks.query).sum()
    for t in range(n):
        order[t] = best = first_best(blocks.gains, TIE * variances[0])
        scores[t] = blocks.gains[best]
        variances[t + 1] = variances[t] - scores[t]
        if stop is not None and (keep := stop(np.sqrt(np.maximum(variances[: t + 2], 0.0)))) is not None:
            return Picks(order[:keep], scores[:keep], variances[: keep + 1], stop.reason)
        if t + 1 < n:
            blocks.observe(best, t)
    return Picks(order, scores, variances, "n")


class _Blocks:
    """The arrays of a Posterior over all rows, and the blocks in which they are updated."""

    def __init__(self, shards: list[np.ndarray], query: np.ndarray, lambda_: float, n: int, threads: Executor) -> None:
        self.query, self.lambda_, self.threads = query, lambda_, threads
        self.blocks: list[tuple[slice, np.ndarray]] = []
        start = 0
        for shard in shards:
            for row in range(0, len(shard), BLOCK_ROWS):
                block = shard[row : row + BLOCK_ROWS]
                self.blocks.append((slice(start + row, start + row + len(block)), block))
            start += len(shard)
        self.noisy, self.gains = np.empty(start), np.empty(start)
        self.covariance, self.factor = np.empty((len(query), start)), np.empty((max(0, n - 1), start))

    def start(self) -> None:
        def one(block: tuple[slice, np.ndarray]) -> None:
            rows, vectors = block
            wide = vectors.astype(np.float64)
            if not np.isfinite(wide).all():
                raise ValueError("pool holds numbers that are not finite")
            self.noisy[rows] = np.einsum("kd,kd->k", wide, wide) + self.lambda_
            self.covariance[:, rows] = self.query @ wide.T
            self._gain(rows)

        list(self.threads.map(one, self.blocks))

    def observe(self, best: int, t: int) -> None:
        seen, root = self._row(best), np.sqrt(self.noisy[best])
        known, weights = self.factor[:t, best].copy(), self.covariance[:, best] / root

        def one(block: tuple[slice, np.ndarray]) -> None:
            rows, vectors = block
            new = vectors.astype(np.float64) @ seen
            new -= known @ self.factor[:t, rows]
            new /= root
            self.factor[t, rows] = new
            self.covariance[:, rows] -= weights[:, None] * new
            self.noisy[rows] = np.maximum(self.noisy[rows] - new * new, self.lambda_)
            self._gain(rows)

        list(self.threads.map(one, self.blocks))

    def _gain(self, rows: slice) -> None:
        covariance = self.covariance[:, rows]
        self.gains[rows] = np.einsum("mk,mk->k", covariance, covariance) / self.noisy[rows]

    def _row(self, row: int) -> np.ndarray:
        rows, vectors = next(block for block in self.blocks if block[0].stop > row)
        return vectors[row - rows.start].astype(np.float64)
