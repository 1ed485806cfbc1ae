"""ttft index: corpus -> pieces -> vectors -> index folder, resumable shard by shard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.index import IndexConfig
from ttft.errors import ConfigError, CorpusError
from ttft.records import Document
from ttft.run_dir import (
    MANIFEST,
    PROBLEMS,
    PROVENANCE,
    RESULTS,
    SCHEMA,
    differences,
    finish_provenance,
    locked,
    provenance,
    read_manifest,
    record_provenance,
    shard_name,
    write_json,
    write_whole,
)

NOT_CONTENT = {"out", "strict", "device", "dtype"}
"""Options that do not say what is in the index (device and dtype are recorded as resolved)."""


def run(config: IndexConfig, *, dry_run: bool = False) -> None:
    """Build the index, or go on with a build that was interrupted. Raises TtftError; what was finished stays valid."""
    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / MANIFEST, folder / shard_name(0), folder / PROBLEMS, folder / PROVENANCE])
        return
    from ttft import runtime
    from ttft.corpus.problems import Problems

    problems = Problems(strict=config.strict)
    documents = _documents(config, problems)
    first = next(documents, None)  # a source that cannot be read is said before anything is loaded or written
    if first is None:
        raise CorpusError(f"{config.source} holds no text", "see --text-field and --glob")
    runtime.quiet_libraries()
    runtime.setup(config.seed)
    runtime.keep_freed_memory()
    with locked(folder):
        _build(config, folder, chain([first], documents), problems)


def _build(config: IndexConfig, folder: Path, documents: Iterator[Document], problems: Any) -> None:
    from ttft import runtime
    from ttft.embedding import load_embedder

    started = time.perf_counter()
    device = runtime.pick_device(config.device)
    embedder = load_embedder(
        config.embedder,
        revision=config.embedder_revision,
        tokenizer=config.embedder_tokenizer,
        pooling=config.pooling,
        max_tokens=config.max_tokens,
        device=device,
        dtype=runtime.pick_dtype(config.dtype, device),
        trust_remote_code=config.trust_remote_code,
    )
    manifest = _claim(config, folder, embedder.facts() | {"device": device.split(":")[0]})
    if manifest["complete"]:
        say(f"{folder} is complete: {_size(manifest)}; nothing to do")
        return
    record_provenance(folder, provenance(config.seed, runtime.host_facts(device)))
    written = Build(config, folder, manifest, embedder).go_on(documents)
    _write_problems(folder, problems)
    manifest |= {"complete": True, "problems": problems.counts}
    write_json(folder / MANIFEST, manifest)
    seconds = time.perf_counter() - started
    finish_provenance(folder, seconds, written)
    for line in problems.summary():
        note(line)
    say(f"{folder}: {_size(manifest)}, {seconds:.1f} s")


def _documents(config: IndexConfig, problems: Any) -> Iterator[Document]:
    from ttft.corpus.pieces import pieces
    from ttft.corpus.sources import read_texts

    texts = read_texts(
        config.source, text_field=config.text_field, subset_field=config.subset_field, subsets=config.subsets,
        max_documents=config.max_documents, glob=config.glob, name=config.name, split=config.split,
        streaming=config.streaming, max_line_bytes=config.max_line_bytes, problems=problems,
    )  # fmt: skip
    return pieces(texts, config.piece_chars)


def _claim(config: IndexConfig, folder: Path, embedder: dict) -> dict:
    """The manifest of this very index, begun or found; ConfigError when the folder holds another one or a run."""
    from ttft.corpus.sources import fingerprint

    corpus: dict[str, Any] = {k: v for k, v in config.resolved().items() if k not in NOT_CONTENT}
    corpus["fingerprint"] = fingerprint(config.source, config.glob)
    if not (folder / MANIFEST).exists():
        if (folder / RESULTS).exists():
            raise ConfigError(f"{folder} holds a run, not an index", "choose another --out")
        manifest: dict[str, Any] = {
            "schema": SCHEMA, "embedder": embedder, "metric": "inner_product", "factory": config.factory,
            "corpus": corpus, "rows": 0, "complete": False, "problems": {}, "shards": [],
        }  # fmt: skip
        write_json(folder / MANIFEST, manifest)
        return manifest
    manifest = read_manifest(folder)
    changed = differences(manifest["corpus"], corpus) + differences(manifest["embedder"], embedder)
    if changed:
        raise ConfigError(
            f"{folder} holds another index: " + "; ".join(changed),
            "choose another --out, or remove that folder first",
        )
    return manifest


def _size(manifest: dict) -> str:
    size = sum(f["bytes"] for s in manifest["shards"] for f in s["files"].values())
    return f"{manifest['rows']:,} pieces in {len(manifest['shards'])} shard(s), {size / 2**20:.1f} MiB"


def _write_problems(folder: Path, problems: Any) -> None:
    import json

    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in problems.records)
    write_whole(folder / PROBLEMS, lines.encode())


@dataclass
class Build:
    """A build under way: takes pieces, gives shards. The manifest grows by one entry a shard."""

    config: IndexConfig
    folder: Path
    manifest: dict
    embedder: Any

    def go_on(self, documents: Iterator[Document]) -> int:
        """Embed and write every piece that no finished shard holds; returns how many."""
        done = self.manifest["rows"]
        for _ in islice(documents, done):
            pass
        if done:
            note(f"going on after {done:,} pieces in {len(self.manifest['shards'])} finished shard(s)")
        with progress() as display:
            while shard := list(islice(documents, self.config.shard_rows)):
                self._write(shard, display)
        return self.manifest["rows"] - done

    def _write(self, shard: list[Document], display: Progress) -> None:
        from ttft.vector_index.shards import write_shard

        number = len(self.manifest["shards"])
        task = display.add_task(f"embedding {shard_name(number)}", total=len(shard))
        vectors = self.embedder.encode(
            [d.text for d in shard], batch_size=self.config.batch_size,
            on_batch=lambda count: display.advance(task, count),
        )  # fmt: skip
        entry = write_shard(self.folder, number, shard, vectors, factory=self.config.factory, store=self.config.store)
        self.manifest["shards"].append(entry)
        self.manifest["rows"] += entry["rows"]
        write_json(self.folder / MANIFEST, self.manifest)
