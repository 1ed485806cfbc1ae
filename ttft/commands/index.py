"""ttft index: corpus -> pieces -> vectors -> shards -> what searches them; killed at any moment, it goes on there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ttft.commands.console import note, progress, say, show_plan
from ttft.commands.index_claim import claim
from ttft.commands.index_info import remarks, size_of
from ttft.config.index import IndexConfig
from ttft.config.shard import Shard as Part
from ttft.errors import CorpusError
from ttft.records import Document
from ttft.run_dir import (
    MANIFEST,
    PROBLEMS,
    PROVENANCE,
    finish_provenance,
    locked,
    provenance,
    record_provenance,
    sha256_file,
    shard_name,
    write_whole,
)


def run(config: IndexConfig, *, dry_run: bool = False) -> None:
    """Build the index, go on with a build that was interrupted, or add a source. Raises TtftError; what was finished
    stays valid."""
    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / name for name in (MANIFEST, shard_name(0), PROBLEMS.format(0), PROVENANCE)])
        return
    from ttft import runtime
    from ttft.corpus.problems import Problems

    problems = Problems(strict=config.strict)
    documents = _documents(config, problems)
    first = next(documents, None)  # a source that cannot be read is said before anything is loaded or written
    if first is None:
        raise CorpusError(f"{config.source} holds no text", "see --text-field and --glob")
    runtime.quiet_libraries()
    runtime.setup(config.seed)
    runtime.keep_freed_memory()
    with locked(folder):
        _run(config, folder, chain([first], documents), problems)


def _run(config: IndexConfig, folder: Path, documents: Iterator[Document], problems: Any) -> None:
    from ttft import runtime
    from ttft.embedding import load_embedder

    started = time.perf_counter()
    device = runtime.pick_device(config.device)
    embedder = load_embedder(
        config.embedder,
        revision=config.embedder_revision,
        tokenizer=config.embedder_tokenizer,
        pooling=config.pooling,
        max_tokens=config.max_tokens,
        device=device,
        dtype=runtime.pick_dtype(config.dtype, device),
        trust_remote_code=config.trust_remote_code,
    )
    manifest = claim(config, folder, embedder.facts() | {"device": device.split(":")[0]})
    if manifest["complete"]:
        say(f"{folder} is complete: {size_of(manifest)}; nothing to do")
        return
    record_provenance(folder, provenance(config.seed, runtime.host_facts(device)))
    before = manifest["rows"]
    with progress() as display:
        Build(config, folder, manifest, embedder, display).go_on(documents, problems)
        if config.shard is None:
            make_searchable(folder, manifest, config.seed, display)
    seconds = time.perf_counter() - started
    finish_provenance(folder, seconds, manifest["rows"] - before)
    for line in problems.summary():
        note(line)
    for line in remarks(manifest):
        note(line)
    say(f"{folder}: {size_of(manifest)}, {seconds:.1f} s")


def _documents(config: IndexConfig, problems: Any) -> Iterator[Document]:
    from ttft.corpus.pieces import pieces
    from ttft.corpus.sources import read_texts

    texts = read_texts(
        config.source, text_field=config.text_field, subset_field=config.subset_field, subsets=config.subsets,
        max_documents=config.max_documents, glob=config.glob, name=config.name, split=config.split,
        streaming=config.streaming, max_line_bytes=config.max_line_bytes, problems=problems,
    )  # fmt: skip
    return pieces(texts, config.piece_chars)


# ---- the build -----------------------------------------------------------------------------------------------------


@dataclass
class Build:
    """A source under way: takes pieces, gives shards. The manifest grows by one entry a shard.

    Which pieces make up a shard follows from the corpus alone, so a build that goes on reads it from the start, passes
    over the shards that are there, and ends as one that was never interrupted.
    """

    config: IndexConfig
    folder: Path
    manifest: dict
    embedder: Any
    display: Progress
    source: dict = field(init=False)

    def __post_init__(self) -> None:
        self.source = self.manifest["sources"][-1]
        self.place = len(self.manifest["sources"]) - 1

    def go_on(self, documents: Iterator[Document], problems: Any) -> None:
        """Embed and write every shard that is not there yet; then the source is complete."""
        from ttft.vector_index.manifest import write_manifest

        if self.source["complete"]:
            return
        if self.source["rows"]:
            note(
                f"going on after {self.source['rows']:,} pieces of {self.source['corpus']['source']} that are embedded"
            )
        tally = {"read": 0, "duplicates": 0}
        with ExitStack() as stack:
            for entry in self._embedded(self._missing(self._unique(documents, tally, stack))):
                self.manifest["shards"].append(entry | {"source": self.place})
                for counted in (self.manifest, self.source):
                    counted["rows"] += entry["rows"]
                write_manifest(self.folder, self.manifest)
        self.source |= tally | {"problems": problems.counts, "problems_file": self._write_problems(problems)}
        self.source["complete"] = True
        self.manifest["complete"] = self.manifest["part"] is not None
        write_manifest(self.folder, self.manifest)

    def _unique(self, documents: Iterator[Document], tally: dict, stack: ExitStack) -> Iterator[Document]:
        """Each piece; those that came before are counted, and with dedup "exact" left out."""
        from ttft.corpus.duplicates import Seen
        from ttft.vector_index.shards import open_shards

        seen = None
        if self.manifest["dedup"] != "off":
            seen = Seen(self.folder / ".seen")
            stack.callback(seen.close)
            for shard in open_shards(self.folder, self.manifest):
                if shard.entry["source"] < self.place:
                    for digest in shard.digests():
                        seen.add(digest)
        for document in documents:
            tally["read"] += 1
            if seen is not None and not seen.add(document.digest):
                tally["duplicates"] += 1
                if self.manifest["dedup"] == "exact":
                    continue
            yield document

    def _missing(self, pieces: Iterator[Document]) -> Iterator[tuple[int, list[Document]]]:
        """The shards, by number, that are this job's and not there yet."""
        there = {shard["name"] for shard in self.manifest["shards"]}
        first = sum(shard["source"] < self.place for shard in self.manifest["shards"])
        part = Part.parse(self.manifest["part"]) if self.manifest["part"] is not None else Part(1, 1)
        for number in count(first):
            shard = list(islice(pieces, self.config.shard_rows))
            if not shard:
                return
            if number % part.total == part.number - 1 and shard_name(number) not in there:
                yield number, shard

    def _embedded(self, shards: Iterator[tuple[int, list[Document]]]) -> Iterator[dict]:
        """Embed and write each shard; its entry for the manifest, in the order of the shards."""
        from ttft.vector_index.shards import write_shard

        for number, documents in shards:
            task = self.display.add_task(f"embedding {shard_name(number)}", total=len(documents))
            vectors = self.embedder.encode(
                [d.text for d in documents], batch_size=self.config.batch_size,
                on_batch=lambda done, task=task: self.display.advance(task, done),
            )  # fmt: skip
            self.display.remove_task(task)
            yield write_shard(self.folder, number, documents, vectors, precision=self.manifest["precision"])

    def _write_problems(self, problems: Any) -> dict:
        from ttft.vector_index.manifest import file_facts

        name = PROBLEMS.format(self.place)
        lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in problems.records)
        write_whole(self.folder / name, lines.encode())
        return {"file": name} | file_facts(len(lines.encode()), sha256_file(self.folder / name))


def make_searchable(folder: Path, manifest: dict, seed: int, display: Progress) -> None:
    """Cover the finished shards by what searches them; then the index is complete."""
    from ttft.vector_index.manifest import write_manifest
    from ttft.vector_index.milvus import add_rows
    from ttft.vector_index.segments import add_segments
    from ttft.vector_index.shards import open_shards

    task = display.add_task("making the shards searchable", total=manifest["rows"])
    add = add_rows if manifest["search"]["store"] == "milvus" else partial(add_segments, seed=seed)
    add(
        folder, open_shards(folder, manifest), manifest["search"], lambda: write_manifest(folder, manifest),
        on_rows=lambda rows: display.advance(task, rows),
    )  # fmt: skip
    manifest["complete"] = True
    write_manifest(folder, manifest)
