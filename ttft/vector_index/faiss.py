"""Faiss: make, train, write, open and search an index of inner products."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, Any

import numpy as np

from ttft.errors import ConfigError, MissingArtifact, install_hint


def library() -> Any:
    """The faiss module. Raises MissingArtifact saying which of the two packages to install."""
    try:
        import faiss
    except ImportError:
        raise MissingArtifact(
            "Faiss is not installed", install_hint("cpu") + "; on a CUDA machine gpu instead of cpu, never both"
        ) from None
    return faiss


def empty(dimension: int, factory: str) -> Any:
    """An empty inner-product index. Raises ConfigError for a factory string that Faiss does not know."""
    faiss = library()
    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(
            f"Faiss does not know the index {factory!r}: {_last_line(error)}",
            "for example Flat, SQ8, IVF1024,Flat, IVF1024,PQ48, HNSW32; see the Faiss wiki on the index factory",
        ) from None


def flat(vectors: np.ndarray) -> Any:
    """An exact index over vectors (rows,d)."""
    index = empty(vectors.shape[1], "Flat")
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index


def train(index: Any, vectors: np.ndarray, factory: str) -> None:
    """Train an index on vectors (rows,d), on all GPUs if faiss-gpu finds any. Raises ConfigError if there are too few
    vectors."""
    faiss = library()
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is not None and faiss.get_num_gpus() > 0:
        ivf.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatL2(ivf.d))
    try:
        index.train(np.ascontiguousarray(vectors, dtype=np.float32))
    except RuntimeError as error:
        raise ConfigError(
            f"the index {factory} cannot be trained on {len(vectors):,} vectors: {_last_line(error)}",
            "choose a --factory with fewer lists or codes, or Flat, which needs no training",
        ) from None


def lists(index: Any) -> int:
    """Number of inverted lists of an IVF index; 0 for other indexes."""
    ivf = library().try_extract_index_ivf(index)
    return 0 if ivf is None else int(ivf.nlist)


def bytes_per_vector(index: Any) -> int:
    """Approximate memory per vector: its code, its id, and its links (HNSW)."""
    faiss = library()
    inner = faiss.downcast_index(index)
    links = 8 * inner.hnsw.nb_neighbors(0) if hasattr(inner, "hnsw") else 0
    try:
        return int(index.sa_code_size()) + 8 + links
    except RuntimeError:
        return 4 * int(index.d) + 8 + links


def tune(index: Any, nprobe: int | None, ef_search: int | None) -> None:
    """Set how thoroughly an approximate index is searched: `probes` lists of an IVF index, ef_search (default: 128)
    candidates of an HNSW index. Parameters that do not apply to an index are ignored."""
    faiss = library()
    space, wanted = faiss.ParameterSpace(), {}
    if count := lists(index):
        wanted["nprobe"] = probes(count, nprobe)
    if hasattr(faiss.downcast_index(index), "hnsw"):
        wanted["efSearch"] = ef_search or 128
    for name, value in wanted.items():
        space.set_index_parameter(index, name, value)


GPU_K = 2048  # the largest number of neighbours that faiss-gpu returns


def on_gpus(index: Any) -> Any:
    """A copy of the index on all GPUs if faiss-gpu finds any and supports this kind of index; else the index itself."""
    faiss = library()
    if faiss.get_num_gpus() == 0 or hasattr(faiss.downcast_index(index), "hnsw"):
        return index
    return faiss.index_cpu_to_all_gpus(index)


def probes(lists: int, nprobe: int | None) -> int:
    """How many lists of an IVF index a search reads: nprobe, or by default an eighth of them, between 8 and 64."""
    return min(nprobe or max(8, min(64, lists // 8)), lists)


def write(index: Any, file: IO[bytes]) -> None:
    """Raises OSError when the disk is full."""
    file.write(memoryview(library().serialize_index(index)))


def open_index(path: Path, mapped: bool = True, lists: bool = True) -> Any:
    """Read a Faiss index, memory-mapped by default. Raises MissingArtifact if it cannot be read.

    lists  with the inverted lists of an IVF index; without, they are not touched, wherever they are
    """
    faiss = library()
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC * mapped if lists else faiss.IO_FLAG_MMAP)
    except (RuntimeError, MemoryError) as error:
        raise MissingArtifact(f"{path} cannot be read: {_last_line(error)}", "build the index again") from None


def _last_line(error: Exception) -> str:
    """The message of a Faiss error, without the position in its source code."""
    last = (str(error).splitlines() or [type(error).__name__])[-1]
    return re.sub(r"^Error in .*?\.(cpp|h):\d+: (Error: )?('.*?' failed: )?", "", last)


def search(index: Any, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows (m, min(k, rows)) of the nearest rows to queries (m,d) float32, per query, best first.

    If an approximate index finds fewer, the remaining rows are -1. Larger scores are nearer, for L2 too.
    """
    scores, rows = index.search(np.ascontiguousarray(queries, dtype=np.float32), min(k, index.ntotal))
    return (-scores if index.metric_type == library().METRIC_L2 else scores), rows


