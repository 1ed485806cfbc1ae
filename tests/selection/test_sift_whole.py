"""SIFT with a whole index as the pool: the picks of `select_sift` on the same vectors, in less memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from selection.pools import assert_same, make_pool, random_pool

from ttft.selection import sift_whole as module
from ttft.selection.sift import select_sift
from ttft.selection.sift_whole import sift_whole
from ttft.selection.stopping import UncertaintyRule

LARGE = make_pool(np.random.default_rng(0), 600, 24, 3)


def cut(pool: np.ndarray, *ends: int) -> list[np.ndarray]:
    return np.split(pool, ends)


@pytest.mark.parametrize("rows", [1, 5, 2048])
def test_whole_equals_sift_on_random_pools(monkeypatch, rows):
    monkeypatch.setattr(module, "BLOCK_ROWS", rows)
    for seed in range(40):
        pool, query, n, lambda_ = random_pool(seed)
        expected = select_sift(pool, query, n, lambda_=lambda_)
        assert_same(sift_whole(pool, query, n, lambda_=lambda_, threads=1 + seed % 2), expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [16, 64, 2048])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_shards_blocks_and_threads_change_nothing(monkeypatch, dtype, rows, threads):
    pool, query = LARGE[0].astype(dtype), LARGE[1]
    expected = select_sift(pool, query, 25, lambda_=0.01)
    assert len(set(expected.order)) > 20 and expected.order.max() > 500  # picks from all over the shards
    monkeypatch.setattr(module, "BLOCK_ROWS", rows)
    for shards in (pool, [pool], cut(pool, 1, 1, 70, 333, 599), tuple(cut(pool, 300))):
        assert_same(sift_whole(shards, query, 25, lambda_=0.01, threads=threads), expected)


def test_memory_mapped_shards_are_read_as_they_are_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 100)
    pool, query = LARGE[0].astype(np.float16), LARGE[1][0]
    for i, shard in enumerate(cut(pool, 333, 401)):
        np.save(tmp_path / f"{i}.npy", shard)
    shards = [np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in range(3)]
    expected = select_sift(pool, query, 12)
    assert_same(sift_whole(shards, query, 12), expected)
    assert_same(sift_whole(shards[1], query, 12), select_sift(shards[1], query, 12))


def test_copies_in_different_blocks_are_one_text(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 9)
    pool = np.vstack([LARGE[0][:50]] * 3)
    picks = sift_whole(cut(pool, 20, 61), LARGE[1], 40, lambda_=0.01)
    assert picks.order.max() < 50
    assert_same(picks, select_sift(pool, LARGE[1], 40, lambda_=0.01))


@pytest.mark.parametrize("keeps", [0, 2, 4])
def test_a_rule_stops_it_where_it_stops_sift(keeps):
    pool, query = LARGE

    class After4:
        reason = "after 4"

        def __call__(self, sigma):
            return keeps if len(sigma) == 5 else None

    for stop in (After4(), UncertaintyRule(0.2), UncertaintyRule(0.5)):
        expected = select_sift(pool, query, 30, lambda_=0.1, stop=stop)
        assert len(expected.order) < 30  # otherwise this tests nothing
        assert_same(sift_whole(cut(pool, 333), query, 30, lambda_=0.1, stop=stop), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_beyond_the_vectors_is_what_the_picks_need(monkeypatch, threads):
    k, d, n, m = 20_000, 64, 12, 2
    pool, query = make_pool(np.random.default_rng(1), k, d, m)
    shards = cut(pool.astype(np.float16), 9_999)
    monkeypatch.setattr(module, "BLOCK_ROWS", 256)
    sift_whole([shards[0][:10]], query, 1, threads=threads)  # what is loaded once and kept is not counted
    tracemalloc.start()
    sift_whole(shards, query, n, threads=threads)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    block = 8 * 256 * (2 * d + m + 4)
    assert peak < 8 * k * (n + m + 4) + threads * block  # half of what the vectors take in float64
    assert peak > 8 * k * (n + m)  # it is measured


def test_no_picks_and_no_candidates_are_as_for_sift():
    pool, query = LARGE
    assert_same(sift_whole(pool, query, 0), select_sift(pool, query, 0))
    for empty in (pool[:0], [], [pool[:0], pool[:0]]):
        assert_same(sift_whole(empty, query, 3), select_sift(pool[:0], query, 3))
    assert_same(sift_whole(np.zeros((5, 2)), np.ones(2), 3), select_sift(np.zeros((5, 2)), np.ones(2), 3))
    assert_same(sift_whole(np.eye(2), np.zeros(2), 3), select_sift(np.eye(2), np.zeros(2), 3))


def test_a_text_that_is_all_there_is_is_taken_hundreds_of_times():
    assert_same(sift_whole(np.ones((1, 1)), np.ones(1), 300), select_sift(np.ones((1, 1)), np.ones(1), 300))


def test_wrong_arguments_are_value_errors():
    pool, query = LARGE
    for number in (np.nan, np.inf):
        wrong = pool.copy()
        wrong[577, 3] = number
        with pytest.raises(ValueError, match="finite"):
            sift_whole(cut(wrong, 333), query, 1)
        with pytest.raises(ValueError, match="finite"):
            sift_whole(pool, wrong[577], 1)
    for lambda_ in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="lambda_"):
            sift_whole(pool, query, 1, lambda_=lambda_)
    with pytest.raises(ValueError, match="n is -1"):
        sift_whole(pool, query, -1)
    for vectors in (pool[:, :3], pool[0], [pool, pool[:, :3]]):
        with pytest.raises(ValueError, match=r"expected|mismatch"):
            sift_whole(vectors, query, 1)


def test_a_shard_of_another_dimension_and_a_query_of_no_vectors_are_named():
    with pytest.raises(ValueError, match="expected"):
        sift_whole([np.ones((2, 3)), np.ones((2, 4))], np.ones(3), 1)
    with pytest.raises(ValueError, match="m > 0"):
        sift_whole(np.ones((2, 3)), np.ones((0, 3)), 1)
