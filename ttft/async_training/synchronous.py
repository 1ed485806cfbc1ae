"""Synchronous training as the baseline: all workers compute at the same parameters, the mean of their gradients is one
update.

A round is complete when every member has delivered; a worker that joins takes part in the round under way, one that
leaves takes its gradient with it. `updates` counts rounds, and lag is 0. The gradients are added in the order of the
workers' numbers, not of their arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw as torch_adamw

from ttft.async_training.checks import below_one
from ttft.async_training.master import Master, State
from ttft.async_training.schedule import Schedule
from ttft.async_training.worker_side import SendGradient, WorkerSide, nesterov


@dataclass
class RoundState(State):
    """pending: worker -> its payload of this round."""

    pending: dict[int, Tensor] = field(default_factory=dict)


class Synchronous(Master):
    """Base: collects a round and hands its mean to `_round`. Memory: N k for the payloads, besides the method's."""

    synchronous = True
    state: Any

    def idle(self) -> list[int]:
        return [worker for worker in super().idle() if worker not in self.state.pending]

    def _start(self, theta: Tensor) -> RoundState:
        return RoundState(theta)

    def _apply(self, worker: int, payload: Tensor, lr: float, lag: int) -> None:
        self.state.pending[worker] = payload.clone()

    def _arrived(self) -> None:
        self._close_round()

    def _forget(self, worker: int) -> None:
        self.state.pending.pop(worker, None)
        self._close_round()

    def _close_round(self) -> None:
        state = self.state
        if not state.pending or len(state.pending) < len(state.members):
            return
        mean = torch.zeros_like(state.theta)
        for worker in sorted(state.pending):
            mean.add_(state.pending[worker])
        self._round(mean.div_(len(state.pending)), self.schedule(state.updates))
        state.pending.clear()
        state.updates += 1

    def _round(self, mean: Tensor, lr: float) -> None:
        raise NotImplementedError


@dataclass
class SgdState(RoundState):
    """v: (k,) momentum."""

    v: Tensor = field(default_factory=lambda: torch.empty(0))


class Ssgd(Synchronous):
    """Synchronous SGD with Nesterov's momentum, v = gamma v + lr g; theta = theta - (gamma v + lr g), theta being the
    look-ahead point as in torch.optim.SGD(nesterov=True). Memory: 2 k besides the round's payloads."""

    def __init__(
        self, start: Tensor, lr: float | Schedule, *, momentum: float = 0.9, weight_decay: float = 0.0,
        gaps: bool = False,
    ) -> None:  # fmt: skip
        below_one("momentum", momentum)
        self.momentum = momentum
        super().__init__(start, lr, weight_decay=weight_decay, gaps=gaps)

    def _start(self, theta: Tensor) -> SgdState:
        return SgdState(theta, v=torch.zeros_like(theta))

    def _round(self, mean: Tensor, lr: float) -> None:
        self.state.theta.sub_(nesterov(self.state.v, mean, lr, self.momentum))


@dataclass
class AdamState(RoundState):
    """first, second: (k,) Adam's moments; updates counts their steps."""

    first: Tensor = field(default_factory=lambda: torch.empty(0))
    second: Tensor = field(default_factory=lambda: torch.empty(0))


class SyncAdamW(Synchronous):
    """AdamW on the mean gradient (torch.optim.AdamW's step and defaults). Memory: 3 k besides the payloads."""

    def __init__(
        self, start: Tensor, lr: float | Schedule, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, gaps: bool = False,
    ) -> None:  # fmt: skip
        for beta in betas:
            below_one("beta", beta)
        self.betas, self.eps = tuple(betas), eps
        super().__init__(start, lr, weight_decay=weight_decay, gaps=gaps)

    def worker_side(self) -> WorkerSide:
        return SendGradient()  # the decay is AdamW's: of the parameters, not of the gradient

    def _start(self, theta: Tensor) -> AdamState:
        return AdamState(theta, first=torch.zeros_like(theta), second=torch.zeros_like(theta))

    def _round(self, mean: Tensor, lr: float) -> None:
        state = self.state
        adamw(
            state.theta, state.first, state.second, mean, state.updates + 1, lr, self.betas, self.eps, self.weight_decay
        )


def adamw(
    theta: Tensor, first: Tensor, second: Tensor, g: Tensor, count: int, lr: float, betas: tuple[float, ...],
    eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """One step of torch.optim.AdamW, in place; count: number of this step, from 1."""
    torch_adamw(
        [theta], [g], [first], [second], [], [torch.tensor(float(count - 1))], foreach=False, amsgrad=False,
        beta1=betas[0], beta2=betas[1], lr=lr, weight_decay=weight_decay, eps=eps, maximize=False,
    )  # fmt: skip
