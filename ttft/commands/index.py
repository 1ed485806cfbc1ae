"""ttft index: options -> ttft.indexing.build.build_index -> a summary on the screen."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.index import IndexConfig
from ttft.run_dir import MANIFEST, PROBLEMS, PROVENANCE, shard_name

if TYPE_CHECKING:
    from ttft.indexing.writer import ShardWriter


def run(config: IndexConfig, *, dry_run: bool = False) -> None:
    """Build an index, resume an interrupted build, or add a source. Raises TtftError; finished work stays valid."""
    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / name for name in (MANIFEST, shard_name(0), PROBLEMS.format(0), PROVENANCE)])
        return
    from ttft.indexing.build import build_index
    from ttft.vector_index.facts import size_of
    from ttft.vector_index.manifest import read_manifest

    before = read_manifest(folder) if (folder / MANIFEST).exists() else None
    started = time.perf_counter()
    with progress() as display, _writer(config) as writer:
        index = build_index(
            config.source, folder, embedder=config.embedder, text_field=config.text_field,
            subset_field=config.subset_field, subsets=config.subsets, glob=config.glob, name=config.name,
            split=config.split, streaming=config.streaming, max_documents=config.max_documents,
            piece_chars=config.piece_chars, max_line_bytes=config.max_line_bytes, strict=config.strict,
            embedder_revision=config.embedder_revision, embedder_tokenizer=config.embedder_tokenizer,
            pooling=config.pooling, max_tokens=config.max_tokens, batch_size=config.batch_size,
            shard_rows=config.shard_rows, precision=config.precision, dedup=config.dedup, append=config.append,
            job=config.job, factory=config.factory, store=config.store, uri=config.uri, collection=config.collection,
            device=config.device, dtype=config.dtype, seed=config.seed, trust_remote_code=config.trust_remote_code,
            writer=writer, on_progress=display, on_note=note,
        )  # fmt: skip
    if index.manifest == before:
        say(f"{folder} is complete: {size_of(index.manifest)}; nothing to do")
    else:
        say(f"{folder}: {size_of(index.manifest)}, {time.perf_counter() - started:.1f} s")


def _writer(config: IndexConfig) -> AbstractContextManager[ShardWriter]:
    """The writer that embeds: this process, or Ray workers."""
    if config.backend == "local":
        from ttft.indexing.writer import LocalWriter

        return nullcontext(LocalWriter(own_process=True))
    from ttft.distributed.indexing import RayWriter

    return RayWriter(workers=config.workers, address=config.ray_address)
