"""SIFT against a brute-force oracle in float64, and what must hold of any greedy variance reduction."""

from __future__ import annotations

import numpy as np
import pytest

from ttft.selection.sift import posterior_variances, select_sift, sift
from ttft.selection.stopping import uncertainty_rule

TIE = 1e-9


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def random_pool(seed: int) -> tuple[np.ndarray, np.ndarray, int, float]:
    """A pool with exact and near duplicates in it, one or several queries near it, n and lambda."""
    rng = np.random.default_rng(seed)
    k, d, m = int(rng.integers(1, 40)), int(rng.integers(2, 24)), int(rng.integers(1, 4))
    pool = unit(rng.normal(size=(k, d)))
    for i in range(k // 4):
        pool[rng.integers(k)] = pool[i]
    for i in range(k // 4):
        pool[rng.integers(k)] = unit(pool[i] + 1e-4 * rng.normal(size=d))
    query = unit(pool[rng.integers(k, size=m)] + 0.5 * rng.normal(size=(m, d)))
    return pool, query, int(rng.integers(1, 15)), float(rng.choice([0.001, 0.01, 0.1, 1.0]))


def variance(pool: np.ndarray, chosen: list[int], query: np.ndarray, lambda_: float) -> float:
    """k(q,q) - k_X(q)^T (K_X + lambda I)^-1 k_X(q), summed over the query vectors: straight from the paper."""
    if not chosen:
        return float((query * query).sum())
    x = pool[chosen]
    gram, cross = x @ x.T + lambda_ * np.eye(len(x)), x @ query.T
    return float((query * query).sum() - (cross * np.linalg.solve(gram, cross)).sum())


def oracle_minimum(pool: np.ndarray, chosen: list[int], query: np.ndarray, lambda_: float) -> np.ndarray:
    """The variance that each candidate would leave."""
    return np.array([variance(pool, [*chosen, i], query, lambda_) for i in range(len(pool))])


@pytest.mark.parametrize("seed", range(200))
def test_every_pick_is_the_brute_force_minimum(seed):
    pool, query, n, lambda_ = random_pool(seed)
    ids, variances = sift(pool, query, n, lambda_)
    assert len(ids) == n and variances.shape == (n + 1,)
    chosen: list[int] = []
    for step, pick in enumerate(ids.tolist()):
        left = oracle_minimum(pool, chosen, query, lambda_)
        assert left[pick] <= left.min() + TIE  # the greedy minimum, up to exact ties
        chosen.append(pick)
        assert variances[step + 1] == pytest.approx(left[pick], abs=1e-9)


def test_float32_pools_are_computed_in_float64():
    pool, query, n, lambda_ = random_pool(3)
    ids, variances = sift(pool.astype(np.float32), query.astype(np.float32), n, lambda_)
    again = sift(pool.astype(np.float32).astype(np.float64), query.astype(np.float32).astype(np.float64), n, lambda_)
    assert ids.tolist() == again[0].tolist() and np.array_equal(variances, again[1])


def test_same_input_same_output_and_input_untouched():
    pool, query, n, lambda_ = random_pool(7)
    before = pool.copy(), query.copy()
    first, second = sift(pool, query, n, lambda_), sift(pool, query, n, lambda_)
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert np.array_equal(pool, before[0]) and np.array_equal(query, before[1])


def test_variance_never_rises_and_stays_positive():
    for seed in range(20):
        pool, query, _, lambda_ = random_pool(seed)
        _, variances = sift(pool, query, 50, lambda_)
        assert (np.diff(variances) <= 1e-12).all() and (variances > -1e-9).all()


def test_posterior_variances_agree_with_the_incremental_ones():
    for seed in range(20):
        pool, query, n, lambda_ = random_pool(seed)
        ids, variances = sift(pool, query, n, lambda_)
        assert np.allclose(posterior_variances(pool[ids], query, lambda_), variances, atol=1e-9)


def test_large_lambda_repeats_the_nearest_and_small_lambda_spreads():
    rng = np.random.default_rng(0)
    query = unit(rng.normal(size=(1, 16)))
    pool = unit(query + 0.8 * rng.normal(size=(30, 16)))
    best = int(np.argmax(pool @ query[0]))
    assert sift(pool, query, 5, 1e6)[0].tolist() == [best] * 5
    assert len(set(sift(pool, query, 10, 1e-4)[0].tolist())) == 10


def test_planted_copies_of_one_text_do_not_crowd_out_the_rest():
    rng = np.random.default_rng(1)
    query = unit(rng.normal(size=16))
    near = unit(query + 0.1 * rng.normal(size=16))
    pool = np.vstack([np.repeat(near[None], 20, axis=0), unit(query + 0.6 * rng.normal(size=(20, 16)))])
    picks = select_sift(pool, query, 10, lambda_=0.01)
    assert sum(i < 20 for i in picks.order) < 5  # nearest would take ten copies


def test_a_text_may_be_taken_again_when_it_is_all_there_is():
    ids, variances = sift(np.array([[1.0, 0.0]]), np.array([1.0, 0.0]), 3, 0.5)
    assert ids.tolist() == [0, 0, 0]
    assert np.allclose(variances, [1, 1 / 3, 1 / 5, 1 / 7])  # 1 - n/(n + lambda)


def test_stop_ends_the_work():
    pool, query, _, _ = random_pool(11)
    asked: list[int] = []

    def stop(n: int, sigma: float) -> bool:
        asked.append(n)
        return n == 3

    picks = select_sift(pool, query, 10, lambda_=0.1, stop=stop)
    assert asked == [1, 2, 3] and len(picks.order) == 3 and picks.stopped_because == "uncertainty"
    full = select_sift(pool, query, 10, lambda_=0.1)
    assert picks.order.tolist() == full.order[:3].tolist()


def test_adaptive_rule_stops_where_the_formula_says():
    pool, query, _, _ = random_pool(12)
    alpha = 0.4
    full = select_sift(pool, query[:1], 30, lambda_=0.1)
    sigma = np.sqrt(full.variances)
    expected = next(n for n in range(1, 31) if sigma[n] > 1 / (alpha * n))
    picks = select_sift(pool, query[:1], 30, lambda_=0.1, stop=uncertainty_rule(alpha))
    assert len(picks.order) == expected


def test_edges():
    query = np.array([1.0, 0.0])
    assert [a.tolist() for a in sift(np.zeros((0, 2)), query, 3)] == [[], [1.0]]
    assert sift(np.eye(2), query, 0)[0].tolist() == []
    assert sift(np.zeros((2, 2)), query, 2)[1].tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="lambda_"):
        sift(np.eye(2), query, 1, 0.0)
    with pytest.raises(ValueError, match="finite"):
        sift(np.array([[np.nan, 1.0]]), query, 1)
    with pytest.raises(ValueError, match="expected"):
        sift(np.eye(3), query, 1)
