"""Checks a whole index against its manifest by reading every file, including files that were checked before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ttft.records import Document
from ttft.run_dir import DOCUMENTS, PROVENANCE, VECTORS, sealed, sha256_file
from ttft.vector_index import milvus
from ttft.vector_index.manifest import HashedFile, Manifest

UNIT = 5e-3  # how far from 1 the length of a vector stored in float16 may be


def damage(folder: Path, manifest: Manifest, shards: Any, on_file: Callable[[str], None]) -> Iterator[str]:
    """The problems of an index, one sentence each, in the order of the files; none for an intact index. `on_file` is
    called with the name of each file that was read."""
    unread = set()
    for name, facts in manifest.files().items():
        if wrong := _file(folder / name, facts):
            unread.add(name)
            yield f"{name} {wrong}"
        on_file(name)
    if (folder / PROVENANCE).exists() and not _is_sealed(folder / PROVENANCE):
        yield f"{PROVENANCE} is damaged: its hash does not match"
    for shard in shards:
        name = shard.entry.name
        if not unread & {f"{name}/{DOCUMENTS}", f"{name}/{VECTORS}"}:
            yield from _content(shard, manifest.embedder.dimension)
    if manifest.search.store == "milvus" and not unread:
        yield from milvus.faults(folder, manifest.search, shards, manifest.embedder.dimension)


def _file(path: Path, facts: HashedFile) -> str:
    """The problem with a file listed in the manifest; "" if there is none."""
    if not path.exists():
        return "is missing"
    if path.stat().st_size != facts.bytes:
        return f"has {path.stat().st_size:,} bytes, not {facts.bytes:,}"
    return "" if sha256_file(path) == facts.sha256 else "is damaged: its hash does not match the manifest"


def _is_sealed(path: Path) -> bool:
    """Whether a JSON file matches the hash that it contains. Every start changes this file, so the manifest cannot list
    it."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(value, dict) and value == sealed(value)


def _content(shard: Any, dimension: int) -> Iterator[str]:
    """The problems of a shard whose files are intact: wrong shapes, invalid vectors, wrong digests."""
    name, vectors, documents = shard.entry.name, shard.vectors, shard.documents
    if vectors.shape != (shard.rows, dimension) or documents.num_rows != shard.rows:
        yield f"{name} has {documents.num_rows:,} documents and vectors {vectors.shape}, not {(shard.rows, dimension)}"
        return
    lengths = np.linalg.norm(np.asarray(vectors, dtype=np.float32), axis=1)
    if not np.isfinite(lengths).all():
        yield f"{name}/{VECTORS}: row {int(np.flatnonzero(~np.isfinite(lengths))[0])} is not finite"
    elif len(wrong := np.flatnonzero(abs(lengths - 1) > UNIT)):
        yield f"{name}/{VECTORS}: row {int(wrong[0])} has length {lengths[wrong[0]]:.4f}, not 1"
    texts = (value.as_py() for chunk in documents.column("text").chunks for value in chunk)
    for row, (text, digest) in enumerate(zip(texts, shard.digests(), strict=True)):
        if Document(text, "", "").digest != digest:
            yield f"{name}/{DOCUMENTS}: the digest of row {row} does not match its text"
            return
