"""The retriever: the strategies over a real index folder, in one call."""

from __future__ import annotations

import numpy as np
import pytest

from ttft import Retriever
from ttft.errors import ConfigError
from ttft.selection.nearest import nearest
from ttft.selection.sift import sift
from ttft.vector_index.shards import open_vector_index


@pytest.fixture(scope="module")
def index(index_folder):
    return open_vector_index(index_folder)


@pytest.fixture(scope="module")
def query(index):
    rng = np.random.default_rng(0)
    vector = index.vectors([5])[0] + 0.2 * rng.normal(size=index.dimension).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_search_is_sift_over_the_nearest_k(index, index_folder, query):
    scores, ids, vectors, seconds = Retriever(str(index_folder), lambda_=0.1).search(query, N=6, K=30)
    everything = index.vectors(range(index.rows))
    pool = np.argsort(-(everything @ query), kind="stable")[:30]
    assert ids.tolist() == pool[sift(everything[pool], query, 6, 0.1)[0]].tolist()
    assert np.array_equal(vectors, everything[ids]) and len(scores) == 6 and set(seconds) == {"search", "select"}


def test_choice_reports_the_posterior_of_any_strategy(index, query):
    for strategy in ("sift", "nearest", "uniform"):
        choice = Retriever(index, strategy=strategy, lambda_=0.1).choose(query, n=5, k=40)
        assert len(choice.ids) == 5 and len(choice.sigma) == 6
        assert choice.sigma[0] == pytest.approx(np.linalg.norm(query)) and (np.diff(choice.sigma) <= 1e-9).all()
        assert np.allclose(choice.cosines, index.vectors(choice.ids.tolist()) @ query, atol=1e-6)
    assert choice.stopped_because == "n"


def test_nearest_is_the_head_of_the_search(index, query):
    choice = Retriever(index, strategy="nearest").choose(query, n=5, k=40)
    everything = index.vectors(range(index.rows))
    assert choice.ids.tolist() == nearest(everything, query, 5).order.tolist()


def test_uniform_draws_from_the_whole_index_by_seed_and_key(index, query):
    retriever = Retriever(index, strategy="uniform")
    draws = [tuple(retriever.choose(query, n=3, k=10, key=key).ids) for key in range(60)]
    assert len(set(draws)) > 50 and tuple(retriever.choose(query, n=3, k=10, key=7).ids) == draws[7]
    assert len({row for draw in draws for row in draw}) > index.rows // 2


def test_several_queries_pool_their_neighbours(index):
    queries = index.vectors([3, 30])
    ids = Retriever(index, strategy="nearest").choose(queries, n=200, k=20).ids
    assert len(ids) == len(set(ids.tolist())) == 20 and {3, 30} <= set(ids.tolist())


def test_the_adaptive_rule_stops(index, query):
    full = Retriever(index, lambda_=0.1).choose(query, n=20, k=40)
    stopped = Retriever(index, lambda_=0.1, alpha=1.0).choose(query, n=20, k=40)
    assert stopped.stopped_because == "uncertainty" and len(stopped.ids) < 20
    assert stopped.ids.tolist() == full.ids[: len(stopped.ids)].tolist()


def test_wrong_use_is_named(index, query):
    with pytest.raises(ConfigError, match="shift"):
        Retriever(index, strategy="shift")
    with pytest.raises(ConfigError, match="alpha"):
        Retriever(index, strategy="nearest", alpha=0.3)
    with pytest.raises(ValueError, match="dimensions"):
        Retriever(index).search(query[:5], N=3)
