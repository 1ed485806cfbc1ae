"""DANA: momentum for asynchronous training (Hakimi, Barkai, Gabel, Schuster, arXiv 1907.11612).

Every worker has a momentum of its own, and is sent where the parameters will be when its gradient comes back: until
then each of the N workers will have moved theta by gamma v[j] at least, which is known in advance.

    v[i]    = gamma v[i] + lr g
    theta   = theta - v[i]
    view(i) = theta - gamma sum_j v[j]          for every i

With workers that take turns, what is left of the gap at the look-ahead point, (theta - gamma v[i]) - sent[i], is
- lr sum of the other workers' latest gradients, to rounding: the gap of SGD without momentum.

The abstract states: gradients at an estimated future position of the parameters, momentum "with almost no ramifications
to final accuracy". The formulas are our reconstruction, the paper's text was not at hand; that all the identities above
hold is tested. `DanaSlim` is the same sequence of views with nothing at the master but the parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ttft.async_training.checks import below_one
from ttft.async_training.delay_compensation import DelayCompensation
from ttft.async_training.master import Master
from ttft.async_training.momentum import Momentum
from ttft.async_training.schedule import Schedule
from ttft.async_training.worker_side import SlimMomentum, WorkerSide


class DanaZero(Momentum):
    """DANA with the momenta at the master. Memory: (N + 2) k: theta, the momenta and their sum, which makes an arrival
    cost O(k), not O(N k). With one worker it is Nesterov's method.

    When a worker is forgotten its momentum goes, and the look-ahead of the others no longer counts on it.
    """

    own = True
    keeps_total = True

    def _view(self, worker: int) -> Tensor:
        state = self.state
        if state.total is None:
            return state.theta.clone()
        return torch.sub(state.theta, state.total, alpha=self.momentum)


class DanaDc(DanaZero):
    """DANA with delay compensation; lambda_: its strength. Memory: (2 N + 2) k with what was sent."""

    def __init__(self, start: Tensor, lr: float | Schedule, *, lambda_: float = 2.0, **options: Any) -> None:
        super().__init__(start, lr, correction=DelayCompensation(lambda_), **options)


class DanaSlim(Master):
    """DANA with the momenta at the workers. Memory at the master: k.

        worker: v = gamma v + lr g, sends u = gamma v + lr g         master: Theta = Theta - u, view = Theta

    Theta is theta - gamma sum_j v[j] of DANA-Zero: the views of both are the same under any order of arrivals and any
    schedule, for as long as no worker leaves. (The momentum of a worker that leaves stays in Theta.) `theta` is this
    look-ahead point. The preconditioner and the corrections need the master's momenta: use DANA-Zero.
    """

    def __init__(
        self, start: Tensor, lr: float | Schedule, *, momentum: float = 0.9, weight_decay: float = 0.0,
        gaps: bool = False,
    ) -> None:  # fmt: skip
        below_one("momentum", momentum)
        self.momentum = momentum
        super().__init__(start, lr, weight_decay=weight_decay, gaps=gaps)

    def worker_side(self) -> WorkerSide:
        return SlimMomentum(self.momentum, self.weight_decay)

    def _apply(self, worker: int, payload: Tensor, lr: float, lag: int) -> None:
        self.state.theta.sub_(payload)
