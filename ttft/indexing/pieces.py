"""A source as shards: which pieces make up which shard, and which shards are still to be built."""

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
    """The last source of a manifest, cut into shards. The content of each shard depends on the corpus alone, so a
    resumed build reads it from the start and skips the shards that exist.

    problems          what could not be read so far
    read, duplicates  pieces read so far, and how many of them are duplicates
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
        """The same source with nothing read yet, and its pieces, to be read in another process."""
        again = SourceShards(self.folder, self.manifest, self.corpus, Problems(strict=self.problems.strict))
        return again, self.corpus.documents(again.problems)

    def missing(self, documents: Iterator[Document]) -> Iterator[tuple[int, list[Document]]]:
        """(number, documents) of each shard that belongs to this job and does not exist yet. `documents`: all pieces of
        the source."""
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
        """The pieces; duplicates are counted, and with dedup "exact" left out."""
        with closing(self._earlier()) if self.manifest.dedup != "off" else nullcontext() as seen:
            for document in documents:
                self.read += 1
                if seen is not None and not seen.add(document.digest):
                    self.duplicates += 1
                    if self.manifest.dedup == "exact":
                        continue
                yield document

    def _earlier(self) -> Seen:
        """The digests of all earlier sources."""
        seen = Seen(self.folder / ".seen")
        for shard in open_shards(self.folder, self.manifest):
            if shard.entry.source < self.place:
                for digest in shard.digests():
                    seen.add(digest)
        return seen
