"""SIFT for many prompts at once: the picks of `select_sift`, prompt by prompt, however the work is cut up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from selection.pools import LAMBDAS, assert_same, make_pool

from ttft.selection import sift_batch as module
from ttft.selection.picks import Picks
from ttft.selection.posterior import GRAM_UP_TO
from ttft.selection.sift import select_sift
from ttft.selection.sift_batch import _lockstep, sift_batch
from ttft.selection.stopping import Stop, UncertaintyRule


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors in several threads are slow where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Below:
    """Stops when the uncertainty has fallen below a share of what it was, and gives back the last picks it saw."""

    share: float
    give_back: int = 1
    reason: str = "below"

    def __call__(self, sigma: np.ndarray) -> int | None:
        return max(0, len(sigma) - 1 - self.give_back) if sigma[-1] < self.share * sigma[0] else None


RULES = [UncertaintyRule(0.4), Below(0.6), Below(0.6, give_back=3), Below(2.0), Below(0.0)]


def prompts(seed: int, b: int | None = None) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Pools (B,K,d), queries (B,m,d), n and a lambda per prompt."""
    rng = np.random.default_rng(seed)
    b = b or int(rng.integers(1, 21))
    k, d, m = int(rng.integers(1, 60)), int(rng.integers(2, 40)), int(rng.integers(1, 4))
    pools, queries = zip(*(make_pool(rng, k, d, m) for _ in range(b)), strict=True)
    return np.stack(pools), np.stack(queries), int(rng.integers(1, 20)), rng.choice(LAMBDAS, size=b)


def one_by_one(
    pools: np.ndarray, queries: np.ndarray, n: int, lambdas: np.ndarray, stop: Stop | None = None
) -> list[Picks]:
    each = zip(pools, queries, lambdas, strict=True)
    return [select_sift(pool, query, n, lambda_=float(x), stop=stop) for pool, query, x in each]


