"""ttft select: prompts -> selected texts, as a table on a terminal and as JSON lines in a pipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ttft.commands.console import plain, say, show_plan
from ttft.commands.prompts import load_prompts, make_tuner
from ttft.commands.texts import first_line
from ttft.config.select import SelectConfig
from ttft.progress import counted
from ttft.records import Prompt, QueryRecord

if TYPE_CHECKING:
    from ttft.tuner.results import ChosenTexts

REASONS = {
    "n": "all n selected", "pool": "the pool is used up", "uncertainty": "stopped by the adaptive rule",
    "gain": "stopped by the policy: further steps would gain too little", "no search": "no search is needed",
}  # fmt: skip


def run(config: SelectConfig, *, dry_run: bool = False) -> None:
    """Print the texts that the strategy selects for each prompt. Raises TtftError."""
    if dry_run:
        show_plan(config, [])
        return
    from ttft.vector_index.manifest import read_manifest

    read_manifest(Path(config.index))  # fails on a wrong folder before anything is loaded
    prompts = load_prompts(config)
    tuner = make_tuner(config)
    for prompt in tuner.queries.of(prompts):
        chosen = tuner.select(prompt)
        if config.explain:
            from ttft.commands import explain

            both = explain.sides(tuner.selector, prompt, chosen)
            if sys.stdout.isatty():
                explain.show(prompt, both)
            else:
                say(json.dumps({"prompt_id": prompt.id} | {side.name: side.to_json() for side in both}))
        elif sys.stdout.isatty():
            _print_table(prompt, chosen)
        else:
            say(json.dumps(chosen.to_json(texts=config.texts), ensure_ascii=False))


def _title(prompt: Prompt, rewrite: QueryRecord | None) -> str:
    if rewrite is None:
        return first_line(prompt.text)
    queries = " | ".join(map(first_line, rewrite.queries)) or "(no search)"
    return f"{first_line(prompt.turns[-1][1])} -> {queries} ({rewrite.how})"


def _print_table(prompt: Prompt, chosen: ChosenTexts) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=plain(f"{prompt.id}: {_title(prompt, chosen.rewrite)}"), title_justify="left", expand=True)
    for name in ("rank", "score", "sigma"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("subset", no_wrap=True, max_width=20)
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    rows = zip(chosen.scores, chosen.sigma[1:], chosen.documents, strict=True)
    for rank, (score, sigma, document) in enumerate(rows, 1):
        table.add_row(
            str(rank), f"{score:.4f}", f"{sigma:.4f}", plain(document.subset), plain(first_line(document.text))
        )
    console = Console()
    console.print(table)
    pool = chosen.selection.pool
    among = ""
    if pool:
        copies, near = counted(pool["copies"], "copy", "copies"), counted(pool["near"], "near copy", "near copies")
        among = f"; pool of {pool['rows']}: {copies}, {near}"
    console.print(
        f"{counted(len(chosen.ids), 'pick')}, {len(set(chosen.ids))} distinct; sigma {chosen.sigma[0]:.4f} -> "
        f"{chosen.sigma[-1]:.4f}; {REASONS[chosen.stopped_because]}{among}"
    )
