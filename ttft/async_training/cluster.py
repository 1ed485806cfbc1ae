"""What the trainer needs of a cluster: workers that are sent parameters and deliver payloads.

`simulator.Simulated` is one; others run worker processes. A cluster makes one WorkerSide for each worker, counts the
gradients of each (`number`), and tells of workers that come and go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ttft.async_training.flat_state import Flat
from ttft.async_training.master import Gradient
from ttft.async_training.worker_side import WorkerSide


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker is there and waits for parameters. time: the cluster's clock, in seconds (simulated ones, too)."""

    worker: int
    time: float


@dataclass(frozen=True, slots=True)
class Left:
    """A worker is gone, and what it was computing with it."""

    worker: int
    time: float


@dataclass(frozen=True, slots=True)
class Arrived:
    """A payload (k,) for the view that the worker holds. number: gradients it had computed before; loss: the mean of
    those in the payload."""

    worker: int
    time: float
    payload: Tensor
    loss: float
    number: int


Event = Joined | Left | Arrived


class Cluster(Protocol):
    keeps_views: bool
    """Whether its state holds the views that are out, so that a resumed run goes on exactly. If not, all are sent anew
    after a restart."""

    @property
    def clock(self) -> float:
        """Seconds of training, simulated ones of a simulated cluster; of a resumed run, those before included."""

    def start(self, gradient: Gradient, side: Callable[[], WorkerSide]) -> None:
        """Before anything else. `side` makes what a new worker does with its views."""

    def workers(self) -> list[int]:
        """The workers that have joined and not left."""

    def send(self, worker: int, theta: Tensor, lr: float) -> None:
        """Hand a view (k,) and its learning rate to a worker that holds none."""

    def wait(self) -> Event:
        """The next event. Raises TtftError when none can come any more."""

    def state_dict(self) -> Flat:
        """Flat dict of tensors and numbers, as `Master.state_dict`."""

    def load_state_dict(self, flat: Flat) -> None:
        """After `start`."""

    def settings(self) -> dict:
        """All numbers that its events depend on: a checkpoint belongs to these. {} if they are not reproducible."""
