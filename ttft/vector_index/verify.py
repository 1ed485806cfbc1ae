"""Is an index what its manifest says? Every file is read, whatever was found before."""

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
    """What is wrong, a sentence each, in the order of the files; nothing for a sound index. `on_file` is told each file
    that was read."""
    unread = set()
    for name, facts in manifest.files().items():
        if wrong := _file(folder / name, facts):
            unread.add(name)
            yield f"{name} {wrong}"
        on_file(name)
    if (folder / PROVENANCE).exists() and not _is_sealed(folder / PROVENANCE):
        yield f"{PROVENANCE} is damaged: its content has another hash"
    for shard in shards:
        name = shard.entry.name
        if not unread & {f"{name}/{DOCUMENTS}", f"{name}/{VECTORS}"}:
            yield from _content(shard, manifest.embedder.dimension)
    if manifest.search.store == "milvus" and not unread:
        yield from milvus.faults(folder, manifest.search, shards, manifest.embedder.dimension)
    if sum(shard.rows for shard in shards) != manifest.rows:
        yield f"the shards have {sum(s.rows for s in shards):,} rows, the manifest says {manifest.rows:,}"


def _file(path: Path, facts: HashedFile) -> str:
    """What is wrong with a file that the manifest vouches for; "" if nothing."""
    if not path.exists():
        return "is missing"
    if path.stat().st_size != facts.bytes:
        return f"has {path.stat().st_size:,} bytes, not {facts.bytes:,}"
    return "" if sha256_file(path) == facts.sha256 else "is damaged: its content has another hash"


def _is_sealed(path: Path) -> bool:
    """Whether a JSON file has the hash that it states itself: what every start changes, no manifest can vouch for."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(value, dict) and value == sealed(value)


def _content(shard: Any, dimension: int) -> Iterator[str]:
    """Whole files may still hold what no index should."""
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
            yield f"{name}/{DOCUMENTS}: row {row} has not the digest of its text"
            return