class FaissIndex:
    """A Faiss index object or an array of the user's, with the calls that selection needs: search and vectors.

    index    a Faiss index of inner products or L2; or an array (rows,d) of floats, which is searched exactly by inner
             product: rows should have length 1, so that this is the cosine
    vectors  (rows,d), in the order in which they were added: for an index that stores only codes of them (PQ) or cannot
             return them
    Rows are numbered in the order in which they were added, even for an IndexIDMap; `labels` gives its ids.
    Raises ConfigError for something that is not an index, an empty one, or vectors of another shape.
    """

    def __init__(self, index: Any, vectors: Any = None) -> None:
        if isinstance(index, np.ndarray):
            vectors = index if vectors is None else vectors
            index = _exact(index)
        if not hasattr(index, "ntotal") or not hasattr(index, "search"):
            raise ConfigError(
                f"a {type(index).__name__} is not an index",
                "give an index folder of ttft, a Faiss index object, or an array (rows,d) of unit vectors",
            )
        if index.ntotal == 0:
            raise ConfigError("the Faiss index is empty", "call index.add(vectors) first")
        if vectors is not None and np.shape(vectors) != (index.ntotal, index.d):
            raise ConfigError(
                f"vectors {np.shape(vectors)} do not match the index, which has {index.ntotal} rows x {index.d}"
            )
        self.outer, (self.index, self._labels) = index, _without_ids(index)  # the outer index owns the inner one
        self.rows, self.dimension = int(index.ntotal), int(index.d)
        self._vectors = vectors
        self._direct_map = False

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """The ids of some rows: those of an IndexIDMap, or else the row numbers."""
        return rows if self._labels is None else self._labels[rows]

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and rows (m, min(k, rows)); see the function `search`. Raises ConfigError for ids that are not row
        numbers."""
        scores, rows = search(self.index, queries, k)
        if rows.size and rows.max() >= self.rows:
            raise ConfigError(
                f"this {type(self.index).__name__} uses custom ids: it returned {rows.max()} but has {self.rows} rows",
                "use index.add(vectors) without ids, or wrap the index in faiss.IndexIDMap, which is supported",
            )
        return scores, rows

    def vectors(self, rows: Any) -> np.ndarray:
        """The vectors of some rows, (len(rows), d) float32: those passed in, or else reconstructed by the index."""
        rows = np.asarray(rows, dtype=np.int64)
        if self._vectors is not None:
            return np.asarray(self._vectors[rows], dtype=np.float32)
        try:
            ivf = library().try_extract_index_ivf(self.index)
            if ivf is not None and not self._direct_map:
                ivf.make_direct_map()  # needed to look up rows by number in an IVF index; does not affect results
                self._direct_map = True
            return self.index.reconstruct_batch(rows)
        except RuntimeError:
            raise ConfigError(
                f"this {type(self.index).__name__} cannot return its vectors",
                "pass them as an array (rows,d), in the order in which they were added: Retriever(index, vectors=...)",
            ) from None

    def vector_blocks(self) -> list[Any]:
        """All vectors, as a list of arrays in row order."""
        return [self._vectors if self._vectors is not None else self.vectors(np.arange(self.rows))]


def _exact(vectors: np.ndarray) -> Any:
    """An exact index over an array of the user's. Raises ConfigError unless it holds finite floats."""
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or 0 in vectors.shape:
        raise ConfigError(
            f"an array {vectors.shape} of {vectors.dtype} is not an index", "give a non-empty array (rows,d) of floats"
        )
    if not np.isfinite(vectors).all():
        raise ConfigError("the array contains values that are not finite", "remove those rows")
    return flat(vectors)


def _without_ids(index: Any) -> tuple[Any, np.ndarray | None]:
    """(the index inside an IndexIDMap or IndexIDMap2, the ids of its rows); (index, None) for any other index."""
    faiss = library()
    known = faiss.downcast_index(index) if isinstance(index, faiss.Index) else index
    if not isinstance(known, faiss.IndexIDMap):
        return index, None
    return faiss.downcast_index(known.index), faiss.vector_to_array(known.id_map).astype(np.int64)
