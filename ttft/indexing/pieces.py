"""A source as shards: which of its pieces make up which shard, and which of these are still to be made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

from ttft.corpus.duplicates import Seen
from ttft.corpus.problems import Problems
from ttft.indexing.options import CorpusOptions
from ttft.jobs import Job
from ttft.records import Document
from ttft.run_dir import shard_name
from ttft.vector_index.manifest import Manifest, Source
from ttft.vector_index.shards import open_shards


@dataclass
class SourceShards:
    """The last source of a manifest, cut into shards. What is in which shard follows from the corpus alone, so a build
    that is resumed reads it from the start and passes over the shards that are there.

    problems          what could not be read so far
    read, duplicates  pieces read so far, and how many of them came before
    """

    folder: Path
    manifest: Manifest
    corpus: CorpusOptions
    problems: Problems
    read: int = 0
    duplicates: int = 0
    place: int = field(init=False)

    def __post_init__(self) -> None:
        self.place = len(self.manifest.sources) - 1

    @property
    def source(self) -> Source:
        return self.manifest.sources[self.place]

    def read_anew(self) -> tuple[SourceShards, Iterator[Document]]:
        """The same source with nothing read of it yet, and its pieces: for another process to read."""
        again = SourceShards(self.folder, self.manifest, self.corpus, Problems(strict=self.problems.strict))
        return again, self.corpus.documents(again.problems)

    def missing(self, documents: Iterator[Document]) -> Iterator[tuple[int, list[Document]]]:
        """The shards, by number, that are this job's and not there yet; `documents` are all pieces of the source."""
        there = {shard.name for shard in self.manifest.shards}
        first = sum(shard.source < self.place for shard in self.manifest.shards)
        job = Job.parse(self.manifest.part) if self.manifest.part is not None else Job(1, 1)
        pieces = self._unique(documents)
        for number in count(first):
            shard = list(islice(pieces, self.source.corpus.shard_rows))
            if not shard:
                return
            if number % job.total == job.number - 1 and shard_name(number) not in there:
                yield number, shard

    def _unique(self, documents: Iterator[Document]) -> Iterator[Document]:
        """Each piece; those that came before are counted, and with dedup "exact" left out."""
        with closing(self._earlier()) if self.manifest.dedup != "off" else nullcontext() as seen:
            for document in documents:
                self.read += 1
                if seen is not None and not seen.add(document.digest):
                    self.duplicates += 1
                    if self.manifest.dedup == "exact":
                        continue
                yield document

    def _earlier(self) -> Seen:
        """The digests of the sources before this one."""
        seen = Seen(self.folder / ".seen")
        for shard in open_shards(self.folder, self.manifest):
            if shard.entry.source < self.place:
                for digest in shard.digests():
                    seen.add(digest)
        return seen
