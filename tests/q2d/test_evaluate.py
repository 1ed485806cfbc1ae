"""ttft q2d evaluate: baselines beside models, resumed by id, text and retrieval, in files that others can read."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small import write_lines

from ttft.commands.q2d_search import passage_ids, searcher
from ttft.errors import CorpusError, MissingArtifact
from ttft.q2d.evaluation import all_queries, retrieval_results, text_results, turns_to_evaluate
from ttft.q2d.metrics import Interval
from ttft.q2d.predictions import Prediction, predict
from ttft.q2d.records import Example, alternating
from ttft.q2d.results import Row, to_csv, with_interval
from ttft.q2d.retrieval import read_run
from ttft.q2d.rewrites import Rewrite, Rule
from ttft.vector_index.shards import open_vector_index

EXAMPLES = [
    Example("a1", "a", alternating(["Who wrote Emma?"]), "Who wrote Emma?", "x", 1),
    Example("a2", "a", alternating(["Who wrote Emma?", "Austen.", "When did she die?"]), "When did Jane Austen die?",
            "x", 2, rewrites={"gpt": "When was the death of Austen?"}),
    Example("b2", "b", alternating(["Tell me of Bath.", "A city.", "Where is it?"]), "Where is Bath?", "y", 2,
            rewrites={"gpt": "Where is Bath?"}),
    Example("b3", "b", alternating(["Bath?", "Yes.", "Old?", "Yes.", "How many live there?"]),
            "How many people live in Bath?", "y", 3, rewrites={"gpt": "x"}),
]  # fmt: skip


class Model:
    """Answers with two queries, says NONE of b2, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def rewrite(self, dialogs, *, n=1):
        self.asked += [turns[-1].text for turns in dialogs]
        return [
            Rewrite((), False, "no search") if "Where" in turns[-1].text
            else Rewrite(("How many people live in Bath?", turns[-1].text)[:n], True, "model")
            for turns in dialogs
        ]  # fmt: skip


def _made(tmp_path: Path, n: int = 1):
    names = ("last-turn", "user-turns", "history")
    systems = {name: lambda name=name: Rule(name) for name in names} | {"model": Model}
    return predict(tmp_path, systems, EXAMPLES, n=n)


def test_predictions_are_made_once(tmp_path: Path) -> None:
    first, second = Model(), Model()
    one = predict(tmp_path, {"m": lambda: first}, EXAMPLES[:2])
    with open(tmp_path / "predictions.jsonl", "ab") as file:
        file.write(b'{"id": "b2", "sys')  # as a kill leaves it
    both = predict(tmp_path, {"m": lambda: second}, EXAMPLES)
    assert second.asked == ["Where is it?", "How many live there?"]
    assert both["m"]["a1"] == one["m"]["a1"] == Prediction("a1", "m", ("How many people live in Bath?",), "model")
    assert predict(tmp_path, {"m": lambda: pytest.fail("loaded")}, EXAMPLES) == both


def test_text_results(tmp_path: Path) -> None:
    queries = all_queries(_made(tmp_path), EXAMPLES)
    assert "gpt" not in queries  # a1 has none
    scored = all_queries(_made(tmp_path), EXAMPLES[1:])
    assert set(scored) == {"last-turn", "user-turns", "history", "model", "gpt", "human rewrite"}
    rows = text_results(scored, EXAMPLES, reference="human rewrite")
    by = {(r.system, r.group, r.metric): r for r in rows}
    assert {r.n for r in rows if r.group == "all"} == {3}  # no first turn
    assert {r.group for r in rows} == {"all", "source x", "source y", "depth 2", "depth 3-4"}
    assert by["human rewrite", "all", "R1-F"].value.value == 1
    assert by["model", "all", "R1-F"].value.value == pytest.approx((0 + 0 + 1) / 3, abs=0.2)
    assert by["model", "source y", "EM"].value.value == 0.5
    # hand-computed: where bath / where it: "where is" of "where is bath"
    assert by["last-turn", "depth 2", "R1-F"].value.value == pytest.approx(
        (2 * (3 / 4 * 3 / 5) / (3 / 4 + 3 / 5) + 2 / 3) / 2
    )
    assert by["human rewrite", "all", "gap closed"].value.value == pytest.approx(1)
    copy = by["last-turn", "all", "R1-F"].value.value
    assert by["last-turn", "all", "relative"].value.value == pytest.approx(copy)
    assert by["last-turn", "all", "gap closed"].value.value == pytest.approx(0)


def test_retrieval_results(tmp_path: Path) -> None:
    queries = all_queries(_made(tmp_path, n=2), EXAMPLES)
    judged = {"a1": {"p": 1}, "b3": {"q": 1}, "b2": {"p": 1}}
    search = lambda texts, k: [["q", "p"] if "people" in text else ["p", "q"] for text in texts]  # noqa: E731
    rows = retrieval_results(queries, EXAMPLES, judged, search, tmp_path, k=1, kind={"b2": "clarification"})
    by = {(r.system, r.group, r.metric): r.value.value for r in rows}
    assert by["model", "follow-up", "nDCG@1"] == 1
    assert by["last-turn", "follow-up", "nDCG@1"] == 0
    assert by["model", "clarification", "recall@1"] == 0  # NONE finds nothing
    assert by["model, 2 fused", "follow-up", "MRR"] == 1
    assert {r.n for r in rows if r.group == "standalone"} == {1}
    runs = {path.name: read_run(path) for path in sorted(tmp_path.glob("*.trec"))}
    assert runs["run-04-model.trec"] == {"a1": ["q", "p"], "b3": ["q", "p"]}
    assert "graded nDCG@1" not in {r.metric for r in rows}


