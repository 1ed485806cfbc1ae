"""Asynchronous training on Ray: the result is that of one process, and a killed worker is replaced."""

from __future__ import annotations

import random
import time

import pytest
import torch
from async_training import test_processes
from async_training.test_processes import K, Quadratic, nesterov

from ttft.async_training import AsyncTrainer, make_master
from ttft.distributed.training import ray_cluster
from ttft.state import read_lines


@pytest.fixture(autouse=True)
def gradient_by_value(ray):
    """Workers do not find the modules of tests."""
    ray.cloudpickle.register_pickle_by_value(test_processes)
    yield
    ray.cloudpickle.unregister_pickle_by_value(test_processes)


def test_one_worker_trains_as_one_process_does(ray, tmp_path):
    with ray_cluster(1, folder=tmp_path) as cluster:
        trainer = AsyncTrainer(Quadratic(), make_master("dana", torch.ones(K), lr=0.05), cluster)
        trainer.run(20)
    assert torch.allclose(trainer.master.theta, nesterov(20), rtol=0, atol=1e-6)


def test_a_killed_worker_is_replaced(ray, tmp_path):
    notes, arrivals = [], []
    with ray_cluster(2, folder=tmp_path, on_note=notes.append) as cluster:

        def on_arrival(arrival) -> None:
            arrivals.append(arrival)
            if len(arrivals) == 12:
                ray.kill(cluster.actors[1])

        trainer = AsyncTrainer(Quadratic(), make_master("dana-slim", torch.ones(K), lr=0.05), cluster)
        trainer.run(60, on_arrival=on_arrival)
    assert notes == ["worker 1 died and is replaced"]
    assert float(trainer.master.theta.square().sum()) < 0.5 * K
    for worker in (0, 1):
        numbers = [arrival.number for arrival in arrivals if arrival.worker == worker]
        assert numbers == list(range(len(numbers)))


def test_the_command(ray, tmp_path, run_ttft, index_folder, lm_folder):
    given = (
        "--updates",
        6,
        "--every",
        3,
        "--batch",
        2,
        "--held-out",
        6,
        "--rank",
        4,
        "--dtype",
        "float32",
        "--lr",
        0.01,
    )
    out = tmp_path / "run"
    command = ("adapt", index_folder, "--out", out, "--model", lm_folder, "--cluster", "ray", "--workers", 2)
    assert run_ttft(*command, *given) == 0
    validation = read_lines(out / "validation.jsonl")
    assert [one["updates"] for one in validation] == [0, 3, 6] and validation[-1]["nats"] < validation[0]["nats"]


@pytest.mark.slow
def test_twenty_kills_and_stalls(ray, tmp_path):
    """At random arrivals; the run ends, near the loss of one that nobody disturbed."""
    rng, arrivals = random.Random(7), []
    moments = set(rng.sample(range(20, 600), 20))
    with ray_cluster(2, folder=tmp_path) as cluster:

        def on_arrival(arrival) -> None:
            arrivals.append(arrival)
            if len(arrivals) in moments:
                worker = rng.choice(cluster.workers())
                if rng.random() < 0.5:
                    ray.kill(cluster.actors[worker])
                else:
                    cluster.actors[worker].__ray_call__.remote(lambda actor: time.sleep(0.3))

        trainer = AsyncTrainer(Quadratic(), make_master("dana", torch.ones(K), lr=0.05), cluster)
        trainer.run(800, on_arrival=on_arrival)
    assert len(arrivals) > max(moments)
    assert float(trainer.master.theta.square().mean()) < 1e-3
