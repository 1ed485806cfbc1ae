"""Search for the passages of an index that `ttft index COLLECTION.jsonl` made, by their ids in the collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ttft.errors import MissingArtifact

if TYPE_CHECKING:
    from ttft.embedding import Embedder
    from ttft.q2d.retrieval import Search
    from ttft.vector_index.shards import VectorIndex

PIECES = 4  # rows to search for per passage wanted: a passage may have several pieces among the nearest


def passage_search(folder: Path, *, device: str, dtype: str) -> Search:
    """Dense retrieval: the passages with the largest cosine of any of their pieces to the query, best first.

    Raises MissingArtifact if there is no index, or its collection is not there any more, as it was.
    """
    from ttft.runtime import pick_device, pick_dtype
    from ttft.tuner.selector import encoder_of
    from ttft.vector_index.shards import open_vector_index

    index = open_vector_index(folder)
    place = pick_device(device)
    embedder = encoder_of(index, asked=None, device=place, dtype=pick_dtype(dtype, place))
    return searcher(index, embedder, passage_ids(index))


def searcher(index: VectorIndex, embedder: Embedder, names: list[str]) -> Search:
    """names: the passage id of each row."""
    from ttft.q2d.retrieval import first_of_each

    distinct = len(set(names))

    def search(queries, k):  # type: ignore[no-untyped-def]
        vectors, wanted, rows = embedder.encode(list(queries)), min(k, distinct), k * PIECES
        while True:
            _, found = index.search(vectors, rows)
            ranked = [first_of_each((names[row] for row in line if row >= 0), k) for line in found]
            if rows >= index.rows or all(len(ranking) >= wanted for ranking in ranked):
                return ranked
            rows *= 4

    return search


def passage_ids(index: VectorIndex) -> list[str]:
    """The passage of each row: the "_id" (or "id") of its record in the collection, else "file:line".

    Raises MissingArtifact if a file of the collection is gone or was changed since it was indexed.
    """
    by_source = [_ids_of(index, number) for number in range(len(index.manifest.sources))]
    names: list[str] = []
    for shard in index.shards:
        ids = by_source[shard.entry.source]
        for value in shard.documents.column("source").to_pylist():
            names.append(ids.get(value, value))
    return names


def _ids_of(index: VectorIndex, number: int) -> dict[str, str]:
    """ "file:line" -> id, of one source of the index."""
    from ttft.corpus.problems import Problems
    from ttft.corpus.sources import file_digests, fingerprint, read_texts

    facts = index.manifest.sources[number].corpus
    if not Path(facts.source).exists() or fingerprint(facts.source, file_digests(facts.source, facts.glob)) != (
        facts.fingerprint
    ):
        raise MissingArtifact(
            f"{facts.source}, which {index.folder} was made of, is gone or has changed: its passages have no ids",
            "put the file back, or build the index again",
        )
    texts = read_texts(
        facts.source, text_field=facts.text_field, subset_field=facts.subset_field, subsets=facts.subsets,
        max_documents=facts.max_documents, glob=facts.glob, name=facts.name, split=facts.split,
        streaming=facts.streaming, max_line_bytes=facts.max_line_bytes, problems=Problems(),
    )  # fmt: skip
    return {text.source: text.id for text in texts if text.id}
