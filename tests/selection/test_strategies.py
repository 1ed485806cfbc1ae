"""What holds of every strategy, and of the two other ways to compute SIFT."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from selection.pools import assert_same, random_pool

from ttft.selection import PARAMETERS, STRATEGIES
from ttft.selection.picks import Picks
from ttft.selection.sift_batch import sift_batch
from ttft.selection.sift_whole import sift_whole


def with_parameters(name: str) -> Callable[..., Picks]:
    def call(pool: np.ndarray, query: np.ndarray, n: int) -> Picks:
        known = {"lambda_": 0.1, "stop": None, "rng": np.random.default_rng(0), "relevance": 0.5}
        return STRATEGIES[name](pool, query, n, **{key: known[key] for key in PARAMETERS.get(name, ())})

    return call


ALL: dict[str, Callable[..., Picks]] = {
    **{name: with_parameters(name) for name in STRATEGIES},
    "sift_whole": lambda pool, query, n: sift_whole(pool, query, n, lambda_=0.1),
    "sift_batch": lambda pool, query, n: sift_batch(pool[None], query[None], n, lambda_=0.1)[0],
}
WITHOUT_REPEATS = {"nearest", "mmr", "uniform"}
each = pytest.mark.parametrize("name", ALL)


@each
def test_the_same_input_gives_the_same_picks_and_stays_as_it_is(name):
    for seed in range(10):
        pool, query, n, _ = random_pool(seed)
        before = pool.copy(), query.copy()
        assert_same(ALL[name](pool, query, n), ALL[name](*before, n), tolerance=0)
        assert np.array_equal(pool, before[0]) and np.array_equal(query, before[1])


@each
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_other_floats_are_computed_in_float64(name, dtype):
    pool, query, n, _ = random_pool(8)
    pool, query = pool.astype(dtype), query.astype(dtype)
    assert_same(ALL[name](pool, query, n), ALL[name](pool.astype(np.float64), query.astype(np.float64), n))


@each
def test_picks_are_positions_in_the_pool_n_of_them_or_all_there_are(name):
    for seed in range(10):
        pool, query, _, _ = random_pool(seed)
        for n in (1, len(pool), len(pool) + 3):
            picks = ALL[name](pool, query, n)
            there = len(pool) if name in WITHOUT_REPEATS else n
            assert picks.order.shape == picks.scores.shape == (min(n, there),)
            assert picks.order.dtype == np.int64 and picks.scores.dtype == np.float64
            assert picks.order.min() >= 0 and picks.order.max() < len(pool)
            assert picks.stopped_because == ("n" if n <= there else "pool")
            assert picks.variances is None or picks.variances.shape == (n + 1,)
            assert name not in WITHOUT_REPEATS or len(set(picks.order)) == len(picks.order)


@each
def test_no_picks_asked_for_gives_none(name):
    pool, query, _, _ = random_pool(3)
    picks = ALL[name](pool, query, 0)
    assert len(picks.order) == len(picks.scores) == 0 and picks.stopped_because == "n"
    assert picks.variances is None or picks.variances.tolist() == pytest.approx([np.square(query).sum()])


@each
def test_an_empty_pool_gives_none(name):
    for n, reasons in ((0, {"n"}), (3, {"pool"})):
        picks = ALL[name](np.zeros((0, 2)), np.array([[3.0, 4.0]]), n)
        assert len(picks.order) == len(picks.scores) == 0 and picks.stopped_because in reasons
        assert picks.variances is None or picks.variances.tolist() == [25.0]


@each
def test_zero_vectors_do_no_harm(name):
    _, query, _, _ = random_pool(3)
    pool = np.zeros((5, query.shape[1]))
    pool_with_one = np.vstack([pool, query[:1]])
    for candidates in (pool, pool_with_one):
        picks = ALL[name](candidates, query, 4)
        assert len(picks.order) == 4 and np.isfinite(picks.scores).all()
    assert name in ("uncertainty", "uniform") or 5 in ALL[name](pool_with_one, query[:1], 4).order


@each
def test_a_zero_query_does_no_harm(name):
    pool, query, _, _ = random_pool(3)
    picks = ALL[name](pool, np.zeros_like(query), 4)
    assert len(picks.order) == 4 and np.isfinite(picks.scores).all()


@each
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_value_errors(name, number):
    pool, query, n, _ = random_pool(3)
    wrong = pool.copy()
    wrong[-1, -1] = number
    for count in (0, n):
        with pytest.raises(ValueError, match="finite"):
            ALL[name](wrong, query, count)
        with pytest.raises(ValueError, match="finite"):
            ALL[name](pool, wrong[-1:], count)


@each
def test_wrong_shapes_and_counts_are_value_errors(name):
    pool, query, n, _ = random_pool(3)
    with pytest.raises(ValueError, match="expected"):
        ALL[name](pool[:, 1:], query, n)
    with pytest.raises(ValueError, match="expected"):
        ALL[name](pool[0], query, n)
    with pytest.raises(ValueError, match="n is -1"):
        ALL[name](pool, query, -1)


@pytest.mark.parametrize("name", [name for name in ALL if name != "uniform"])
def test_of_copies_the_first_is_taken_wherever_they_stand(name):
    rng = np.random.default_rng(0)
    for k in range(2, 60):  # where a row stands in a matrix product may change its last bits
        x, query = rng.normal(size=(1, 384)), rng.normal(size=(1, 384))
        order = ALL[name](np.repeat(x / np.linalg.norm(x), k, axis=0), query / np.linalg.norm(query), k).order
        assert order.tolist() == (list(range(k)) if name in WITHOUT_REPEATS else [0] * k)
