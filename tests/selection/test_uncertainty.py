"""Uncertainty sampling against the posterior variances, written out."""

from __future__ import annotations

import numpy as np
import pytest
from selection.pools import first_copies, random_pool, unit

from ttft.selection.uncertainty import uncertainty


def variances(pool: np.ndarray, chosen: list[int], lambda_: float) -> np.ndarray:
    """k(x,x) - k_X(x)^T (K_X + lambda I)^-1 k_X(x) for every x of the pool."""
    x = pool[chosen]
    gram, cross = x @ x.T + lambda_ * np.eye(len(chosen)), x @ pool.T
    return np.square(pool).sum(1) - (cross * np.linalg.solve(gram, cross)).sum(0)


@pytest.mark.parametrize("seed", range(60))
def test_every_pick_is_the_least_known_text(seed):
    pool, query, n, lambda_ = random_pool(seed, largest=80, most=40)
    if seed % 2:
        pool = pool * np.random.default_rng(seed).uniform(0.2, 2.0, size=(len(pool), 1))  # else the first pick is row 0
    picks = uncertainty(pool, query, n, lambda_=lambda_)
    firsts = first_copies(pool)
    for t, pick in enumerate(picks.order.tolist()):
        known = variances(pool, picks.order[:t].tolist(), lambda_)
        assert known[pick] >= known.max() - 1e-9 and pick == firsts[pick]
        assert picks.scores[t] == pytest.approx(known[pick], abs=1e-9)
    assert len(picks.order) == n and picks.variances is None and picks.stopped_because == "n"


def test_it_is_blind_to_the_query_and_what_is_left_to_know_only_falls():
    pool, query, _, _ = random_pool(3)
    picks = uncertainty(pool, query, 30, lambda_=0.1)
    assert picks.order.tolist() == uncertainty(pool, -query[:1], 30, lambda_=0.1).order.tolist()
    assert (np.diff(picks.scores) <= 1e-12).all() and picks.scores[0] == pytest.approx(1.0)


def test_independent_texts_are_taken_in_turn():
    picks = uncertainty(np.eye(3), np.ones(3), 6, lambda_=0.5)
    assert picks.order.tolist() == [0, 1, 2, 0, 1, 2]
    assert np.allclose(picks.scores, [1, 1, 1, 1 / 3, 1 / 3, 1 / 3])  # 1 - 1/(1 + lambda)


def test_copies_are_one_text_wherever_they_stand():
    x = unit(np.random.default_rng(0).normal(size=(2, 384)))
    for k in range(1, 40):
        picks = uncertainty(np.vstack([np.repeat(x[:1], k, axis=0), x[1:]]), x[0], 2, lambda_=0.01)
        assert picks.order.tolist() == [0, k]


def test_lambda_must_be_above_0():
    with pytest.raises(ValueError, match="lambda_"):
        uncertainty(np.eye(2), np.ones(2), 1, lambda_=0.0)
