"""What the tests of async_training share: noisy quadratics and orders of arrivals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from ttft.async_training.local_sgd import Inner
from ttft.async_training.master import Gradient, Master, Received
from ttft.async_training.masters import MASTERS, make_master
from ttft.async_training.worker_side import WorkerSide

K = 12
NEEDED = {
    "delay-adaptive": {"within": 3.0},
    "diloco": {"inner": Inner(0.01, steps=3)},
    "async-diloco": {"inner": Inner(0.01, steps=3), "every": 3},
}
"""What a method cannot do without, besides a learning rate."""


def start(k: int = K, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=k)).to(dtype)


def quadratic(k: int = K, seed: int = 0, noise: float = 1.0, dtype: torch.dtype = torch.float64) -> Gradient:
    """theta'A theta / 2 with eigenvalues up to 1; the noise is a function of worker and number."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(k, k)))
    a = torch.from_numpy(q * np.linspace(0.05, 1, k) @ q.T).to(dtype)

    def gradient(theta: torch.Tensor, worker: int, number: int) -> tuple[torch.Tensor, float]:
        exact = a @ theta
        drawn = torch.from_numpy(np.random.default_rng((seed, 7, worker, number)).normal(size=k)).to(dtype)
        return exact + noise * drawn, float(theta @ exact / 2)

    return gradient


def master(name: str, k: int = K, dtype: torch.dtype = torch.float64, **options) -> Master:
    """A master of any method with what it needs; lr 0.05 unless given."""
    given = NEEDED.get(name, {}) | ({} if name == "delay-adaptive" else {"lr": 0.05}) | options
    return make_master(name, start(k, dtype=dtype), **given)


class Drive:
    """Drives a master by hand: arrivals in the order asked for, as a list of what was sent and received."""

    def __init__(self, master: Master, gradient: Gradient, workers: int) -> None:
        self.master, self.gradient = master, gradient
        self.sides: dict[int, WorkerSide] = {}
        self.numbers: dict[int, int] = {}
        self.held: dict[int, torch.Tensor] = {}
        self.views: list[torch.Tensor] = []
        for worker in range(workers):
            self.join(worker)

    def join(self, worker: int) -> None:
        self.sides[worker] = self.master.worker_side()
        self.numbers.setdefault(worker, 0)
        self.master.join(worker)
        self.hand_out()

    def hand_out(self) -> None:
        for worker in self.master.idle():
            self.held[worker] = self.master.view(worker)
            self.views.append(self.held[worker].clone())

    def arrive(self, worker: int) -> Received:
        def gradient(theta: torch.Tensor) -> tuple[torch.Tensor, float]:
            self.numbers[worker] += 1
            return self.gradient(theta, worker, self.numbers[worker] - 1)

        payload, _ = self.sides[worker].work(self.held[worker], self.master.rate(worker), gradient)
        got = self.master.receive(worker, payload)
        self.hand_out()
        return got

    def run(self, order: Iterable[int]) -> list[Received]:
        return [self.arrive(worker) for worker in order]


def round_robin(workers: int, rounds: int) -> list[int]:
    return list(range(workers)) * rounds


def random_order(workers: int, arrivals: int, seed: int = 0) -> list[int]:
    """Workers of very different speed, in random order."""
    rng = np.random.default_rng(seed)
    speed = rng.gamma(1 / 0.36, size=workers)
    return rng.choice(workers, size=arrivals, p=speed / speed.sum()).tolist()


ASYNCHRONOUS = [name for name, kind in MASTERS.items() if not kind.synchronous]
WITH_MOMENTUM = ["nag-asgd", "multi-asgd", "sa", "dc-asgd", "dc-asgd-a", "lwp", "dana", "dana-dc", "ga", "dana-ga"]
