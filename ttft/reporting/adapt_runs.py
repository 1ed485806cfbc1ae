"""Reads the run folders of `ttft adapt`, and their numbers.

Curves over arrivals are means over at most
BINS equal parts of the run.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ttft import run_dir
from ttft.errors import MissingArtifact
from ttft.progress import counted
from ttft.records import TrainingStep, Validation
from ttft.reporting.tables import Table, number, seconds
from ttft.state import read_records

BINS = 40
PLACES = {"seed", "slow"}


@dataclass(frozen=True, slots=True)
class AdaptRun:
    """A run of `ttft adapt` as its folder has it."""

    folder: Path
    label: str
    config: dict[str, Any]
    steps: tuple[TrainingStep, ...]
    validation: tuple[Validation, ...]
    provenance: dict[str, Any]

    @property
    def simulated(self) -> bool:
        return self.config.get("cluster") == "simulated"

    @property
    def time(self) -> float:
        """Seconds of the cluster's clock at the last arrival."""
        return self.steps[-1].time if self.steps else 0.0

    def share(self) -> dict[str, float]:
        """Worker -> part of all arrivals."""
        counts = Counter(step.worker for step in self.steps)
        return {f"worker {worker}": count / len(self.steps) for worker, count in sorted(counts.items())}

    def to_json(self) -> dict[str, Any]:
        first, last = self.validation[0], self.validation[-1]
        return {
            "label": self.label, "folder": str(self.folder), "config": self.config, "arrivals": len(self.steps),
            "updates": last.updates, "time": self.time, "base_bpb": first.bpb, "bpb": last.bpb,
            "percent_of_base": 100 * last.nats / first.nats, "mean_lag": mean(s.lag for s in self.steps),
            "mean_raw_gap": mean(s.raw_gap for s in self.steps), "mean_pre_gap": mean(s.pre_gap for s in self.steps),
            "validation": [one.to_json() | {"bpb": one.bpb} for one in self.validation],
        }  # fmt: skip


def groups(runs: Sequence[AdaptRun]) -> list[list[AdaptRun]]:
    """The runs that compare: one model, the same held-out bytes, and clocks that are all simulated or all real."""
    together: dict[tuple[object, ...], list[AdaptRun]] = {}
    for run in runs:
        key = (run.simulated, run.config.get("model"), run.validation[0].bytes, run.validation[0].tokens)
        together.setdefault(key, []).append(run)
    return list(together.values())


def is_adapt_run(folder: Path) -> bool:
    return os.path.lexists(folder / run_dir.VALIDATION)


def read_adapt_runs(folders: Sequence[Path]) -> list[AdaptRun]:
    """The runs with unique labels. Raises MissingArtifact for a run without any validation yet, TtftError naming the
    file, and the line, for anything damaged."""
    runs = [_read(folder) for folder in folders]
    labels = [run.label for run in runs]
    return [replace(r, label=f"{r.label} ({r.folder.name})") if labels.count(r.label) > 1 else r for r in runs]


def _read(folder: Path) -> AdaptRun:
    config = run_dir.read_config(folder)
    steps = read_records(folder / run_dir.ARRIVALS, TrainingStep, key=lambda step: str(step.gradients))
    validation = read_records(folder / run_dir.VALIDATION, Validation, key=lambda one: str(one.updates))
    if not validation:
        raise MissingArtifact(f"{folder} has no validation yet", f"resume it: ttft adapt INDEX --out {folder} ...")
    there = os.path.lexists(folder / run_dir.PROVENANCE)
    starts = {"starts": run_dir.read_provenance(folder) if there else []}
    kind = ", heterogeneous" if config.get("heterogeneous") else ""
    label = f"{config.get('method')}, {counted(int(config.get('workers', 0)), 'worker')}{kind}"
    return AdaptRun(folder, label, config, tuple(steps), tuple(validation), starts)


def mean(values: Any) -> float | None:
    """The mean of the values that are not None; None if there is none."""
    kept = [value for value in values if value is not None]
    return fmean(kept) if kept else None


# ---- tables and curves ---------------------------------------------------------------------------------------------


def table(runs: Sequence[AdaptRun]) -> Table:
    """The main numbers, a row per run."""
    header = ["run", "updates", "BPB before", "BPB after", "% of base", "time, s", "updates/s", "mean lag", "mean gap"]
    rows = []
    for run in runs:
        first, last = run.validation[0], run.validation[-1]
        gap, lag = mean(s.raw_gap for s in run.steps), mean(s.lag for s in run.steps)
        rate = last.updates / run.time if run.time else math.nan
        rows.append([
            run.label, f"{last.updates:,}", number(first.bpb, 4), number(last.bpb, 4),
            number(100 * last.nats / first.nats, 1), seconds(run.time), seconds(rate),
            "-" if lag is None else number(lag, 1), "-" if gap is None else f"{gap:.1e}",
        ])  # fmt: skip
    size = runs[0].validation[0]
    what = "simulated seconds" if runs[0].simulated else "seconds"
    return Table(f"held-out BPB ({size.bytes:,} bytes), {what}", header, rows)


def curve(
    steps: Sequence[TrainingStep], x: Callable[[TrainingStep], float], y: Callable[[TrainingStep], float | None]
) -> tuple[list[float], list[float]]:
    """Mean x and y of each of at most BINS equal parts, where y is known."""
    known = [(x(step), value) for step in steps if (value := y(step)) is not None]
    size = max(1, -(-len(known) // BINS))
    parts = [known[i : i + size] for i in range(0, len(known), size)]
    return [fmean(a for a, _ in part) for part in parts], [fmean(b for _, b in part) for part in parts]
