"""ttft select: prompts -> chosen texts, as a table for a person and as JSON lines for a program."""

from __future__ import annotations

import json
import sys

from ttft.commands.console import show_plan
from ttft.config.select import SelectConfig
from ttft.records import Document, Prompt, Selection


def run(config: SelectConfig, *, dry_run: bool = False) -> None:
    """Print what the strategy chooses for each prompt. Raises TtftError."""
    if dry_run:
        show_plan(config, [])
        return
    from pathlib import Path

    from ttft.vector_index.manifest import read_manifest

    read_manifest(Path(config.index))
    from ttft import runtime
    from ttft.commands import explain
    from ttft.commands.selecting import Selector, load_prompts

    prompts = load_prompts(config)
    runtime.quiet_libraries()
    runtime.setup(config.seed)
    device = runtime.pick_device(config.device)
    selector = Selector(config, device, runtime.pick_dtype(config.dtype, device))
    for prompt in prompts:
        selection = selector.select(prompt.id, prompt.text)
        documents = selector.index.documents(selection.ids)
        if config.explain:
            both = explain.sides(selector, prompt, selection)
            if sys.stdout.isatty():
                explain.show(prompt, both)
            else:
                print(json.dumps({"prompt_id": prompt.id} | {side.name: side.to_json() for side in both}), flush=True)
        elif sys.stdout.isatty():
            _print_table(prompt, selection, documents)
        else:
            _print_json(selection, documents, config.texts)


def _print_json(selection: Selection, documents: list[Document], texts: bool) -> None:
    record = selection.to_json() | {"sources": [d.source for d in documents]}
    if texts:
        record["texts"] = [d.text for d in documents]
    print(json.dumps(record, ensure_ascii=False), flush=True)


def _print_table(prompt: Prompt, selection: Selection, documents: list[Document]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{prompt.id}: {first_line(prompt.text)}"), title_justify="left", expand=True)
    for name in ("rank", "score", "sigma"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("subset", no_wrap=True, max_width=20)
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    rows = zip(selection.scores, selection.sigma[1:], documents, strict=True)
    for rank, (score, sigma, document) in enumerate(rows, 1):
        table.add_row(str(rank), f"{score:.4f}", f"{sigma:.4f}", Text(document.subset), Text(first_line(document.text)))
    console = Console()
    console.print(table)
    reason = {
        "n": "all asked for", "pool": "the pool is used up", "uncertainty": "the adaptive rule stopped",
        "gain": "the policy expects too little of further steps",
    }  # fmt: skip
    distinct = len(set(selection.ids))
    pool = selection.pool
    among = f"; pool of {pool['rows']}: {pool['copies']} copies, {pool['near']} near copies" if pool else ""
    console.print(
        f"{len(selection.ids)} picks, {distinct} distinct; "
        f"sigma {selection.sigma[0]:.4f} -> {selection.sigma[-1]:.4f}; "
        f"{reason[selection.stopped_because]}{among}"
    )


def first_line(text: str) -> str:
    """The first line that holds something, with control characters made visible as spaces."""
    line = next((part for part in text.split("\n") if part.strip()), "")
    return "".join(c if c.isprintable() else " " for c in line.strip())
