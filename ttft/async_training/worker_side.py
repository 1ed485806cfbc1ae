"""What a worker does between receiving parameters and sending something back.

One object for each worker, living where the worker lives; it can be pickled. What it keeps is the worker's and goes
with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ttft.async_training.flat_state import Flat, flatten, restore

GradientAt = Callable[[Tensor], tuple[Tensor, float]]
"""One worker's gradient function: parameters (k,) -> gradient (k,), loss; every call takes the next batch."""


class WorkerSide:
    """Base: `work` turns a view into a payload by computing `gradients` gradients."""

    gradients: int = 1
    state: Any = None

    def work(self, theta: Tensor, lr: float, gradient: GradientAt) -> tuple[Tensor, float]:
        """The payload (k,) for the view `theta` (k,), which is not changed, and the mean loss of its gradients."""
        raise NotImplementedError

    def state_dict(self) -> Flat:
        """What a worker keeps between two views; {} if nothing."""
        return flatten(self.state) if self.state is not None else {}

    def load_state_dict(self, flat: Flat) -> None:
        if self.state is not None:
            restore(self.state, flat)


class SendGradient(WorkerSide):
    """Payload: g + weight_decay * theta. Nothing is kept."""

    def __init__(self, weight_decay: float = 0.0) -> None:
        self.weight_decay = weight_decay

    def work(self, theta: Tensor, lr: float, gradient: GradientAt) -> tuple[Tensor, float]:
        g, loss = gradient(theta)
        return (g.add(theta, alpha=self.weight_decay) if self.weight_decay else g), loss


@dataclass
class SlimState:
    """v: (k,) the worker's momentum; None before its first gradient."""

    v: Tensor | None = None


class SlimMomentum(WorkerSide):
    """DANA-Slim's worker: v = gamma v + lr g; payload: gamma v + lr g.

    Nesterov's method in the form of Bengio et al. (arXiv 1212.0901), whose parameters are the look-ahead point.
    """

    def __init__(self, momentum: float, weight_decay: float = 0.0) -> None:
        self.momentum, self.weight_decay = momentum, weight_decay
        self.state = SlimState()

    def work(self, theta: Tensor, lr: float, gradient: GradientAt) -> tuple[Tensor, float]:
        g, loss = gradient(theta)
        if self.weight_decay:
            g = g.add(theta, alpha=self.weight_decay)
        if self.state.v is None:
            self.state.v = theta.new_zeros(theta.shape)
        return nesterov(self.state.v, g, lr, self.momentum), loss


def nesterov(v: Tensor, g: Tensor, lr: float, gamma: float) -> Tensor:
    """v <- gamma v + lr g, in place; returns gamma v + lr g, by which the look-ahead point moves down."""
    v.mul_(gamma).add_(g, alpha=lr)
    return v.mul(gamma).add_(g, alpha=lr)
