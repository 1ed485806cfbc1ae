"""How long a batch takes in the simulator: pure functions of (seed, worker, number), so that no stream must be stored.

`GammaTimes` is the model of Ali et al. (2000) with which asynchronous training is often simulated, in DANA's and
Gap-Aware's papers, too (from memory, V_task = 0.1 and V_mach = 0.6):

    homogeneous      T ~ Gamma(shape = 1/V_task^2, mean)
    heterogeneous    m_i ~ Gamma(1/V_mach^2, mean) once for each machine, T ~ Gamma(1/V_task^2, m_i)

so that 0.9% and 28% of the batches take more than 1.25 times the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ttft.async_training.checks import positive, whole

V_TASK, V_MACHINE = 0.1, 0.6
MACHINE, BATCH = 0, 1  # which stream of random numbers


class Times(Protocol):
    """Simulated seconds of a worker's batch number `number`. A dataclass of its settings."""

    def __call__(self, worker: int, number: int) -> float: ...


@dataclass(frozen=True)
class GammaTimes:
    """mean: simulated seconds of a batch on average."""

    seed: int = 0
    heterogeneous: bool = False
    mean: float = 1.0

    def __post_init__(self) -> None:
        positive("mean", self.mean)
        whole("seed", self.seed, 0)

    def __call__(self, worker: int, number: int) -> float:
        return gamma(self.of_machine(worker), V_TASK, self.seed, BATCH, worker, number)

    def of_machine(self, worker: int) -> float:
        """The mean time of one worker's batches."""
        return gamma(self.mean, V_MACHINE, self.seed, MACHINE, worker) if self.heterogeneous else self.mean


def gamma(mean: float, variation: float, *key: int) -> float:
    """A gamma variate of this mean and coefficient of variation, fixed by the key of whole numbers."""
    shape = 1 / variation**2
    return float(np.random.default_rng(key).gamma(shape, mean / shape))


@dataclass(frozen=True)
class ConstantTimes:
    """Every batch takes the same time: workers take turns, and every lag is N - 1."""

    mean: float = 1.0

    def __post_init__(self) -> None:
        positive("mean", self.mean)

    def __call__(self, worker: int, number: int) -> float:
        return self.mean


@dataclass(frozen=True)
class ParetoTimes:
    """Heavy tails: mean * Pareto(shape) / its mean, at most `longest` times the mean. shape above 1; near 1 a few
    batches take as long as thousands of others."""

    seed: int = 0
    shape: float = 1.2
    mean: float = 1.0
    longest: float = 1000.0

    def __post_init__(self) -> None:
        positive("mean", self.mean)
        positive("shape - 1", self.shape - 1)
        whole("seed", self.seed, 0)

    def __call__(self, worker: int, number: int) -> float:
        drawn = 1 + np.random.default_rng((self.seed, BATCH, worker, number)).pareto(self.shape)
        return self.mean * min(float(drawn) * (self.shape - 1) / self.shape, self.longest)
