"""ttft index info: what is in an index, and with --recall how good its search is."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from ttft.commands.console import say, show_plan
from ttft.config.index import InfoConfig


def run(config: InfoConfig, *, dry_run: bool = False) -> None:
    """A table for a person, one JSON object for a program. Raises TtftError."""
    if dry_run:
        show_plan(config, [])
        return
    from ttft.vector_index.manifest import files_of, read_manifest

    folder = Path(config.folder)
    manifest = read_manifest(folder)
    sizes: dict[str, int] = {}
    for name, file in files_of(manifest).items():
        what = Path(name).name if "/" in name else "what searches them" if name.endswith(".faiss") else "problems"
        sizes[what] = sizes.get(what, 0) + file["bytes"]
    facts: dict[str, Any] = {
        "complete": manifest["complete"],
        "part": manifest["part"],
        "pieces": manifest["rows"],
        "shards": len(manifest["shards"]),
        "kind": manifest["search"]["kind"],
        "embedder": manifest["embedder"]["name"],
        "dimension": manifest["embedder"]["dimension"],
        "precision": manifest["precision"],
        "dedup": manifest["dedup"],
        "sources": [
            {"source": s["corpus"]["source"]} | {k: s[k] for k in ("read", "rows", "duplicates", "problems")}
            for s in manifest["sources"]
        ],
        "bytes": sizes,
        "remarks": remarks(manifest),
    }
    if config.recall is not None:
        facts["search"] = _measure(config, folder)
    if sys.stdout.isatty():
        _table(folder, facts)
    else:
        say(json.dumps(facts, ensure_ascii=False))


def _measure(config: InfoConfig, folder: Path) -> dict:
    """Recall and time of the search, with stored vectors of pieces as queries."""
    import numpy as np

    from ttft import runtime
    from ttft.vector_index.recall import exact, recall
    from ttft.vector_index.segments import sample
    from ttft.vector_index.shards import open_vector_index

    runtime.setup(0)
    index = open_vector_index(folder, nprobe=config.nprobe, ef_search=config.ef_search)
    k = min(config.recall or 1, index.rows)
    queries = sample(index.shards, config.sample, seed=0)
    index.search(queries[:1], k)
    started = time.perf_counter()
    _, ids = index.search(queries, k)
    seconds = time.perf_counter() - started
    truth, _ = exact(index.shards, queries, k)
    scores = np.stack([index.vectors(np.maximum(row, 0)) @ query for row, query in zip(ids, queries, strict=True)])
    return {
        "k": k, "queries": len(queries), "recall": round(recall(ids, scores, truth), 4),
        "ms_per_query": round(1000 * seconds / len(queries), 3),
    }  # fmt: skip


def _table(folder: Path, facts: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(folder), title_justify="left", show_header=False)
    for key, value in facts.items():
        if key == "bytes":
            shown = "\n".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in value.items())
        elif key == "sources":
            shown = "\n".join(f"{s['source']}: {s['rows']:,} pieces" for s in value)
        elif key == "search":
            shown = (
                f"recall@{value['k']} {value['recall']:.4f}, {value['ms_per_query']} ms a query of {value['queries']}"
            )
        elif key == "remarks":
            shown = "\n".join(value)
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        if shown not in ("", "None"):
            table.add_row(key, shown)
    Console().print(table)


def size_of(manifest: dict) -> str:
    from ttft.vector_index.manifest import files_of

    size = sum(facts["bytes"] for facts in files_of(manifest).values())
    return f"{manifest['rows']:,} pieces in {len(manifest['shards'])} shard(s), {size / 2**20:.1f} MiB"


def remarks(manifest: dict) -> list[str]:
    """What a person should know of an index: its kind, where that was chosen, and repeated pieces."""
    search, lines = manifest["search"], []
    if search["store"] == "milvus":
        lines.append(f"searched by Milvus: {search['rows']:,} rows in {search['collection']} at {search['uri']}")
    elif search["factory"] == "auto" and search["kind"] is not None:
        lines.append(f"index kind {search['kind']}, chosen by size (--factory to choose)")
    repeated, read = (sum(source[key] for source in manifest["sources"]) for key in ("duplicates", "read"))
    if repeated:
        what = "left out" if manifest["dedup"] == "exact" else "kept; --dedup exact leaves them out"
        lines.append(f"{repeated:,} of {read:,} pieces repeat an earlier one exactly ({what})")
    return lines
