"""Learning rates as a pure function of the update number.

A gradient is applied with the rate of the update at which its parameters were sent (`Master.rate`), so that a worker
that needs the rate itself (DANA-Slim) and the master always agree on it. With one worker this is the usual schedule;
with more it runs late by the lag of the gradient.

Warm-up rises linearly from lr / workers to lr, as Goyal et al. (arXiv 1706.02677) do for large batches and, as far as
we remember, the DANA paper for all its methods; the lengths are the caller's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ttft.async_training.checks import positive, within
from ttft.errors import ConfigError


@dataclass(frozen=True)
class Schedule:
    """rate = lr * warm-up * factor^(milestones passed) * cosine, each of them 1 unless asked for.

    lr          the learning rate after warm-up
    warmup      updates of the warm-up from lr / workers to lr
    workers     the divisor of the first rate
    milestones  update numbers from which on the rate is `factor` times lower
    total       updates over which a cosine falls from 1 to `floor` after the warm-up; None: no cosine
    Raises ConfigError for values that are out of range.
    """

    lr: float
    warmup: int = 0
    workers: int = 1
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    total: int | None = None
    floor: float = 0.0

    def __post_init__(self) -> None:
        positive("lr", self.lr)
        positive("factor", self.factor)
        within("floor", self.floor, 0.0, 1.0)
        if self.warmup < 0 or self.workers < 1:
            raise ConfigError(
                f"warmup is {self.warmup} and workers is {self.workers}", "give warmup >= 0 and workers >= 1"
            )
        if self.total is not None and self.total <= self.warmup:
            raise ConfigError(
                f"the cosine ends at update {self.total}, before the warm-up of {self.warmup} updates is over",
                "give a larger total or a shorter warmup",
            )

    def __call__(self, update: int) -> float:
        """The rate of update number `update`, from 0."""
        rate = self.lr * self.factor ** sum(update >= milestone for milestone in self.milestones)
        if update < self.warmup:
            first = 1 / self.workers
            return rate * (first + (1 - first) * update / self.warmup)
        if self.total is None:
            return rate
        done = min(1.0, (update - self.warmup) / (self.total - self.warmup))
        return rate * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2)


def as_schedule(lr: float | Schedule) -> Schedule:
    """A number as a constant schedule. Raises ConfigError unless it is positive."""
    return lr if isinstance(lr, Schedule) else Schedule(lr)
