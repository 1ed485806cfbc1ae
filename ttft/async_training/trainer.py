"""The loop of asynchronous training: gradients arrive from a cluster, a master takes them, views go out.

gradient  what a worker computes: `master.Gradient`; `modules.ModuleGradient` makes one of a torch module
master    one of `masters.MASTERS`; holds the parameters
cluster   who computes, and when: `simulator.Simulated` or real processes
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ttft.async_training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from ttft.async_training.checks import whole
from ttft.async_training.cluster import Arrived, Cluster, Joined, Left
from ttft.async_training.flat_state import Flat, below
from ttft.async_training.master import Gradient, Master
from ttft.errors import TtftError
from ttft.progress import OnProgress, Progress, ignore


@dataclass(frozen=True, slots=True)
class Arrival:
    """One arrival, for logs. lag, lr and gaps as master.Received; time: seconds of the cluster's clock; number:
    gradients that the worker had computed before; gradients: all that have arrived, this one included."""

    worker: int
    update: int
    lag: int
    lr: float
    loss: float
    time: float
    number: int
    gradients: int
    raw_gap: float | None = None
    pre_gap: float | None = None


class AsyncTrainer:
    """Trains master.theta. The master has the start; nothing is computed before `run`."""

    def __init__(self, gradient: Gradient, master: Master, cluster: Cluster) -> None:
        self.gradient, self.master, self.cluster = gradient, master, cluster
        self.gradients = 0  # that have arrived: in synchronous methods several for each update
        self._started = False

    def run(
        self,
        updates: int,
        *,
        on_arrival: Callable[[Arrival], None] = ignore,
        on_progress: OnProgress = ignore,
        before_checkpoint: Callable[[], None] = lambda: None,
        checkpoint: Path | None = None,
        every: int = 100,
    ) -> Tensor:
        """Train until the master has had `updates` updates in all, and return its parameters (k,).

        checkpoint  a folder: a checkpoint is written there every `every` updates and at the end. If it holds one, the
                    run goes on from there; with a simulated cluster it then equals an undisturbed run bit for bit
        before_checkpoint  called before each is written: what must be on disk by then, such as a log
        Raises TtftError if the loss is not finite or no worker is left, ConfigError for a checkpoint of other settings.
        """
        whole("every", every)
        self.begin(checkpoint)
        saved = self.master.updates
        while self.master.updates < updates:
            self._next(on_arrival)
            if self.master.updates == saved or self.master.updates % every:
                continue
            saved = self.master.updates
            on_progress(Progress("training", saved, updates, "updates", f"{len(self.cluster.workers())} workers"))
            if checkpoint is not None:
                before_checkpoint()
                self.save(checkpoint)
        if checkpoint is not None and saved != self.master.updates:
            before_checkpoint()
            self.save(checkpoint)
        return self.master.theta

    def begin(self, checkpoint: Path | None = None) -> None:
        """Start the cluster, and go on from the folder's checkpoint if it holds one. `run` does this by itself."""
        if self._started:
            return
        self.cluster.start(self.gradient, self.master.worker_side)
        self._started = True
        if checkpoint is not None and has_checkpoint(checkpoint):
            self.load(checkpoint)

    def _next(self, on_arrival: Callable[[Arrival], None]) -> None:
        """One event, and the views that it makes due."""
        event = self.cluster.wait()
        if isinstance(event, Joined):
            self.master.join(event.worker)
        elif isinstance(event, Left):
            self.master.forget(event.worker)
        else:
            on_arrival(self._receive(event))
        self._hand_out()

    def _receive(self, event: Arrived) -> Arrival:
        if not math.isfinite(event.loss):
            raise TtftError(
                f"the loss is {event.loss} at update {self.master.updates}, from worker {event.worker}",
                "lower the learning rate (with 16 workers often to a quarter), or use fewer workers or --method adamw",
            )
        got = self.master.receive(event.worker, event.payload)
        self.gradients += 1
        return Arrival(
            event.worker, got.update, got.lag, got.lr, event.loss, event.time, event.number, self.gradients,
            got.raw_gap, got.pre_gap,
        )  # fmt: skip

    def _hand_out(self) -> None:
        for worker in self.master.idle():
            self.cluster.send(worker, self.master.view(worker), self.master.rate(worker))

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write a checkpoint. Raises DiskFull, TtftError."""
        flat = {f"master/{key}": value for key, value in self.master.state_dict().items()}
        flat |= {f"cluster/{key}": value for key, value in self.cluster.state_dict().items()}
        save_checkpoint(folder, flat | {"gradients": self.gradients}, self._settings())

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint. Raises ConfigError, MissingArtifact."""
        read, device = load_checkpoint(folder, self._settings()), self.master.theta.device
        flat: Flat = {key: part.to(device) if isinstance(part, Tensor) else part for key, part in read.items()}
        self.gradients = flat["gradients"]
        self.master.load_state_dict(below(flat, "master/"))
        self.cluster.load_state_dict(below(flat, "cluster/"))
        present = self.cluster.workers()
        if not self.cluster.keeps_views:
            self.master.recall()
            for worker in present:
                self.master.join(worker)
            self._hand_out()
            return
        for worker in self.master.members():
            if worker not in present:
                self.master.forget(worker)

    def _settings(self) -> dict[str, Any]:
        return {"master": self.master.settings(), "cluster": self.cluster.settings()}
