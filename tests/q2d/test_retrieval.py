"""Scores of retrieval against hand-computed values and scikit-learn; judgements and run files."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from ttft.errors import CorpusError
from ttft.q2d.retrieval import (
    first_of_each,
    ndcg,
    read_qrels,
    read_run,
    recall,
    reciprocal_rank,
    retrieve,
    write_run,
)

GAINS = {"a": 1, "b": 2, "c": 1, "never": 0}


def test_by_hand() -> None:
    ranking = ["x", "a", "never", "b", "y", "c"]
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(GAINS, ranking, 5) == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    graded = (1 / math.log2(3) + 2 / math.log2(5)) / (2 + 1 / math.log2(3) + 1 / math.log2(4))
    assert ndcg(GAINS, ranking, 5, graded=True) == pytest.approx(graded)
    assert recall(GAINS, ranking, 5) == pytest.approx(2 / 3)
    assert recall(GAINS, ranking, 6) == 1
    assert reciprocal_rank(GAINS, ranking) == 0.5
    assert ndcg(GAINS, [], 5) == recall(GAINS, [], 5) == reciprocal_rank(GAINS, ["x"]) == 0
    assert ndcg({"a": 0}, ["a"], 5) == recall({"a": 0}, ["a"], 5) == 0
    assert ndcg(GAINS, ["b", "a", "c"], 2) == 1  # the ideal has no more than k passages


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("k", [1, 5, 40])
def test_ndcg_is_that_of_scikit_learn(seed: int, k: int) -> None:
    from sklearn.metrics import ndcg_score

    draw = random.Random(seed)
    passages = [f"p{i}" for i in range(30)]
    gains = {p: draw.choice([0, 0, 0, 1, 2, 3]) for p in passages}
    gains["p0"] = 2
    ranking = draw.sample(passages, len(passages))
    scores = [-float(ranking.index(p)) for p in passages]
    for graded in (False, True):
        truth = [gains[p] if graded else min(gains[p], 1) for p in passages]
        assert ndcg(gains, ranking, k, graded=graded) == pytest.approx(ndcg_score([truth], [scores], k=k))


def test_a_passage_counts_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        ndcg(GAINS, ["a", "a"], 5)
    assert first_of_each(["p", "q", "p", "r", "s"], 3) == ["p", "q", "r"]


def _search(texts, k):
    return [[f"{text}{i}" for i in range(k)] for text in texts]


def test_sets_of_queries() -> None:
    judged = {"1": {"one0": 1}, "2": {"two3": 1}, "3": {"x": 1}}
    both = lambda rankings: [rankings[1][0], *rankings[0]]  # noqa: E731
    queries = {"1": ["one"], "2": ["two", "zwei"], "3": [], "unjudged": ["y"]}
    found = retrieve("some", queries, judged, _search, fuse=both, depth=4)
    assert found.rankings == {
        "1": ["one0", "one1", "one2", "one3"], "2": ["zwei0", "two0", "two1", "two2"], "3": []
    }  # fmt: skip
    assert found.scores["recall"] == {"1": 1.0, "2": 0.0, "3": 0.0}
    other = retrieve("others", {"1": ["two"], "2": ["two"], "3": ["x"]}, judged, _search, depth=4)
    same = {"1": "c", "2": "c", "3": "d"}
    assert found.above(other, "recall", same).value == pytest.approx(1 / 3 - 1 / 3)
    assert found.estimate("mrr", same, ["1"]).value == 1
    with pytest.raises(CorpusError, match="'2'"):
        retrieve("some", {"1": ["one"]}, judged, _search)
    with pytest.raises(ValueError, match="fuse"):
        retrieve("some", queries, judged, _search)


def test_judgements_of_both_forms(tmp_path: Path) -> None:
    beir, trec = tmp_path / "beir.tsv", tmp_path / "trec.txt"
    beir.write_text("query-id\tcorpus-id\tscore\r\nq<::>1\td 1\t1\r\nq<::>1\td2\t0\r\n")
    trec.write_text("q<::>1 0 d1 1\nq<::>1\t0\td2\t-1\n\n")
    assert read_qrels(beir) == {"q<::>1": {"d 1": 1, "d2": 0}}
    assert read_qrels(trec) == {"q<::>1": {"d1": 1, "d2": -1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q 0 d 1\nq 0 d 1\n", ":2: 'q' and 'd' are judged twice"),
        ("q 0 d\n", ":1 is not a judgement"),
        ("q 0 d much\n", ":1: the gain 'much'"),
        ("query-id\tcorpus-id\tscore\nq d 1\n", ":2 is not a judgement"),
        ("", "no judgement"),
        ("query-id\tcorpus-id\tscore\n", "no judgement"),
    ],
)
def test_wrong_judgements(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(CorpusError, match=said):
        read_qrels(tmp_path / "qrels")


def test_a_run_file_and_back(tmp_path: Path) -> None:
    rankings = {"q 1\n": ["d\t1", "100%", "a%20b", "d\u20281", "é"], "q<::>2": ["d"]}
    path = tmp_path / "some.trec"
    write_run(path, rankings, "last turn")
    lines = path.read_text().split("\n")
    assert all(len(line.split()) == 6 for line in lines[:-1])
    assert lines[5] == "q<::>2 Q0 d 1 1.00000000 last%20turn"
    assert read_run(path) == rankings
    with pytest.raises(ValueError, match="empty"):
        write_run(path, {"": ["d"]}, "t")
    path.write_text("q Q0 d one 1.0 t\n")
    with pytest.raises(CorpusError, match=":1"):
        read_run(path)
