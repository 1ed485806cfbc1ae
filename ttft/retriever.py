"""Index + selection in one call: a drop-in replacement for nearest-neighbour search.

    Retriever("runs/my-index").search(query_vectors, N=20, K=200)

The K rows nearest to the query are the pool (for the uniform baseline: K rows drawn at random), and a strategy selects
N of them. The signatures are those of activeft's Retriever. Calls keep no state, so one Retriever may be used from many
threads; rows come back in the order of the queries.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ttft import defaults
from ttft.errors import ConfigError
from ttft.selection import PARAMETERS, STRATEGIES
from ttft.selection.noise import spectral_lambda
from ttft.selection.picks import Picks
from ttft.selection.posterior import posterior_variances
from ttft.selection.sift_batch import sift_batch
from ttft.selection.sift_whole import sift_whole
from ttft.selection.stopping import Stop, UncertaintyRule
from ttft.vector_index.faiss import FaissIndex
from ttft.vector_index.shards import VectorIndex, open_vector_index

TOGETHER = 64  # prompts whose pools are in memory at the same time: more is not faster


class RetrievalTime(NamedTuple):
    """Seconds, for all queries of a call together."""

    faiss: float
    """Search for the pool, and reading its vectors."""
    sift: float
    """Selection."""


@dataclass(frozen=True)
class Choice:
    """The selected rows of the index, in training order; see records.Selection for the fields.

    pool (K,): the candidate rows, ascending; None if it was the whole index. lambda_: the value that was used. For a
    faiss.IndexIDMap, ids and pool hold its ids."""

    ids: np.ndarray
    scores: np.ndarray
    vectors: np.ndarray
    cosines: np.ndarray
    sigma: np.ndarray
    stopped_because: str
    lambda_: float
    pool: np.ndarray | None
    seconds: dict[str, float]


class Retriever:
    """An opened index and a strategy to select rows from it.

    index      index folder of ttft, an opened VectorIndex, any Faiss index object (inner product or L2), or an array
               (rows,d) of unit vectors, which is searched exactly. Returned indices are row numbers; for a
               faiss.IndexIDMap they are its ids, as returned by index.search
    lambda_    SIFT's noise, also used for the reported sigma of the other strategies; "auto": estimated from each pool.
               Default: the value vetted for the index's embedder (defaults.py), else the paper's 0.01
    alpha      the paper's adaptive rule: stop when sigma_n > 1/(alpha n); None selects all n. Only with "sift".
    strategy   one of selection.STRATEGIES
    stop       a stopping rule other than alpha's (selection.stopping.Stop). Only with "sift".
    relevance  with "mmr": 1 is nearest neighbours, 0 only diversity
    vectors    (rows,d): the exact vectors, in the order in which they were added, for a Faiss index that stores only
               compressed ones (PQ) or cannot return them
    seed       of the uniform strategy's draws, together with the call's `key`
    Raises ConfigError for an unknown strategy, a stopping rule that does not apply to it, or something that is not an
    index; MissingArtifact for a folder without an index.
    """

    def __init__(
        self, index: Any, lambda_: float | Literal["auto"] | None = None, alpha: float | None = None,
        strategy: str = defaults.STRATEGY, *, stop: Stop | None = None, relevance: float = defaults.RELEVANCE,
        vectors: Any = None, seed: int = 0,
    ) -> None:  # fmt: skip
        if strategy not in STRATEGIES:
            raise ConfigError(f"unknown strategy {strategy!r}", "strategies: " + ", ".join(STRATEGIES))
        if alpha is not None and stop is not None:
            raise ConfigError("alpha and stop are both stopping rules: give one of them, not both")
        if strategy != "sift" and (alpha is not None or stop is not None):
            raise ConfigError(f"stopping rules only apply to SIFT, not to {strategy!r}", "leave --alpha and --stop out")
        if isinstance(index, str | Path):
            index = open_vector_index(index)
        if isinstance(index, VectorIndex) and vectors is not None:
            raise ConfigError("an index of ttft already contains its own vectors", "leave vectors out")
        self.index = index if isinstance(index, VectorIndex) else FaissIndex(index, vectors)
        if lambda_ is None:
            lambda_ = defaults.lambda_for(index.manifest.embedder.name if isinstance(index, VectorIndex) else None)
        self.stop = UncertaintyRule(alpha) if alpha is not None else stop
        self.lambda_, self.strategy, self.relevance, self.seed = lambda_, strategy, relevance, seed

    def search(
        self, query: np.ndarray, N: int, K: int | None = defaults.K, mean_pooling: bool = False, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, RetrievalTime]:
        """Select N rows for query (d,) or (m,d): values (N,), indices (N,), embeddings (N,d), seconds.

        K             size of the pool of nearest rows, at least 1; None: the whole index
        mean_pooling  use the mean of the m vectors as the query; otherwise each is a query, and variances are summed
        threads       only used with K=None; `batch_search` makes use of more threads
        values are the strategy's scores (SIFT: the decrease in variance by each pick). There are fewer than N rows if a
        stopping rule ended the selection or the pool was used up. Raises ConfigError for an N or K that is too small,
        ValueError for vectors of the wrong dimension.
        """
        choice = self.choose(self._query(query, mean_pooling), n=N, k=K, threads=threads)
        times = RetrievalTime(choice.seconds["search"], choice.seconds["select"])
        return choice.scores, choice.ids, choice.vectors, times

    def batch_search(
        self,
        queries: np.ndarray,
        N: int,
        K: int | None = defaults.K,
        mean_pooling: bool = False,
        threads: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, RetrievalTime]:
        """`search` for queries (B,d) or (B,m,d): values (B,N), indices (B,N), embeddings (B,N,d), total seconds.

        Row i belongs to query i, whatever `threads` is (default: all cores). Rows with fewer than N picks are padded
        with index -1, value NaN and embedding 0.
        """
        _check_counts(N, K)
        choices = self.choose_batch([self._query(q, mean_pooling) for q in queries], n=N, k=K, threads=threads)
        values = np.full((len(choices), N), np.nan)
        indices = np.full((len(choices), N), -1, dtype=np.int64)
        embeddings = np.zeros((len(choices), N, self.index.dimension), dtype=np.float32)
        for row, choice in enumerate(choices):
            count = len(choice.ids)
            values[row, :count], indices[row, :count] = choice.scores, choice.ids
            embeddings[row, :count] = choice.vectors
        seconds = [sum(c.seconds[stage] for c in choices) for stage in ("search", "select")]
        return values, indices, embeddings, RetrievalTime(*seconds)

    def choose(
        self, query: np.ndarray, n: int, k: int | None = defaults.K, key: int = 0, threads: int | None = None, *,
        pool: np.ndarray | None = None,
    ) -> Choice:  # fmt: skip
        """Select at most n rows for query vectors (d,) or (m,d) from a pool of k. `key` varies the uniform draw.
        pool: the rows to select from, ascending, in place of the k nearest.

        Raises ConfigError for an n or k that is too small, ValueError for vectors of the wrong dimension.
        """
        _check_counts(n, k)
        query = self._query(query)
        if k is None and pool is None and self.strategy == "sift":
            return self._choose_from_all(query, n, threads)
        started = time.perf_counter()
        rng = np.random.default_rng([self.seed, key])
        if pool is not None:
            ids = pool
        elif k is None and self.strategy == "nearest":  # it ranks rows by their product with the sum of the queries
            (ids,) = self._pools([query.sum(0, keepdims=True)], max(n, 1), [rng])
        else:
            (ids,) = self._pools([query], k, [rng])
        vectors = self.index.vectors(ids)
        searched = time.perf_counter()
        lambda_ = self._lambda(vectors)
        known = {"lambda_": lambda_, "stop": self.stop, "rng": rng, "relevance": self.relevance}
        taken = {name: known[name] for name in PARAMETERS.get(self.strategy, ())}
        picks = STRATEGIES[self.strategy](vectors, query, n, **taken)
        seconds = {"search": searched - started, "select": time.perf_counter() - searched}
        return self._choice(ids, vectors, query, picks, lambda_, seconds)

    def ranked(self, query: np.ndarray, k: int) -> np.ndarray:
        """The k rows nearest to any of the query vectors (d,) or (m,d), best first."""
        scores, ids = self.index.search(self._query(query), min(k, self.index.rows))
        return _ranked(scores, ids, k)

    def choose_batch(
        self, queries: Sequence[np.ndarray], n: int, k: int | None = defaults.K, keys: Sequence[int] | None = None,
        threads: int | None = None,
    ) -> list[Choice]:  # fmt: skip
        """`choose` for many prompts, each (d,) or (m,d), with one search and one batched SIFT for all; in their order.

        BLAS rounds a batch of queries differently from a single one: if two rows are equally near to within 1e-6, the
        last of the k may be the other one.
        """
        _check_counts(n, k)
        queries = [self._query(q) for q in queries]
        keys = keys or [0] * len(queries)
        if self.strategy != "sift" or k is None or not queries:
            return [self.choose(q, n, k, key, threads) for q, key in zip(queries, keys, strict=True)]
        started = time.perf_counter()
        ids = self._pools(queries, k, [None] * len(queries))
        searched = (time.perf_counter() - started) / len(queries)
        chosen: list[Choice | None] = [None] * len(queries)
        shapes = [(len(rows), len(query)) for rows, query in zip(ids, queries, strict=True)]
        for shape in dict.fromkeys(shapes):
            alike = [i for i, s in enumerate(shapes) if s == shape]
            for begin in range(0, len(alike), TOGETHER):
                some = alike[begin : begin + TOGETHER]
                found = self._choose_alike([ids[i] for i in some], [queries[i] for i in some], n, searched, threads)
                for i, choice in zip(some, found, strict=True):
                    chosen[i] = choice
        return [choice for choice in chosen if choice is not None]

    def _choose_alike(
        self, ids: list[np.ndarray], queries: list[np.ndarray], n: int, searched: float, threads: int | None
    ) -> list[Choice]:
        """SIFT for prompts with the same pool size and number of vectors; searched: seconds of search per prompt."""
        started = time.perf_counter()
        pools = self.index.vectors(np.concatenate(ids)).reshape(len(ids), -1, self.index.dimension)
        read = (time.perf_counter() - started) / len(ids)
        lambdas = [self._lambda(pool) for pool in pools]
        picks = sift_batch(pools, np.stack(queries), n, lambda_=lambdas, stop=self.stop, threads=threads)
        seconds = {"search": searched + read, "select": (time.perf_counter() - started) / len(ids) - read}
        return [self._choice(*each, seconds) for each in zip(ids, pools, queries, picks, lambdas, strict=True)]

    def _query(self, query: np.ndarray, mean_pooling: bool = False) -> np.ndarray:
        query = np.atleast_2d(np.asarray(query, dtype=np.float32))
        if query.ndim != 2 or query.shape[1] != self.index.dimension:
            raise ValueError(
                f"query {query.shape}: expected (d,) or (m,d) with d = {self.index.dimension}, as in the index"
            )
        return query.mean(0, keepdims=True) if mean_pooling else query

    def _lambda(self, pool: np.ndarray) -> float:
        return spectral_lambda(pool) if self.lambda_ == "auto" else self.lambda_

    def _pools(self, queries: Sequence[np.ndarray], k: int | None, rngs: Sequence[Any]) -> list[np.ndarray]:
        """The pool of each query: its k best rows over all its vectors, or k random rows for the uniform baseline.
        Ascending, so that ties are resolved in index order."""
        rows = self.index.rows
        k = rows if k is None else min(k, rows)
        if self.strategy == "uniform":
            return [np.sort(rng.choice(rows, size=k, replace=False)) for rng in rngs]
        scores, ids = self.index.search(np.concatenate(queries), k)
        ends = np.cumsum([len(q) for q in queries])[:-1]
        return [_best(s, i, k) for s, i in zip(np.split(scores, ends), np.split(ids, ends), strict=True)]

    def _choice(
        self, ids: np.ndarray, pool: np.ndarray, query: np.ndarray, picks: Picks, lambda_: float, seconds: dict
    ) -> Choice:
        vectors = pool[picks.order]
        return _described(
            self._labels(ids[picks.order]), vectors, query, picks, lambda_, self._labels(ids), seconds
        )  # fmt: skip

    def _labels(self, rows: np.ndarray) -> np.ndarray:
        return self.index.labels(rows) if isinstance(self.index, FaissIndex) else rows

    def _choose_from_all(self, query: np.ndarray, n: int, threads: int | None) -> Choice:
        started = time.perf_counter()
        blocks = self.index.vector_blocks()
        lambda_ = self.lambda_
        if lambda_ == "auto":
            raise ConfigError('lambda_="auto" is estimated from a pool', "give K, or a number for lambda_")
        picks = sift_whole(blocks, query, n, lambda_=lambda_, stop=self.stop, threads=threads)
        vectors = self.index.vectors(picks.order)
        seconds = {"search": 0.0, "select": time.perf_counter() - started}
        return _described(self._labels(picks.order), vectors, query, picks, lambda_, None, seconds)


def _check_counts(n: int, k: int | None) -> None:
    if n < 0:
        raise ConfigError(f"N is {n}", "N, the number of texts to select, must be at least 0")
    if k is not None and k < 1:
        raise ConfigError(f"K is {k}", "K, the size of the pool, must be at least 1, or None for the whole index")


def _best(scores: np.ndarray, ids: np.ndarray, k: int) -> np.ndarray:
    """The k best rows, ascending, of scores (m,k) with ids (m,k): a row counts by its best score; id -1 is ignored."""
    return np.sort(ids[0][ids[0] >= 0] if len(ids) == 1 else _ranked(scores, ids, k))


def _ranked(scores: np.ndarray, ids: np.ndarray, k: int) -> np.ndarray:
    """As `_best`, best first."""
    flat_scores, flat_ids = scores[ids >= 0], ids[ids >= 0]
    order = np.lexsort((flat_ids, -flat_scores))
    _, first = np.unique(flat_ids[order], return_index=True)
    return flat_ids[order][np.sort(first)][:k]


def _described(
    ids: np.ndarray, vectors: np.ndarray, query: np.ndarray, picks: Picks, lambda_: float, pool: np.ndarray | None,
    seconds: dict,
) -> Choice:  # fmt: skip
    exact, target = vectors.astype(np.float64), query.astype(np.float64)
    variances = picks.variances if picks.variances is not None else posterior_variances(exact, target, lambda_)
    cosines = (exact @ target.T).max(1) if len(ids) else np.zeros(0)
    sigma = np.sqrt(np.maximum(variances, 0.0))
    return Choice(ids, picks.scores, vectors, cosines, sigma, picks.stopped_because, lambda_, pool, seconds)
