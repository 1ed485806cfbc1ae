"""Scores of retrieval with relevance judgements: nDCG@k, recall@k, MRR; qrels and TREC run files.

Nothing here searches: a `search(queries, k)` is handed in that returns, for each query, at most k passage ids, best
first. Gains are the judgements, 0 for a passage that was not judged; "binary" counts every positive judgement as 1, as
the MTRAG benchmark does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ttft.errors import CorpusError
from ttft.files import read_bytes, write_whole
from ttft.q2d.metrics import Interval, mean_interval

Judgements = dict[str, dict[str, int]]
"""query id -> passage id -> gain."""
Search = Callable[[Sequence[str], int], list[list[str]]]
Fuse = Callable[[Sequence[Sequence[str]]], Sequence[str]]
"""Several rankings of passage ids -> one."""
DEPTH = 100
"""Passages in a ranking, and so in a run file and for MRR."""
METRICS = ("ndcg", "graded", "recall", "mrr")
LARGEST = 1 << 30  # bytes of a file of judgements
FORMS = 'a BEIR file begins with "query-id<TAB>corpus-id<TAB>score"; a TREC file has lines "query 0 passage gain"'


# ---- scores of one query -------------------------------------------------------------------------------------------


def ndcg(gains: Mapping[str, int], ranking: Sequence[str], k: int, *, graded: bool = False) -> float:
    """DCG@k of the ranking over the largest possible DCG@k, 0..1; 0 without a relevant passage.

    DCG@k = sum_{i=1..k} g_i / log2(i + 1), with linear gains as in trec_eval: g_i is the judgement of the i-th passage,
    or, unless `graded`, 1 where the judgement is positive. Raises ValueError if a passage is ranked twice.
    """
    _check_distinct(ranking)
    value = {passage: float(gain if graded else 1) for passage, gain in gains.items() if gain > 0}
    best = _dcg(sorted(value.values(), reverse=True)[:k])
    return _dcg([value.get(passage, 0.0) for passage in ranking[:k]]) / best if best else 0.0


def recall(gains: Mapping[str, int], ranking: Sequence[str], k: int) -> float:
    """The share of the relevant passages that are among the first k, 0..1; 0 without a relevant passage."""
    relevant = _relevant(gains)
    return len(relevant & set(ranking[:k])) / len(relevant) if relevant else 0.0


def reciprocal_rank(gains: Mapping[str, int], ranking: Sequence[str]) -> float:
    """1 / the rank of the first relevant passage; 0 if the ranking has none."""
    relevant = _relevant(gains)
    return next((1 / rank for rank, passage in enumerate(ranking, 1) if passage in relevant), 0.0)


def _relevant(gains: Mapping[str, int]) -> set[str]:
    return {passage for passage, gain in gains.items() if gain > 0}


def _dcg(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _check_distinct(ranking: Sequence[str]) -> None:
    if len(set(ranking)) < len(ranking):
        raise ValueError("a passage is ranked twice")


def first_of_each(passages: Iterable[str], k: int) -> list[str]:
    """The first k different ids, in order. For pieces ranked by score this ranks passages by their best piece."""
    found: dict[str, None] = {}
    for passage in passages:
        found.setdefault(passage)
        if len(found) == k:
            break
    return list(found)


# ---- sets of queries -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Retrieved:
    """The rankings of one set of queries, and their scores.

    rankings  query id -> passage ids, best first
    scores    metric (METRICS) -> query id -> 0..1
    """

    name: str
    k: int
    rankings: dict[str, list[str]]
    scores: dict[str, dict[str, float]]

    def estimate(self, metric: str, conversations: Mapping[str, str], among: Iterable[str] | None = None) -> Interval:
        """The mean of a metric over the queries `among` (default: all), with its interval by conversation."""
        ids = list(self.scores[metric] if among is None else among)
        return mean_interval(np.array([self.scores[metric][i] for i in ids]), [conversations[i] for i in ids])

    def above(
        self, other: Retrieved, metric: str, conversations: Mapping[str, str], among: Iterable[str] | None = None
    ) -> Interval:
        """The mean over the same queries of this metric minus that of another set of queries: a paired difference."""
        ids = list(self.scores[metric] if among is None else among)
        differences = [self.scores[metric][i] - other.scores[metric][i] for i in ids]
        return mean_interval(np.array(differences), [conversations[i] for i in ids])


def retrieve(
    name: str, queries: Mapping[str, Sequence[str]], judged: Judgements, search: Search, *, k: int = 5,
    fuse: Fuse | None = None, depth: int = DEPTH,
) -> Retrieved:  # fmt: skip
    """Search for every judged query, and score what was found.

    queries   query id -> its texts; with several, their rankings are joined by `fuse`; without any (a rewriter that
              said that no search is needed) nothing is found, which scores 0
    Raises CorpusError if a judged query is missing, ValueError for several texts without `fuse`.
    """
    missing = [query for query in judged if query not in queries]
    if missing:
        raise CorpusError(f"{len(missing)} judged queries have no text, the first is {missing[0]!r}")
    texts = list(dict.fromkeys(text for query in judged for text in queries[query]))
    found = dict(zip(texts, search(texts, depth), strict=True)) if texts else {}
    rankings = {query: _joined([found[text] for text in queries[query]], fuse)[:depth] for query in judged}
    scores: dict[str, dict[str, float]] = {metric: {} for metric in METRICS}
    for query, ranking in rankings.items():
        gains = judged[query]
        scores["ndcg"][query] = ndcg(gains, ranking, k)
        scores["graded"][query] = ndcg(gains, ranking, k, graded=True)
        scores["recall"][query] = recall(gains, ranking, k)
        scores["mrr"][query] = reciprocal_rank(gains, ranking)
    return Retrieved(name, k, rankings, scores)


def _joined(rankings: Sequence[Sequence[str]], fuse: Fuse | None) -> list[str]:
    if len(rankings) < 2:
        return [passage for ranking in rankings for passage in ranking]
    if fuse is None:
        raise ValueError("a query has several texts: say how to fuse their rankings")
    return list(fuse(rankings))


# ---- files ---------------------------------------------------------------------------------------------------------


def read_qrels(path: Path) -> Judgements:
    """Judgements of a BEIR file (tab-separated, with its header line) or a TREC file (query, 0, passage, gain).

    Raises CorpusError naming file and line for a line that is neither, or a pair that is judged twice; MissingArtifact.
    """
    lines = _lines(path)
    beir = bool(lines) and lines[0].split("\t")[:2] == ["query-id", "corpus-id"]
    judged: Judgements = {}
    for number, line in enumerate(lines[1:] if beir else lines, 2 if beir else 1):
        if not line.strip():
            continue
        parts = line.split("\t") if beir else line.split()
        where = f"{path}:{number}"
        if len(parts) != (3 if beir else 4):
            raise CorpusError(f"{where} is not a judgement", FORMS)
        query, passage, gain = parts[0], parts[-2], parts[-1]
        try:
            known = judged.setdefault(query, {})
            if passage in known:
                raise CorpusError(f"{where}: {query!r} and {passage!r} are judged twice")
            known[passage] = int(gain)
        except ValueError:
            raise CorpusError(f"{where}: the gain {gain!r} is not a whole number", FORMS) from None
    if not judged:
        raise CorpusError(f"{path} has no judgement", FORMS)
    return judged


def write_run(path: Path, rankings: Mapping[str, Sequence[str]], tag: str) -> None:
    """Write a TREC run file: "query Q0 passage rank score tag" a line, ranks from 1. The score is 1/rank, so that tools
    that sort by it keep the order. White space in ids and the tag is escaped as in URLs (see `read_run`)."""
    lines = []
    for query, ranking in rankings.items():
        _check_distinct(ranking)
        for rank, passage in enumerate(ranking, 1):
            lines.append(f"{_escaped(query)} Q0 {_escaped(passage)} {rank} {1 / rank:.8f} {_escaped(tag)}\n")
    write_whole(path, "".join(lines).encode())


def read_run(path: Path) -> dict[str, list[str]]:
    """The rankings of a TREC run file that `write_run` wrote. Raises CorpusError for a line that is none."""
    found: dict[str, list[tuple[int, str]]] = {}
    for number, line in enumerate(_lines(path), 1):
        parts = line.split(" ")
        if len(parts) != 6 or not parts[3].isdecimal():
            raise CorpusError(f"{path}:{number} is not a line of a run: query Q0 passage rank score tag")
        found.setdefault(_unescaped(parts[0]), []).append((int(parts[3]), _unescaped(parts[2])))
    return {query: [passage for _, passage in sorted(ranking)] for query, ranking in found.items()}


def _lines(path: Path) -> list[str]:
    try:
        text = read_bytes(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8: {error}") from None
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n") if text else []


def _escaped(word: str) -> str:
    """The word without white space: each such character, and each "%", as %XX of its UTF-8 bytes."""
    if not word:
        raise ValueError("an id in a run file is empty")
    special = lambda c: c.isspace() or c == "%" or not c.isprintable()  # noqa: E731
    return "".join("".join(f"%{byte:02X}" for byte in c.encode()) if special(c) else c for c in word)


def _unescaped(word: str) -> str:
    from urllib.parse import unquote

    return unquote(word)
