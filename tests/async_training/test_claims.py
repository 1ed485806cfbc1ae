"""What the methods are worth, on the small classifier of scripts/bench_async.py; and that the scripts run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPO = Path(__file__).parents[2]


def bench(script: str, *args: object) -> list[dict]:
    out = Path(str(args[-1]))
    done = subprocess.run(
        [sys.executable, REPO / "scripts" / script, *map(str, args[:-1]), "--json", out],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text(encoding="utf-8"))


def mean(rows: list[dict], method: str, key: str) -> float:
    return float(np.mean([row[key] for row in rows if row["method"] == method]))


@pytest.mark.slow
def test_sixteen_workers(tmp_path: Path) -> None:
    rows = bench(
        "bench_async.py", "--workers", 16, "--seeds", 3, "--methods", "nag-asgd", "dana", "dana-slim", tmp_path / "b"
    )
    assert mean(rows, "dana", "accuracy") - mean(rows, "nag-asgd", "accuracy") >= 10
    assert mean(rows, "nag-asgd", "gap") / mean(rows, "dana", "gap") >= 3
    assert abs(mean(rows, "dana", "accuracy") - mean(rows, "dana-slim", "accuracy")) < 1


@pytest.mark.slow
def test_thirty_two_workers(tmp_path: Path) -> None:
    rows = bench("bench_async.py", "--workers", 32, "--seeds", 3, "--methods", "ga", "sa", "dana-ga", tmp_path / "b")
    assert mean(rows, "dana-ga", "accuracy") >= 74
    assert mean(rows, "ga", "accuracy") - mean(rows, "sa", "accuracy") >= 0.5


@pytest.mark.slow
def test_costs_are_measured(tmp_path: Path) -> None:
    rows = bench(
        "bench_async.py", "--cost", "--parameters", 1000, "--cost-workers", 4, "--repeats", 3, tmp_path / "b"
    )  # fmt: skip
    assert len(rows) == 17 and all(row["times"] > 0 for row in rows)


@pytest.mark.slow
def test_the_convex_comparison_runs(tmp_path: Path) -> None:
    """On features of its own: three classes around three means."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = np.eye(8)[y] + rng.normal(size=(300, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    np.savez(tmp_path / "kept.npz", x=x.astype(np.float32), y=y)
    rows = bench(
        "bench_async_convex.py", "nowhere", "--cache", tmp_path / "kept.npz", "--updates", 300, "--seeds", 1,
        "--delays", "constant", tmp_path / "b",
    )  # fmt: skip
    by_name = {row["method"]: row["excess"][0] for row in rows if row["delays"] == "constant"}
    assert 0 < by_name["delay-adaptive"] < 0.3 and min(by_name.values()) > -1e-6
