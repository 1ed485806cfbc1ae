"""From finished runs to a policy: isotonic regression of the gain of a step on the uncertainty curve, cross-validated.

Each scored interval (a, b] of a prompt gives every step n in it the realised gain (bits_a - bits_b) / (b - a) and the
features of `policy.py`. The curves are fitted by backfitting: each in turn is the isotonic regression (Barlow et al.
1972; scikit-learn) of what the others leave unexplained: falling in n and in sigma (later texts, and texts further from
the prompt, teach less), rising in the slope (a text that lowers the uncertainty more teaches more); where the data
contradict, the curve is flat. Prompts weigh by their bytes, as they do in bits per byte. Which features have a say, and
what the prediction is worth, is decided on prompts that were left out: folds of prompts, never of steps, and within
each of them folds again for the choice of features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from ttft.errors import MissingArtifact, TtftError, install_hint
from ttft.records import Result
from ttft.selection.policy import FEATURES, GainPolicy, features, worthwhile

SWEEPS = 5
RESAMPLES = 2000
FEWEST_PROMPTS = 10


@dataclass(frozen=True)
class Scored:
    """One prompt of a run: sigma (N+1,), the steps at which it was scored, bits per byte at each, and its bytes."""

    sigma: np.ndarray
    steps: np.ndarray
    bits: np.ndarray
    bytes: int

    @classmethod
    def of(cls, result: Result) -> Self:
        """From a result. The last score is the one under the full update, whatever a guard decided.

        A policy predicts the gain of steps. Fitted to what a guard kept, it would never see a harmful step.
        Raises TtftError where the result has no uncertainty for each of its steps.
        """
        if len(result.sigma) <= result.steps_taken:
            raise TtftError(
                f"prompt {result.prompt_id!r} has {result.steps_taken} steps but {len(result.sigma)} values of sigma",
                "the results were changed by hand: make the run again",
            )
        nats = np.array([*result.nats[:-1], result.tuned_nats])
        bits = nats / (math.log(2) * result.bytes)
        return cls(np.array(result.sigma), np.array(result.steps), bits, result.bytes)

    def gains(self) -> np.ndarray:
        """Realised gain of each step in bits per byte, spread evenly over an interval that was not scored inside:
        (N,)."""
        return np.repeat(-np.diff(self.bits) / np.diff(self.steps), np.diff(self.steps))


@dataclass(frozen=True)
class Calibration:
    """policy, and on prompts that were left out: Spearman's rank correlation of predicted and realised gain of all
    steps together, its 95% bootstrap interval; mean steps and gain of the rule at policy.min_gain, and of taking all
    steps."""

    policy: GainPolicy
    correlation: float
    interval: tuple[float, float]
    prompts: int
    rule_steps: float
    rule_gain: float
    full_steps: float
    full_gain: float


def calibrate(prompts: Sequence[Scored], *, folds: int = 5, keep: float = 0.95, seed: int = 0) -> Calibration:
    """Fit a policy.

    keep: min_gain is the largest at which, on left-out prompts, the rule still has this share of the gain of all steps.
    Raises TtftError for fewer than 10 prompts, or none with a step; MissingArtifact without scikit-learn.
    """
    prompts = [p for p in prompts if len(p.steps) > 1]
    if len(prompts) < max(FEWEST_PROMPTS, folds):
        raise TtftError(
            f"{len(prompts)} prompts with a gradient step are too few to calibrate on",
            f"use at least {max(FEWEST_PROMPTS, folds)} prompts, better 100",
        )
    predicted = _left_out(prompts, folds, seed, lambda kept: fit(kept, _informative(kept, folds, seed)))
    realised = np.array([p.gains().sum() for p in prompts])
    promised = np.array([g.sum() for g in predicted])
    correlation, interval = rank_correlation(promised, realised, seed)
    min_gain, steps, gain = _threshold(prompts, predicted, keep)
    return Calibration(
        policy=replace(fit(prompts, _informative(prompts, folds, seed)), min_gain=min_gain),
        correlation=correlation, interval=interval, prompts=len(prompts),
        rule_steps=steps, rule_gain=gain,
        full_steps=float(np.mean([p.steps[-1] for p in prompts])),
        full_gain=_total(prompts, [int(p.steps[-1]) for p in prompts]),
    )  # fmt: skip


def fit(prompts: Sequence[Scored], names: Sequence[str]) -> GainPolicy:
    """Additive isotonic regression of the gain of a step on the named features."""
    isotonic = isotonic_regression()
    rows = [features(p.sigma[: p.steps[-1] + 1]) for p in prompts]
    x = {name: np.concatenate([r[name] for r in rows]) for name in names}
    y = np.concatenate([p.gains() for p in prompts])
    weight = np.concatenate([np.full(p.steps[-1], p.bytes, dtype=np.float64) for p in prompts])
    intercept = float(np.average(y, weights=weight))
    parts = {name: np.zeros(len(y)) for name in names}
    models: dict[str, Any] = {}
    for _ in range(SWEEPS):
        for name in names:
            rest = y - intercept - sum(part for other, part in parts.items() if other != name)
            rising = name == "slope"
            models[name] = isotonic(increasing=rising, out_of_bounds="clip").fit(x[name], rest, sample_weight=weight)
            parts[name] = models[name].predict(x[name])
    curves = {name: (np.array(m.X_thresholds_, float), np.array(m.y_thresholds_, float)) for name, m in models.items()}
    return GainPolicy(intercept, curves)


def rank_correlation(predicted: np.ndarray, realised: np.ndarray, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """Spearman's rank correlation over prompts (n,), and its 95% percentile bootstrap interval over prompts.

    nan where one of the two is constant.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(predicted), len(predicted)) for _ in range(RESAMPLES)]
    rhos = [spearman(predicted[rows], realised[rows]) for rows in drawn]
    low, high = np.nanquantile(rhos, [0.025, 0.975]) if np.isfinite(rhos).any() else (np.nan, np.nan)
    return spearman(predicted, realised), (float(low), float(high))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two (n,); nan where one of them is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(a), rankdata(b)
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def _left_out(
    prompts: Sequence[Scored], folds: int, seed: int, fitted: Callable[[Sequence[Scored]], GainPolicy]
) -> list[np.ndarray]:
    """Predicted gain of every step of every prompt, by what `fitted` makes of the prompts of the other folds."""
    fold = np.random.default_rng(seed).permutation(len(prompts)) % folds
    predicted: list[np.ndarray] = [np.zeros(0)] * len(prompts)
    for number in range(folds):
        policy = fitted([p for p, f in zip(prompts, fold, strict=True) if f != number])
        for i in np.flatnonzero(fold == number).tolist():
            predicted[i] = policy.gains(prompts[i].sigma[: prompts[i].steps[-1] + 1])
    return predicted