def test_rows_as_csv() -> None:
    row = Row("text", "=cmd()", 'a "b"\nc', "R1-F", 3, Interval(0.5, float("nan"), 1.0))
    (head, cells) = csv.reader(to_csv([row]).splitlines(keepends=True))
    assert dict(zip(head, cells, strict=True)) == {
        "table": "text", "system": "'=cmd()", "group": 'a "b"\nc', "metric": "R1-F", "n": "3", "value": "0.5",
        "low": "", "high": "1.0", "above": "", "above_low": "", "above_high": "",
    }  # fmt: skip
    assert with_interval(Interval(0.5, 0.25, 0.75), 100, 1) == "50.0 [25.0, 75.0]"


def _data(tmp_path: Path) -> Path:
    path = tmp_path / "talks.jsonl"
    write_lines(path, [
        {"id": e.id, "conversation": e.conversation, "target": e.target,
         "turns": [{"role": t.role, "text": t.text} for t in e.turns]} for e in EXAMPLES
    ])  # fmt: skip
    return path


def test_what_is_evaluated(tmp_path: Path) -> None:
    data, qrels, notes = _data(tmp_path), tmp_path / "q.tsv", []
    assert [e.id for e in turns_to_evaluate(data)[0]] == ["a2", "b2", "b3"]
    assert len(turns_to_evaluate(data, most=2, seed=1)[0]) == 2
    qrels.write_text("query-id\tcorpus-id\tscore\na1\tp\t1\nelsewhere\tp\t1\n")
    examples, judged = turns_to_evaluate(data, None, [qrels], on_note=notes.append)
    assert [e.id for e in examples] == ["a1", "a2", "b2", "b3"]
    assert judged == {"a1": {"p": 1}}
    assert notes == [f"1 judged query of 2 not in {data}"]
    qrels.write_text("query-id\tcorpus-id\tscore\nelsewhere\tp\t1\n")
    with pytest.raises(CorpusError, match="'elsewhere'"):
        turns_to_evaluate(data, None, [qrels])


def test_the_command(tmp_path: Path, run_ttft, encoder_folder, capsys) -> None:
    data, out, collection, qrels = (tmp_path / name for name in ("talks.jsonl", "out", "passages.jsonl", "q.tsv"))
    _data(tmp_path)
    texts = ["Bath is a city. " * 12, "Jane Austen died in 1817.", "Ships sail."]
    write_lines(collection, [{"_id": f"p {i}", "text": text} for i, text in enumerate(texts)])
    index = tmp_path / "index"
    make = ("index", collection, "--out", index, "--embedder", encoder_folder, "--piece-chars", 60)
    assert run_ttft(*make, "--dtype", "float32") == 0
    qrels.write_text("query-id\tcorpus-id\tscore\na2\tp 1\t1\nb2\tp 0\t1\n")
    command = ("q2d", "evaluate", data, "--out", out, "--collection", index, "--qrels", qrels)
    assert run_ttft(*command) == 0
    printed = capsys.readouterr().out
    assert "text, all: 3 turns" in printed
    assert "retrieval, follow-up: 2 turns" in printed
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert {row["system"] for row in rows} == {"last-turn", "user-turns", "history", "human rewrite"}
    found = read_run(out / "run-01-last-turn.trec")
    assert all(sorted(ranking) == ["p 0", "p 1", "p 2"] for ranking in found.values())
    before = (out / "predictions.jsonl").read_bytes(), (out / "results.csv").read_bytes()
    assert run_ttft(*command) == 0
    assert before == ((out / "predictions.jsonl").read_bytes(), (out / "results.csv").read_bytes())
    assert run_ttft(*command, "-n", "2") == 2
    assert "n is 1" in capsys.readouterr().err
    opened = open_vector_index(index)
    assert set(passage_ids(opened)) == {"p 0", "p 1", "p 2"}
    collection.write_text("{}\n")
    with pytest.raises(MissingArtifact, match="has changed"):
        passage_ids(opened)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--collection", "x"], "retrieval needs both"),
        (["--reference", "x"], "reference must be one"),
        (["-m", "no/such/model"], "no/such/model"),
    ],
)
def test_wrong_options(tmp_path: Path, run_ttft, capsys, more: list[str], said: str) -> None:
    assert run_ttft("q2d", "evaluate", _data(tmp_path), "--out", tmp_path / "out", *more) == 2
    assert said in capsys.readouterr().err


def test_a_passage_counts_by_its_best_piece() -> None:
    import numpy as np

    class Index:
        rows = 12

        def search(self, vectors, k):
            return None, np.tile(np.arange(12)[:k], (len(vectors), 1))

    class Embedder:
        def encode(self, texts):
            return np.zeros((len(texts), 2))

    names = ["a"] * 9 + ["b", "a", "c"]
    assert searcher(Index(), Embedder(), names)(["q", "r"], 2) == [["a", "b"]] * 2  # type: ignore[arg-type]
    assert searcher(Index(), Embedder(), names)(["q"], 9) == [["a", "b", "c"]]  # type: ignore[arg-type]
