"""Spoilt input of all kinds, seeded: a command ends with exit code 0 or 2, and a message that names the file."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small import sentences, ttft, write_corpus

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def home(tmp_path_factory, encoder_folder, lm_folder) -> Path:
    """A corpus in four forms, prompts, an index, a run, a policy and a configuration."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(encoder_folder, folder / "encoder")
    plain = write_corpus(folder / "corpus.jsonl", documents=12, lines=2)
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    with pa.output_stream(str(folder / "corpus.jsonl.zst"), compression="zstd") as out:
        out.write(plain.read_bytes())
    parquet.write_table(pa.Table.from_pylist([json.loads(x) for x in plain.open()]), folder / "corpus.parquet")
    prompts = [json.dumps({"id": f"p{i}", "text": sentences(2, 500 + i)}) for i in range(12)]
    (folder / "prompts.jsonl").write_text("\n".join(prompts) + "\n")
    made = ["--embedder", folder / "encoder", "--shard-rows", 5, "--dtype", "float32"]
    assert ttft("index", plain, "--out", folder / "index", *made) == 0
    given = ["--prompts", folder / "prompts.jsonl", "--model", lm_folder, "-n", 3, "-k", 8, "--dtype", "float32"]
    assert ttft("finetune-eval", folder / "index", "--out", folder / "run", *given) == 0
    assert ttft("calibrate", folder / "run", "--out", folder / "policy.json", "--folds", 2) == 0
    config = {"index": "index", "prompts": "prompts.jsonl", "out": "out", "n": 5, "lr": 0.001, "score_at": [0, 1, 5]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config) + "lambda_: auto\nsubsets: [a, b]\nguard: false\n")
    return folder


def faults(home: Path, seed: int, cases: int) -> list[dict]:
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "fuzz_driver.py"), str(home), str(seed), "0", str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines and lines[-1].get("cases") == cases, done.stderr[-2000:]
    return lines[:-1]


def test_three_hundred_spoilt_inputs(home):
    assert faults(home, 0, 300) == []


@pytest.mark.slow
def test_ten_thousand_spoilt_inputs(home):
    assert faults(home, 1, 10_000) == []
