"""What a shared adapter is trained on: texts of an index, less those of the documents that are held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np

from ttft.errors import ConfigError, CorpusError
from ttft.progress import counted
from ttft.run_dir import read_run
from ttft.vector_index.shards import VectorIndex, open_vector_index


class IndexTexts(Sequence[str]):
    """The texts of some rows of an index, read when they are needed. Pickled, it is the folder and the row numbers."""

    def __init__(self, folder: Path, rows: np.ndarray) -> None:
        self.folder, self.rows = folder, rows

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "rows": self.rows}

    @cached_property
    def _index(self) -> VectorIndex:
        return open_vector_index(self.folder)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> IndexTexts: ...
    def __getitem__(self, place: int | slice) -> str | IndexTexts:
        if isinstance(place, slice):
            return IndexTexts(self.folder, self.rows[place])
        return self._index.documents([self.rows[place]])[0].text


def training_texts(
    folder: str | Path, *, subsets: Sequence[str] | None = None, run: str | Path | None = None, held_out: int = 0,
    seed: int = 0,
) -> tuple[IndexTexts, list[str]]:  # fmt: skip
    """(the texts to train on, the texts that are held out).

    subsets   only texts of these subsets
    run       only texts that were selected in this run of finetune-eval on the same index
    held_out  at least so many texts are held out, drawn by document: no document has texts on both sides
    Raises MissingArtifact without an index, CorpusError for a subset that is not there or a run without selections,
    ConfigError if too few texts are left.
    """
    index = open_vector_index(folder)
    rows = np.arange(index.rows)
    if run is not None:
        rows = _selected(Path(run), index)
    if subsets:
        rows = _of_subsets(index, rows, subsets)
    if held_out == 0:
        return IndexTexts(index.folder, rows), []
    if held_out >= len(rows):
        raise ConfigError(
            f"{held_out} texts to hold out, but there are {len(rows)}", "hold out fewer, or give --validation FILE"
        )
    apart = _documents(index, rows, held_out, seed)
    if not (~apart).any():
        raise ConfigError(
            f"{counted(len(rows), 'text')} of too few documents: nothing is left to train on", "hold out fewer texts"
        )
    texts = [document.text for document in index.documents(rows[apart])]
    return IndexTexts(index.folder, rows[~apart]), texts


def _selected(run: Path, index: VectorIndex) -> np.ndarray:
    """The rows that any prompt of a run selected, each once, ascending."""
    rows = np.unique(np.array([row for one in read_run(run)[1] for row in one.ids], dtype=np.int64))
    if not len(rows):
        raise CorpusError(f"{run} has no selections", "give a run of ttft finetune-eval")
    if rows[-1] >= index.rows:
        raise CorpusError(f"{run} selected row {rows[-1]}, but {index.folder} has {index.rows}: it is of another index")
    return rows


def _of_subsets(index: VectorIndex, rows: np.ndarray, subsets: Sequence[str]) -> np.ndarray:
    names = np.array(list(_column(index, "subset")), dtype=object)
    there = sorted(set(names))
    for name in subsets:
        if name not in there:
            raise CorpusError(f"{index.folder} has no subset {name!r}", f"subsets there: {', '.join(there[:20])}")
    rows = rows[np.isin(names[rows], list(subsets))]
    if not len(rows):
        raise CorpusError(f"no text of {', '.join(subsets)} is left to train on")
    return rows


def _documents(index: VectorIndex, rows: np.ndarray, least: int, seed: int) -> np.ndarray:
    """(len(rows),) whether a text belongs to one of the documents that are held out."""
    starts = [shard.start for shard in index.shards]
    corpora = [index.shards[place].entry.source for place in np.searchsorted(starts, rows, side="right") - 1]
    sources = np.array(list(_column(index, "source")), dtype=object)[rows]
    numbers: dict[tuple[int, str], int] = {}
    document = np.array([numbers.setdefault(key, len(numbers)) for key in zip(corpora, sources, strict=True)])
    sizes = np.bincount(document)
    order = np.random.default_rng(seed).permutation(len(sizes))
    taken = order[: int(np.searchsorted(np.cumsum(sizes[order]), least)) + 1]
    return np.isin(document, taken)


def _column(index: VectorIndex, name: str) -> Iterator[str]:
    for shard in index.shards:
        yield from shard.documents.column(name).to_pylist()
