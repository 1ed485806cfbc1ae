"""The retriever: the strategies over a real index folder, in one call."""

from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest

from ttft import Retriever
from ttft.errors import ConfigError
from ttft.selection import STRATEGIES
from ttft.selection.nearest import nearest
from ttft.selection.noise import spectral_lambda
from ttft.selection.sift import select_sift, sift
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
    pool = np.sort(np.argsort(-(everything @ query), kind="stable")[:30])
    assert ids.tolist() == pool[sift(everything[pool], query, 6, 0.1)[0]].tolist()
    assert np.array_equal(vectors, everything[ids]) and len(scores) == 6 and seconds.faiss > 0 and seconds.sift > 0


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
    with pytest.raises(ConfigError, match="stopping rules"):
        Retriever(index, strategy="nearest", alpha=0.3)
    with pytest.raises(ValueError, match="expected"):
        Retriever(index).search(query[:5], N=3)


# ---- the drop-in: Faiss objects, batches, the whole index ----------------------------------------------------------


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(20, 16))
    return unit(centres[rng.integers(20, size=600)] + 0.5 * rng.normal(size=(600, 16)))


@pytest.fixture(scope="module")
def queries():
    return unit(np.random.default_rng(2).normal(size=(30, 16)))


def flat(vectors, kind=faiss.IndexFlatIP):
    index = kind(vectors.shape[1])
    index.add(vectors)
    return index


def expected(vectors, query, n, k, lambda_):
    """The picks over the exact k nearest, straight from the definition; rows ascending, so ties go to the first row."""
    pool = np.sort(np.argsort(-(vectors @ query), kind="stable")[:k])
    return pool[sift(vectors[pool], query, n, lambda_)[0]]


@pytest.mark.parametrize("kind", [faiss.IndexFlatIP, faiss.IndexFlatL2])
def test_any_faiss_index_object_will_do(vectors, queries, kind):
    retriever = Retriever(flat(vectors, kind), lambda_=0.1)
    for query in queries[:5]:
        values, rows, found, seconds = retriever.search(query, N=8, K=50)
        assert rows.tolist() == expected(vectors, query, 8, 50, 0.1).tolist()
        assert np.array_equal(found, vectors[rows]) and values.shape == (8,) and min(seconds) >= 0


@pytest.mark.parametrize("factory", ["IVF8,Flat", "IVF8,PQ4x4", "IDMap2,Flat"])
def test_compressed_and_partitioned_indexes_choose_by_the_vectors_given(vectors, queries, factory):
    index = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    if factory.startswith("IDMap"):
        index.add_with_ids(vectors, np.arange(len(vectors)))
    else:
        index.add(vectors)
        faiss.extract_index_ivf(index).nprobe = 8
    for exact in (vectors, None):
        _, rows, found, _ = Retriever(index, lambda_=0.1, vectors=exact).search(queries[0], N=8, K=600)
        same = expected(vectors, queries[0], 8, 600, 0.1)
        if exact is not None or "PQ" not in factory:
            assert rows.tolist() == same.tolist() and np.allclose(found, vectors[rows], atol=1e-6)
        else:
            assert found.shape == (8, 16)  # by its own approximations


