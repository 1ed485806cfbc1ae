"""ITL against the information gain as a difference of log determinants, computed anew for every candidate."""

from __future__ import annotations

import numpy as np
import pytest
from selection.pools import first_copies, make_pool, random_pool

from ttft.selection.itl import JITTER, itl
from ttft.selection.sift import select_sift


def log_det(pool: np.ndarray, chosen: list[int], targets: np.ndarray, lambda_: float) -> float:
    """log det of the targets' posterior covariance K_AA - K_AX (K_X + lambda I)^-1 K_XA, with the jitter of `itl`."""
    x = pool[chosen]
    gram, cross = x @ x.T + lambda_ * np.eye(len(chosen)), x @ targets.T
    jitter = JITTER * np.square(targets).sum() / len(targets)
    left = targets @ targets.T - cross.T @ np.linalg.solve(gram, cross) + jitter * np.eye(len(targets))
    return float(np.linalg.slogdet(left)[1])


def gains(pool: np.ndarray, chosen: list[int], targets: np.ndarray, lambda_: float) -> np.ndarray:
    before = log_det(pool, chosen, targets, lambda_)
    return np.array([-0.5 * (log_det(pool, [*chosen, i], targets, lambda_) - before) for i in range(len(pool))])


def check(pool: np.ndarray, targets: np.ndarray, n: int, lambda_: float, tolerance: float) -> None:
    picks = itl(pool, targets, n, lambda_=lambda_)
    firsts = first_copies(pool)
    assert len(picks.order) == n and picks.stopped_because == "n"
    for t, pick in enumerate(picks.order.tolist()):
        told = gains(pool, picks.order[:t].tolist(), targets, lambda_)
        assert told[pick] >= told.max() - tolerance and pick == firsts[pick]
        assert picks.scores[t] == pytest.approx(told[pick], abs=tolerance)


@pytest.mark.parametrize("seed", range(40))
def test_every_pick_tells_most_about_all_targets(seed):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 5))
    pool, targets = make_pool(rng, int(rng.integers(1, 30)), int(rng.integers(m + 4, 24)), m)
    check(pool, targets, int(rng.integers(1, 10)), float(rng.choice([0.001, 0.01, 0.1, 1.0])), 1e-7)


def test_a_target_given_twice_is_a_target():
    for seed in range(8):
        pool, query, n, lambda_ = random_pool(seed, m=1)
        twice = np.vstack([query, query])
        check(pool, twice, n, lambda_, 1e-5)  # a determinant near 0 has fewer digits
        once, picks = itl(pool, query, n, lambda_=lambda_), itl(pool, twice, n, lambda_=lambda_)
        assert picks.order.tolist() == once.order.tolist()
        assert np.allclose(picks.scores, once.scores, atol=1e-4)
        assert np.allclose(picks.variances, 2 * once.variances, atol=1e-9)


def test_more_targets_than_dimensions_work():
    rng = np.random.default_rng(0)
    pool, targets = make_pool(rng, 20, 3, 7)
    check(pool, targets, 8, 0.1, 1e-5)


def test_one_target_gives_the_picks_of_sift():
    for seed in range(60):
        pool, query, n, lambda_ = random_pool(seed, m=1)
        picks, expected = itl(pool, query, n, lambda_=lambda_), select_sift(pool, query, n, lambda_=lambda_)
        assert picks.order.tolist() == expected.order.tolist()
        assert np.allclose(picks.variances, expected.variances, atol=1e-12)


def test_the_determinant_stays_with_a_target_that_is_half_known_where_the_trace_turns_to_the_other():
    targets = np.eye(3)[:2]
    pool = np.array([[0.9, 0.0, np.sqrt(0.19)], [0.0, 0.6, 0.8]])
    assert itl(pool, targets, 3, lambda_=1.0).order.tolist() == [0, 0, 1]
    assert select_sift(pool, targets, 3, lambda_=1.0).order.tolist() == [0, 1, 0]


def test_gains_are_what_all_picks_tell_together():
    for seed in range(20):
        pool, targets, n, lambda_ = random_pool(seed, m=2)
        picks = itl(pool, targets, n, lambda_=lambda_)
        told = -0.5 * (log_det(pool, picks.order.tolist(), targets, lambda_) - log_det(pool, [], targets, lambda_))
        assert picks.scores.sum() == pytest.approx(told, abs=1e-6) and (picks.scores >= 0).all()
        assert (np.diff(picks.variances) <= 1e-12).all()


def test_lambda_must_be_above_0():
    with pytest.raises(ValueError, match="lambda_"):
        itl(np.eye(2), np.ones(2), 1, lambda_=0.0)


@pytest.mark.parametrize("m", [1, 2])
def test_of_a_zero_target_nothing_is_told(m):
    picks = itl(np.eye(3), np.zeros((m, 3)), 2)
    assert picks.scores.tolist() == [0.0, 0.0] and picks.order.tolist() == [0, 0]
