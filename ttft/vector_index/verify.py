"""Is an index what its manifest says? Every file is read, whatever was found before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ttft.records import Document
from ttft.run_dir import DOCUMENTS, VECTORS, sha256_file
from ttft.vector_index import milvus
from ttft.vector_index.manifest import files_of

UNIT = 5e-3  # how far from 1 the length of a vector stored in float16 may be


def damage(folder: Path, manifest: dict, shards: Any, on_file: Callable[[str], None]) -> Iterator[str]:
    """What is wrong, a sentence each, in the order of the files; nothing for a sound index. `on_file` is told each file
    that was read."""
    unread = set()
    for name, facts in files_of(manifest).items():
        path = folder / name
        if not path.exists():
            yield f"{name} is missing"
        elif path.stat().st_size != facts["bytes"]:
            yield f"{name} has {path.stat().st_size:,} bytes, not {facts['bytes']:,}"
        elif sha256_file(path) != facts["sha256"]:
            yield f"{name} is damaged: its content has another hash"
        else:
            on_file(name)
            continue
        unread.add(name)
        on_file(name)
    for shard in shards:
        name = shard.entry["name"]
        if not unread & {f"{name}/{DOCUMENTS}", f"{name}/{VECTORS}"}:
            yield from _content(shard, manifest["embedder"]["dimension"])
    if manifest["search"]["store"] == "milvus" and not unread:
        yield from milvus.faults(folder, manifest["search"], shards, manifest["embedder"]["dimension"])
    if sum(shard.rows for shard in shards) != manifest["rows"]:
        yield f"the shards have {sum(s.rows for s in shards):,} rows, the manifest says {manifest['rows']:,}"


def _content(shard: Any, dimension: int) -> Iterator[str]:
    """Whole files may still hold what no index should."""
    name, vectors, documents = shard.entry["name"], shard.vectors, shard.documents
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
