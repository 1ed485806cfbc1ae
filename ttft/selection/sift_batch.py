"""SIFT for many prompts in one call: the recursion of `posterior.py` with one more axis, B prompts in lockstep.

One code for numpy arrays (CPU) and torch tensors (CPU or GPU); everything in float64, so the picks are those of
`sift.py`. What makes it faster than one prompt after the other: a step costs a few calls for all prompts and not for
each. On the CPU the prompts go in groups, each group in a thread, such that what is read again for every pick stays in
the cache: the inner products of small pools, made ahead as in `posterior.py`, or the pools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ttft.runtime import thread_pool
from ttft.selection.picks import TIE, Picks, check_count, check_lambda
from ttft.selection.posterior import GRAM_UP_TO
from ttft.selection.stopping import Stop

GROUP_BYTES = 6 << 20  # read for every pick: what two threads can hold in a third-level cache of some 16 MB and more


def sift_batch(
    pools: Any,
    queries: Any,
    n: int,
    *,
    lambda_: float | Sequence[float] = 0.01,
    stop: Stop | None = None,
    threads: int | None = None,
) -> list[Picks]:
    """SIFT of each prompt: pools (B,K,d), queries (B,d) or (B,m,d), numpy arrays or torch tensors -> B Picks, in order.

    lambda_   one for all, or one per prompt
    threads   on the CPU; default: all cores. Tensors on a GPU stay there; there the whole batch is one group
    Each prompt's picks are those that `sift` takes for it. Raises ValueError as `sift` does.
    """
    check_count(n)
    if queries.ndim == 2:
        queries = queries[:, None]
    if (
        pools.ndim != 3
        or queries.ndim != 3
        or len(pools) != len(queries)
        or pools.shape[2] != queries.shape[2]
        or not queries.shape[1]
    ):
        raise ValueError(
            f"pools (B,K,d) and queries (B,m,d) expected, got {tuple(pools.shape)} and {tuple(queries.shape)}"
        )
    lambdas = np.broadcast_to(np.asarray(lambda_, dtype=np.float64), len(pools))
    for value in lambdas:
        check_lambda(value)
    on_gpu = not isinstance(pools, np.ndarray) and pools.device.type != "cpu"
    if not on_gpu:
        pools, queries = _array(pools), _array(queries)
    if len(pools) == 0:
        return []
    per_prompt = 8 * pools.shape[1] * (pools.shape[1] if _ahead(pools, n, stop) else pools.shape[2])
    size = len(pools) if on_gpu else max(1, GROUP_BYTES // max(1, per_prompt))
    groups = [slice(start, start + size) for start in range(0, len(pools), size)]

    def one(group: slice) -> list[Picks]:
        return _lockstep(pools[group], queries[group], n, lambdas[group], stop)

    if threads == 1 or len(groups) == 1:
        done = [one(group) for group in groups]
    else:
        with thread_pool(threads) as pool:
            done = list(pool.map(one, groups))  # in the order of the groups, whichever ends first
    return [picks for group in done for picks in group]


def _lockstep(pools: Any, queries: Any, n: int, lambdas: np.ndarray, stop: Stop | None) -> list[Picks]:
    """One group. Prompts that a rule has stopped are taken out as soon as they are half of those still computed."""
    state = _State(pools, queries, n, lambdas, ahead=_ahead(pools, n, stop))
    batch, width = len(pools), n if state.candidates else 0
    order, scores = np.empty((batch, width), dtype=np.int64), np.empty((batch, width))
    variances = np.empty((batch, width + 1))
    variances[:, 0] = state.variance
    kept = np.full(batch, -1)
    rows = np.arange(batch)  # prompt of each row of the state
    for t in range(width):
        best, gains = state.choose()
        order[rows, t], scores[rows, t] = best, gains
        variances[rows, t + 1] = variances[rows, t] - gains
        if stop is not None:
            sigma = np.sqrt(np.maximum(variances[:, : t + 2], 0.0))
            for prompt in rows[kept[rows] < 0]:
                keep = stop(sigma[prompt])
                kept[prompt] = -1 if keep is None else keep
            alive = np.flatnonzero(kept[rows] < 0)
            if len(alive) == 0:
                break
            if 2 * len(alive) <= len(rows):
                state.retain(alive)
                rows, best = rows[alive], best[alive]
        if t + 1 < width:
            state.observe(best)
    reasons = [stop.reason if stop is not None and k >= 0 else "n" if width == n else "pool" for k in kept]
    ends = np.where(kept >= 0, kept, width)
    return [
        Picks(order[b, :e].copy(), scores[b, :e].copy(), variances[b, : e + 1].copy(), reason)
        for b, (e, reason) in enumerate(zip(ends.tolist(), reasons, strict=True))
    ]


def _ahead(pools: Any, n: int, stop: Stop | None) -> bool:
    """Whether all inner products of a pool are made first: on the CPU, for small pools, where no rule ends early."""
    return isinstance(pools, np.ndarray) and stop is None and pools.shape[1] <= GRAM_UP_TO * n


class _State:
    """The arrays of `posterior.Posterior`, with a leading axis of prompts; numpy or torch, by what the pools are."""

    def __init__(self, pools: Any, queries: Any, n: int, lambdas: np.ndarray, *, ahead: bool = False) -> None:
        self.xp = np if isinstance(pools, np.ndarray) else _torch()
        self.device = None if self.xp is np else pools.device
        queries, self.lambdas = self._double(queries), self._like(lambdas)[:, None]
        if not bool(self.xp.isfinite(queries).all()):
            raise ValueError("a query holds numbers that are not finite")
        batch, self.candidates, _ = pools.shape
        self.gram: np.ndarray | None = None
        self.pools: Any = None
        if ahead:
            self.gram, self.covariance = _products(pools, queries)
            squares = np.diagonal(self.gram, axis1=1, axis2=2)
        else:
            self.pools = self._double(pools)
            if not bool(self.xp.isfinite(self.pools).all()):
                raise ValueError("a pool holds numbers that are not finite")
            self.covariance = queries @ self.xp.swapaxes(self.pools, 1, 2)  # (B,m,K)
            squares = self.xp.einsum("bkd,bkd->bk", self.pools, self.pools)
        self.noisy = squares + self.lambdas
        variance = self.xp.einsum("bmd,bmd->b", queries, queries)
        self.variance, self.tie = _numpy(variance), TIE * variance[:, None]
        self.factor = self.xp.empty(
            (batch, self.candidates, n), dtype=self.xp.float64, device=self.device
        )  # one column per observation: what a pick needs of it is then one row
        self.observed = 0
        self.rows = self._like(np.arange(batch))

    def _double(self, x: Any) -> Any:
        return x.astype(np.float64) if self.xp is np else x.double()

    def _like(self, x: np.ndarray) -> Any:
        return x if self.xp is np else self.xp.as_tensor(x.copy(), device=self.device)

    def choose(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (B,) of the first largest reductions of variance, and the reductions."""
        if self.covariance.shape[1] == 1:
            gains = self.covariance[:, 0] ** 2 / self.noisy
        else:
            gains = self.xp.einsum("bmk,bmk->bk", self.covariance, self.covariance) / self.noisy
        tied = gains >= gains.max(1)[0][:, None] - self.tie if self.xp is not np else (
            gains >= gains.max(1, keepdims=True) - self.tie
        )  # fmt: skip
        best = tied.argmax(1) if self.xp is np else tied.to(self.xp.uint8).argmax(1)
        return _numpy(best), _numpy(gains[self.rows, best])

    def observe(self, best: np.ndarray) -> None:
        rows, best = self.rows, self._like(best)
        if self.gram is not None:
            new = self.gram[rows, best]
        else:
            new = (self.pools @ self.pools[rows, best][:, :, None])[:, :, 0]
        if self.observed:
            known = self.factor[:, :, : self.observed]
            new -= (known @ known[rows, best][:, :, None])[:, :, 0]
        root = self.noisy[rows, best] ** 0.5
        new /= root[:, None]
        self.factor[:, :, self.observed] = new
        weight = self.covariance[rows, :, best] / root[:, None]
        for j in range(self.covariance.shape[1]):
            self.covariance[:, j] -= weight[:, j, None] * new
        self.noisy -= new * new
        self.noisy = self.xp.maximum(self.noisy, self.lambdas)
        self.observed += 1

    def retain(self, alive: np.ndarray) -> None:
        """Go on with these rows only: where a rule ends prompts, and so where nothing was made ahead."""
        keep = self._like(alive)
        for name in ("pools", "lambdas", "noisy", "covariance", "tie", "factor"):
            setattr(self, name, getattr(self, name)[keep])
        self.rows = self._like(np.arange(len(alive)))


def _products(pools: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner products of each pool with itself (B,K,K) and with its query (B,m,K); one pool at a time is widened."""
    gram = np.empty((*pools.shape[:2], pools.shape[1]))
    covariance = np.empty((*queries.shape[:2], pools.shape[1]))
    for b, (pool, query) in enumerate(zip(pools, queries, strict=True)):
        wide = pool.astype(np.float64)
        if not np.isfinite(wide).all():
            raise ValueError("a pool holds numbers that are not finite")
        np.matmul(wide, wide.T, out=gram[b])
        np.matmul(query, wide.T, out=covariance[b])
    return gram, covariance


def _array(x: Any) -> np.ndarray:
    """A numpy array of what may be a tensor on the CPU; numpy has no bfloat16."""
    return np.asarray(x.float() if str(x.dtype) == "torch.bfloat16" else x)


def _numpy(x: Any) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else x.cpu().numpy()


def _torch() -> Any:
    import torch

    return torch
