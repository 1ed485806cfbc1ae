"""The search index of an index folder: Faiss files (segments), each built from some consecutive finished shards.

A Flat index has one file per shard, next to its documents. Any other kind is trained once, on a sample of all vectors,
and split into files of up to SEGMENT_BYTES that share the training, so that building needs no more memory than that
however large the corpus is. Shards that no segment covers yet (during a build, or appended) are searched exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ttft.files import replacing
from ttft.run_dir import FAISS, TRAINED, segment_name, sha256_file
from ttft.vector_index import faiss as faiss_index
from ttft.vector_index.faiss_check import check
from ttft.vector_index.manifest import Search, Segment

AUTO = "auto"
FLAT = "Flat"
FLAT_ROWS = 1_000_000  # above this, exact search is slow enough for an approximate one to pay off
SEGMENT_BYTES = 2 << 30
SAMPLE_PER_LIST, SAMPLE = 64, 65_536  # vectors to train with: Faiss asks for 39 per centroid, and 256 codes per byte


def kind_for(rows: int) -> str:
    """The default kind of index by number of rows: exact up to a million, above that IVF lists of 8-bit vectors.

    The number of lists is the power of two nearest to 4 sqrt(rows), following the Faiss guidelines.
    """
    if rows <= FLAT_ROWS:
        return FLAT
    lists = 1 << round(np.log2(4 * rows**0.5))
    return f"IVF{lists},SQ8"


def choose_again(search: Search, factory: str) -> None:
    """Change the factory of an index for which no search index was built yet, for example because there were too few
    vectors to train it."""
    if search.store == "faiss" and not search.segments and search.trained is None:
        search.factory, search.kind = factory, None


def sample(shards: Sequence[Any], count: int, seed: int) -> np.ndarray:
    """`count` stored vectors, drawn without replacement from all shards: (count, d) float32, in row order."""
    rows = sum(shard.rows for shard in shards)
    chosen = np.sort(np.random.default_rng(seed).choice(rows, size=min(count, rows), replace=False))
    inside = [chosen[(chosen >= s.start) & (chosen < s.start + s.rows)] - s.start for s in shards]
    return np.concatenate([s.vectors[i].astype(np.float32) for s, i in zip(shards, inside, strict=True) if len(i)])


def add_segments(
    folder: Path, shards: Sequence[Any], search: Search, save: Callable[[], None], *, seed: int,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> None:  # fmt: skip
    """Build segments until they cover every shard. They are added to `search`, the manifest's entry, which `save`
    writes to disk.

    `on_rows` is called with the number of rows just covered. Raises ConfigError for a factory string that Faiss does
    not know or that cannot be trained on so few vectors; DiskFull.
    """
    search.kind = search.kind or (kind_for(sum(s.rows for s in shards)) if search.factory == AUTO else search.factory)
    rest = shards[covers(search.segments) :]
    if search.kind == FLAT:
        for shard in rest:
            index = faiss_index.flat(shard.vectors)
            search.segments.append(_write(folder, f"{shard.entry.name}/{FAISS}", index, 1))
            on_rows(shard.rows)
        save()
        return
    if rest and search.trained is None:
        index = faiss_index.empty(rest[0].vectors.shape[1], search.kind)
        wanted = max(SAMPLE, SAMPLE_PER_LIST * faiss_index.lists(index))
        faiss_index.train(index, sample(shards, wanted, seed), search.kind)
        search.trained = _write(folder, TRAINED, index, 0)
        save()
    while rest:
        assert search.trained is not None
        path = _checked(shards[0], search.trained, search.kind)
        index, taken = faiss_index.open_index(path, mapped=False), 0
        most = SEGMENT_BYTES // faiss_index.bytes_per_vector(index)
        while taken < len(rest) and (taken == 0 or index.ntotal + rest[taken].rows <= most):
            index.add(np.ascontiguousarray(rest[taken].vectors, dtype=np.float32))
            on_rows(rest[taken].rows)
            taken += 1
        name = segment_name(len(search.segments))
        search.segments.append(_write(folder, name, index, taken))
        save()
        rest = rest[taken:]


def _write(folder: Path, name: str, index: Any, shards: int) -> Segment:
    """Write a Faiss index atomically and return its entry for the manifest."""
    path = folder / name
    with replacing(path) as file:
        faiss_index.write(index, file)
    return Segment(name, shards, int(index.ntotal), path.stat().st_size, sha256_file(path))


def _checked(shard: Any, segment: Segment, kind: str) -> Path:
    """The path of a Faiss file that holds what the manifest states. Raises MissingArtifact."""
    content = partial(check, rows=segment.rows, dimension=shard.dimension, kind=kind)
    return shard.checks.path(segment.file, segment, content)


class FaissSearch:
    """Searches the Faiss files of an index folder, and the shards that none of them covers exactly."""

    def __init__(
        self, shards: Sequence[Any], search: Search, nprobe: int | None = None, ef_search: int | None = None
    ) -> None:
        self.shards, self.segments, self.kind = shards, search.segments, search.kind or FLAT
        self.nprobe, self.ef_search = nprobe, ef_search

    @cached_property
    def parts(self) -> list[tuple[int, Any]]:
        """(first row, Faiss index) of each part."""
        parts, covered = [], 0
        for segment in self.segments:
            index = faiss_index.open_index(_checked(self.shards[0], segment, self.kind))
            faiss_index.tune(index, self.nprobe, self.ef_search)
            parts.append((self.shards[covered].start, index))
            covered += segment.shards
        return parts + [(shard.start, faiss_index.flat(shard.vectors)) for shard in self.shards[covered:]]

    @cached_property
    def fast_parts(self) -> list[tuple[int, Any]]:
        return [(start, faiss_index.on_gpus(index)) for start, index in self.parts]

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and row numbers for queries (m,d), unsorted: (m, k or more), fewer only if fewer were found."""
        parts = self.fast_parts if k <= faiss_index.GPU_K else self.parts
        nothing = np.empty((len(queries), 0), dtype=np.float32)
        found = [(start, *faiss_index.search(index, queries, k)) for start, index in parts] or [(0, nothing, nothing)]
        scores = np.concatenate([sc for _, sc, _ in found], axis=1)
        ids = np.concatenate([np.where(ids < 0, -1, ids + start) for start, _, ids in found], axis=1)
        return scores, ids.astype(np.int64)


def covers(segments: Iterable[Segment]) -> int:
    """Number of shards that these segments cover."""
    return sum(segment.shards for segment in segments)