def assert_all_same(done: list[Picks], expected: list[Picks], tolerance: float = 1e-12) -> None:
    for picks, one in zip(done, expected, strict=True):
        assert_same(picks, one, tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("seed", range(20))
def test_each_prompt_gets_its_own_picks(seed, dtype):
    pools, queries, n, lambdas = prompts(seed)
    pools, queries = pools.astype(dtype), queries.astype(dtype)
    expected = one_by_one(pools, queries, n, lambdas)
    assert_all_same(sift_batch(pools, queries, n, lambda_=lambdas), expected)
    tensors = torch.from_numpy(pools), torch.from_numpy(queries)
    assert_all_same(sift_batch(*tensors, n, lambda_=lambdas), expected)
    # what a GPU computes, on the CPU: sift_batch itself makes numpy arrays of tensors that are there
    assert_all_same(_lockstep(*tensors, n, lambdas, None), expected)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_stops_each_prompt_where_it_stops_it_alone(rule):
    for seed in range(20, 30):
        pools, queries, n, lambdas = prompts(seed)
        expected = one_by_one(pools, queries, n, lambdas, rule)
        assert_all_same(sift_batch(pools, queries, n, lambda_=lambdas, stop=rule), expected)
        tensors = torch.from_numpy(pools), torch.from_numpy(queries)
        assert_all_same(_lockstep(*tensors, n, lambdas, rule), expected)


def test_prompts_that_go_on_are_not_mixed_up_with_those_that_stopped():
    pools, queries, n, lambdas = prompts(50, b=20)
    expected = one_by_one(pools, queries, n, lambdas, Below(0.6))
    lengths = {len(picks.order) for picks in expected}
    assert len(lengths) > 5 and n in lengths  # otherwise this tests nothing
    assert_all_same(sift_batch(pools, queries, n, lambda_=lambdas, stop=Below(0.6)), expected)


def test_a_stopped_prompt_costs_no_more_calls_of_the_rule():
    pools, queries, n, lambdas = prompts(50, b=20)
    asked: list[int] = []

    class Counting(Below):
        def __call__(self, sigma):
            asked.append(len(sigma) - 1)
            return super().__call__(sigma)

    alone = one_by_one(pools, queries, n, lambdas, Counting(0.6))
    calls, asked = sorted(asked), []
    assert_all_same(sift_batch(pools, queries, n, lambda_=lambdas, stop=Counting(0.6), threads=1), alone)
    assert sorted(asked) == calls


@pytest.mark.parametrize("rule", [None, Below(0.6)])
@pytest.mark.parametrize("threads", [1, 4, None])
@pytest.mark.parametrize("at_once", [1, 3])
def test_groups_and_threads_change_nothing_and_the_order_is_that_of_the_prompts(monkeypatch, at_once, threads, rule):
    pools, queries, n, lambdas = prompts(50, b=20)
    expected = one_by_one(pools, queries, n, lambdas, rule)
    sizes: list[int] = []

    def counting(group, *rest):
        sizes.append(len(group))
        return _lockstep(group, *rest)

    monkeypatch.setattr(module, "_lockstep", counting)
    assert_all_same(sift_batch(pools, queries, n, lambda_=lambdas, stop=rule, threads=threads), expected)
    assert sizes == [20]
    k, d = pools[0].shape
    per_prompt = 8 * k * (k if rule is None and k <= GRAM_UP_TO * n else d)  # what is read for every pick
    monkeypatch.setattr(module, "GROUP_BYTES", at_once * per_prompt + 7)
    assert_all_same(sift_batch(pools, queries, n, lambda_=lambdas, stop=rule, threads=threads), expected)
    assert sorted(sizes[1:]) == sorted([at_once] * (20 // at_once) + [20 % at_once] * (20 % at_once > 0))


def test_a_pool_larger_than_a_group_is_a_group(monkeypatch):
    pools, queries, n, lambdas = prompts(1)
    monkeypatch.setattr(module, "GROUP_BYTES", 1)
    expected = one_by_one(pools, queries, n, lambdas)
    assert_all_same(sift_batch(pools, queries, n, lambda_=lambdas, threads=4), expected)


def test_a_text_that_is_all_there_is_is_taken_hundreds_of_times():
    pools, queries = np.ones((2, 1, 1)), np.ones((2, 1, 1))
    expected = one_by_one(pools, queries, 300, np.array([0.01, 1.0]))
    assert_all_same(sift_batch(pools, queries, 300, lambda_=[0.01, 1.0]), expected)


def test_one_lambda_is_that_of_all_prompts_and_one_vector_is_a_query():
    pools, queries, n, _ = prompts(2)
    done = sift_batch(pools, queries[:, 0], n, lambda_=0.1)
    assert_all_same(done, one_by_one(pools, queries[:, 0], n, np.full(len(pools), 0.1)))


def test_inputs_stay_as_they_are():
    pools, queries, n, lambdas = prompts(50, b=20)
    before = pools.copy(), queries.copy(), lambdas.copy()
    sift_batch(pools, queries, n, lambda_=lambdas, stop=Below(0.6))
    _lockstep(torch.from_numpy(pools), torch.from_numpy(queries), n, lambdas, Below(0.6))
    assert all(np.array_equal(a, b) for a, b in zip((pools, queries, lambdas), before, strict=True))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_zero_vectors_no_picks_and_no_candidates_are_as_for_one_prompt(kind):
    query, zero = np.array([[[1.0, 0.0]], [[0.0, 0.0]]]), np.zeros((2, 3, 2))
    for pools, n in ((zero, 4), (np.ones((2, 3, 2)), 4), (np.ones((2, 3, 2)), 0), (np.zeros((2, 0, 2)), 3)):
        expected = one_by_one(pools, query, n, np.full(2, 0.1))
        assert_all_same(sift_batch(kind(pools), kind(query), n, lambda_=0.1), expected)
        assert_all_same(_lockstep(kind(pools), kind(query), n, np.full(2, 0.1), None), expected)
    assert sift_batch(kind(np.zeros((0, 3, 2))), kind(np.zeros((0, 2))), 3) == []


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_wrong_arguments_are_value_errors(kind):
    pools, queries = kind(np.ones((2, 3, 4))), kind(np.ones((2, 1, 4)))
    for wrong in ((pools[0], queries), (pools, queries[:1]), (pools, queries[:, :, :2]), (pools, queries[0, 0])):
        with pytest.raises(ValueError, match="expected"):
            sift_batch(*wrong, 1)
    with pytest.raises(ValueError, match="n is -1"):
        sift_batch(pools, queries, -1)
    for lambda_ in (0.0, -1.0, np.nan, [0.1, 0.0]):
        with pytest.raises(ValueError, match="lambda_"):
            sift_batch(pools, queries, 1, lambda_=lambda_)
    with pytest.raises(ValueError, match="shape"):
        sift_batch(pools, queries, 1, lambda_=[0.1, 0.1, 0.1])


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_value_errors_in_any_group(monkeypatch, number, threads):
    monkeypatch.setattr(module, "GROUP_BYTES", 1)
    pools, queries, n, lambdas = prompts(50, b=20)
    pools[17, 2, 1] = number
    with pytest.raises(ValueError, match="finite"):
        sift_batch(pools, queries, n, lambda_=lambdas, threads=threads)
    pools[17, 2, 1], queries[17, 0, 0] = 0.0, number
    with pytest.raises(ValueError, match="finite"):
        sift_batch(pools, queries, n, lambda_=lambdas, threads=threads)
    with pytest.raises(ValueError, match="finite"):
        _lockstep(torch.from_numpy(pools), torch.from_numpy(queries), n, lambdas, None)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_gpu_equals_one_by_one(dtype):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for seed in range(20):
        pools, queries, n, lambdas = prompts(seed)
        tensors = torch.from_numpy(pools).to("cuda", dtype), torch.from_numpy(queries).to("cuda", dtype)
        pools, queries = (x.cpu().double().numpy() for x in tensors)
        for rule in (None, *RULES):
            expected = one_by_one(pools, queries, n, lambdas, rule)
            assert_all_same(sift_batch(*tensors, n, lambda_=lambdas, stop=rule), expected, 1e-11)


def test_bfloat16_tensors_are_taken_on_the_cpu_too():
    picks = sift_batch(torch.eye(3, dtype=torch.bfloat16)[None], torch.ones(1, 3, dtype=torch.bfloat16), 2)
    assert_same(picks[0], select_sift(np.eye(3), np.ones(3), 2))
