"""Fake run folders, as `ttft finetune-eval` would leave them."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import write_config, write_lines

from ttft.run_dir import sealed, sha256_text, write_json

CONFIG = {
    "strategy": "sift", "model": "toy-lm", "n": 20, "k": 200, "lambda_": 0.01, "alpha": None, "method": "lora",
    "lr": 5e-5, "rank": 64, "score": "whole", "index": "idx", "prompts": "val.jsonl", "embedder": "hash", "seed": 0,
    "dtype": "float32",
}  # fmt: skip
START = {
    "started": "2025-01-02T03:04:05+00:00", "commit": "abc123", "seed": 0,
    "versions": {"python": "3.11", "ttft": "0.1"},
    "host": {"system": "Linux", "cores": 2}, "seconds": 12.5, "records_written": 3,
}  # fmt: skip


def prompt(name: str, base: float, tuned: float, size: int = 100, **changes) -> dict:
    """One Result as JSON: scored at steps 0, 1 and 20, half of the change after the first step."""
    return {
        "prompt_id": name, "subset": "code", "text_sha256": sha256_text(name), "model": "toy-lm",
        "adapter": {"rank": 64},
        "ids": [1, 2], "sigma": [1.0, 0.6, 0.5], "steps": [0, 1, 20], "nats": [base, (base + tuned) / 2, tuned],
        "bytes": size, "tokens": size // 4, "kept": "tuned", "losses": [2.0],
        "seconds": {"embed": 0.1, "search": 0.2, "select": 0.3, "train": 2.0, "evaluate": 1.0},
    } | changes  # fmt: skip


def selection(name: str, cosine: float) -> dict:
    return {
        "prompt_id": name, "strategy": "sift", "parameters": {}, "ids": [1, 2], "scores": [0.5, 0.1],
        "cosines": [cosine, 0.3], "sigma": [1.0, 0.6, 0.5], "stopped_because": "n", "seconds": {"embed": 0.1},
    }  # fmt: skip


@pytest.fixture
def write_run(tmp_path):
    """write_run(name, prompts, **config) -> the folder of a run with these results."""

    def write(name: str, results: list[dict], /, **config) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        write_lines(folder / "results.jsonl", results)
        chosen = [selection(p["prompt_id"], 0.999 if i == 0 else 0.8) for i, p in enumerate(results)]
        write_lines(folder / "selections.jsonl", chosen)
        write_config(folder, CONFIG | {"out": name} | config)
        write_json(folder / "provenance.json", sealed({"starts": [START]}))
        return folder

    return write


@pytest.fixture
def fake():
    """The maker of one result line: fake(id, base nats, tuned nats, bytes, **other fields)."""
    return prompt
