"""Corrections older than DANA: delay compensation, and division by the lag."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ttft.async_training.checks import below_one, not_negative
from ttft.async_training.momentum import Correct, Stale


@dataclass
class Squares:
    """worker -> the moving average of its squared gradients; empty unless the compensation adapts."""

    squares: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class DelayCompensation:
    """DC-ASGD (Zheng et al., arXiv 1609.08326): g = g + lambda g g (theta - sent), with g g for the diagonal of the
    Hessian.

    adaptive: lambda / sqrt(m + 1e-7) instead of lambda, with m = decay m + (1-decay) g g for each worker; another k
    numbers for each worker. Formula and constants as in Microsoft's parameter server; lambda 2 and decay 0.95 are
    quoted second-hand as the paper's on CIFAR-10. Theta is taken at the look-ahead point theta - gamma v, so that one
    worker gives Nesterov's method for every lambda (our choice).
    """

    plain_gradients: ClassVar[bool] = True
    needs_gap: ClassVar[bool] = True
    lambda_: float = 2.0
    adaptive: bool = False
    decay: float = 0.95

    def __post_init__(self) -> None:
        not_negative("lambda", self.lambda_)
        below_one("decay", self.decay)

    def start(self, theta: Tensor) -> Squares:
        return Squares()

    def arrival(self, state: Squares, stale: Stale) -> Correct:
        if not self.adaptive:
            return lambda block, g, gap, v: torch.addcmul(g, g * g, gap, value=self.lambda_)
        if stale.worker not in state.squares:
            state.squares[stale.worker] = torch.zeros_like(stale.theta)
        squares = state.squares[stale.worker]

        def adapting(block: slice, g: Tensor, gap: Tensor, v: Tensor | None) -> Tensor:
            m = squares[block].mul_(self.decay).addcmul_(g, g, value=1 - self.decay)
            return torch.addcmul(g, g * g, gap.div_((m + 1e-7).sqrt_()), value=self.lambda_)

        return adapting

    def forget(self, state: Squares, worker: int) -> None:
        state.squares.pop(worker, None)


@dataclass(frozen=True)
class LagDivision:
    """Staleness-aware: g = g / max(1, lag) (Zhang et al., arXiv 1511.05950, who lower the learning rate by the
    staleness).

    Here the gradient is divided, not the momentum that is in the step, too; the floor of 1 is from second-hand notes.
    """

    plain_gradients: ClassVar[bool] = False
    needs_gap: ClassVar[bool] = False

    def start(self, theta: Tensor) -> None:
        return None

    def arrival(self, state: None, stale: Stale) -> Correct:
        factor = 1 / max(1, stale.lag)
        return lambda block, g, gap, v: g if factor == 1 else g * factor

    def forget(self, state: None, worker: int) -> None:
        """Nothing is kept."""
