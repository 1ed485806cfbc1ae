"""Checks a whole index against its manifest by reading every file, including files that were checked before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ttft.errors import MissingArtifact, TtftError
from ttft.files import open_regular
from ttft.records import Document
from ttft.run_dir import DOCUMENTS, VECTORS, read_provenance, sha256_file
from ttft.vector_index import milvus
from ttft.vector_index.contents import open_documents
from ttft.vector_index.faiss_check import check
from ttft.vector_index.manifest import HashedFile, Manifest, Segment
from ttft.vector_index.segments import FLAT

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
    try:
        read_provenance(folder)
    except TtftError as error:
        yield error.message.replace(f"{folder}/", "")
    for shard in shards:
        name = shard.entry.name
        if not unread & {f"{name}/{DOCUMENTS}", f"{name}/{VECTORS}"}:
            yield from _content(folder, shard)
    for segment in (manifest.search.trained, *manifest.search.segments):
        if segment is not None and segment.file not in unread:
            yield from _search(folder, manifest, segment)
    if manifest.search.store == "milvus" and not unread:
        yield from milvus.faults(folder, manifest.search, shards, manifest.embedder.dimension)


def _file(path: Path, facts: HashedFile) -> str:
    """The problem with a file listed in the manifest; "" if there is none."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
        if size != facts.bytes:
            return f"has {size:,} bytes, not {facts.bytes:,}"
        return "" if sha256_file(path) == facts.sha256 else "is damaged: its hash does not match the manifest"
    except TtftError as error:
        return error.message.replace(f"{path} ", "")


def _search(folder: Path, manifest: Manifest, segment: Segment) -> Iterator[str]:
    """The problem of a Faiss file whose hash is right."""
    try:
        check(
            folder / segment.file, rows=segment.rows, dimension=manifest.embedder.dimension,
            kind=manifest.search.kind or FLAT,
        )  # fmt: skip
    except MissingArtifact as error:
        yield error.message.replace(f"{folder}/", "")


def _content(folder: Path, shard: Any) -> Iterator[str]:
    """The problems of a shard whose files are intact: wrong shapes, invalid vectors, wrong digests."""
    name = shard.entry.name
    try:
        vectors, documents = shard.vectors, shard.documents
        open_documents(folder / name / DOCUMENTS, rows=shard.rows, every_value=True)
    except MissingArtifact as error:
        yield error.message.replace(f"{folder}/", "")
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
