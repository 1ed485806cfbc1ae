"""ttft index merge: options -> ttft.indexing.merge.merge_indexes -> a summary on the screen."""

from __future__ import annotations

import time
from pathlib import Path

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.index import MergeConfig
from ttft.run_dir import MANIFEST, shard_name


def run(config: MergeConfig, *, dry_run: bool = False) -> None:
    """Merge several indexes into one, or resume an interrupted merge. Raises TtftError."""
    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / name for name in (MANIFEST, shard_name(0))])
        return
    from ttft import runtime
    from ttft.indexing.merge import merge_indexes
    from ttft.vector_index.facts import size_of
    from ttft.vector_index.manifest import read_manifest

    runtime.setup(config.seed)
    before = read_manifest(folder) if (folder / MANIFEST).exists() else None
    started = time.perf_counter()
    with progress() as display:
        index = merge_indexes(
            config.parts, folder, factory=config.factory, store=config.store, uri=config.uri,
            collection=config.collection, seed=config.seed, on_progress=display, on_note=note,
        )  # fmt: skip
    if index.manifest == before:
        say(f"{folder} is complete: {size_of(index.manifest)}; nothing to do")
    else:
        say(f"{folder}: {size_of(index.manifest)}, {time.perf_counter() - started:.1f} s")
