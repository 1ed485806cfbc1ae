"""One Faiss index of one shard: built in memory, stored as bytes, opened memory-mapped, searched by inner product."""

from __future__ import annotations

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


def build(vectors: np.ndarray, factory: str = "Flat") -> bytes:
    """A Faiss index over vectors (rows,d) float32, serialised. Same vectors, same bytes.

    Raises ConfigError for a factory string that Faiss does not know.
    """
    faiss = library()
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(f"Faiss does not know the index {factory!r}: {str(error).splitlines()[-1]}") from None
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return faiss.serialize_index(index).tobytes()


def open_index(path: Path) -> Any:
    """The Faiss index of a file, its vectors memory-mapped. Raises MissingArtifact when it cannot be read."""
    faiss = library()
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise MissingArtifact(
            f"{path} cannot be read: {str(error).splitlines()[-1]}", "build the index again"
        ) from None


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
