"""The index folder: shards of documents and vectors, the search index over them, and the manifest that lists all files.

A shard is written under a temporary name, fsynced and renamed, and only then added to the manifest. So whenever a build
is killed, every shard in the manifest is complete, and anything that is not in it is built again.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ttft.errors import MissingArtifact
from ttft.files import replacing_folder, write_whole
from ttft.progress import counted
from ttft.records import Document
from ttft.run_dir import DOCUMENTS, VECTORS, sha256_file, shard_name
from ttft.vector_index import milvus_address
from ttft.vector_index.checks import Checks, present
from ttft.vector_index.contents import open_documents, open_vectors, schema
from ttft.vector_index.manifest import FileFacts, Manifest, ShardEntry, read_manifest
from ttft.vector_index.milvus import MilvusSearch
from ttft.vector_index.segments import FaissSearch

LARGEST = 1.01  # coordinate of a vector of length 1, with rounding
COLUMNS = ("text", "subset", "source", "piece")


def write_shard(
    folder: Path, number: int, documents: Sequence[Document], vectors: np.ndarray, *,
    precision: str, source: int = 0,
) -> ShardEntry:  # fmt: skip
    """Write one shard and return its entry for the manifest.

    precision  of the stored vectors, float16 or float32
    source     number of the source of the documents
    Raises DiskFull, and then leaves nothing of the shard behind.
    """
    name = shard_name(number)
    with replacing_folder(folder / name) as part:
        write_whole(part / DOCUMENTS, arrow_bytes(documents))
        write_whole(part / VECTORS, npy_bytes(np.ascontiguousarray(vectors.astype(precision))))
        files = {f: FileFacts((part / f).stat().st_size, sha256_file(part / f)) for f in (DOCUMENTS, VECTORS)}
    return ShardEntry(name, len(documents), files, source)


def arrow_bytes(documents: Sequence[Document]) -> bytes:
    """Documents as an Arrow IPC file (uncompressed, so that it can be memory-mapped)."""
    import pyarrow as pa

    columns = schema()
    table = pa.table(
        {field.name: pa.array([getattr(d, field.name) for d in documents], field.type) for field in columns},
        schema=columns,
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
    """An opened shard. Its files are memory-mapped, and checked when they are first needed."""

    checks: Checks
    entry: ShardEntry
    start: int
    dimension: int
    precision: str

    @property
    def rows(self) -> int:
        return self.entry.rows

    @cached_property
    def vectors(self) -> np.ndarray:
        path = self.checks.path(f"{self.entry.name}/{VECTORS}", self.entry.files[VECTORS])
        return open_vectors(path, rows=self.rows, dimension=self.dimension, precision=self.precision)

    @cached_property
    def documents(self) -> Any:
        every_value = partial(open_documents, rows=self.rows, every_value=True)
        path = self.checks.path(f"{self.entry.name}/{DOCUMENTS}", self.entry.files[DOCUMENTS], every_value)
        return open_documents(path, rows=self.rows)

    def checked_files(self) -> list[Path]:
        """The paths of its files, after checking that they hold what the manifest states."""
        assert self.documents.num_rows == len(self.vectors)
        return [self.checks.folder / self.entry.name / name for name in self.entry.files]

    def digests(self) -> Iterator[bytes]:
        """The digests of the documents' texts."""
        for chunk in self.documents.column("digest").chunks:
            yield from (value.as_py() for value in chunk)


