"""ttft q2d evaluate: queries of models and baselines -> their scores by words and by retrieval."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.q2d_evaluate import Q2dEvaluateConfig
from ttft.progress import counted
from ttft.run_dir import CONFIG, PROVENANCE

if TYPE_CHECKING:
    from ttft.q2d.evaluation import Queries
    from ttft.q2d.predictions import Prediction
    from ttft.q2d.records import Example
    from ttft.q2d.results import Row
    from ttft.q2d.retrieval import Judgements

FILES = ("predictions.jsonl", "results.json", "results.csv")


def run(config: Q2dEvaluateConfig, *, dry_run: bool = False) -> None:
    """Write queries, score them, print a table. Raises TtftError; queries that were written stay."""
    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / name for name in (*FILES, CONFIG, PROVENANCE)])
        return
    from ttft import files, run_dir, runtime
    from ttft.q2d.evaluation import BASELINES, all_queries, turns_to_evaluate
    from ttft.q2d.predictions import predict
    from ttft.q2d.results import to_csv

    examples, judged = turns_to_evaluate(
        Path(config.data), config.form, [Path(name) for name in config.qrels], most=config.max_examples,
        seed=config.seed, on_note=note,
    )  # fmt: skip
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
        rows = _rows(config, all_queries(made, examples), examples, judged)
        run_dir.write_json(folder / "results.json", {"schema": 1, "rows": [row.flat() for row in rows]})
        files.write_whole(folder / "results.csv", to_csv(rows).encode())
        run_dir.finish_provenance(folder, time.perf_counter() - started, sum(map(len, made.values())))
    _print(rows)
    say(f"\n{folder}: {counted(len(rows), 'number')} with intervals in results.csv and results.json")


def _rows(
    config: Q2dEvaluateConfig, queries: Queries, examples: Sequence[Example], judged: Judgements
) -> list[Row]:  # fmt: skip
    from ttft.commands.q2d_search import passage_search
    from ttft.embedding import load_embedder
    from ttft.q2d.evaluation import retrieval_results, text_results
    from ttft.q2d.mtrag import kinds
    from ttft.runtime import pick_device

    named = config.similarity != "none"
    embed = load_embedder(config.similarity, device=pick_device(config.device)).encode if named else None
    rows = text_results(queries, examples, embed, config.reference)
    if judged:
        search = passage_search(Path(config.collection or ""), device=config.device, dtype=config.dtype)
        kind = kinds(Path(config.data))
        rows += retrieval_results(queries, examples, judged, search, Path(config.out), k=config.k, kind=kind)
    return rows


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


def _identity(config: Q2dEvaluateConfig) -> dict[str, Any]:
    """What the queries depend on: data and models that are files are identified by content."""
    from ttft.run_dir import sha256_file

    resolved = config.resolved() | {"command": "q2d evaluate", "data": sha256_file(Path(config.data))}
    weights = {name: [sha256_file(path) for path in sorted(Path(name).glob("*.safetensors"))] for name in config.models}
    keep = ("command", "data", "form", "max_examples", "n", "max_new_tokens", "seed")
    return {key: resolved[key] for key in keep} | {"models": weights}


def _print(rows: Sequence[Row]) -> None:
    """A table for every group; of the text metrics in per cent."""
    from ttft.q2d.results import table

    for name, factor, digits in (("text", 100, 1), ("retrieval", 1, 3)):
        here = [row for row in rows if row.table == name]
        for group in dict.fromkeys(row.group for row in here):
            n = next(row.n for row in here if row.group == group)
            lines = table(here, group, factor=factor, digits=digits)
            say(f"\n{name}, {group}: {counted(n, 'turn')}\n{_aligned(lines)}")


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)
