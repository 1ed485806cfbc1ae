"""The calibrated stopping rule: what a gradient step is expected to gain, learned from a finished run.

Where the paper's rule compares sigma_n with 1/n, a policy predicts the gain itself, in bits per byte, of the n-th step:

    gain(n) = intercept + f_n(n) + f_sigma(s_n) + f_slope(s_{n-1} - s_n),      s_n = sigma_n / sigma_0

each f a step-free monotone curve (isotonic regression, `calibration.py`), straight lines between its corners and
constant beyond them. It costs nothing to ask, and needs no model: only the uncertainty curve that selection gives
anyway. The method is ours, not the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ttft.errors import ConfigError
from ttft.state import STRICT, record

SCHEMA = 2
FEATURES = ("n", "sigma", "slope")
AGAIN = "make one: ttft calibrate RUN --out policy.json"
Number = Annotated[float, Field(ge=-1e100, le=1e100)]


def features(sigma: np.ndarray) -> dict[str, np.ndarray]:
    """Of each step 1..t of an uncertainty curve sigma (t+1,): its number, s_n, and by how much s fell; each (t,)."""
    sigma = np.asarray(sigma, dtype=np.float64)
    relative = sigma / sigma[0] if len(sigma) and sigma[0] > 0 else np.zeros(len(sigma))
    return {"n": np.arange(1.0, len(sigma)), "sigma": relative[1:], "slope": relative[:-1] - relative[1:]}


@dataclass(frozen=True)
class GainPolicy:
    """curves: feature -> corners (x ascending, y); missing features are not used. min_gain: steps predicted to gain no
    more than this, in bits per byte, are not taken. facts: what it was fitted on (lambda_, embedder, model,
    evidence)."""

    intercept: float
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
    min_gain: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def gains(self, sigma: np.ndarray) -> np.ndarray:
        """Expected gain of each step, in bits per byte, from an uncertainty curve sigma (t+1,): (t,)."""
        known = features(sigma)
        total = np.full(len(known["n"]), self.intercept)
        for name, (x, y) in self.curves.items():
            total += np.interp(known[name], x, y)
        return total

    def to_json(self) -> dict:
        curves = {name: {"x": x.tolist(), "y": y.tolist()} for name, (x, y) in self.curves.items()}
        head = {"schema": SCHEMA, "intercept": self.intercept, "min_gain": self.min_gain}
        return head | {"curves": curves, "facts": dict(self.facts)}

    @classmethod
    def from_json(cls, data: Any, where: str = "the policy") -> GainPolicy:
        """Raises ConfigError that begins with `where` and names the key that is wrong, missing or unknown."""
        if isinstance(data, dict) and data.get("schema") not in (None, SCHEMA):
            raise ConfigError(
                f"{where}: schema is {data['schema']!r}, this ttft reads {SCHEMA}; another version wrote it", AGAIN
            )
        known = record(_PolicyRecord, data, where, ConfigError, AGAIN)
        curves = {str(name): (np.array(c.x, float), np.array(c.y, float)) for name, c in known.curves.items()}
        return cls(known.intercept, curves, known.min_gain, data["facts"])


@dataclass(frozen=True)
class _Curve:
    """The corners of a curve."""

    __pydantic_config__: ClassVar = STRICT

    x: list[Number]
    y: list[Number]

    def __post_init__(self) -> None:
        if not self.x or len(self.x) != len(self.y) or self.x != sorted(self.x):
            raise ValueError("x must ascend, and y be as long")


@dataclass(frozen=True)
class _Facts:
    """What a policy was fitted on, and how well it predicts; of these only lambda_ must be known."""

    __pydantic_config__: ClassVar = STRICT

    lambda_: Annotated[float, Field(gt=0)] | Literal["auto"]
    embedder: str | None = None
    model: str | None = None
    method: str | None = None
    lr: Number | None = None
    n: int | None = None
    k: int | Literal["all"] | None = None
    score: str | None = None
    index_sha256: str | None = None
    prompts: int | None = None
    rank_correlation: Annotated[float, Field(ge=-1, le=1)] | None = None
    interval: list[Annotated[float, Field(ge=-1, le=1)] | None] | None = None


@dataclass(frozen=True)
class _PolicyRecord:
    """The JSON form of a policy."""

    __pydantic_config__: ClassVar = STRICT

    schema: Literal[2]
    intercept: Number
    min_gain: Number
    curves: dict[Literal["n", "sigma", "slope"], _Curve]
    facts: _Facts


def worthwhile(gains: np.ndarray, price: float) -> int:
    """How many first steps to take when each costs `price`: the shortest of those with the largest sum of gain - price.

    A step with a small gain is taken if later steps make up for it. gains (t,) -> 0..t.
    """
    return int(np.argmax(np.concatenate([[0.0], np.cumsum(gains - price)])))


@dataclass(frozen=True)
class CalibratedRule:
    """Keeps the first picks, out of `most`, that are worth policy.min_gain each (`worthwhile`).

    All picks are made first, to see what comes after a step: selection costs a thousandth of training. It may keep
    none; then the base model answers.
    """

    policy: GainPolicy
    most: int
    reason: str = "gain"

    def __call__(self, sigma: np.ndarray) -> int | None:
        if len(sigma) - 1 < self.most:
            return None
        keep = worthwhile(self.policy.gains(sigma), self.policy.min_gain)
        return keep if keep < self.most else None
