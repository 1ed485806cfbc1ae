"""A cluster in one process: real gradients, simulated time.

A heap holds when each worker will have finished. Times are a pure function of seed, worker and batch number, and a
gradient is computed when its time has come, from the view that the worker was sent; so the same settings give the same
arrivals bit for bit, in a run that was resumed from a checkpoint, too. Sending takes no time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from ttft.async_training.checks import positive, whole
from ttft.async_training.cluster import Arrived, Event, Joined, Left
from ttft.async_training.flat_state import Flat, below, flatten, restore
from ttft.async_training.master import Gradient
from ttft.async_training.times import GammaTimes, Times
from ttft.async_training.worker_side import WorkerSide
from ttft.errors import ConfigError, TtftError


@dataclass(frozen=True)
class Join:
    """A worker joins, for the first time or again, at a simulated time."""

    at: float
    worker: int


@dataclass(frozen=True)
class Leave:
    """A worker is gone at a simulated time, without a word; what it was computing is lost."""

    at: float
    worker: int


@dataclass(frozen=True)
class Stall:
    """A worker stands still for some simulated seconds."""

    at: float
    worker: int
    seconds: float


Incident = Join | Leave | Stall


@dataclass
class SimulatorState:
    """clock; incidents: how many are over; numbers: gradients computed; finish: when the view that is out will be done;
    stalled: until when a worker without a view stands still; present: the workers that are there."""

    clock: float = 0.0
    incidents: int = 0
    present: dict[int, bool] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    finish: dict[int, float] = field(default_factory=dict)
    stalled: dict[int, float] = field(default_factory=dict)
    views: dict[int, Tensor] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)


class Simulated:
    """workers: 0 .. workers-1 join at time 0. heterogeneous, seed, mean: of the times (`times.GammaTimes`); `times`
    replaces these three. events: joins, leaves and stalls, in any order; those of the same time happen in the order
    given, and before arrivals.

    Raises ConfigError for no workers, for a join of a worker that is there, or a leave or stall of one that is not.
    """

    keeps_views = True

    def __init__(
        self, workers: int = 8, *, heterogeneous: bool = False, seed: int = 0, mean: float = 1.0,
        events: Sequence[Incident] = (), times: Times | None = None,
    ) -> None:  # fmt: skip
        whole("workers", workers, 0)
        self.times = times if times is not None else GammaTimes(seed, heterogeneous, mean)
        at_start = [Join(0.0, worker) for worker in range(workers)]
        self.incidents: list[Incident] = sorted([*at_start, *events], key=lambda incident: incident.at)
        _check(self.incidents)
        self.state = SimulatorState()
        self.sides: dict[int, WorkerSide] = {}
        self._heap: list[tuple[float, int]] = []

    @property
    def clock(self) -> float:
        """Simulated seconds since the start."""
        return self.state.clock

    def start(self, gradient: Gradient, side: Callable[[], WorkerSide]) -> None:
        self.gradient, self.side = gradient, side

    def workers(self) -> list[int]:
        return sorted(self.state.present)

    def send(self, worker: int, theta: Tensor, lr: float) -> None:
        state = self.state
        first = state.numbers.setdefault(worker, 0)
        begin = max(state.clock, state.stalled.pop(worker, 0.0))
        took = sum(self.times(worker, first + i) for i in range(self.sides[worker].gradients))
        state.views[worker], state.rates[worker] = theta, lr
        state.finish[worker] = begin + took
        heapq.heappush(self._heap, (begin + took, worker))

    def wait(self) -> Event:
        """The next event. Raises TtftError if there is no worker left and none will join."""
        while True:
            while self._heap and self.state.finish.get(self._heap[0][1]) != self._heap[0][0]:
                heapq.heappop(self._heap)  # the worker has left or was stalled
            due = self.incidents[self.state.incidents] if self.state.incidents < len(self.incidents) else None
            if due is not None and (not self._heap or due.at <= self._heap[0][0]):
                if (event := self._happen(due)) is not None:
                    return event
            elif self._heap:
                return self._arrive(*heapq.heappop(self._heap))
            else:
                raise TtftError(
                    f"no worker is left at simulated time {self.state.clock:g}",
                    "let one join, or train for fewer updates",
                )

    def _happen(self, incident: Incident) -> Event | None:
        state, worker = self.state, incident.worker
        state.clock = incident.at
        state.incidents += 1
        if isinstance(incident, Join):
            state.present[worker] = True
            self.sides[worker] = self.side()
            return Joined(worker, state.clock)
        if isinstance(incident, Leave):
            for known in (state.present, state.finish, state.stalled, state.views, state.rates, self.sides):
                known.pop(worker, None)
            return Left(worker, state.clock)
        if worker in state.finish:
            state.finish[worker] += incident.seconds
            heapq.heappush(self._heap, (state.finish[worker], worker))
        else:
            state.stalled[worker] = incident.at + incident.seconds
        return None

    def _arrive(self, time: float, worker: int) -> Arrived:
        state = self.state
        state.clock = time
        del state.finish[worker]
        first = state.numbers[worker]

        def gradient(theta: Tensor) -> tuple[Tensor, float]:
            state.numbers[worker] += 1
            return self.gradient(theta, worker, state.numbers[worker] - 1)

        payload, loss = self.sides[worker].work(state.views.pop(worker), state.rates.pop(worker), gradient)
        return Arrived(worker, time, payload, loss, first)

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def state_dict(self) -> Flat:
        flat = flatten(self.state)
        for worker, side in self.sides.items():
            flat |= {f"sides/{worker}/{key}": value for key, value in side.state_dict().items()}
        return flat

    def load_state_dict(self, flat: Flat) -> None:
        restore(self.state, flat)
        self._heap = sorted((time, worker) for worker, time in self.state.finish.items())
        self.sides = {worker: self.side() for worker in self.state.present}
        for worker, side in self.sides.items():
            side.load_state_dict(below(flat, f"sides/{worker}/"))

    def settings(self) -> dict[str, Any]:
        times: Any = self.times
        kinds = [{"kind": type(incident).__name__, **asdict(incident)} for incident in self.incidents]
        return {"cluster": "simulated", "times": {"kind": type(times).__name__, **asdict(times)}, "events": kinds}


def _check(incidents: list[Incident]) -> None:
    there: set[int] = set()
    for incident in incidents:
        if incident.at < 0:
            raise ConfigError(f"{incident} is before time 0", "give times from 0 on")
        if isinstance(incident, Join) == (incident.worker in there):
            what = "is there already" if isinstance(incident, Join) else "is not there"
            raise ConfigError(
                f"{incident}: worker {incident.worker} {what} at that time", "workers 0 .. workers-1 join at time 0"
            )
        if isinstance(incident, Stall):
            positive("seconds", incident.seconds)
        else:
            there ^= {incident.worker}
    if not any(isinstance(incident, Join) for incident in incidents):
        raise ConfigError("there are no workers", "give workers >= 1, or a Join among the events")
