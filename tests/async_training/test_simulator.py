"""The simulated cluster: the time model, determinism, and workers that join, leave and stall."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from async_training.problems import master, quadratic

from ttft.async_training import AsyncTrainer, Inner, Join, Leave, Simulated, Stall, make_master
from ttft.async_training.times import ConstantTimes, GammaTimes, ParetoTimes
from ttft.errors import ConfigError, TtftError


def flat_gradient(theta: torch.Tensor, worker: int, number: int) -> tuple[torch.Tensor, float]:
    return torch.zeros_like(theta), 0.0


def train(name: str, updates: int, cluster: Simulated, **options) -> list:
    seen: list = []
    kept = make_master(name, torch.ones(2), lr=0.1, **options)
    AsyncTrainer(flat_gradient, kept, cluster).run(updates, on_arrival=seen.append)
    return seen


# ---- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("heterogeneous", "tail"), [(False, 0.0094), (True, 0.2784)])
def test_times_have_the_mean_and_the_tail_of_the_model(heterogeneous: bool, tail: float) -> None:
    times = GammaTimes(3, heterogeneous, mean=2.0)
    workers = range(20_000 if heterogeneous else 20)
    drawn = np.array([times(w, n) for w in workers for n in range(1 if heterogeneous else 1000)])
    assert drawn.mean() == pytest.approx(2.0, rel=0.015)
    assert (drawn > 2.5).mean() == pytest.approx(tail, rel=0.15 if not heterogeneous else 0.04)


def test_times_depend_on_seed_worker_and_number_alone() -> None:
    times = GammaTimes(1, heterogeneous=True)
    assert times(2, 3) == GammaTimes(1, heterogeneous=True)(2, 3)
    assert len({times(2, 3), times(2, 4), times(3, 3), GammaTimes(2, True)(2, 3), GammaTimes(1)(2, 3)}) == 5


def test_pareto_times_have_the_mean_and_a_heavy_tail() -> None:
    drawn = np.array([ParetoTimes(0, shape=1.5, mean=3.0)(0, n) for n in range(20_000)])
    assert drawn.mean() == pytest.approx(3.0, rel=0.2) and 30 < drawn.max() <= 3000 and np.median(drawn) < 2


@pytest.mark.parametrize(("workers", "ratio"), [(4, 1.105), (16, 1.185), (64, 1.250)])
def test_asynchronous_throughput_with_equal_machines(workers: int, ratio: float) -> None:
    """Computed for the time model: gradients per second without barriers over those with."""
    rates = []
    for name, updates in (("asgd", 60 * workers), ("ssgd", 60)):
        last = train(name, updates, Simulated(workers, seed=5))[-1]
        rates.append(last.gradients / last.time)
    assert rates[0] / rates[1] == pytest.approx(ratio, rel=0.03)


def test_asynchronous_throughput_with_unequal_machines() -> None:
    """8 machines: 2.8 times on average over clusters."""
    ratios = []
    for seed in range(40):
        times = GammaTimes(seed, heterogeneous=True)
        means = [times.of_machine(worker) for worker in range(8)]
        last = train("ssgd", 10, Simulated(8, heterogeneous=True, seed=seed))[-1]
        ratios.append((sum(1 / m for m in means), 8 * 10 / last.time))
    assert np.mean([a for a, _ in ratios]) / np.mean([s for _, s in ratios]) == pytest.approx(2.81, rel=0.12)


# ---- arrivals ------------------------------------------------------------------------------------------------------


def test_equal_times_are_turns() -> None:
    seen = train("asgd", 20, Simulated(4, times=ConstantTimes(2.0)))
    assert [a.worker for a in seen] == [0, 1, 2, 3] * 5 and {a.lag for a in seen[4:]} == {3}
    assert [a.time for a in seen[::4]] == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert [a.number for a in seen[::4]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["dana", "dana-slim", "ssgd"])
def test_the_same_seed_gives_the_same_run(name: str) -> None:
    runs = []
    for seed in (1, 1, 2):
        seen: list = []
        kept = master(name)
        AsyncTrainer(quadratic(), kept, Simulated(5, heterogeneous=True, seed=seed)).run(60, on_arrival=seen.append)
        runs.append((seen, kept.theta))
    assert runs[0][0] == runs[1][0] != runs[2][0] and torch.equal(runs[0][1], runs[1][1])


def test_a_round_of_local_steps_takes_as_long_as_its_batches() -> None:
    kept = make_master("async-diloco", torch.ones(2), inner=Inner(0.1, steps=7))
    seen: list = []
    AsyncTrainer(flat_gradient, kept, Simulated(2, times=ConstantTimes(1.0))).run(6, on_arrival=seen.append)
    assert [(a.time, a.number) for a in seen[::2]] == [(7.0, 0), (14.0, 7), (21.0, 14)]


# ---- joins, leaves, stalls -----------------------------------------------------------------------------------------


def test_workers_join_leave_and_stall() -> None:
    events = [Stall(2.5, 0, 4.0), Leave(3.5, 1), Join(4.25, 9), Join(6.0, 1)]
    seen = train("asgd", 14, Simulated(2, times=ConstantTimes(1.0), events=events))
    done = [(a.time, a.worker, a.number) for a in seen]
    assert done == [
        (1, 0, 0), (1, 1, 0), (2, 0, 1), (2, 1, 1), (3, 1, 2),  # 0 stands still in its third batch; 1 goes at 3.5
        (5.25, 9, 0), (6.25, 9, 1), (7, 0, 2), (7, 1, 3), (7.25, 9, 2),  # 1 does the batch that was lost again
        (8, 0, 3), (8, 1, 4), (8.25, 9, 3), (9, 0, 4),
    ]  # fmt: skip
    assert seen[7].lag == 4  # of the stalled worker: its view was sent after the third arrival


def test_a_worker_that_waits_for_a_round_can_stall_too() -> None:
    class Uneven(ConstantTimes):
        def __call__(self, worker: int, number: int) -> float:
            return 1.0 + worker

    seen = train("ssgd", 2, Simulated(2, times=Uneven(), events=[Stall(1.5, 0, 3.0)]))
    assert [(a.time, a.worker) for a in seen] == [(1, 0), (2, 1), (4, 1), (5.5, 0)]


@pytest.mark.parametrize("name", ["dana", "dana-ga", "dc-asgd-a", "delay-adaptive", "ssgd", "dana-slim"])
def test_the_master_forgets_a_worker_that_left(name: str) -> None:
    kept = master(name, gaps=True)
    cluster = Simulated(3, times=ConstantTimes(1.0), events=[Leave(10.5, 1)])
    AsyncTrainer(quadratic(), kept, cluster).run(60, checkpoint=None)
    left = [key for key in kept.state_dict() if key.endswith("/1")]
    assert left == [] and kept.members() == [0, 2] == cluster.workers()
    if name == "dana":
        assert torch.allclose(kept.state.total, kept.state.momenta[0] + kept.state.momenta[2], atol=1e-14)


def test_without_workers_it_ends_with_a_sentence() -> None:
    with pytest.raises(TtftError, match=r"no worker is left at simulated time 2\.5"):
        train("asgd", 100, Simulated(1, times=ConstantTimes(1.0), events=[Leave(2.5, 0)]))


@pytest.mark.parametrize(
    ("workers", "events", "message"),
    [
        (0, [], "there are no workers"),
        (1, [Leave(1.0, 3)], "worker 3 is not there"),
        (1, [Join(1.0, 0)], "worker 0 is there already"),
        (1, [Stall(1.0, 0, -1.0)], "seconds is -1.0"),
        (1, [Leave(-1.0, 0)], "before time 0"),
    ],
)
def test_impossible_events_are_refused(workers: int, events: list, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Simulated(workers, events=events)
