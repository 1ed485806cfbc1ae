"""Bootstrap intervals of means over turns, resampled by conversation.

The turns of a conversation are alike, so whole conversations are drawn (Efron 1979; the cluster bootstrap). A resample
of C conversations drawn with replacement has the mean sum_c S_c / sum_c n_c, S_c and n_c the sum and the number of the
values of conversation c; the interval is the (1-level)/2 and (1+level)/2 quantiles of the resamples' means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    values: Sequence[float], conversations: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0,
    level: float = LEVEL,
) -> Estimate:  # fmt: skip
    """The mean of the values (n,) and its interval. conversations (n,): which conversation each value belongs to.

    The same seed gives the same draws for the same conversations, so an estimate of differences is a paired one.
    """
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan)
    _, groups = np.unique(np.asarray(conversations, dtype=object).astype(str), return_inverse=True)
    sums, counts = np.bincount(groups, np.asarray(values, float)), np.bincount(groups).astype(float)
    mean = math.fsum(values) / len(values)
    if len(sums) < 2:
        return Estimate(mean, math.nan, math.nan)
    rng, means = np.random.default_rng(seed), np.empty(resamples)
    chunk = max(1, CELLS // len(sums))
    for start in range(0, resamples, chunk):
        draws = rng.integers(0, len(sums), size=(min(chunk, resamples - start), len(sums)))
        means[start : start + len(draws)] = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(mean, float(low), float(high))
