"""Asynchronous SGD with momentum: the step that ASGD, NAG-ASGD, Multi-ASGD, DANA and their corrected forms share.

On a gradient g of worker i, computed at sent[i] with rate lr:

    g      = correction(g)                   Gap-Aware, delay compensation, staleness; none by default
    v      = gamma v + lr g                  v: one for each worker, or one that all share
    theta  = theta - v

The methods differ in whose v this is and in the look-ahead point that is sent (`_view`). With gamma = 0 there is no v.

base="adam" puts Adam's denominator before the momentum, as LaProp does (arXiv 2002.04839, from memory), so that every
method here works with it unchanged: s = b2 s + (1-b2) g^2 and g = (1-gamma) g / (sqrt(s / (1-b2^n)) + eps), with one s
for all workers and n counting arrivals. Weight decay is then not divided (as in AdamW). That this is a good
preconditioner for stale gradients is our choice and no paper's claim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from ttft.async_training.checks import below_one
from ttft.async_training.master import Master, State, blocks
from ttft.async_training.schedule import Schedule
from ttft.async_training.worker_side import SendGradient, WorkerSide
from ttft.errors import ConfigError

SHARED = -1  # the key of the momentum that all workers share
BETA2, EPS = 0.999, 1e-8
REFRESH = 1000  # updates after which the sum of the momenta is added up anew, against the drift of float32

Correct = Callable[[slice, Tensor, Tensor, "Tensor | None"], Tensor]
"""correct(block, g, gap, v) -> corrected g, all of one block. `gap`, theta - gamma v - sent, may be overwritten; it is
g itself for a correction that does not need it."""


class Stale(NamedTuple):
    """A gradient that has arrived. key: that of its momentum; theta: (k,) the master's, before the step."""

    worker: int
    key: int
    lr: float
    lag: int
    gamma: float
    theta: Tensor


class Correction(Protocol):
    """Changes a stale gradient before the momentum takes it up. A frozen dataclass of its settings."""

    plain_gradients: ClassVar[bool]  # not to be combined with a preconditioner
    needs_gap: ClassVar[bool]  # and so what was sent to each worker

    def start(self, theta: Tensor) -> Any:
        """Its state, a dataclass, or None."""

    def arrival(self, state: Any, stale: Stale) -> Correct:
        """Take note of an arrival, and return what corrects its gradient."""

    def forget(self, state: Any, worker: int) -> None: ...


@dataclass
class MomentumState(State):
    """momenta: worker (or SHARED) -> v; total: their sum; second, seconds: s and n of the preconditioner."""

    momenta: dict[int, Tensor] = field(default_factory=dict)
    total: Tensor | None = None
    second: Tensor | None = None
    seconds: int = 0
    correction: Any = None


class Momentum(Master):
    """momentum: gamma, from 0 to below 1; base: "sgd" or "adam"; correction: None or a Correction. The rest as Master.

    Raises ConfigError for values out of range, and for a correction that needs plain gradients with base="adam".
    """

    own: ClassVar[bool] = False
    keeps_total: ClassVar[bool] = False
    state: MomentumState

    def __init__(
        self,
        start: Tensor,
        lr: float | Schedule,
        *,
        momentum: float = 0.9,
        base: str = "sgd",
        correction: Correction | None = None,
        weight_decay: float = 0.0,
        gaps: bool = False,
    ) -> None:
        below_one("momentum", momentum)
        if base not in ("sgd", "adam"):
            raise ConfigError(f"unknown base {base!r}", "bases: sgd, adam")
        if base == "adam" and correction is not None and correction.plain_gradients:
            raise ConfigError("delay compensation works on plain gradients only", "use base sgd")
        self.momentum, self.base, self.correction = momentum, base, correction
        super().__init__(start, lr, weight_decay=weight_decay, gaps=gaps)

    def worker_side(self) -> WorkerSide:
        return SendGradient(self.weight_decay if self.base == "sgd" else 0.0)

    def _needs_sent(self) -> bool:
        of_correction = self.correction is not None and self.correction.needs_gap
        return of_correction or (self.base == "adam" and self.weight_decay > 0)

    def _start(self, theta: Tensor) -> MomentumState:
        return MomentumState(
            theta,
            total=torch.zeros_like(theta) if self.keeps_total and self.momentum else None,
            second=torch.zeros_like(theta) if self.base == "adam" else None,
            correction=self.correction.start(theta) if self.correction else None,
        )

    def _key(self, worker: int) -> int:
        return worker if self.own else SHARED

    def _v(self, worker: int) -> Tensor | None:
        """The momentum of a worker's gradients, made when first needed; None without momentum."""
        if not self.momentum:
            return None
        if (v := self.state.momenta.get(key := self._key(worker))) is None:
            v = self.state.momenta[key] = torch.zeros_like(self.state.theta)
        return v

    def _ahead(self, worker: int) -> tuple[Tensor | None, float]:
        return self._v(worker), self.momentum

    def _apply(self, worker: int, payload: Tensor, lr: float, lag: int) -> None:
        state, v = self.state, self._v(worker)
        state.seconds += self.base == "adam"
        correct = None
        if self.correction:
            stale = Stale(worker, self._key(worker), lr, lag, self.momentum, state.theta)
            correct = self.correction.arrival(state.correction, stale)
        for block in blocks(state.theta):
            g = payload[block] if self.base == "sgd" else self._preconditioned(worker, payload[block], block)
            here = v[block] if v is not None else None
            if correct is not None:
                gap = self._gap(worker, block, here) if self.correction and self.correction.needs_gap else g
                g = correct(block, g, gap, here)
            step(
                state.theta[block], here, state.total[block] if state.total is not None else None, g, lr, self.momentum
            )

    def _gap(self, worker: int, block: slice, v: Tensor | None) -> Tensor:
        """theta - gamma v - sent; the look-ahead point first, so that the gap is exactly 0 where nothing has moved."""
        theta, sent = self.state.theta[block], self.state.sent[worker][block]
        return theta - sent if v is None else torch.sub(theta, v, alpha=self.momentum).sub_(sent)

    def _preconditioned(self, worker: int, g: Tensor, block: slice) -> Tensor:
        assert self.state.second is not None
        s = self.state.second[block]
        s.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
        g = g / (s / (1 - BETA2**self.state.seconds)).sqrt_().add_(EPS)
        if self.weight_decay:
            g.add_(self.state.sent[worker][block], alpha=self.weight_decay)
        return g.mul_(1 - self.momentum)

    def _arrived(self) -> None:
        super()._arrived()
        if self.state.updates % REFRESH == 0:
            self._refresh()

    def _refresh(self) -> None:
        if self.state.total is not None:
            self.state.total.zero_()
            for worker in sorted(self.state.momenta):
                self.state.total.add_(self.state.momenta[worker])

    def _forget(self, worker: int) -> None:
        if self.correction:
            self.correction.forget(self.state.correction, worker)
        if self.state.momenta.pop(worker, None) is not None:
            self._refresh()


def step(theta: Tensor, v: Tensor | None, total: Tensor | None, g: Tensor, lr: float, gamma: float) -> None:
    """v <- gamma v + lr g, theta <- theta - v, total <- total + (v_new - v_old), in place. With one worker the total is
    v to the last bit."""
    if v is None:
        theta.sub_(g, alpha=lr)
        return
    if total is not None:
        total.sub_(v)
    v.mul_(gamma).add_(g, alpha=lr)
    theta.sub_(v)
    if total is not None:
        total.add_(v)
