"""ttft index: corpus -> pieces -> vectors -> shards -> what searches them; killed at any moment, it goes on there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.index import IndexConfig
from ttft.config.shard import Shard as Part
from ttft.errors import ConfigError, CorpusError
from ttft.records import Document
from ttft.run_dir import (
    MANIFEST,
    PROBLEMS,
    PROVENANCE,
    RESULTS,
    differences,
    finish_provenance,
    locked,
    provenance,
    record_provenance,
    sha256_file,
    shard_name,
    write_whole,
)

CORPUS = {
    "source", "text_field", "subset_field", "subsets", "glob", "name", "split", "streaming", "max_documents",
    "piece_chars", "max_line_bytes", "shard_rows", "seed",
}  # fmt: skip
"""Options that say which pieces a source gives, and in which shards."""


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
    manifest = _claim(config, folder, embedder.facts() | {"device": device.split(":")[0]})
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


# ---- whose folder this is ------------------------------------------------------------------------------------------


def _claim(config: IndexConfig, folder: Path, embedder: dict) -> dict:
    """The manifest of this very index, begun or found, with an entry for this source that is not complete, unless all
    is. ConfigError when the folder holds another index or a run."""
    from ttft.corpus.sources import fingerprint
    from ttft.vector_index.manifest import new_manifest, read_manifest, write_manifest

    resolved = config.resolved()
    corpus = {key: resolved[key] for key in sorted(CORPUS)} | {"fingerprint": fingerprint(config.source, config.glob)}
    asked = new_manifest(
        embedder, precision=config.precision, dedup=config.dedup, part=config.shard, factory=config.factory
    )
    if not (folder / MANIFEST).exists():
        if (folder / RESULTS).exists():
            raise ConfigError(f"{folder} holds a run, not an index", "choose another --out")
        manifest = asked
    else:
        manifest = read_manifest(folder)
        _same_index(folder, manifest, asked)
        if any(source["corpus"] == corpus for source in manifest["sources"]):
            _not_behind(folder, manifest, corpus)
            return manifest
        _may_append(folder, manifest, corpus, config.append)
    manifest["sources"].append(_new_source(corpus))
    manifest["complete"] = False
    write_manifest(folder, manifest)
    return manifest


def _new_source(corpus: dict) -> dict:
    return {
        "corpus": corpus, "read": 0, "duplicates": 0, "rows": 0, "problems": {}, "problems_file": None,
        "complete": False,
    }  # fmt: skip


def _same_index(folder: Path, there: dict, asked: dict) -> None:
    """What one index has one of: embedder, precision, part, dedup, and the kind of search that was asked for."""
    keys = ("precision", "part", "dedup")
    changed = differences({k: there[k] for k in keys}, {k: asked[k] for k in keys})
    changed += differences(there["embedder"], asked["embedder"])
    changed += differences({"factory": there["search"]["factory"]}, {"factory": asked["search"]["factory"]})
    if changed:
        raise ConfigError(
            f"{folder} holds another index: " + "; ".join(changed),
            "choose another --out, or remove that folder first",
        )


def _not_behind(folder: Path, manifest: dict, corpus: dict) -> None:
    """Of several sources only the last can be under way."""
    unfinished = [s["corpus"]["source"] for s in manifest["sources"] if not s["complete"] and s["corpus"] != corpus]
    if unfinished:
        raise ConfigError(f"{folder}: adding {unfinished[0]} was interrupted", "run that command again first")


def _may_append(folder: Path, manifest: dict, corpus: dict, append: bool) -> None:
    last = manifest["sources"][-1]
    changed = "; ".join(differences(last["corpus"], corpus))
    if not append:
        raise ConfigError(
            f"{folder} holds another index: {changed}",
            "choose another --out, or add this source to it: --append" if last["complete"] else "choose another --out",
        )
    if manifest["part"] is not None:
        raise ConfigError(f"{folder} is part {manifest['part']} of an index", "merge the parts, then add to the index")
    if not manifest["complete"]:
        raise ConfigError(
            f"{folder} is not finished; it was begun otherwise: {changed}", "run the command that began it again first"
        )


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
            for number, shard in self._missing(self._unique(documents, tally, stack)):
                self._add(number, shard)
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

    def _add(self, number: int, documents: list[Document]) -> None:
        from ttft.vector_index.shards import write_shard

        task = self.display.add_task(f"embedding {shard_name(number)}", total=len(documents))
        vectors = self.embedder.encode(
            [d.text for d in documents], batch_size=self.config.batch_size,
            on_batch=lambda done: self.display.advance(task, done),
        )  # fmt: skip
        self.display.remove_task(task)
        entry = write_shard(self.folder, number, documents, vectors, precision=self.manifest["precision"])
        self.manifest["shards"].append(entry | {"source": self.place})
        self.manifest["rows"] += entry["rows"]
        self.source["rows"] += entry["rows"]

    def _write_problems(self, problems: Any) -> dict:
        from ttft.vector_index.manifest import file_facts

        name = PROBLEMS.format(self.place)
        lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in problems.records)
        write_whole(self.folder / name, lines.encode())
        return {"file": name} | file_facts(len(lines.encode()), sha256_file(self.folder / name))


def make_searchable(folder: Path, manifest: dict, seed: int, display: Progress) -> None:
    """Cover the finished shards by what searches them; then the index is complete."""
    from ttft.vector_index.manifest import write_manifest
    from ttft.vector_index.segments import add_segments
    from ttft.vector_index.shards import open_shards

    task = display.add_task("making the shards searchable", total=manifest["rows"])
    add_segments(
        folder, open_shards(folder, manifest), manifest["search"], lambda: write_manifest(folder, manifest),
        seed=seed, on_rows=lambda rows: display.advance(task, rows),
    )  # fmt: skip
    manifest["complete"] = True
    write_manifest(folder, manifest)


# ---- what is said --------------------------------------------------------------------------------------------------


def size_of(manifest: dict) -> str:
    from ttft.vector_index.manifest import files_of

    size = sum(facts["bytes"] for facts in files_of(manifest).values())
    return f"{manifest['rows']:,} pieces in {len(manifest['shards'])} shard(s), {size / 2**20:.1f} MiB"


def remarks(manifest: dict) -> list[str]:
    """What a person should know of an index: its kind, where that was chosen, and repeated pieces."""
    search, lines = manifest["search"], []
    if search["factory"] == "auto" and search["kind"] is not None:
        lines.append(f"index kind {search['kind']}, chosen by size (--factory to choose)")
    repeated, read = (sum(source[key] for source in manifest["sources"]) for key in ("duplicates", "read"))
    if repeated:
        what = "left out" if manifest["dedup"] == "exact" else "kept; --dedup exact leaves them out"
        lines.append(f"{repeated:,} of {read:,} pieces repeat an earlier one exactly ({what})")
    return lines
