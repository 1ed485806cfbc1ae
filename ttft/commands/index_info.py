"""ttft index info: what is in an index, and with --recall the quality of its search."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ttft.commands.console import plain, say, show_plan
from ttft.config.index import InfoConfig
from ttft.progress import counted


def run(config: InfoConfig, *, dry_run: bool = False) -> None:
    """Print a table on a terminal, one JSON object in a pipe. Raises TtftError."""
    if dry_run:
        show_plan(config, [])
        return
    from ttft import runtime
    from ttft.vector_index.facts import IndexFacts, search_quality
    from ttft.vector_index.manifest import read_manifest
    from ttft.vector_index.shards import open_vector_index

    folder = Path(config.folder)
    facts = IndexFacts.of(read_manifest(folder)).to_json()
    if config.recall is not None:
        runtime.setup(0)
        index = open_vector_index(folder, nprobe=config.nprobe, ef_search=config.ef_search)
        facts["search"] = search_quality(index, config.recall, config.sample).to_json()
    if sys.stdout.isatty():
        _table(folder, facts)
    else:
        say(json.dumps(facts, ensure_ascii=False))


def _table(folder: Path, facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=plain(folder), title_justify="left", show_header=False)
    for key, value in facts.items():
        if key == "bytes":
            shown = "\n".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in value.items())
        elif key == "sources":
            shown = "\n".join(f"{s['source']}: {counted(s['rows'], 'piece')}" for s in value)
        elif key == "search":
            shown = (
                f"recall@{value['k']} {value['recall']:.4f}, {value['ms_per_query']} ms per query, "
                f"{counted(value['queries'], 'query', 'queries')}"
            )
        elif key == "remarks":
            shown = "\n".join(value)
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        if shown not in ("", "None"):
            table.add_row(key, plain(shown))
    Console().print(table)