def _informative(prompts: Sequence[Scored], folds: int, seed: int) -> tuple[str, ...]:
    """The features, always with n, whose predictions rank left-out prompts best by what all their steps gain."""
    realised = np.array([p.gains().sum() for p in prompts])
    best = -np.inf
    names: tuple[str, ...] = FEATURES
    for candidate in (("n", "sigma"), ("n", "slope"), FEATURES):
        left_out = _left_out(prompts, folds, seed + 1, lambda kept, c=candidate: fit(kept, c))  # type: ignore[misc]
        rho = spearman(np.array([g.sum() for g in left_out]), realised)
        if rho > best:
            best, names = rho, candidate
    return names


def _total(prompts: Sequence[Scored], kept: Sequence[int]) -> float:
    """Gain in bits per byte over all bytes, when each prompt ends after so many steps (between scores: a straight
    line)."""
    bits = [p.bytes * (p.bits[0] - np.interp(k, p.steps, p.bits)) for p, k in zip(prompts, kept, strict=True)]
    return float(sum(bits) / sum(p.bytes for p in prompts))


def _threshold(prompts: Sequence[Scored], predicted: Sequence[np.ndarray], keep: float) -> tuple[float, float, float]:
    """(min_gain, mean steps, gain): the largest min_gain whose rule keeps the share `keep` of what all steps gain.

    It may be below 0: a policy that is too pessimistic about some prompts is then overruled.
    """
    wanted = keep * _total(prompts, [int(p.steps[-1]) for p in prompts])
    grid = np.unique(np.quantile(np.concatenate(predicted), np.linspace(0, 1, 101)))
    chosen = None
    for threshold in [grid[0] - 1e-6, *grid]:
        kept = [worthwhile(g, threshold) for g in predicted]
        gain = _total(prompts, kept)
        if chosen is None or gain >= wanted:
            chosen = float(threshold), float(np.mean(kept)), gain
    assert chosen is not None
    return chosen


def isotonic_regression() -> Any:
    """scikit-learn's IsotonicRegression. Raises MissingArtifact saying what to install."""
    try:
        from sklearn.isotonic import IsotonicRegression
    except ImportError:
        raise MissingArtifact("calibration needs scikit-learn", install_hint("calibrate")) from None
    return IsotonicRegression
