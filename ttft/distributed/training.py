"""Asynchronous training on Ray: worker actors compute gradients, the master is this process.

The master writes the run folder and holds the parameters, so it stays where the command was started; when it is killed,
the same command goes on from its last checkpoint. A worker that dies is replaced by a new actor under the same number,
whose stream of batches goes on after the last gradient that arrived.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttft import runtime
from ttft.async_training.cluster import Arrived, Event, Joined, Left
from ttft.async_training.flat_state import Flat, flatten, restore
from ttft.async_training.master import Gradient
from ttft.async_training.processes import DEATHS, Counts, computed, prepare
from ttft.async_training.worker_side import WorkerSide
from ttft.distributed.cluster import Workers, workers
from ttft.errors import TtftError
from ttft.progress import OnNote, ignore


@contextmanager
def ray_cluster(
    count: int, *, folder: Path, address: str | None = None, device: str = "auto", seed: int = 0,
    slow: Mapping[int, float] | None = None, on_note: OnNote = ignore,
) -> Iterator[RayCluster]:  # fmt: skip
    """A cluster of `count` Ray workers for `AsyncTrainer`, ended with the block; folder, address: see cluster.workers.

    slow  worker -> factor: it takes so many times as long for a gradient (for measurements)
    """
    with workers(count=count, address=address, device=device, seed=seed, folder=folder) as crew:
        cluster = RayCluster(crew, dict(slow or {}), on_note)
        try:
            yield cluster
        finally:
            cluster.close()


class RayCluster:
    """See the module; made by `ray_cluster`. Theta and payloads travel as arrays through Ray's object store."""

    keeps_views = False

    def __init__(self, crew: Workers, slow: dict[int, float], on_note: OnNote) -> None:
        self.crew, self.slow, self.on_note = crew, slow, on_note
        self.state = Counts()
        self.actors: dict[int, Any] = {}
        self.present: set[int] = set()
        self.deaths: dict[int, int] = {}
        self._pending: dict[Any, int] = {}  # Ray reference -> worker
        self._gone: list[int] = []
        self._began = 0.0

    def start(self, gradient: Gradient, side: Callable[[], WorkerSide]) -> None:
        import ray

        self.side = side
        # kept here: a new worker needs it again, and Ray deletes objects without references
        self.gradient = ray.put(gradient)
        for worker in range(self.crew.count):
            self._create(worker)

    def workers(self) -> list[int]:
        return sorted(self.present)

    @property
    def clock(self) -> float:
        """Seconds since the first worker joined, those before a restart included."""
        return self.state.seconds + (time.monotonic() - self._began if self._began else 0.0)

    def send(self, worker: int, theta: Tensor, lr: float) -> None:
        number = self.state.numbers.get(worker, 0)
        reference = self.actors[worker].work.remote(theta.cpu().numpy(), lr, number)
        self._pending[reference] = worker
        self.device = theta.device

    def wait(self) -> Event:
        """The next event. Raises TtftError for what a worker raised, and for one that dies again and again."""
        import ray

        while True:
            if self._gone:
                worker = self._gone.pop(0)
                self._create(worker)
                return Left(worker, self.clock)
            (done, *_), _ = ray.wait(list(self._pending), num_returns=1)
            worker = self._pending.pop(done)
            try:
                answer = ray.get(done)
            except ray.exceptions.RayActorError as error:
                self._bury(worker, error)
                continue
            if answer is None:
                self.present.add(worker)
                self._began = self._began or time.monotonic()
                return Joined(worker, self.clock)
            payload, loss, size = answer
            number = self.state.numbers.get(worker, 0)
            self.state.numbers[worker] = number + size
            self.deaths.pop(worker, None)
            return Arrived(worker, self.clock, torch.tensor(payload, device=self.device), loss, number)

    def _bury(self, worker: int, error: Exception) -> None:
        self.present.discard(worker)
        self.deaths[worker] = self.deaths.get(worker, 0) + 1
        if self.deaths[worker] > DEATHS:
            last = (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
            raise TtftError(
                f"worker {worker} died {self.deaths[worker]} times without a gradient: {last}",
                "it may need more memory than its machine has: give fewer workers or a smaller batch",
            )
        self.on_note(f"worker {worker} died and is replaced")
        self._gone.append(worker)

    def _create(self, worker: int) -> None:
        import ray

        kind: Any = ray.remote(GradientWorker).options(**self.crew.resources)
        actor = kind.remote(self.crew, self.gradient, self.side(), worker, self.slow.get(worker, 1.0))
        self.actors[worker] = actor
        self._pending[actor.prepare.remote()] = worker

    def close(self) -> None:
        import ray

        for actor in self.actors.values():
            ray.kill(actor)
        self.actors.clear()
        self._pending.clear()

    def state_dict(self) -> Flat:
        return flatten(Counts(self.clock, self.state.numbers))

    def load_state_dict(self, flat: Flat) -> None:
        restore(self.state, flat)

    def settings(self) -> dict:
        return {"cluster": "ray"}


class GradientWorker:
    """A Ray actor that computes what its `side` makes of the gradient."""

    def __init__(self, crew: Workers, gradient: Gradient, side: WorkerSide, worker: int, slow: float) -> None:
        self.crew, self.gradient, self.side, self.worker, self.slow = crew, gradient, side, worker, slow

    def prepare(self) -> None:
        """Set up the process and load what the gradient needs."""
        self.crew.settle()
        runtime.keep_freed_memory()
        prepare(self.gradient)

    def work(self, theta: np.ndarray, lr: float, number: int) -> tuple[np.ndarray, float, int]:
        """Payload (k,), loss and number of gradients of a view (k,)."""
        begin = time.monotonic()
        view = torch.tensor(theta)  # a copy: what comes from the object store is read-only
        payload, loss, size = computed(self.gradient, self.side, view, lr, self.worker, number)
        time.sleep((self.slow - 1) * (time.monotonic() - begin) if self.slow > 1 else 0.0)
        return payload.numpy(), loss, size
