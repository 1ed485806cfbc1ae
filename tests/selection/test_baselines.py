"""The baselines: nearest neighbours and a uniform draw; and the table of strategies."""

from __future__ import annotations

import numpy as np
import pytest

from ttft.selection import PARAMETERS, STRATEGIES
from ttft.selection.nearest import nearest
from ttft.selection.stopping import UncertaintyRule
from ttft.selection.uniform import uniform


def pool_and_query(seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(30, 8)), rng.normal(size=(2, 8))


def test_nearest_equals_a_full_sort():
    pool, query = pool_and_query()
    total = [sum(float(np.dot(x, q)) for q in query) for x in pool]
    expected = sorted(range(30), key=lambda i: -total[i])[:7]
    picks = nearest(pool, query, 7)
    assert picks.order.tolist() == expected and np.allclose(picks.scores, [total[i] for i in expected])


def test_nearest_takes_equal_ones_in_pool_order_and_never_twice():
    picks = nearest(np.ones((5, 3)), np.ones(3), 9)
    assert picks.order.tolist() == [0, 1, 2, 3, 4] and picks.stopped_because == "pool"


def test_uniform_is_a_draw_without_replacement_fixed_by_its_generator():
    pool, query = pool_and_query()
    first = uniform(pool, query, 10, rng=np.random.default_rng(5)).order.tolist()
    assert first == uniform(pool, query, 10, rng=np.random.default_rng(5)).order.tolist()
    assert len(set(first)) == 10 and first != uniform(pool, query, 10, rng=np.random.default_rng(6)).order.tolist()


def test_uniform_hits_every_place_equally_often():
    pool, query = pool_and_query()
    counts = np.zeros(30)
    for seed in range(2000):
        counts[uniform(pool, query, 3, rng=np.random.default_rng(seed)).order] += 1
    assert abs(counts / 200 - 1).max() < 0.3  # 200 expected each, standard deviation 13


def test_stopping_rule_is_the_formula():
    stop = UncertaintyRule(0.5)
    for n, sigma, stops in ((2, 1.0, False), (2, 1.0001, True), (4, 0.6, True), (4, 0.4, False)):
        assert stop(np.array([1.0] * n + [sigma])) == (n if stops else None)
    with pytest.raises(ValueError, match="alpha"):
        UncertaintyRule(0.0)


def test_every_strategy_gives_orders_within_the_pool():
    pool, query = pool_and_query()
    known = {"lambda_": 0.1, "stop": None, "rng": np.random.default_rng(0), "relevance": 0.5}
    for name, strategy in STRATEGIES.items():
        picks = strategy(pool, query, 5, **{key: known[key] for key in PARAMETERS.get(name, ())})
        assert picks.order.shape == picks.scores.shape == (5,) and set(picks.order) <= set(range(30))
