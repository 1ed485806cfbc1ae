"""The numbers of a report as frozen records: a `Summary` holds all numbers of one group of comparable runs.

Percentages are of base (100 = base).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class GuardAccount:
    """The effect of a guard on a run: prompts judged, and of these left to the base model (fired); points of base that
    it saved and cost; % of base without it; % of prompts made worse by more than 1%, without and with it."""

    judged: int
    fired: int
    saved: float
    cost: float
    without: float
    worse_without: float
    worse_with: float


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the main table. Percentages are of base; steps and seconds are means per prompt."""

    label: str
    is_base: bool
    prompts: int
    bpb: float
    percent: float
    low: float
    high: float
    steps: float
    seconds: dict[str, float]
    seconds_total: float
    worse: float
    kept_base: int
    near_duplicates: int | None
    guard: GuardAccount | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """% of base by gradient steps: four lists of equal length."""

    label: str
    steps: list[int]
    percent: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True, slots=True)
class SubsetRow:
    """A row for one subset: `runs` holds label, bpb, percent, low, high of each run."""

    subset: str
    prompts: int
    bytes: int
    base_bpb: float
    runs: list[dict]


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of one group. rows: each base before its runs. sigmas, best, worst, own_config, starts and folders
    are keyed by the label of a run."""

    score: str
    model: str
    prompts: int
    bytes: int
    rows: list[Row]
    curves: list[Curve]
    subsets: list[SubsetRow]
    sigmas: dict[str, list[float]]
    best: dict[str, list[dict]]
    worst: dict[str, list[dict]]
    notes: list[str]
    config: dict
    own_config: dict[str, dict]
    starts: dict[str, list[dict]]
    folders: dict[str, str]

    def to_json(self) -> dict:
        """Plain data; NaN and infinity become null."""
        return {key: _finite(value) for key, value in asdict(self).items()}


def _finite(value: object) -> object:
    """The same data with None for floats that JSON cannot represent."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
