"""ttft q2d evaluate: queries of models and baselines -> their scores by words and by retrieval."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.q2d_evaluate import Q2dEvaluateConfig
from ttft.errors import CorpusError
from ttft.progress import counted
from ttft.run_dir import CONFIG, PROVENANCE

if TYPE_CHECKING:
    from ttft.q2d.predictions import Prediction
    from ttft.q2d.records import Example
    from ttft.q2d.results import Row
    from ttft.q2d.retrieval import Judgements
    from ttft.q2d.similarity import Embed

FILES = ("predictions.jsonl", "results.json", "results.csv")
BASELINES = ("last-turn", "user-turns", "history")
GOLD = "human rewrite"
Found = dict[str, dict[str, tuple[str, ...]]]
"""system -> id -> queries."""


def run(config: Q2dEvaluateConfig, *, dry_run: bool = False) -> None:
    """Write queries, score them, print a table. Raises TtftError; queries that were written stay."""
    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / name for name in (*FILES, CONFIG, PROVENANCE)])
        return
    examples, judged = _inputs(config)
    from ttft import files, run_dir, runtime
    from ttft.q2d.predictions import predict
    from ttft.q2d.results import to_csv

    runtime.quiet_libraries()
    runtime.setup(config.seed)
    with run_dir.locked(folder):
        run_dir.claim_run(folder, _identity(config))
        run_dir.record_provenance(folder, run_dir.provenance(config.seed, {}))
        started = time.perf_counter()
        with progress() as display:
            systems = {name: partial(_load, name, config) for name in (*BASELINES, *config.models)}
            made = predict(folder, systems, examples, n=config.n, on_progress=display)
        for name in config.models:
            _say_failures(name, list(made[name].values()))
        found = _queries(made, examples)
        rows = _text(config, found, examples) + (_retrieval(config, found, examples, judged) if judged else [])
        value = {"schema": 1, "rows": [row.flat() for row in rows]}
        run_dir.write_json(folder / "results.json", value)
        files.write_whole(folder / "results.csv", to_csv(rows).encode())
        run_dir.finish_provenance(folder, time.perf_counter() - started, sum(map(len, made.values())))
    _print(rows)
    say(f"{folder}: {counted(len(rows), 'number')} in results.csv and results.json")


def _inputs(config: Q2dEvaluateConfig) -> tuple[list[Example], Judgements]:
    """The turns to evaluate and the judgements of those among them. Raises CorpusError if nothing can be scored."""
    from ttft.q2d.conversations import load_examples
    from ttft.q2d.retrieval import read_qrels
    from ttft.q2d.text_scores import scored

    judged: Judgements = {}
    for name in config.qrels:
        judged |= read_qrels(Path(name))
    examples = load_examples(Path(config.data), config.form, rewritten_only=not judged)
    known = {example.id for example in examples}
    unknown = [query for query in judged if query not in known]
    if judged and len(unknown) == len(judged):
        raise CorpusError(f"no turn of {config.data} is judged; the judgements are of {unknown[0]!r}, ...")
    if unknown:
        note(f"{counted(len(unknown), 'judged query', 'judged queries')} of {len(judged):,} not in {config.data}")
    words = {example.id for example in scored(examples)}
    examples = [example for example in examples if example.id in words or example.id in judged]
    if not examples:
        raise CorpusError(f"no turn of {config.data} has a history and a human rewrite")
    if config.max_examples is not None and config.max_examples < len(examples):
        places = sorted(random.Random(config.seed).sample(range(len(examples)), config.max_examples))
        examples = [examples[place] for place in places]
    return examples, {e.id: judged[e.id] for e in examples if e.id in judged}


def _load(name: str, config: Q2dEvaluateConfig) -> Any:
    from ttft.q2d.rewrites import RULES, Rule

    if name in RULES:
        return Rule(name)
    from ttft.q2d.rewriter import load_rewriter

    return load_rewriter(name, device=config.device, dtype=config.dtype, max_new_tokens=config.max_new_tokens)


def _say_failures(name: str, made: Sequence[Prediction]) -> None:
    failed = sum(one.how == "last turn" and bool(one.note) for one in made)
    silent = sum(one.how == "no search" for one in made)
    if failed or silent:
        note(f"{name}: of {len(made):,} turns, {failed:,} got the last turn in place of the model's query (see `note` "
             f"in predictions.jsonl), {silent:,} were said to need no search")  # fmt: skip


def _queries(made: dict[str, dict[str, Prediction]], examples: Sequence[Example]) -> Found:
    """The queries of all systems; also the human rewrites, and those of others that the data has for every turn."""
    found: Found = {name: {i: one.queries for i, one in some.items()} for name, some in made.items()}
    named = {name for example in examples for name in example.rewrites}
    for name in sorted(named):
        if name not in found and all(name in example.rewrites for example in examples):
            found[name] = {example.id: (example.rewrites[name],) for example in examples}
    if all(example.target.strip() for example in examples):
        found[GOLD] = {example.id: (example.target,) for example in examples}
    return found


def _text(config: Q2dEvaluateConfig, found: Found, examples: Sequence[Example]) -> list[Row]:
    from ttft.q2d.metrics import score
    from ttft.q2d.text_scores import scored, text_rows

    some = scored(examples)
    if not some:
        return []
    embed = _embed(config) if config.similarity != "none" else None
    targets = [example.target for example in some]
    scores = {
        name: score(targets, [(queries[example.id] or ("",))[0] for example in some], embed)
        for name, queries in found.items()
    }  # fmt: skip
    return text_rows(scores, some, baseline=BASELINES[0], reference=config.reference)


def _embed(config: Q2dEvaluateConfig) -> Embed:
    from ttft.embedding import load_embedder
    from ttft.runtime import pick_device, pick_dtype

    device = pick_device(config.device)
    return load_embedder(config.similarity, device=device, dtype=pick_dtype(config.dtype, device)).encode


def _retrieval(
    config: Q2dEvaluateConfig, found: Found, examples: Sequence[Example], judged: Judgements
) -> list[Row]:  # fmt: skip
    from ttft.commands.q2d_search import passage_search
    from ttft.q2d.fusion import reciprocal_rank_fusion
    from ttft.q2d.mtrag import kinds
    from ttft.q2d.results import retrieval_rows
    from ttft.q2d.retrieval import retrieve, write_run

    search = passage_search(Path(config.collection or ""), device=config.device, dtype=config.dtype)
    fuse: Callable = lambda rankings: [item for item, _ in reciprocal_rank_fusion(rankings)]  # noqa: E731
    sets = {name: {i: queries[:1] for i, queries in by_id.items()} for name, by_id in found.items()}
    if config.n > 1:
        sets |= {f"{name}, {config.n} fused": found[name] for name in config.models}
    results = []
    for number, (name, queries) in enumerate(sets.items(), 1):
        one = retrieve(name, queries, judged, search, k=config.k, fuse=fuse)
        write_run(Path(config.out) / f"run-{number:02d}-{_file_name(name)}.trec", one.rankings, name)
        results.append(one)
    kind = kinds(Path(config.data))
    of = {e.id: kind.get(e.id, "follow-up" if e.depth > 1 else "standalone") for e in examples}
    groups = {"all": list(judged)} | {
        name: [i for i in judged if of[i] == name] for name in ("follow-up", "clarification", "standalone")
    }
    return retrieval_rows(results, {e.id: e.conversation for e in examples}, groups, BASELINES[0])


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[-60:].strip("-") or "model"


def _identity(config: Q2dEvaluateConfig) -> dict[str, Any]:
    """What the queries depend on: data and models that are files are identified by content."""
    from ttft.run_dir import sha256_file

    resolved = config.resolved() | {"command": "q2d evaluate", "data": sha256_file(Path(config.data))}
    weights = {name: [sha256_file(path) for path in sorted(Path(name).glob("*.safetensors"))] for name in config.models}
    keep = ("command", "data", "form", "max_examples", "n", "max_new_tokens", "seed")
    return {key: resolved[key] for key in keep} | {"models": weights}


def _print(rows: Sequence[Row]) -> None:
    """A table for every group: of text in per cent, of retrieval with the difference to the last turn."""
    from ttft.q2d.results import table, with_interval

    def text(row: Row) -> str:
        return "-" if math.isnan(row.value.value) else f"{100 * row.value.value:.1f}"

    for name in ("text", "retrieval"):
        here = [row for row in rows if row.table == name]
        for group in dict.fromkeys(row.group for row in here):
            n = next(row.n for row in here if row.group == group)
            show = text if name == "text" else lambda row: with_interval(row.value)
            head, lines = table(here, group, show)
            say(f"\n{name}, {group}: {counted(n, 'turn')}\n{_aligned([head, *lines])}")


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)
