"""Checks of the numbers that callers pass in; each raises ConfigError that names the argument and the range."""

from __future__ import annotations

import math

import torch

from ttft.errors import ConfigError


def positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value}", f"give a positive {name}")


def not_negative(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{name} is {value}", f"give {name} >= 0")


def within(name: str, value: float, low: float, high: float) -> None:
    """low <= value <= high."""
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}", f"give {name} from {low:g} to {high:g}")


def below_one(name: str, value: float) -> None:
    """0 <= value < 1: a momentum or the decay of a moving average."""
    if not 0 <= value < 1:
        raise ConfigError(f"{name} is {value}", f"give {name} >= 0 and below 1")


def whole(name: str, value: int, least: int = 1) -> None:
    if value != int(value) or value < least:
        raise ConfigError(f"{name} is {value}", f"give a whole number of {name}, at least {least}")


def flat_vector(start: torch.Tensor) -> None:
    """A finite float vector of at least one parameter."""
    if start.ndim != 1 or not start.is_floating_point() or not start.numel():
        raise ConfigError(
            f"the start is a tensor of shape {tuple(start.shape)} and type {start.dtype}",
            "give all parameters as one float vector, such as ModuleGradient.start",
        )
    if not bool(torch.isfinite(start).all()):
        raise ConfigError("the start has values that are not finite", "check the model's parameters")
