"""SIFT against a brute-force oracle in float64, and what must hold of any greedy variance reduction."""

from __future__ import annotations

import numpy as np
import pytest
from selection.pools import first_copies, make_pool, random_pool, unit

from ttft.selection.posterior import posterior_variances
from ttft.selection.sift import select_sift, sift
from ttft.selection.stopping import UncertaintyRule

TIE = 1e-9


def variances_left(pool: np.ndarray, chosen: list[int], query: np.ndarray, lambda_: float) -> np.ndarray:
    """k(q,q) - k_X(q)^T (K_X + lambda I)^-1 k_X(q), summed over the query vectors, with X = chosen and one candidate:
    straight from the paper, for each candidate."""
    x = np.stack([pool[[*chosen, i]] for i in range(len(pool))])
    gram, cross = x @ x.swapaxes(1, 2) + lambda_ * np.eye(len(chosen) + 1), x @ query.T
    return np.square(query).sum() - (cross * np.linalg.solve(gram, cross)).sum((1, 2))


class Conditioned:
    """All of the (K+m) x (K+m) covariance of pool and queries, conditioned on one pick after the other."""

    def __init__(self, pool: np.ndarray, query: np.ndarray, lambda_: float) -> None:
        everything = np.vstack([pool, query])
        self.k, self.lambda_, self.covariance = len(pool), lambda_, everything @ everything.T

    def variances_left(self) -> np.ndarray:
        k = self.k
        reductions = np.square(self.covariance[:k, k:]).sum(1) / (np.diagonal(self.covariance)[:k] + self.lambda_)
        return np.trace(self.covariance[k:, k:]) - reductions

    def observe(self, pick: int) -> None:
        column = self.covariance[:, pick].copy()
        self.covariance -= np.outer(column, column / (column[pick] + self.lambda_))


def check_pick(pick: int, left: np.ndarray, reported: float, firsts: np.ndarray) -> None:
    assert left[pick] <= left.min() + TIE  # the greedy minimum, up to exact ties
    assert pick == firsts[pick]  # of copies the first
    assert reported == pytest.approx(left[pick], abs=1e-9)


def check_against_covariance(pool: np.ndarray, query: np.ndarray, n: int, lambda_: float) -> None:
    ids, variances = sift(pool, query, n, lambda_)
    assert len(ids) == n and variances.shape == (n + 1,)
    oracle, firsts = Conditioned(pool, query, lambda_), first_copies(pool)
    for pick, reported in zip(ids.tolist(), variances[1:], strict=True):
        check_pick(pick, oracle.variances_left(), reported, firsts)
        oracle.observe(pick)


@pytest.mark.parametrize("seed", range(400))
def test_every_pick_is_the_brute_force_minimum(seed):
    pool, query, n, lambda_ = random_pool(seed)
    ids, variances = sift(pool, query, n, lambda_)
    assert len(ids) == n and variances.shape == (n + 1,)
    chosen: list[int] = []
    firsts = first_copies(pool)
    for pick, reported in zip(ids.tolist(), variances[1:], strict=True):
        check_pick(pick, variances_left(pool, chosen, query, lambda_), reported, firsts)
        chosen.append(pick)


@pytest.mark.parametrize("seed", range(400, 493))
def test_every_pick_is_the_minimum_of_the_conditioned_covariance(seed):
    check_against_covariance(*random_pool(seed, largest=300, most=60))


@pytest.mark.parametrize(
    ("k", "n", "m", "lambda_"),
    [
        (500, 100, 1, 0.001), (500, 100, 4, 1.0), (700, 80, 2, 0.01), (1000, 50, 1, 0.1), (1000, 100, 3, 0.001),
        (1500, 50, 1, 0.01), (2000, 100, 2, 0.01),
    ],
)  # fmt: skip
def test_large_pools_have_the_same_minimum(k, n, m, lambda_):
    check_against_covariance(*make_pool(np.random.default_rng(k + n), k, 48, m), n, lambda_)


def test_the_two_oracles_agree():
    pool, query, _, lambda_ = random_pool(5)
    oracle = Conditioned(pool, query, lambda_)
    for pick in (0, 3, 3):
        oracle.observe(pick)
    assert np.allclose(oracle.variances_left(), variances_left(pool, [0, 3, 3], query, lambda_), atol=1e-12)


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
    _, variances = sift(np.array([[1.0, 0.0]]), np.array([1.0, 0.0]), 300, 0.5)
    assert np.allclose(variances, 1 / (1 + np.arange(301) / 0.5), rtol=0, atol=1e-12)


def test_stop_ends_the_work():
    pool, query, _, _ = random_pool(11)
    asked: list[int] = []

    class After3:
        reason = "after 3"

        def __call__(self, sigma):
            asked.append(len(sigma) - 1)
            return 2 if len(sigma) == 4 else None

    picks = select_sift(pool, query, 10, lambda_=0.1, stop=After3())
    assert asked == [1, 2, 3] and len(picks.order) == 2 and picks.stopped_because == "after 3"
    full = select_sift(pool, query, 10, lambda_=0.1)
    assert picks.order.tolist() == full.order[:2].tolist()


def test_adaptive_rule_stops_where_the_formula_says():
    pool, query, _, _ = random_pool(12)
    alpha = 0.4
    full = select_sift(pool, query[:1], 30, lambda_=0.1)
    sigma = np.sqrt(full.variances)
    expected = next(n for n in range(1, 31) if sigma[n] > 1 / (alpha * n))
    picks = select_sift(pool, query[:1], 30, lambda_=0.1, stop=UncertaintyRule(alpha))
    assert len(picks.order) == expected


def test_an_empty_pool_or_no_picks_leave_the_variance_as_it_is():
    query = np.array([1.0, 0.0])
    assert [a.tolist() for a in sift(np.zeros((0, 2)), query, 3)] == [[], [1.0]]
    assert [a.tolist() for a in sift(np.eye(2), query, 0)] == [[], [1.0]]
    assert select_sift(np.zeros((0, 2)), query, 3).stopped_because == "pool"
    assert select_sift(np.eye(2), query, 0).stopped_because == "n"


def test_a_zero_vector_is_taken_only_when_nothing_else_teaches():
    query = np.array([1.0, 0.0])
    assert sift(np.zeros((2, 2)), query, 2)[1].tolist() == [1.0, 1.0, 1.0]
    assert sift(np.array([[0.0, 0.0], [0.6, 0.8]]), query, 3)[0].tolist() == [1, 1, 1]
    assert sift(np.eye(2), np.zeros(2), 2)[1].tolist() == [0.0, 0.0, 0.0]


def test_copies_are_one_text_and_the_first_of_them_is_taken():
    rng = np.random.default_rng(2)
    x, query = unit(rng.normal(size=384)), unit(rng.normal(size=(2, 384)))
    for k in range(1, 60):  # where a row stands in a matrix product may change its last bits
        assert sift(np.repeat(x[None], k, axis=0), query, 5)[0].tolist() == [0] * 5


def test_wrong_arguments_are_value_errors():
    pool, query = np.eye(2), np.array([1.0, 0.0])
    for lambda_ in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="lambda_"):
            sift(pool, query, 1, lambda_)
    for number in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="finite"):
            sift(np.array([[number, 1.0]]), query, 1)
        with pytest.raises(ValueError, match="finite"):
            sift(pool, np.array([number, 1.0]), 1)
    for shape in ((3, 3), (2,), (1, 2, 2)):
        with pytest.raises(ValueError, match="expected"):
            sift(np.ones(shape), query, 1)
    with pytest.raises(ValueError, match="n is -1"):
        sift(pool, query, -1)
