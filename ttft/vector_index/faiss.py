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
    """Scores and rows (m, min(k, rows)) of the largest inner products, per query (m,d) float32, best first.

    One query a call: a query's result must not depend, to the last bit, on the queries beside it (Faiss takes another
    road through BLAS for many).
    """
    k = min(k, index.ntotal)
    found = [index.search(np.ascontiguousarray(q[None]), k) for q in queries]
    return np.concatenate([s for s, _ in found]), np.concatenate([i for _, i in found])
