"""Numbers of a report: from nats and bytes per prompt to bits per byte, % of base and their intervals.

All are ratios of sums over prompts (long texts weigh more), never means of ratios. Symbols: b_i = nats of prompt i
under the base model, t_i = nats under the tuned model, B_i = UTF-8 bytes of exactly the scored text.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 10_000
LEVEL = 0.95
CELLS = 1 << 20  # drawn prompt numbers held in memory at once


def corpus_bits_per_byte(nats: ArrayLike, num_bytes: ArrayLike) -> float:
    """Corpus bits per byte = sum_i nats_i / (ln 2 * sum_i B_i). Both (n,); nan without any byte."""
    total = math.fsum(np.asarray(num_bytes, float))
    return math.fsum(np.asarray(nats, float)) / (math.log(2) * total) if total else math.nan


def percent_of_base(base: ArrayLike, tuned: ArrayLike) -> float:
    """100 * sum_i t_i / sum_i b_i; below 100 is better than base. Both (n,), in nats; nan when the base sums to 0.

    The bytes cancel, so this is also the ratio of the two corpus BPB. fsum makes it independent of the row order.
    """
    total = math.fsum(np.asarray(base, float))
    return 100 * math.fsum(np.asarray(tuned, float)) / total if total else math.nan


def percent_worse(base: ArrayLike, tuned: ArrayLike) -> float:
    """Share of prompts made worse, in %: 100 * |{i: t_i > b_i}| / n. nan for n = 0."""
    base, tuned = np.asarray(base, float), np.asarray(tuned, float)
    return 100 * float(np.mean(tuned > base)) if base.size else math.nan


def bootstrap_interval(
    base: ArrayLike, tuned: ArrayLike, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval of `percent_of_base`, resampling prompts with replacement.

    Resample r draws n prompts i_1..i_n and gives q_r = 100 * sum_j t_(i_j) / sum_j b_(i_j): paired, as base and tuned
    use the same draw. The interval is the (1-level)/2 and (1+level)/2 quantiles of q_1..q_resamples (Efron 1979).

    base (n,); tuned (n,) or (n, m): m columns that share their draws, such as the checkpoints of one run.
    Returns low and high, each () or (m,). (nan, nan) for fewer than two prompts: one prompt says nothing about others.
    It covers the choice of prompts only, and is too narrow for few of them. Memory is bounded by CELLS draws.
    """
    base, tuned = np.asarray(base, float), np.asarray(tuned, float)
    n = len(base)
    if n < 2:
        nothing = np.full(tuned.shape[1:], math.nan)
        return nothing, nothing
    rng = np.random.default_rng(seed)
    both = np.column_stack([base, tuned])
    ratios = np.empty((resamples, both.shape[1] - 1))
    chunk = max(1, CELLS // n)
    for start in range(0, resamples, chunk):
        with np.errstate(divide="ignore", invalid="ignore"):  # of a base of 0 nats there is no percentage: nan
            sums = _draw_counts(rng, min(chunk, resamples - start), n) @ both
            ratios[start : start + len(sums)] = 100 * sums[:, 1:] / sums[:, :1]
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2], axis=0).reshape(2, *tuned.shape[1:])
    return low, high


def _draw_counts(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """How often each of n prompts is drawn in n draws with replacement: (rows, n), each row sums to n."""
    draws = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
    return np.bincount(draws.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