@dataclass(frozen=True)
class VectorIndex:
    """An opened index folder. Rows are numbered across all shards, in corpus order."""

    folder: Path
    manifest: Manifest
    shards: tuple[Shard, ...]
    searcher: Any

    @property
    def rows(self) -> int:
        return sum(s.rows for s in self.shards)

    def remarks(self) -> list[str]:
        """What whoever searches this index should know, one sentence each."""
        so_far = f"{self.folder} is not finished: it has {counted(self.rows, 'piece')} so far"
        return [so_far] * (not self.manifest.complete) + milvus_address.remarks(self.folder, self.manifest.search)

    @property
    def dimension(self) -> int:
        return self.manifest.embedder.dimension

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores (m, min(k, rows)) and row numbers of the nearest rows to queries (m,d), best first.

        Equal scores are ordered by row number, however the index is sharded. If an approximate index finds fewer, the
        remaining rows are -1.
        """
        scores, ids = self.searcher.search(np.ascontiguousarray(queries, dtype=np.float32), min(k, self.rows))
        order = np.lexsort((ids, -scores), axis=1)[:, : min(k, self.rows)]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def vectors(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """The stored vectors of some rows, (len(ids), d) float32. Raises IndexError for a row that does not exist,
        MissingArtifact if one cannot have length 1."""
        ids = np.asarray(ids, dtype=np.int64)
        out = np.empty((len(ids), self.dimension), dtype=np.float32)
        if not len(ids):
            return out
        if not 0 <= ids.min() <= ids.max() < self.rows:
            raise IndexError(f"rows {ids.min()} to {ids.max()} of an index of {self.rows} rows")
        numbers = np.searchsorted(self._starts, ids, side="right") - 1
        for number in np.unique(numbers):
            here, shard = np.flatnonzero(numbers == number), self.shards[number]
            out[here] = shard.vectors[ids[here] - shard.start]
        if not -LARGEST <= out.min() <= out.max() <= LARGEST:
            first = int(np.argmax(~(abs(out) <= LARGEST).all(axis=1)))
            shard = self.shards[numbers[first]]
            raise MissingArtifact(
                f"{self.folder / shard.entry.name / VECTORS} has vectors that are not finite or not of length 1, the "
                f"first used is row {ids[first] - shard.start}",
                f"see which: ttft index verify {self.folder}",
            )
        return out

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array([shard.start for shard in self.shards])

    def vector_blocks(self) -> list[np.ndarray]:
        """All vectors as stored, memory-mapped: one array (rows,d) per shard, in row order."""
        return [shard.vectors for shard in self.shards]

    def documents(self, ids: Sequence[int]) -> list[Document]:
        return [self._document(int(i)) for i in ids]

    def _document(self, row: int) -> Document:
        if not 0 <= row < self.rows:
            raise IndexError(f"row {row} of an index of {self.rows} rows")
        shard = self.shards[int(np.searchsorted(self._starts, row, side="right")) - 1]
        return Document(**{name: shard.documents.column(name)[row - shard.start].as_py() for name in COLUMNS})


def open_shards(folder: Path, manifest: Manifest) -> tuple[Shard, ...]:
    checks, shards, start = Checks(folder), [], 0
    for entry in manifest.shards:
        shards.append(Shard(checks, entry, start, manifest.embedder.dimension, manifest.precision))
        start += entry.rows
    return tuple(shards)


def open_vector_index(
    folder: str | Path, *, nprobe: int | None = None, ef_search: int | None = None, uri: str | None = None
) -> VectorIndex:
    """Open an index folder, or as much of it as is built.

    nprobe     lists that an IVF index reads per query;  ef_search: candidates that an HNSW index keeps
    uri        the Milvus server or file that may be used though only the folder names it; see milvus_address
    Raises MissingArtifact if there is no index, it has no shard yet, or a file is missing or differs from the manifest
    in size; and when a file is first read, if its hash differs from the manifest.
    """
    folder = Path(folder)
    index = opened(folder, read_manifest(folder), nprobe=nprobe, ef_search=ef_search, uri=uri)
    if not index.shards:
        raise MissingArtifact(f"{folder} has no finished shard yet", "run its ttft index command again to resume")
    return index


def opened(
    folder: Path, manifest: Manifest, *, nprobe: int | None = None, ef_search: int | None = None, uri: str | None = None
) -> VectorIndex:
    """The index described by a manifest, possibly without shards. Raises MissingArtifact for a missing file."""
    for name, facts in manifest.files().items():
        present(folder / name, facts)
    shards = open_shards(folder, manifest)
    searcher: Any = FaissSearch(shards, manifest.search, nprobe, ef_search)
    if manifest.search.store == "milvus":
        searcher = MilvusSearch(folder, shards, manifest.search, manifest.embedder.dimension, nprobe, ef_search, uri)
    return VectorIndex(folder, manifest, shards, searcher)
