"""ttft index: corpus -> pieces -> vectors -> shards -> what searches them; killed at any moment, it goes on there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ttft.commands.console import note, progress, say, show_plan
from ttft.commands.index_claim import claim
from ttft.commands.index_embedding import engine
from ttft.commands.index_info import remarks, size_of
from ttft.commands.index_pieces import Pieces, read_pieces
from ttft.config.index import IndexConfig
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
    documents = read_pieces(config, problems)
    first = next(documents, None)  # a source that cannot be read is said before anything is loaded or written
    if first is None:
        raise CorpusError(f"{config.source} holds no text", "see --text-field and --glob")
    runtime.quiet_libraries()
    runtime.setup(config.seed)
    with locked(folder):
        _run(config, folder, chain([first], documents), problems)


def _run(config: IndexConfig, folder: Path, documents: Iterator[Document], problems: Any) -> None:
    started = time.perf_counter()
    with progress() as display:
        with engine(config, folder) as embedding:
            manifest = claim(config, folder, embedding.facts)
            if manifest["complete"]:
                say(f"{folder} is complete: {size_of(manifest)}; nothing to do")
                return
            record_provenance(folder, provenance(config.seed, embedding.host))
            before = manifest["rows"]
            pieces = Pieces(config, folder, manifest, problems)
            Build(folder, manifest, pieces).go_on(embedding.entries(pieces, documents, display))
        if config.job is None:
            make_searchable(folder, manifest, config.seed, display)
    seconds = time.perf_counter() - started
    finish_provenance(folder, seconds, manifest["rows"] - before)
    for line in problems.summary():
        note(line)
    for line in remarks(manifest):
        note(line)
    say(f"{folder}: {size_of(manifest)}, {seconds:.1f} s")


# ---- the build -----------------------------------------------------------------------------------------------------


@dataclass
class Build:
    """A source under way: the manifest grows by one entry a shard, in their order, until the source is complete."""

    folder: Path
    manifest: dict
    pieces: Pieces
    source: dict = field(init=False)

    def __post_init__(self) -> None:
        self.source = self.manifest["sources"][-1]

    def go_on(self, entries: Iterator[dict]) -> None:
        """Take down every shard that is not there yet, as it is written; then the source is complete."""
        from ttft.vector_index.manifest import write_manifest

        if self.source["complete"]:
            return
        if self.source["rows"]:
            note(
                f"going on after {self.source['rows']:,} pieces of {self.source['corpus']['source']} that are embedded"
            )
        for entry in entries:
            self.manifest["shards"].append(entry | {"source": self.pieces.place})
            for counted in (self.manifest, self.source):
                counted["rows"] += entry["rows"]
            write_manifest(self.folder, self.manifest)
        problems = self.pieces.problems
        self.source |= self.pieces.tally | {
            "problems": problems.counts,
            "problems_file": self._write_problems(problems),
        }
        self.source["complete"] = True
        self.manifest["complete"] = self.manifest["part"] is not None
        write_manifest(self.folder, self.manifest)

    def _write_problems(self, problems: Any) -> dict:
        from ttft.vector_index.manifest import file_facts

        name = PROBLEMS.format(self.pieces.place)
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
