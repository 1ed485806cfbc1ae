"""Faiss: make, train, write, open and search an index of inner products."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from ttft.errors import ConfigError, MissingArtifact


def library() -> Any:
    """The faiss module; raises MissingArtifact that says which of the two packages to install."""
    try:
        import faiss
    except ImportError:
        raise MissingArtifact(
            "Faiss is not installed", "pip install 'ttft[cpu]', or 'ttft[gpu]' on a CUDA machine; never both"
        ) from None
    return faiss


def empty(dimension: int, factory: str) -> Any:
    """An index without vectors, of inner products. Raises ConfigError for a factory string that Faiss does not know."""
    faiss = library()
    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(
            f"Faiss does not know the index {factory!r}: {_last_line(error)}",
            "for example Flat, SQ8, IVF1024,Flat, IVF1024,PQ48, HNSW32; see Faiss' wiki on the index factory",
        ) from None


def flat(vectors: np.ndarray) -> Any:
    """An exact index over vectors (rows,d)."""
    index = empty(vectors.shape[1], "Flat")
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index


def train(index: Any, vectors: np.ndarray, factory: str) -> None:
    """Train an index on vectors (rows,d), on all GPUs where faiss-gpu sees some. Raises ConfigError for too few."""
    faiss = library()
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is not None and faiss.get_num_gpus() > 0:
        ivf.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatL2(ivf.d))
    try:
        index.train(np.ascontiguousarray(vectors, dtype=np.float32))
    except RuntimeError as error:
        raise ConfigError(
            f"the index {factory} cannot be trained on {len(vectors):,} vectors: {_last_line(error)}",
            "choose one with fewer lists or codes, or Flat, which needs no training",
        ) from None


def lists(index: Any) -> int:
    """Inverted lists of an IVF index; 0 for others."""
    ivf = library().try_extract_index_ivf(index)
    return 0 if ivf is None else int(ivf.nlist)


def bytes_per_vector(index: Any) -> int:
    """About how much memory each vector takes: its code, its number, and its links."""
    faiss = library()
    inner = faiss.downcast_index(index)
    links = 8 * inner.hnsw.nb_neighbors(0) if hasattr(inner, "hnsw") else 0
    try:
        return int(index.sa_code_size()) + 8 + links
    except RuntimeError:
        return 4 * int(index.d) + 8 + links


def tune(index: Any, nprobe: int | None, ef_search: int | None) -> None:
    """Set how much of an approximate index a search looks at: `probes` lists of IVF, 128 candidates of HNSW if not
    said otherwise. What an index does not have is left alone."""
    faiss = library()
    space, wanted = faiss.ParameterSpace(), {}
    if count := lists(index):
        wanted["nprobe"] = probes(count, nprobe)
    if hasattr(faiss.downcast_index(index), "hnsw"):
        wanted["efSearch"] = ef_search or 128
    for name, value in wanted.items():
        space.set_index_parameter(index, name, value)


GPU_K = 2048  # the most neighbours that faiss-gpu finds


def on_gpus(index: Any) -> Any:
    """A copy of the index on all GPUs, where faiss-gpu sees some and knows this kind there; else the index itself."""
    faiss = library()
    if faiss.get_num_gpus() == 0 or hasattr(faiss.downcast_index(index), "hnsw"):
        return index
    return faiss.index_cpu_to_all_gpus(index)


def probes(lists: int, nprobe: int | None) -> int:
    """How many of the lists of IVF a search reads: as many as asked for, else an eighth, at most 64, at least 8."""
    return min(nprobe or max(8, min(64, lists // 8)), lists)


def write(index: Any, path: Path) -> None:
    """Raises OSError when the disk is full."""
    faiss = library()
    with open(path, "wb") as handle:
        handle.write(memoryview(faiss.serialize_index(index)))


def open_index(path: Path, mapped: bool = True) -> Any:
    """The Faiss index of a file, its vectors memory-mapped. Raises MissingArtifact when it cannot be read."""
    faiss = library()
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except RuntimeError as error:
        raise MissingArtifact(f"{path} cannot be read: {_last_line(error)}", "build the index again") from None


def _last_line(error: Exception) -> str:
    """What Faiss says, without where in its source."""
    return re.sub(r"^Error in .*?\.(cpp|h):\d+: (Error: )?('.*?' failed: )?", "", str(error).splitlines()[-1])


def search(index: Any, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows (m, min(k, rows)) of the nearest rows to queries (m,d) float32, per query, best first.

    Where an approximate index finds fewer, the rest of a line is row -1. Larger scores are nearer, also for L2.
    """
    scores, rows = index.search(np.ascontiguousarray(queries, dtype=np.float32), min(k, index.ntotal))
    return (-scores if index.metric_type == library().METRIC_L2 else scores), rows


class FaissIndex:
    """A Faiss index object of the user's, as an index to choose from: search, and vectors of rows.

    vectors (rows,d): where the index holds only codes of them (PQ), or none that it gives back.
    Raises ConfigError for something that is no Faiss index, an empty one, or one whose rows cannot be read back.
    """

    def __init__(self, index: Any, vectors: Any = None) -> None:
        if not hasattr(index, "ntotal") or not hasattr(index, "search"):
            raise ConfigError(
                f"a {type(index).__name__} is no index", "give the folder of an index of ttft, or a Faiss index object"
            )
        if index.ntotal == 0:
            raise ConfigError("the Faiss index is empty", "index.add(vectors) first")
        if vectors is not None and vectors.shape != (index.ntotal, index.d):
            raise ConfigError(f"vectors {vectors.shape} are not those of an index of {index.ntotal} rows x {index.d}")
        self.index, self.rows, self.dimension = index, int(index.ntotal), int(index.d)
        self._vectors = vectors
        self._direct_map = False

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return search(self.index, queries, k)

    def vectors(self, ids: Any) -> np.ndarray:
        """The vectors of some rows, (len(ids), d) float32: those given, else what the index reconstructs."""
        ids = np.asarray(ids, dtype=np.int64)
        if self._vectors is not None:
            return np.asarray(self._vectors[ids], dtype=np.float32)
        ivf = library().try_extract_index_ivf(self.index)
        if ivf is not None and not self._direct_map:
            ivf.make_direct_map()  # without it an IVF index cannot find a row by its number; the results stay the same
            self._direct_map = True
        try:
            return self.index.reconstruct_batch(ids)
        except RuntimeError:
            raise ConfigError(
                f"this {type(self.index).__name__} does not give its vectors back",
                "pass them: Retriever(index, vectors=the (rows,d) array)",
            ) from None

    def vector_blocks(self) -> list[Any]:
        """All vectors, as a list of arrays in the order of the rows."""
        return [self._vectors if self._vectors is not None else self.vectors(np.arange(self.rows))]
