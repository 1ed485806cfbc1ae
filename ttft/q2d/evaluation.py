"""An evaluation of query models: which turns of a data set, which queries, and all numbers about them."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ttft.errors import CorpusError
from ttft.progress import OnNote, counted, ignore
from ttft.q2d.conversations import load_examples
from ttft.q2d.fusion import reciprocal_rank_fusion
from ttft.q2d.metrics import score
from ttft.q2d.predictions import Prediction
from ttft.q2d.records import Example
from ttft.q2d.results import Row, retrieval_rows
from ttft.q2d.retrieval import Judgements, Search, read_qrels, retrieve, write_run
from ttft.q2d.similarity import Embed
from ttft.q2d.text_scores import scored, text_rows

BASELINES = ("last-turn", "user-turns", "history")
COPY = BASELINES[0]
GOLD = "human rewrite"
Queries = dict[str, dict[str, tuple[str, ...]]]
"""system -> id of the turn -> its queries, best first."""


def turns_to_evaluate(
    data: Path, form: str | None = None, qrels: Sequence[Path] = (), *, most: int | None = None, seed: int = 0,
    on_note: OnNote = ignore,
) -> tuple[list[Example], Judgements]:  # fmt: skip
    """The turns that can be scored, by a human rewrite or by judgements, and the judgements of those among them.

    most  of the turns, drawn with the seed
    Raises CorpusError if nothing can be scored, or as load_examples and read_qrels.
    """
    judged: Judgements = {}
    for path in qrels:
        judged |= read_qrels(path)
    examples = load_examples(data, form, rewritten_only=not judged)
    known = {example.id for example in examples}
    unknown = [query for query in judged if query not in known]
    if judged and len(unknown) == len(judged):
        raise CorpusError(f"no turn of {data} is judged; the judgements are of {unknown[0]!r}, ...")
    if unknown:
        on_note(f"{counted(len(unknown), 'judged query', 'judged queries')} of {len(judged):,} not in {data}")
    with_rewrite = {example.id for example in scored(examples)}
    examples = [example for example in examples if example.id in with_rewrite or example.id in judged]
    if not examples:
        raise CorpusError(f"no turn of {data} has a history and a human rewrite")
    if most is not None and most < len(examples):
        places = sorted(random.Random(seed).sample(range(len(examples)), most))
        examples = [examples[place] for place in places]
    return examples, {example.id: judged[example.id] for example in examples if example.id in judged}


def all_queries(made: Mapping[str, Mapping[str, Prediction]], examples: Sequence[Example]) -> Queries:
    """The queries of all systems; and those that the data itself has for every turn: others' rewrites, and the human
    ones (GOLD)."""
    found: Queries = {name: {i: one.queries for i, one in some.items()} for name, some in made.items()}
    for name in sorted({name for example in examples for name in example.rewrites}):
        if name not in found and all(name in example.rewrites for example in examples):
            found[name] = {example.id: (example.rewrites[name],) for example in examples}
    if all(example.target.strip() for example in examples):
        found[GOLD] = {example.id: (example.target,) for example in examples}
    return found


def text_results(
    queries: Queries, examples: Sequence[Example], embed: Embed | None = None, reference: str | None = None
) -> list[Row]:
    """Rows of the text metrics over the turns with a history and a rewrite, [] if there are none. A turn for which a
    system said that no search is needed has the query ""."""
    some = scored(examples)
    if not some:
        return []
    targets = [example.target for example in some]
    scores = {
        name: score(targets, [(by_id[example.id] or ("",))[0] for example in some], embed)
        for name, by_id in queries.items()
    }
    return text_rows(scores, some, baseline=COPY, reference=reference)


def retrieval_results(
    queries: Queries, examples: Sequence[Example], judged: Judgements, search: Search, folder: Path, *, k: int = 5,
    kind: Mapping[str, str] | None = None,
) -> list[Row]:  # fmt: skip
    """Rows of the retrieval metrics; a TREC run file of each set of queries is written into the folder.

    A system with several queries for some turn is scored twice: by the best query of each, and by all of them, their
    rankings fused.
    kind  id -> "follow-up", "clarification" or "standalone"; default: first turns are standalone, others follow-ups
    """
    sets = {name: {i: found[:1] for i, found in by_id.items()} for name, by_id in queries.items()}
    several = {name: max(map(len, by_id.values()), default=0) for name, by_id in queries.items()}
    sets |= {f"{name}, {several[name]} fused": by_id for name, by_id in queries.items() if several[name] > 1}
    found = []
    for number, (name, by_id) in enumerate(sets.items(), 1):
        one = retrieve(name, by_id, judged, search, k=k, fuse=_fused)
        write_run(folder / f"run-{number:02d}-{_file_name(name)}.trec", one.rankings, name)
        found.append(one)
    of = {e.id: (kind or {}).get(e.id, "follow-up" if e.depth > 1 else "standalone") for e in examples}
    groups = {"all": list(judged)}
    groups |= {name: [i for i in judged if of[i] == name] for name in ("follow-up", "clarification", "standalone")}
    return retrieval_rows(found, {e.id: e.conversation for e in examples}, groups, COPY)


def _fused(rankings: Sequence[Sequence[str]]) -> list[str]:
    return [passage for passage, _ in reciprocal_rank_fusion(rankings)]


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[-60:].strip("-") or "model"
