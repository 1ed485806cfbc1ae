"""Bootstrap intervals of means over turns, resampled by conversation.

The turns of a conversation are alike, so whole conversations are drawn (Efron 1979; the cluster bootstrap). A resample
of C conversations drawn with replacement has the mean sum_c S_c / sum_c n_c, S_c and n_c the sum and the number of the
values of conversation c; the interval is the (1-level)/2 and (1+level)/2 quantiles of the resamples' means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
CELLS = 1 << 20  # drawn numbers held in memory at once


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its percentile bootstrap interval. nan without any value; low and high are nan for fewer than two
    conversations."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        return {key: value if math.isfinite(value) else None for key, value in asdict(self).items()}


def estimate(
    values: Sequence[float], conversations: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """The mean of the values (n,) and its interval. conversations (n,): which conversation each value belongs to.

    The same seed gives the same draws for the same conversations, so an estimate of differences is a paired one.
    """
    return estimate_of(lambda means: means[0], [values], conversations, resamples=resamples, seed=seed)


def estimate_of(
    statistic: Callable[[np.ndarray], np.ndarray], columns: Sequence[Sequence[float]], conversations: Sequence[str], *,
    resamples: int = RESAMPLES, seed: int = 0,
) -> Estimate:  # fmt: skip
    """A statistic of the means of several columns of values (m,n), which share their draws; and its interval.

    statistic  (m, resamples) means -> (resamples,). Resamples for which it is not finite are left out.
    """
    values = np.asarray(columns, float)
    if not values.shape[1]:
        return Estimate(math.nan, math.nan, math.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = float(statistic(np.array([[math.fsum(column) / len(column)] for column in values]))[0])
        _, groups = np.unique(np.asarray(conversations, dtype=str), return_inverse=True)
        sums = np.stack([np.bincount(groups, column) for column in values])
        counts = np.bincount(groups).astype(float)
        if len(counts) < 2:
            return Estimate(whole, math.nan, math.nan)
        rng, found = np.random.default_rng(seed), []
        chunk = max(1, CELLS // len(counts))
        for start in range(0, resamples, chunk):
            draws = rng.integers(0, len(counts), size=(min(chunk, resamples - start), len(counts)))
            found.append(statistic(sums[:, draws].sum(2) / counts[draws].sum(1)))
    drawn = np.concatenate(found)
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Estimate(whole, math.nan, math.nan)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(whole, float(low), float(high))
