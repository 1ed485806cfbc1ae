"""Local training: a worker takes H steps of its own and sends the difference; far less is sent than with gradients.

`DiLoCo` (Douillard et al., arXiv 2311.08105): inner AdamW, and on the mean of the differences an outer SGD with
Nesterov's momentum. Each worker keeps its AdamW state from round to round.

`AsyncDiLoCo` (Liu et al., arXiv 2401.09135): differences are applied as they come, with a delayed Nesterov step. The
momentum takes up the mean of every `every` differences and is applied at that moment only, since a momentum applied at
every stale arrival makes training unstable:

    buffer = buffer + d;  at every `every`-th arrival: m = beta m + buffer / every, buffer = 0, theta -= lr beta m
    theta  = theta - lr d / every                                          at each arrival

Both are from memory of the papers, not from their texts: the outer rate 0.7, momentum 0.9 and the inner settings are to
be chosen by the caller. (The paper's second form, which spreads the momentum over the arrivals, is left out.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ttft.async_training.checks import below_one, not_negative, positive, whole
from ttft.async_training.master import Master, State
from ttft.async_training.schedule import Schedule
from ttft.async_training.synchronous import Ssgd, adamw
from ttft.async_training.worker_side import GradientAt, WorkerSide
from ttft.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    """A worker's own steps. steps: H; optimizer: "adamw" or "sgd"; lr, weight_decay: of the inner optimizer."""

    lr: float
    steps: int = 50
    optimizer: str = "adamw"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        positive("the inner lr", self.lr)
        whole("inner steps", self.steps)
        not_negative("the inner weight_decay", self.weight_decay)
        if self.optimizer not in ("adamw", "sgd"):
            raise ConfigError(f"unknown inner optimizer {self.optimizer!r}", "inner optimizers: adamw, sgd")


@dataclass
class LocalState:
    """AdamW's moments (k,) and steps."""

    first: Tensor | None = None
    second: Tensor | None = None
    count: int = 0


class LocalSteps(WorkerSide):
    """Payload: theta - (theta after H inner steps)."""

    def __init__(self, inner: Inner) -> None:
        self.inner, self.gradients, self.state = inner, inner.steps, LocalState()

    def work(self, theta: Tensor, lr: float, gradient: GradientAt) -> tuple[Tensor, float]:
        here, losses = theta.clone(), 0.0
        for _ in range(self.inner.steps):
            g, loss = gradient(here)
            losses += loss
            self._step(here, g)
        return theta - here, losses / self.inner.steps

    def _step(self, here: Tensor, g: Tensor) -> None:
        inner, state = self.inner, self.state
        if inner.optimizer == "sgd":
            here.sub_(g.add(here, alpha=inner.weight_decay) if inner.weight_decay else g, alpha=inner.lr)
            return
        if state.first is None:
            state.first, state.second = torch.zeros_like(here), torch.zeros_like(here)
        state.count += 1
        adamw(here, state.first, state.second, g, state.count, inner.lr, (0.9, 0.999), 1e-8, inner.weight_decay)


class DiLoCo(Ssgd):
    """inner: what the workers do between two rounds; lr, momentum: of the outer step. Memory as Ssgd."""

    def __init__(
        self, start: Tensor, lr: float | Schedule = 0.7, *, inner: Inner, momentum: float = 0.9, gaps: bool = False
    ) -> None:
        self.inner = inner
        super().__init__(start, lr, momentum=momentum, gaps=gaps)

    def worker_side(self) -> WorkerSide:
        return LocalSteps(self.inner)


@dataclass
class DelayedState(State):
    """m, buffer: (k,); collected: differences in the buffer."""

    m: Tensor = field(default_factory=lambda: torch.empty(0))
    buffer: Tensor = field(default_factory=lambda: torch.empty(0))
    collected: int = 0


class AsyncDiLoCo(Master):
    """inner as DiLoCo; every: arrivals between two momentum steps, best the number of workers. Memory: 3 k."""

    state: DelayedState

    def __init__(
        self, start: Tensor, lr: float | Schedule = 0.7, *, inner: Inner, momentum: float = 0.9, every: int = 8,
        gaps: bool = False,
    ) -> None:  # fmt: skip
        below_one("momentum", momentum)
        whole("every", every)
        self.inner, self.momentum, self.every = inner, momentum, every
        super().__init__(start, lr, gaps=gaps)

    def worker_side(self) -> WorkerSide:
        return LocalSteps(self.inner)

    def _start(self, theta: Tensor) -> DelayedState:
        return DelayedState(theta, m=torch.zeros_like(theta), buffer=torch.zeros_like(theta))

    def _apply(self, worker: int, payload: Tensor, lr: float, lag: int) -> None:
        state = self.state
        state.buffer.add_(payload)
        state.collected += 1
        if state.collected == self.every:
            state.m.mul_(self.momentum).add_(state.buffer, alpha=1 / self.every)
            state.theta.sub_(state.m, alpha=lr * self.momentum)
            state.buffer.zero_()
            state.collected = 0
        state.theta.sub_(payload, alpha=lr / self.every)
