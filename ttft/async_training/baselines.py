"""The methods that DANA and Gap-Aware are compared with: ASGD, NAG-ASGD, Multi-ASGD, SA, DC-ASGD and LWP.

The rules are standard or from memory, not from the papers' texts; the corrections say where theirs come from
(`delay_compensation.py`).

    method      v                 sent
    ASGD        none              theta
    NAG-ASGD    one for all       theta - gamma v
    Multi-ASGD  one per worker    theta - gamma v[i]: the worker's own
    SA, DC      as NAG-ASGD, with a corrected gradient
    LWP         one for all       theta - T v, T the expected lag (Kosson et al., arXiv 2003.11666)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ttft.async_training.checks import positive
from ttft.async_training.delay_compensation import DelayCompensation, LagDivision
from ttft.async_training.momentum import Momentum
from ttft.async_training.schedule import Schedule
from ttft.errors import ConfigError


class Asgd(Momentum):
    """Asynchronous SGD without momentum. Memory: k, and with base="adam" another k."""

    def __init__(self, start: Tensor, lr: float | Schedule, **options: Any) -> None:
        """options: base, correction, weight_decay, gaps of Momentum. Raises ConfigError for a momentum."""
        if options.pop("momentum", 0):
            raise ConfigError("asgd has no momentum", "leave it out, or use nag-asgd, dana or dana-slim")
        super().__init__(start, lr, momentum=0.0, **options)


class NagAsgd(Momentum):
    """Nesterov's method with one momentum for all workers. Memory: 2 k."""

    def _view(self, worker: int) -> Tensor:
        return _look_ahead(self.state.theta, self._v(worker), self.momentum)


class MultiAsgd(Momentum):
    """Nesterov's method with a momentum for each worker, each sent its own look-ahead. Memory: (N + 1) k."""

    own = True

    def _view(self, worker: int) -> Tensor:
        return _look_ahead(self.state.theta, self._v(worker), self.momentum)


class StalenessAware(NagAsgd):
    """NAG-ASGD whose gradients are divided by their lag."""

    def __init__(self, start: Tensor, lr: float | Schedule, **options: Any) -> None:
        super().__init__(start, lr, correction=LagDivision(), **options)


class DcAsgd(NagAsgd):
    """NAG-ASGD with delay compensation. lambda_: its strength. Memory: (N + 2) k with what was sent."""

    def __init__(self, start: Tensor, lr: float | Schedule, *, lambda_: float = 2.0, **options: Any) -> None:
        super().__init__(start, lr, correction=DelayCompensation(lambda_), **options)


class AdaptiveDcAsgd(NagAsgd):
    """NAG-ASGD with adaptive delay compensation. Memory: (2 N + 2) k with what was sent."""

    def __init__(
        self, start: Tensor, lr: float | Schedule, *, lambda_: float = 2.0, decay: float = 0.95, **options: Any
    ) -> None:
        super().__init__(start, lr, correction=DelayCompensation(lambda_, adaptive=True, decay=decay), **options)


class Lwp(Momentum):
    """Linear weight prediction. horizon: T; None: workers - 1 + gamma, the lag of workers that take turns and gamma
    for the step itself, so that one worker gives Nesterov's method (our choice). Memory: 2 k."""

    def __init__(self, start: Tensor, lr: float | Schedule, *, horizon: float | None = None, **options: Any) -> None:
        if horizon is not None:
            positive("horizon", horizon)
        self.horizon = horizon
        super().__init__(start, lr, **options)

    def _view(self, worker: int) -> Tensor:
        others = max(0, len(self.state.members) - 1)
        return _look_ahead(
            self.state.theta, self._v(worker), others + self.momentum if self.horizon is None else self.horizon
        )


def _look_ahead(theta: Tensor, v: Tensor | None, by: float) -> Tensor:
    return theta.clone() if v is None else torch.sub(theta, v, alpha=by)
