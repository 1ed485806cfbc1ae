"""What all masters share: who holds which parameters since when, learning rates, lags and gaps.

Asynchronous training, one gradient at a time: the master sends its parameters to a worker, the worker sends back a
gradient computed at them, and by then the master has moved on.

    theta    the parameters, a vector of k numbers; t, `updates`: how many updates it has had
    sent[i]  the vector last sent to worker i, born[i] the t of that moment
    lag      t - born[i] when the gradient of worker i arrives; 0 with one worker
    raw gap  RMSE(theta - sent[i]) at the arrival, RMSE(d) = |d|_2 / sqrt(k)
    pre gap  the same at the look-ahead point theta - gamma * v to which Nesterov's method would send worker i's
             gradient: 0 with one worker

Learning rates stand inside the momentum (v = gamma v + lr g; theta = theta - v). At a constant rate this is the same as
theta = theta - lr v with v = gamma v + g; at a change of the rate it is not, and only with the rate inside is DANA-Slim
equal to DANA-Zero under every schedule. The rate of a gradient is that of the update at which its parameters were sent.

Weight decay is part of the gradient, taken at the parameters that were sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ttft.async_training.checks import flat_vector, not_negative
from ttft.async_training.flat_state import Flat, flatten, restore
from ttft.async_training.schedule import Schedule, as_schedule
from ttft.async_training.worker_side import SendGradient, WorkerSide

BLOCK = 1 << 16  # numbers that an arrival's operations work on at a time: what they share stays in the cache


@dataclass
class State:
    """What a master remembers; the methods add to it.

    members  worker -> whether it holds parameters for which no gradient has come back yet
    rates    worker -> the learning rate sent along with its parameters
    sent     worker -> the vector that it was sent; only if the method or the logging of gaps needs it
    """

    theta: Tensor
    updates: int = 0
    members: dict[int, bool] = field(default_factory=dict)
    born: dict[int, int] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)
    sent: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Received:
    """One arrival at the master. Gaps are None unless they are logged; `update` counts from 0."""

    worker: int
    update: int
    lag: int
    lr: float
    raw_gap: float | None = None
    pre_gap: float | None = None


class Master:
    """The base of all methods, which implement `_apply` and what else differs.

    start         (k,) float vector, copied; its device is the master's
    lr            a number or a Schedule
    weight_decay  added to every gradient, times the parameters that it was computed at
    gaps          keep what was sent to each worker (k numbers each) and report the gaps of every arrival
    Raises ConfigError for arguments out of range.
    """

    synchronous: ClassVar[bool] = False
    needs_sent: ClassVar[bool] = False

    def __init__(self, start: Tensor, lr: float | Schedule, *, weight_decay: float = 0.0, gaps: bool = False) -> None:
        flat_vector(start)
        not_negative("weight_decay", weight_decay)
        self.schedule, self.weight_decay, self.gaps = as_schedule(lr), weight_decay, gaps
        self.state = self._start(start.detach().clone())

    @property
    def theta(self) -> Tensor:
        """(k,) the parameters to evaluate; the master's own vector, not a copy."""
        return self.state.theta

    @property
    def updates(self) -> int:
        return self.state.updates

    # ---- the life of a worker --------------------------------------------------------------------------------------

    def join(self, worker: int) -> None:
        """A worker that asks for parameters for the first time."""
        self.state.members.setdefault(worker, False)

    def members(self) -> list[int]:
        """The workers that have joined and not been forgotten."""
        return sorted(self.state.members)

    def idle(self) -> list[int]:
        """The workers that should now be handed a view."""
        return sorted(worker for worker, out in self.state.members.items() if not out)

    def view(self, worker: int) -> Tensor:
        """(k,) what is sent to this worker next, a vector of its own; recorded as sent and born."""
        state = self.state
        vector = self._view(worker)
        state.members[worker] = True
        state.born[worker] = state.updates
        state.rates[worker] = self.schedule(state.updates)
        if self.gaps or self._needs_sent():
            state.sent[worker] = vector
        return vector

    def rate(self, worker: int) -> float:
        """The learning rate that goes with the view that this worker holds."""
        return self.state.rates[worker]

    def receive(self, worker: int, payload: Tensor) -> Received:
        """One arrival: what `worker_side` makes of the gradient at the view, (k,). It is not changed. Raises ValueError
        if the worker holds no view, or for another shape."""
        state = self.state
        if not state.members.get(worker):
            raise ValueError(f"worker {worker} holds no parameters: call view({worker}) first")
        if payload.shape != state.theta.shape:
            raise ValueError(f"a payload of shape {tuple(payload.shape)} for {tuple(state.theta.shape)} parameters")
        lag, lr, update = state.updates - state.born[worker], state.rates[worker], state.updates
        raw, pre = self._measure(worker) if self.gaps else (None, None)
        self._apply(worker, payload, lr, lag)
        state.members[worker] = False
        for known in (state.born, state.rates, state.sent):
            known.pop(worker, None)
        self._arrived()
        return Received(worker, update, lag, lr, raw, pre)

    def forget(self, worker: int) -> None:
        """A worker is gone: what was sent to it and all that the method keeps for it go, too."""
        for known in (self.state.members, self.state.born, self.state.rates, self.state.sent):
            known.pop(worker, None)
        self._forget(worker)

    def recall(self) -> None:
        """For workers that a restart has not brought along: their views are void, and they have to join anew. What the
        method keeps for them stays: a worker that joins under its old number finds its momentum."""
        for known in (self.state.members, self.state.born, self.state.rates, self.state.sent):
            known.clear()

    def worker_side(self) -> WorkerSide:
        """What a worker does with a view, one object for each worker. By default it sends the gradient."""
        return SendGradient(self.weight_decay)

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def state_dict(self) -> Flat:
        """All that is remembered as a flat dict of tensors (the master's own) and numbers."""
        return flatten(self.state)

    def load_state_dict(self, flat: Flat) -> None:
        restore(self.state, flat, device=self.theta.device)

    def settings(self) -> dict[str, Any]:
        """The class and all numbers that the method depends on: a checkpoint belongs to these."""
        own = {name: value for name, value in vars(self).items() if name != "state"}
        plain = {name: _plain(value) for name, value in own.items()}
        return {"method": type(self).__name__, "parameters": self.theta.numel(), **plain}

    # ---- what a method implements ----------------------------------------------------------------------------------

    def _start(self, theta: Tensor) -> Any:
        return State(theta)

    def _apply(self, worker: int, payload: Tensor, lr: float, lag: int) -> None:
        raise NotImplementedError

    def _view(self, worker: int) -> Tensor:
        return self.state.theta.clone()

    def _ahead(self, worker: int) -> tuple[Tensor | None, float]:
        """v and gamma of the look-ahead point theta - gamma v that pre gaps are measured at."""
        return None, 0.0

    def _needs_sent(self) -> bool:
        return self.needs_sent

    def _forget(self, worker: int) -> None:
        """Drop what only this method keeps for a worker."""

    def _arrived(self) -> None:
        """Count the update; synchronous methods count rounds."""
        self.state.updates += 1

    def _measure(self, worker: int) -> tuple[float, float]:
        """Raw gap and pre gap of an arrival."""
        theta, sent = self.state.theta, self.state.sent[worker]
        v, gamma = self._ahead(worker)
        raw, pre = [], []
        for block in blocks(theta):
            raw.append(torch.linalg.vector_norm(theta[block] - sent[block]))
            if v is not None:
                ahead = torch.sub(theta[block], v[block], alpha=gamma)
                pre.append(torch.linalg.vector_norm(ahead.sub_(sent[block])))
        root = math.sqrt(theta.numel())
        of_raw = math.hypot(*(float(norm) for norm in raw)) / root
        return of_raw, math.hypot(*(float(norm) for norm in pre)) / root if pre else of_raw


def _plain(value: Any) -> Any:
    """A number as it is; a dataclass of settings as a dict with its name."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **asdict(value)}
    return value


def blocks(vector: Tensor) -> Iterator[slice]:
    """Slices that cover a vector: short ones on a CPU, where several operations in a row then find their numbers in the
    cache; the whole on other devices."""
    size = len(vector) if vector.device.type != "cpu" else BLOCK
    return (slice(start, start + size) for start in range(0, len(vector), size))


Gradient = Callable[[Tensor, int, int], tuple[Tensor, float]]
"""gradient(theta (k,), worker, number) -> (gradient (k,), loss). `number`: how many gradients this worker has computed
before; with a seed it fixes the batch, so that a resumed run needs no stored stream."""
