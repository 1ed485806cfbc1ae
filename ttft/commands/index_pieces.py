"""A source as shards: which of its pieces make up which shard, and which of these are still to be made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

from ttft.config.index import IndexConfig
from ttft.jobs import Job
from ttft.records import Document
from ttft.run_dir import shard_name


def read_pieces(config: IndexConfig, problems: Any) -> Iterator[Document]:
    """The source's texts, cut; what cannot be read is added to `problems`."""
    from ttft.corpus.pieces import pieces
    from ttft.corpus.sources import read_texts

    texts = read_texts(
        config.source, text_field=config.text_field, subset_field=config.subset_field, subsets=config.subsets,
        max_documents=config.max_documents, glob=config.glob, name=config.name, split=config.split,
        streaming=config.streaming, max_line_bytes=config.max_line_bytes, problems=problems,
    )  # fmt: skip
    return pieces(texts, config.piece_chars)


@dataclass
class Pieces:
    """The last source of a manifest. What is in which shard follows from the corpus alone, so a build that goes on
    reads it from the start and passes over the shards that are there.

    problems   of reading, so far;  tally  pieces read so far, and duplicates among them
    """

    config: IndexConfig
    folder: Path
    manifest: dict
    problems: Any
    tally: dict[str, int] = field(default_factory=lambda: {"read": 0, "duplicates": 0})

    @property
    def place(self) -> int:
        return len(self.manifest["sources"]) - 1

    def shards(self, documents: Iterator[Document]) -> Iterator[tuple[int, list[Document]]]:
        """The shards, by number, that are this job's and not there yet."""
        there = {shard["name"] for shard in self.manifest["shards"]}
        first = sum(shard["source"] < self.place for shard in self.manifest["shards"])
        part = Job.parse(self.manifest["part"]) if self.manifest["part"] is not None else Job(1, 1)
        pieces = self._unique(documents)
        for number in count(first):
            shard = list(islice(pieces, self.config.shard_rows))
            if not shard:
                return
            if number % part.total == part.number - 1 and shard_name(number) not in there:
                yield number, shard

    def _unique(self, documents: Iterator[Document]) -> Iterator[Document]:
        """Each piece; those that came before are counted, and with dedup "exact" left out."""
        with closing(self._earlier()) if self.manifest["dedup"] != "off" else nullcontext() as seen:
            for document in documents:
                self.tally["read"] += 1
                if seen is not None and not seen.add(document.digest):
                    self.tally["duplicates"] += 1
                    if self.manifest["dedup"] == "exact":
                        continue
                yield document

    def _earlier(self) -> Any:
        """The digests of the sources before this one."""
        from ttft.corpus.duplicates import Seen
        from ttft.vector_index.shards import open_shards

        seen = Seen(self.folder / ".seen")
        for shard in open_shards(self.folder, self.manifest):
            if shard.entry["source"] < self.place:
                for digest in shard.digests():
                    seen.add(digest)
        return seen
