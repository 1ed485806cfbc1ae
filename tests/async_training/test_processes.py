"""Workers in processes of their own: they share memory, die, stand still and fail."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from pathlib import Path

import pytest
import torch

from ttft.async_training import AsyncTrainer, make_master
from ttft.async_training.processes import Processes
from ttft.errors import ConfigError, TtftError

K = 500


class Quadratic:
    """The gradient of |theta|^2 / 2 with noise; a named worker fails at a named batch."""

    def __init__(self, failing: tuple[int, int] | None = None, error: str = "") -> None:
        self.failing, self.error = failing, error

    def __call__(self, theta: torch.Tensor, worker: int, number: int) -> tuple[torch.Tensor, float]:
        if self.failing == (worker, number):
            if self.error == "exit":
                os._exit(7)
            raise TtftError(self.error) if self.error else ValueError("a bug")
        noise = torch.randn(K, generator=torch.Generator().manual_seed(1000 * worker + number))
        return theta + 0.01 * noise, float(theta.square().sum() / 2)


def trained(name: str, cluster: Processes, updates: int, gradient=None, on_arrival=lambda arrival: None, **options):
    options = {"lr": 0.05} | options
    trainer = AsyncTrainer(gradient or Quadratic(), make_master(name, torch.ones(K), **options), cluster)
    with cluster:
        trainer.run(updates, on_arrival=on_arrival)
    return trainer


def nesterov(updates: int) -> torch.Tensor:
    """Nesterov's method on the batches of worker 0, written out: momentum 0.9, rate 0.05."""
    theta, v, gradient = torch.ones(K), torch.zeros(K), Quadratic()
    for number in range(updates):
        g, _ = gradient(theta - 0.9 * v, 0, number)
        v = 0.9 * v + 0.05 * g
        theta = theta - v
    return theta


def shared() -> set[str]:
    return set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()


def test_one_worker_trains_as_one_process_does():
    """To rounding, and nothing of the shared memory stays behind."""
    before = shared()
    trainer = trained("dana", Processes(1), 40)
    assert torch.allclose(trainer.master.theta, nesterov(40), rtol=0, atol=1e-6)
    assert shared() == before


@pytest.mark.parametrize("name", ["dana-slim", pytest.param("ssgd", marks=pytest.mark.slow)])
def test_a_killed_worker_is_replaced_and_its_stream_goes_on(name):
    notes, arrivals = [], []
    cluster = Processes(2, on_note=notes.append)

    def on_arrival(arrival) -> None:
        arrivals.append(arrival)
        if len(arrivals) in (10, 25):
            os.kill(cluster.live[len(arrivals) % 2].process.pid, signal.SIGKILL)

    trainer = trained(name, cluster, 40, on_arrival=on_arrival)
    assert len(notes) == 2 and all("is replaced" in note for note in notes)
    assert float(trainer.master.theta.square().sum()) < 0.5 * K
    for worker in (0, 1):
        numbers = [arrival.number for arrival in arrivals if arrival.worker == worker]
        assert numbers == list(range(len(numbers)))


@pytest.mark.slow
def test_a_worker_that_stands_still_holds_nobody_up():
    cluster, workers = Processes(2), []

    def on_arrival(arrival) -> None:
        workers.append(arrival.worker)
        if len(workers) == 10:
            process = cluster.live[1].process
            os.kill(process.pid, signal.SIGSTOP)
            threading.Timer(0.5, os.kill, (process.pid, signal.SIGCONT)).start()

    trained("dana", cluster, 3000, on_arrival=on_arrival)
    assert workers.count(0) > workers.count(1) > 5


def test_what_a_worker_raises_is_raised_here():
    with pytest.raises(TtftError, match="no such document"):
        trained("asgd", Processes(2), 5000, Quadratic((1, 3), "no such document"))
    with pytest.raises(RuntimeError, match=r"worker 0 failed(.|\n)*ValueError: a bug"):
        trained("asgd", Processes(1), 50, Quadratic((0, 2)))


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_ends_the_run():
    notes = []
    with pytest.raises(TtftError, match=r"worker 0 died 4 times without a gradient \(exit code 7\)"):
        trained("asgd", Processes(1, on_note=notes.append), 50, Quadratic((0, 5), "exit"))
    assert len(notes) == 3


def test_there_must_be_a_worker():
    with pytest.raises(ConfigError, match="workers is 0"):
        Processes(0)


@pytest.mark.slow
def test_a_restart_sends_views_anew_and_keeps_the_momenta(tmp_path):
    def trainer(cluster: Processes) -> AsyncTrainer:
        return AsyncTrainer(Quadratic(), make_master("dana", torch.ones(K), lr=0.02), cluster)

    with Processes(2) as cluster:
        trainer(cluster).run(20, checkpoint=tmp_path / "run", every=10)
        before = dict(cluster.state.numbers)
    with Processes(2) as cluster:
        again = trainer(cluster)
        again.begin(tmp_path / "run")
        assert again.master.updates == 20 and again.master.members() == []
        assert all(float(v.abs().sum()) > 0 for v in again.master.state.momenta.values())
        numbers: list[tuple[int, int]] = []
        again.run(40, on_arrival=lambda arrival: numbers.append((arrival.worker, arrival.number)))
    for worker in (0, 1):
        first = before.get(worker, 0)
        own = [number for one, number in numbers if one == worker]
        assert own == list(range(first, first + len(own)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dana", "ssgd"])
def test_twenty_kills_and_stalls(name):
    """At random arrivals; the run ends, near the loss of one that nobody disturbed."""
    rng, cluster, arrivals = random.Random(7), Processes(3), []
    moments = set(rng.sample(range(20, 600), 20))

    def on_arrival(arrival) -> None:
        arrivals.append(arrival)
        if len(arrivals) in moments:
            process = rng.choice(list(cluster.live.values())).process
            if rng.random() < 0.5:
                os.kill(process.pid, signal.SIGKILL)
            else:
                os.kill(process.pid, signal.SIGSTOP)
                threading.Timer(0.3, go_on, (process.pid,)).start()

    disturbed = trained(name, cluster, 800, on_arrival=on_arrival)
    undisturbed = trained(name, Processes(3), 800)
    losses = [float(run.master.theta.square().mean()) for run in (disturbed, undisturbed)]
    assert len(arrivals) > max(moments)
    assert all(loss < 1e-3 for loss in losses), losses  # of 1 at the start; the noise of the gradients is 1e-4


def go_on(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)
