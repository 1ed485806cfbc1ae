"""Convex problems over a bounded set under delays of any length: AdaGrad-norm steps with anytime averaging (Aviv,
Hakimi, Schuster, Levy, ICML 2021, arXiv 2106.12261).

No delay, smoothness or noise level enters, only the set K, its diameter D, and a constant c (`SCALE`). For the t-th
view, weights a_t = t:

    x_t = (A_{t-1} x_{t-1} + a_t w) / A_t,  A_t = a_1 + ... + a_t           sent, and the result
    for a gradient g_s that arrives, computed at x_s:
        S = S + a_s^2 |g_s|^2
        w = Proj_K(w - c D / sqrt(2 S) a_s g_s)

The weight is that of the query s, whenever its gradient arrives. Since |x_t - x_{t-d}| <= 2 D d / (t - d + 2), a delay
of d costs less and less without being known. The abstract states guarantees that depend on no prior knowledge of
delays, smoothness or variance, for stochastic convex problems over a constrained set. The step above is our
reconstruction from such steps and anytime averaging (Cutkosky 2019); the paper's own step size was not at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ttft.async_training.checks import positive
from ttft.async_training.master import Master, State
from ttft.errors import ConfigError

SCALE = 1 / 16
"""Of D in the step. The theory's factor is 1; measured, on noisy problems, a sixteenth ends several times nearer to the
optimum, for different sets, delays and lengths of training (README.md), and costs little elsewhere."""


@dataclass(frozen=True)
class Ball:
    """All points within `radius` of the start, in the Euclidean norm."""

    radius: float

    def __post_init__(self) -> None:
        positive("radius", self.radius)

    def diameter(self, k: int) -> float:
        return 2 * self.radius

    def project(self, w: Tensor, center: Tensor) -> None:
        """Move w (k,) to the nearest point of the set, in place."""
        offset = w - center
        if (length := float(torch.linalg.vector_norm(offset))) > self.radius:
            torch.add(center, offset, alpha=self.radius / length, out=w)


@dataclass(frozen=True)
class Box:
    """All points no number of which is further than `radius` from that of the start."""

    radius: float

    def __post_init__(self) -> None:
        positive("radius", self.radius)

    def diameter(self, k: int) -> float:
        return 2 * self.radius * math.sqrt(k)

    def project(self, w: Tensor, center: Tensor) -> None:
        w.sub_(center).clamp_(-self.radius, self.radius).add_(center)


@dataclass
class AdaptiveState(State):
    """theta: x; w; center: the start; query: t; total: A; squares: S; queries: worker -> the s of its view."""

    w: Tensor = field(default_factory=lambda: torch.empty(0))
    center: Tensor = field(default_factory=lambda: torch.empty(0))
    query: int = 0
    total: float = 0.0
    squares: float = 0.0
    queries: dict[int, int] = field(default_factory=dict)


class DelayAdaptive(Master):
    """within: the set K, a Ball or a Box around the start (a number: a ball of that radius). scale: c, a factor of D;
    1 is the theory's. There is no learning rate. Memory: 3 k. Raises ConfigError for values out of range."""

    state: AdaptiveState

    def __init__(
        self, start: Tensor, *, within: Ball | Box | float, scale: float = SCALE, weight_decay: float = 0.0,
        gaps: bool = False,
    ) -> None:  # fmt: skip
        positive("scale", scale)
        if isinstance(within, (int, float)):
            within = Ball(float(within))
        if not isinstance(within, (Ball, Box)):
            raise ConfigError(f"within is {within!r}", "give Ball(radius), Box(radius) or a radius")
        self.within, self.scale = within, scale
        super().__init__(start, 1.0, weight_decay=weight_decay, gaps=gaps)
        self.step_of_one = scale * within.diameter(start.numel())

    def _start(self, theta: Tensor) -> AdaptiveState:
        return AdaptiveState(theta, w=theta.clone(), center=theta.clone())

    def _view(self, worker: int) -> Tensor:
        state = self.state
        state.query += 1
        state.total += state.query
        state.queries[worker] = state.query
        state.theta.lerp_(state.w, state.query / state.total)
        return state.theta.clone()

    def _apply(self, worker: int, payload: Tensor, lr: float, lag: int) -> None:
        state = self.state
        weight = state.queries.pop(worker)
        state.squares += (weight * float(torch.linalg.vector_norm(payload))) ** 2
        if state.squares > 0:
            state.w.sub_(payload, alpha=self.step_of_one / math.sqrt(2 * state.squares) * weight)
            self.within.project(state.w, state.center)

    def _forget(self, worker: int) -> None:
        self.state.queries.pop(worker, None)

    def recall(self) -> None:
        super().recall()
        self.state.queries.clear()
