"""Facts about an index: what is in it, how large it is, how good its search is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ttft.progress import counted
from ttft.vector_index.manifest import Manifest
from ttft.vector_index.recall import exact, recall
from ttft.vector_index.segments import AUTO, sample
from ttft.vector_index.shards import VectorIndex


@dataclass(frozen=True)
class SourceFacts:
    """A source of an index: pieces read, rows kept, duplicates of earlier pieces, problems by kind."""

    source: str
    read: int
    rows: int
    duplicates: int
    problems: dict[str, int]


@dataclass(frozen=True)
class IndexFacts:
    """What is in an index.

    pieces   rows of all shards
    kind     of the search index; None if it is not built yet
    bytes    file sizes by type of content
    remarks  what the user should know, one sentence each
    """

    complete: bool
    part: str | None
    pieces: int
    shards: int
    kind: str | None
    embedder: str
    dimension: int
    precision: str
    dedup: str
    sources: list[SourceFacts]
    bytes: dict[str, int]
    remarks: list[str]

    @classmethod
    def of(cls, manifest: Manifest) -> IndexFacts:
        sizes: dict[str, int] = {}
        for name, file in manifest.files().items():
            what = Path(name).name if "/" in name else "what searches them" if name.endswith(".faiss") else "problems"
            sizes[what] = sizes.get(what, 0) + file.bytes
        return cls(
            complete=manifest.complete, part=manifest.part, pieces=manifest.rows, shards=len(manifest.shards),
            kind=manifest.search.kind, embedder=manifest.embedder.name, dimension=manifest.embedder.dimension,
            precision=manifest.precision, dedup=manifest.dedup, sources=list(_sources(manifest)), bytes=sizes,
            remarks=remarks(manifest),
        )  # fmt: skip

    def to_json(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class SearchQuality:
    """Fraction of the k true nearest neighbours that a search finds (recall), and milliseconds per query."""

    k: int
    queries: int
    recall: float
    ms_per_query: float

    def to_json(self) -> dict:
        return asdict(self)


def search_quality(index: VectorIndex, k: int, queries: int = 200, seed: int = 0) -> SearchQuality:
    """Compare the search of an index with exact search. The queries are vectors of the index, drawn at random."""
    k = min(k, index.rows)
    drawn = sample(index.shards, queries, seed=seed)
    index.search(drawn[:1], k)
    started = time.perf_counter()
    _, ids = index.search(drawn, k)
    seconds = time.perf_counter() - started
    truth, _ = exact(index.shards, drawn, k)
    scores = np.stack([index.vectors(np.maximum(row, 0)) @ query for row, query in zip(ids, drawn, strict=True)])
    return SearchQuality(
        k, len(drawn), round(recall(ids, scores, truth), 4), round(1000 * seconds / len(drawn), 3)
    )  # fmt: skip


def size_of(manifest: Manifest) -> str:
    """ "1,024 pieces in 1 shard, 3.1 MiB" """
    size = sum(facts.bytes for facts in manifest.files().values())
    return f"{counted(manifest.rows, 'piece')} in {counted(len(manifest.shards), 'shard')}, {size / 2**20:.1f} MiB"


def remarks(manifest: Manifest) -> list[str]:
    """What the user should know about an index, one sentence each: where it is searched, its kind if that was chosen by
    size, exact duplicates."""
    search, lines = manifest.search, []
    if search.store == "milvus":
        lines.append(f"searched by Milvus: {search.rows:,} rows in {search.collection} at {search.uri}")
    elif search.factory == AUTO and search.kind is not None:
        lines.append(f"index kind {search.kind}, chosen by size (--factory to choose)")
    repeated = sum(source.duplicates for source in manifest.sources)
    read = sum(source.read for source in manifest.sources)
    if repeated:
        what = "left out" if manifest.dedup == "exact" else "kept; --dedup exact leaves them out"
        lines.append(f"{repeated:,} of {read:,} pieces repeat an earlier one exactly ({what})")
    return lines


def _sources(manifest: Manifest) -> Iterator[SourceFacts]:
    for s in manifest.sources:
        yield SourceFacts(s.corpus.source, s.read, s.rows, s.duplicates, s.problems)
