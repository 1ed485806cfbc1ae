"""Gap-Aware: stale gradients are divided by a penalty that is linear in the gap (Barkai, Hakimi, Schuster, ICLR 2020,
arXiv 1909.10802).

**Patented.** The method is covered by US patent 11,631,035 B2 (Technion; granted 2023, expiry 2040) and
WO2021/090323. Using it may need a licence of its holder; the licence of this software does not grant one.

For each number, with v the momentum before this gradient (g itself where there is no momentum) and n the arrivals:

    q       = b q + (1-b) v^2
    C       = lr_max (sqrt(q / (1-b^n)) + eps)          how far one step moves; lr_max: the largest rate so far
    penalty = 1 + |gap| / C
    g       = g / penalty                               then the momentum step as usual

After a drop of the learning rate the gap shrinks and C does not, so that stale gradients count for more again.

Source: the paper's text was not at hand. The rule for each number is the one in FTPipe's optimiser (one of its authors
is an author of the paper), which has a staleness of one step. That the gap is measured at the look-ahead point
theta - gamma v, against what the worker was sent, is our choice: with one worker the method is then Nesterov's, which
the plain difference theta - sent would break. Momentum stands here in steps (v includes the rate), so it is divided by
the mean rate of the gradients in it before it enters q. With base="adam" the same rule is applied to the preconditioned
gradient (our choice; FTPipe's Adam form averages the squared steps, without the correction 1-b^n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ttft.async_training.baselines import NagAsgd
from ttft.async_training.checks import below_one, positive
from ttft.async_training.dana import DanaZero
from ttft.async_training.momentum import Correct, Stale
from ttft.async_training.schedule import Schedule


@dataclass
class GapState:
    """q, n, lr_max, and for each momentum vector the sums of gamma^age and of gamma^age * rate over its gradients."""

    mean_square: Tensor
    count: int = 0
    lr_max: float = 0.0
    masses: dict[int, float] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class GapPenalty:
    """The correction: for any of the momentum masters. decay: b; eps: of C, in units of a gradient."""

    plain_gradients: ClassVar[bool] = False
    needs_gap: ClassVar[bool] = True
    decay: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        below_one("decay", self.decay)
        positive("eps", self.eps)

    def start(self, theta: Tensor) -> GapState:
        return GapState(torch.zeros_like(theta))

    def arrival(self, state: GapState, stale: Stale) -> Correct:
        key, lr, gamma = stale.key, stale.lr, stale.gamma
        state.count += 1
        state.lr_max = max(state.lr_max, lr)
        mass, rate = state.masses.get(key, 0.0), state.rates.get(key, 0.0)
        per_rate = mass / rate if mass else 1.0  # v in units of a gradient is v * per_rate
        state.masses[key], state.rates[key] = gamma * mass + 1, gamma * rate + lr
        bias = 1 - self.decay**state.count

        def correct(block: slice, g: Tensor, gap: Tensor, v: Tensor | None) -> Tensor:
            typical, scale = (g, 1.0) if v is None else (v, per_rate)
            q = state.mean_square[block]
            q.mul_(self.decay).addcmul_(typical, typical, value=(1 - self.decay) * scale * scale)
            return share_left(gap, q, bias, state.lr_max, self.eps).mul_(g)

        return correct

    def forget(self, state: GapState, worker: int) -> None:
        state.masses.pop(worker, None)
        state.rates.pop(worker, None)


def share_left(gap: Tensor, mean_square: Tensor, bias: float, lr_max: float, eps: float) -> Tensor:
    """1 / penalty = C / (C + |gap|) for each number; exactly 1 where the gap is 0. `gap` is overwritten."""
    c = mean_square.sqrt().mul_(lr_max / math.sqrt(bias)).add_(lr_max * eps)
    return c.div_(gap.abs_().add_(c))


class GapAware(NagAsgd):
    """GA with one shared momentum, sent at its look-ahead point; with momentum=0, GA on plain ASGD. decay: of the
    penalty's scale. Memory: (N + 3) k with what was sent."""

    def __init__(self, start: Tensor, lr: float | Schedule, *, decay: float = 0.999, **options: Any) -> None:
        super().__init__(start, lr, correction=GapPenalty(decay), **options)


class DanaGapAware(DanaZero):
    """DANA with GA: a momentum for each worker, DANA's look-ahead, and the penalty. Memory: (2 N + 3) k."""

    def __init__(self, start: Tensor, lr: float | Schedule, *, decay: float = 0.999, **options: Any) -> None:
        super().__init__(start, lr, correction=GapPenalty(decay), **options)
