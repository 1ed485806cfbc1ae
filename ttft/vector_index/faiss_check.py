"""Whether a Faiss file holds the index that a manifest states, before it is searched.

Faiss trusts its files: numbers in them become sizes and addresses, and inverted lists "on disk" name another file,
which is opened for writing. So a file is first read without its lists, which shows whether they are its own, and
whether it was cut: where a number is cut in two, the reader of mapped files ends the process. Then everything that a
search follows is compared with an empty index of the same kind and with the number of rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ttft.errors import ConfigError, MissingArtifact
from ttft.files import open_regular
from ttft.vector_index import faiss as faiss_index

FLAT = b"IxFI"
"""How the file of a Flat index begins, which has no lists."""
FLAT_HEAD = 45  # bytes before its vectors
FEW_LISTS = 1 << 16
"""Whose memory does not matter."""


def check(path: Path, *, rows: int, dimension: int, kind: str) -> None:
    """Raises MissingArtifact unless the file is an inner-product index of that kind with so many vectors."""
    with open_regular(path) as file:
        flat, size = file.read(4) == FLAT, os.fstat(file.fileno()).st_size
    wrong = f"{path} is not the index that the manifest states"
    if _parts_named(kind) > max(size, FEW_LISTS):
        raise MissingArtifact(f"{wrong}: it is too small for the kind {kind[:80]!r}", "build the index again")
    if flat and size != FLAT_HEAD + 4 * rows * dimension:
        raise MissingArtifact(f"{wrong}: it has {size:,} bytes, not those of {rows} vectors", "build the index again")
    try:
        expected = faiss_index.empty(dimension, kind)
        if not flat:
            reason = next(_lists_elsewhere(faiss_index.open_index(path, lists=False), path), "")
            if reason:
                raise MissingArtifact(f"{path} is not used: {reason}", "build the index again")
        reason = next(_wrong(faiss_index.open_index(path), expected, rows), "")
    except ConfigError as error:
        reason = error.message
    except (RuntimeError, MemoryError, AttributeError, ValueError) as error:
        reason = str(error).splitlines()[-1] if str(error) else type(error).__name__
    if reason:
        raise MissingArtifact(f"{wrong}: {reason}", "build the index again")


def _parts_named(kind: str) -> int:
    """The largest number in the name of a kind: of lists, bits, codes or dimensions. An empty index of that kind takes
    memory in proportion to it, and a file of it has at least a byte for each."""
    numbers = [1, *(int(number[:18]) for number in re.findall(r"\d+", kind))]
    powers = [int(bits[:3]) for bits in re.findall(r"x(\d+)", kind)]  # PQ8x12: 2^12 centroids
    grids = [int(parts[:3]) * int(bits[:3]) for parts, bits in re.findall(r"IMI(\d+)x(\d+)", kind)]
    return max(numbers + [1 << bits for bits in powers + grids])


def _lists_elsewhere(index: Any, path: Path) -> Iterator[str]:
    for part in _parts(index):
        if hasattr(part, "invlists"):
            lists = faiss_index.library().downcast_InvertedLists(part.invlists)
            if getattr(lists, "filename", "") not in ("", str(path)):
                yield "its inverted lists are in another file"


def _parts(index: Any) -> Iterator[Any]:
    """The index and all indexes in it, outermost first. They live as long as the outermost."""
    index = faiss_index.library().downcast_index(index)
    yield index
    for name in ("index", "quantizer", "storage", "base_index", "refine_index"):
        if getattr(index, name, None) is not None:
            yield from _parts(getattr(index, name))


def _wrong(index: Any, expected: Any, rows: int) -> Iterator[str]:
    """What differs from an empty index of the same kind, and which numbers point outside."""
    if index.ntotal != rows:
        yield f"it has {index.ntotal} vectors, not {rows}"
    if not index.is_trained:
        yield "it is not trained"
    ours, wanted = list(_parts(index)), list(_parts(expected))
    if [_form(part) for part in ours] != [_form(part) for part in wanted]:
        yield "it is of another kind"
    for part in ours:
        yield from _sizes(part)
        if hasattr(part, "invlists"):
            yield from _lists(part)
        if hasattr(part, "hnsw"):
            yield from _graph(part)


def _form(index: Any) -> list[Any]:
    """What does not depend on the vectors."""
    form = [type(index).__name__.removesuffix("IP"), index.d, index.metric_type]
    form += [getattr(index, name) for name in ("nlist", "code_size", "by_residual") if hasattr(index, name)]
    if hasattr(index, "pq"):
        form += [index.pq.M, index.pq.nbits, index.pq.centroids.size()]
    if hasattr(index, "sq"):
        form += [index.sq.qtype, index.sq.d, index.sq.code_size]
    if hasattr(index, "chain"):
        form += [(step.d_in, step.d_out) for step in _chain(index)]
    if hasattr(index, "invlists"):
        lists = faiss_index.library().downcast_InvertedLists(index.invlists)
        form += [type(lists).__name__, lists.nlist, lists.code_size]
        form += [getattr(lists, name, None) for name in ("n_per_block", "block_size")]
    return form


def _chain(index: Any) -> list[Any]:
    return [faiss_index.library().downcast_VectorTransform(index.chain.at(i)) for i in range(index.chain.size())]


def _sizes(index: Any) -> Iterator[str]:
    faiss = faiss_index.library()
    if hasattr(index, "codes") and hasattr(index, "code_size"):
        blocks = hasattr(index, "ntotal2")  # of several vectors each, so that there is room for some more
        needed = index.ntotal2 * index.M2 // 2 if blocks else index.ntotal * index.code_size
        if index.codes.size() != needed or (blocks and index.ntotal2 < index.ntotal):
            yield f"it has {index.codes.size()} bytes of codes for {index.ntotal} vectors"
    if hasattr(index, "sq"):
        quantizer = faiss.ScalarQuantizer
        each = {quantizer.QT_8bit, quantizer.QT_4bit, quantizer.QT_6bit}
        all_alike = {quantizer.QT_8bit_uniform, quantizer.QT_4bit_uniform}
        needed = 2 * index.sq.d if index.sq.qtype in each else 2 if index.sq.qtype in all_alike else 0
        if index.sq.trained.size() < needed:
            yield "its scalar quantizer has no ranges"
    for step in _chain(index) if hasattr(index, "chain") else ():
        if hasattr(step, "A") and (step.A.size() != step.d_in * step.d_out or step.b.size() not in (0, step.d_out)):
            yield "a transform has a matrix of another shape"


def _lists(index: Any) -> Iterator[str]:
    faiss = faiss_index.library()
    lists = faiss.downcast_InvertedLists(index.invlists)
    if index.quantizer.ntotal != index.nlist:
        yield f"it has {index.nlist} lists, but {index.quantizer.ntotal} centroids"
        return
    total = 0
    for number in range(index.nlist):
        size = lists.list_size(number)
        total += size
        ids = faiss.rev_swig_ptr(lists.get_ids(number), size) if size else np.zeros(0, np.int64)
        if size and not 0 <= ids.min() <= ids.max() < index.ntotal:
            yield f"list {number} has rows that do not exist"
            return
    if total != index.ntotal:
        yield f"its lists have {total} vectors, not {index.ntotal}"


def _graph(index: Any) -> Iterator[str]:
    """The graph of an HNSW index: each node's neighbours lie where its level says, and exist."""
    array, graph, rows = faiss_index.library().vector_to_array, index.hnsw, index.ntotal
    if index.storage.ntotal != rows:
        yield f"its graph has {rows} nodes, but there are {index.storage.ntotal} vectors"
    levels, offsets = array(graph.levels).astype(np.int64), array(graph.offsets).astype(np.int64)
    places, neighbours = array(graph.cum_nneighbor_per_level).astype(np.int64), array(graph.neighbors)
    sound = len(levels) == rows and len(offsets) == rows + 1 and offsets[0] == 0 and len(places) > 0
    if sound and rows:
        sound = 1 <= levels.min() <= levels.max() < len(places) and graph.max_level == levels.max() - 1
        sound = bool(sound and np.array_equal(np.diff(offsets), places[levels]) and 0 <= graph.entry_point < rows)
    if not sound or offsets[-1] != len(neighbours):
        yield "its graph is damaged"
    elif len(neighbours) and not -1 <= neighbours.min() <= neighbours.max() < rows:
        yield "its graph leads to rows that do not exist"