def test_an_index_that_finds_too_few_gives_what_it_finds(vectors, queries):
    index = faiss.index_factory(16, "IVF32,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)  # nprobe 1: one list of some 19 rows
    _, rows, _, _ = Retriever(index, strategy="nearest").batch_search(queries, N=200, K=300)
    assert rows.shape == (30, 200) and (rows[:, 0] >= 0).all() and (rows[:, -1] == -1).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_batch_is_its_searches_one_by_one_in_their_order(vectors, queries, threads):
    retriever = Retriever(flat(vectors), lambda_=0.1)
    values, rows, found, _ = retriever.batch_search(queries, N=8, K=50, threads=threads)
    assert values.shape == rows.shape == (30, 8) and found.shape == (30, 8, 16)
    for i, query in enumerate(queries):
        one = retriever.search(query, N=8, K=50)
        assert rows[i].tolist() == one[1].tolist() and np.allclose(values[i], one[0]), i
        assert np.array_equal(found[i], one[2])


def test_every_strategy_goes_through_a_batch(vectors, queries):
    for strategy in STRATEGIES:
        retriever = Retriever(flat(vectors), strategy=strategy, lambda_=0.1)
        rows = retriever.batch_search(queries[:4], N=5, K=40)[1]
        assert [r.tolist() for r in rows] == [retriever.search(q, N=5, K=40)[1].tolist() for q in queries[:4]], strategy


def test_a_batch_of_prompts_with_several_vectors(vectors, queries):
    together = queries.reshape(10, 3, 16)
    retriever = Retriever(flat(vectors), lambda_=0.1)
    rows = retriever.batch_search(together, N=6, K=50)[1]
    assert [r.tolist() for r in rows] == [retriever.search(q, N=6, K=50)[1].tolist() for q in together]
    mean = retriever.batch_search(together, N=6, K=50, mean_pooling=True)[1]
    assert mean.tolist() == [retriever.search(q.mean(0), N=6, K=50)[1].tolist() for q in together]
    assert mean.tolist() == [retriever.search(q, N=6, K=50, mean_pooling=True)[1].tolist() for q in together]


def test_rows_that_a_rule_cut_short_are_filled(vectors, queries):
    retriever = Retriever(flat(vectors), lambda_=0.1, alpha=0.35)
    values, rows, found, _ = retriever.batch_search(queries, N=20, K=50)
    lengths = set()
    for i, query in enumerate(queries):
        one = retriever.search(query, N=20, K=50)[1]
        assert rows[i, : len(one)].tolist() == one.tolist() and (rows[i, len(one) :] == -1).all()
        assert np.isnan(values[i, len(one) :]).all() and not found[i, len(one) :].any()
        lengths.add(len(one))
    assert len(lengths) > 1 and max(lengths) < 20


def test_without_k_the_whole_index_is_the_pool(index, query):
    everything = index.vectors(range(index.rows))
    for threads in (1, 2):
        _, rows, found, _ = Retriever(index, lambda_=0.1).search(query, N=7, K=None, threads=threads)
        full = select_sift(everything, query, 7, lambda_=0.1)
        assert rows.tolist() == full.order.tolist() and np.array_equal(found, everything[rows])
    for target in (query, index.vectors([3, 30, 60])):
        near = Retriever(index, strategy="nearest").search(target, N=5, K=None)[1]
        assert near.tolist() == nearest(everything, target, 5).order.tolist()


def test_lambda_auto_is_each_pools_own(vectors, queries):
    retriever = Retriever(flat(vectors), lambda_="auto")
    for query, choice in zip(queries, retriever.choose_batch(list(queries[:6]), n=5, k=50), strict=False):
        assert choice.lambda_ == pytest.approx(spectral_lambda(vectors[choice.pool]))
        alone = sift(vectors[choice.pool], query, 5, choice.lambda_)[0]
        assert choice.ids.tolist() == choice.pool[alone].tolist()
    with pytest.raises(ConfigError, match="auto"):
        retriever.search(queries[0], N=3, K=None)


def test_indexes_that_cannot_be_used_are_named(vectors, index_folder):
    for index, words in (
        (faiss.IndexFlatIP(16), "empty"),
        ([1, 2], "list is not an index"),
        (np.ones(4), r"array \(4,\) of float64 is not an index"),
        (np.ones((0, 4)), "is not an index"),
        (np.ones((3, 4), dtype=int), "of int64 is not an index"),
        (np.full((3, 4), np.nan), "not finite"),
    ):
        with pytest.raises(ConfigError, match=words):
            Retriever(index)
    with pytest.raises(ConfigError, match="600 rows"):
        Retriever(flat(vectors), vectors=vectors[:5])
    sharded = faiss.IndexShards(16, False, True)
    sharded.add_shard(part := flat(vectors))
    with pytest.raises(ConfigError, match="cannot return its vectors"):
        Retriever(sharded).search(vectors[0], N=2)
    assert len(Retriever(sharded, vectors=vectors).search(vectors[0], N=2)[1]) == 2 and part.ntotal
    with pytest.raises(ConfigError, match="its own vectors"):
        Retriever(index_folder, vectors=vectors)
    with pytest.raises(ConfigError, match="not both"):
        Retriever(flat(vectors), alpha=0.3, stop=object())


def test_an_array_is_an_exact_index_over_its_rows(vectors, queries):
    for array in (vectors, vectors.astype(np.float64), vectors.astype(np.float16)):
        retriever = Retriever(array, lambda_=0.1)
        _, rows, found, _ = retriever.search(queries[0], N=8, K=50)
        assert rows.tolist() == expected(array.astype(np.float32), queries[0], 8, 50, 0.1).tolist()
        assert np.array_equal(found, array[rows].astype(np.float32))
    everything = Retriever(vectors, lambda_=0.1).search(queries[0], N=5, K=None)[1]
    assert everything.tolist() == select_sift(vectors, queries[0], 5, lambda_=0.1).order.tolist()


@pytest.mark.parametrize("kind", [faiss.IndexIDMap, faiss.IndexIDMap2])
@pytest.mark.parametrize("given", [True, False])
def test_an_id_map_answers_with_its_ids(vectors, queries, kind, given):
    """Whatever the strategy and the pool: what is chosen is what the index without ids gives, by another name."""
    ids = np.random.default_rng(3).permutation(10**6)[:600]
    mapped = kind(faiss.IndexFlatIP(16))
    mapped.add_with_ids(vectors, ids)
    for strategy in STRATEGIES:
        for k in (40, None) if strategy in ("sift", "nearest") else (40,):
            plain, named = (
                Retriever(index, 0.1, strategy=strategy, vectors=vectors if given else None)
                for index in (flat(vectors), mapped)
            )
            one, other = (r.choose(queries[0], n=6, k=k) for r in (plain, named))
            assert other.ids.tolist() == ids[one.ids].tolist(), (strategy, k)
            assert np.array_equal(other.vectors, one.vectors)
            assert (one.pool is None) == (other.pool is None)
            assert one.pool is None or other.pool.tolist() == ids[one.pool].tolist()
    batch = [Retriever(index, 0.1).batch_search(queries, N=5, K=40)[1] for index in (flat(vectors), mapped)]
    assert np.array_equal(batch[1], ids[batch[0]])


def test_an_ivf_index_with_ids_of_its_own_is_refused(vectors, queries):
    index = faiss.index_factory(16, "IVF8,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add_with_ids(vectors, np.arange(600) + 5000)
    with pytest.raises(ConfigError, match="custom ids") as caught:
        Retriever(index, vectors=vectors).search(queries[0], N=3)
    assert "IndexIDMap" in caught.value.hint


def test_lambda_is_vetted_for_the_embedder_unless_it_is_given(vectors, index_folder):
    assert Retriever(vectors).lambda_ == Retriever(flat(vectors)).lambda_ == 0.01
    index = open_vector_index(index_folder)
    assert Retriever(index).lambda_ == 0.01
    minilm = replace(index, manifest=replace(index.manifest, embedder=replace(index.manifest.embedder, name="minilm")))
    assert Retriever(minilm).lambda_ == 1.0 and Retriever(minilm, 0.01).lambda_ == 0.01
    assert Retriever(minilm, "auto").lambda_ == "auto"


@pytest.mark.parametrize(("n", "k", "words"), [(3, 0, "K is 0"), (3, -1, "K is -1"), (-1, 5, "N is -1")])
def test_counts_that_are_too_small_are_named(vectors, queries, n, k, words):
    for strategy in ("sift", "nearest", "uniform"):
        retriever = Retriever(vectors, strategy=strategy)
        for ask in (retriever.search, retriever.batch_search):
            with pytest.raises(ConfigError, match=words):
                ask(queries[:1], n, k)
    assert Retriever(vectors).search(queries[0], N=0)[1].shape == (0,)
