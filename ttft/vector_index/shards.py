"""The index folder: shards of documents and vectors with their Faiss indexes, and the manifest that vouches for them.

A shard is written under a ".part" name, fsynced and renamed; the manifest names it only afterwards. So whatever moment
a build is killed at, every shard in the manifest is whole, and whatever is not in it is built again.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ttft.errors import MissingArtifact
from ttft.records import Document
from ttft.run_dir import DOCUMENTS, FAISS, VECTORS, read_manifest, sha256_file, shard_name, sync_folder, write_whole
from ttft.vector_index import faiss as faiss_index


def write_shard(
    folder: Path, number: int, documents: Sequence[Document], vectors: np.ndarray, *, factory: str, store: str
) -> dict:
    """Write one shard and return its entry for the manifest: name, rows, bytes and sha256 of each file.

    The Faiss index is built from the vectors as stored (`store`: float16 or float32), so that the scores of a search
    and the vectors read back agree. Raises DiskFull; then nothing of the shard stays.
    """
    name = shard_name(number)
    part, place = folder / (name + ".part"), folder / name
    for leftover in (part, place):
        if leftover.exists():
            shutil.rmtree(leftover)
    try:
        part.mkdir()
        stored = np.ascontiguousarray(vectors.astype(store))
        write_whole(part / DOCUMENTS, arrow_bytes(documents))
        write_whole(part / VECTORS, npy_bytes(stored))
        write_whole(part / FAISS, faiss_index.build(stored.astype(np.float32), factory))
        files = {
            f: {"bytes": (part / f).stat().st_size, "sha256": sha256_file(part / f)}
            for f in (DOCUMENTS, VECTORS, FAISS)
        }
        part.rename(place)
        sync_folder(folder)
    finally:
        if part.exists():
            shutil.rmtree(part)
    return {"name": name, "rows": len(documents), "files": files}


def arrow_bytes(documents: Sequence[Document]) -> bytes:
    """Documents as an Arrow IPC file (uncompressed: it is read memory-mapped)."""
    import pyarrow as pa

    table = pa.table(
        {
            "text": pa.array([d.text for d in documents], pa.large_string()),
            "subset": pa.array([d.subset for d in documents], pa.string()),
            "source": pa.array([d.source for d in documents], pa.string()),
            "piece": pa.array([d.piece for d in documents], pa.int32()),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def npy_bytes(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


@dataclass(frozen=True)
class Shard:
    """One opened shard; everything in it is memory-mapped and read when first needed."""

    folder: Path
    start: int
    rows: int

    @cached_property
    def vectors(self) -> np.ndarray:
        return np.load(self.folder / VECTORS, mmap_mode="r", allow_pickle=False)

    @cached_property
    def index(self) -> Any:
        return faiss_index.open_index(self.folder / FAISS)

    @cached_property
    def documents(self) -> Any:
        import pyarrow as pa

        return pa.ipc.open_file(pa.memory_map(str(self.folder / DOCUMENTS))).read_all()


@dataclass(frozen=True)
class VectorIndex:
    """An opened index folder. Rows are numbered through all shards, in the order of the corpus."""

    folder: Path
    manifest: dict
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        return sum(s.rows for s in self.shards)

    @property
    def dimension(self) -> int:
        return self.manifest["embedder"]["dimension"]

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores (m, min(k, rows)) and row numbers of the nearest rows to queries (m,d), best first.

        Equal scores come in the order of the row numbers, whatever the sharding. Approximate indexes may find fewer:
        row -1.
        """
        found = [(s.start, *faiss_index.search(s.index, queries, k)) for s in self.shards]
        scores = np.concatenate([sc for _, sc, _ in found], axis=1)
        ids = np.concatenate([np.where(ids < 0, -1, ids + start) for start, _, ids in found], axis=1).astype(np.int64)
        order = np.lexsort((ids, -scores), axis=1)[:, : min(k, self.rows)]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def vectors(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """The stored vectors of some rows, (len(ids), d) float32. Raises IndexError for a row that is not there."""
        ids = np.asarray(ids, dtype=np.int64)
        out = np.empty((len(ids), self.dimension), dtype=np.float32)
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.rows:
            raise IndexError(f"rows {ids.min()} to {ids.max()} of an index of {self.rows} rows")
        for shard in self.shards:
            here = np.flatnonzero((ids >= shard.start) & (ids < shard.start + shard.rows))
            if len(here):
                out[here] = shard.vectors[ids[here] - shard.start]
        return out

    def vector_blocks(self) -> list[np.ndarray]:
        """All vectors as stored, memory-mapped: one array (rows,d) per shard, in the order of the rows."""
        return [shard.vectors for shard in self.shards]

    def documents(self, ids: Sequence[int]) -> list[Document]:
        return [self._document(*self._locate(i)) for i in ids]

    def _document(self, shard: Shard, row: int) -> Document:
        table = shard.documents
        return Document(**{name: table.column(name)[row].as_py() for name in ("text", "subset", "source", "piece")})

    def _locate(self, row: int) -> tuple[Shard, int]:
        for shard in self.shards:
            if shard.start <= row < shard.start + shard.rows:
                return shard, int(row) - shard.start
        raise IndexError(f"row {row} of an index of {self.rows} rows")


def open_vector_index(folder: Path) -> VectorIndex:
    """Open what is complete of an index folder.

    Raises MissingArtifact when there is no index, it has no shard yet, or a file is missing or of another size than the
    manifest says.
    """
    manifest = read_manifest(folder)
    shards, start = [], 0
    for entry in manifest["shards"]:
        for name, facts in entry["files"].items():
            path = folder / entry["name"] / name
            if not path.exists() or path.stat().st_size != facts["bytes"]:
                raise MissingArtifact(f"{path} is missing or not as the manifest says", "build the index again")
        shards.append(Shard(folder / entry["name"], start, entry["rows"]))
        start += entry["rows"]
    if not shards:
        raise MissingArtifact(f"{folder} has no finished shard yet", "run its ttft index command again to go on")
    return VectorIndex(folder, manifest, tuple(shards))
