"""ttft q2d train, by its command: what it trains on, what it leaves, what it refuses."""

from __future__ import annotations

import json

import pytest
from small import ttft

from ttft.commands.q2d_train import training_pairs
from ttft.config.q2d_train import Q2dTrainConfig

LINES = [
    {
        "id": f"p{i}",
        "source": f"User: I saw the {thing}.\nAssistant: Nice.\nUser: Who built it?",
        "target": f"Who built the {thing}?",
    }
    for i, thing in enumerate(["tower", "bridge", "castle", "harbour", "museum", "garden"] * 4)
]
OPTIONS = ("--kind", "seq2seq", "--model", "scratch", "--epochs", "1", "--device", "cpu")


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def test_a_model_is_trained_and_not_again(pairs, tmp_path, capsys) -> None:
    assert ttft("q2d", "train", pairs, "--out", tmp_path / "model", *OPTIONS, "--no-search", "0.5") == 0
    assert "next: ttft q2d rewrite" in capsys.readouterr().out
    facts = json.loads((tmp_path / "model/q2d.json").read_text())
    assert facts["no_search"] is True and facts["kind"] == "seq2seq" and "NONE" in facts["instruction"]
    assert (tmp_path / "model/README.md").is_file() and not (tmp_path / "model/checkpoints").exists()
    before = (tmp_path / "model/model.safetensors").stat().st_mtime_ns
    assert ttft("q2d", "train", pairs, "--out", tmp_path / "model", *OPTIONS, "--no-search", "0.5") == 0
    assert (tmp_path / "model/model.safetensors").stat().st_mtime_ns == before
    assert ttft("q2d", "train", pairs, "--out", tmp_path / "model", *OPTIONS) == 2
    assert "different configuration" in capsys.readouterr().err


def test_human_conversations_are_trained_on_without_those_evaluated(tmp_path, capsys) -> None:
    turns = [
        {"role": "user", "text": "I saw a tower."},
        {"role": "assistant", "text": "Nice."},
        {"role": "user", "text": "Who built it and when was it?"},
    ]
    rows = [{"id": str(i), "turns": turns, "target": f"Who built tower number {i} and when was it?"} for i in range(12)]
    for name, some in (("human.jsonl", rows), ("test.jsonl", rows[:4])):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in some))
    options = (*OPTIONS, "--exclude", tmp_path / "test.jsonl", "--set", "held_out=0")
    assert ttft("q2d", "train", tmp_path / "human.jsonl", "--out", tmp_path / "model", *options) == 0
    told = capsys.readouterr().err
    assert "4 pairs of human.jsonl left out" in told and "8 pairs to train on" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "scratch"), "add --kind seq2seq"),
        (("--model", "nowhere/at-all"), "cannot load the model"),
        (("--kind", "seq2seq", "--model", "nowhere/at-all"), "cannot load the seq2seq model"),
        (("--lr", "0"), "lr"),
        (("--form", "nonsense"), "nonsense"),
    ],
)
def test_what_cannot_be_trained_is_refused(pairs, tmp_path, capsys, options, message) -> None:
    assert ttft("q2d", "train", pairs, "--out", tmp_path / "model", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model/q2d.json").exists()


def test_files_that_are_not_there_or_empty(tmp_path, capsys) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    for name in ("absent.jsonl", "empty.jsonl"):
        assert ttft("q2d", "train", tmp_path / name, "--out", tmp_path / "model", *OPTIONS) == 2
        assert name in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_answers_are_dropped_where_asked(pairs) -> None:
    def sources(**options) -> str:
        given = Q2dTrainConfig(pairs=str(pairs), out="-", **options)
        return "\n".join(pair.source for pair in training_pairs(given))

    assert sources().count("Assistant: ") == len(LINES)
    assert "Assistant: " not in sources(drop_answers=1.0) and sources(drop_answers=1.0).count("User: ") == 2 * len(
        LINES
    )
