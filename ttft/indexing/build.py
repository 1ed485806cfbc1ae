"""Corpus -> pieces -> vectors -> shards -> search index. A build can be killed at any moment and resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ttft import defaults
from ttft.corpus.in_memory import InMemory, as_source
from ttft.corpus.problems import Problems
from ttft.embedding import Embedder
from ttft.errors import ConfigError, CorpusError
from ttft.files import write_whole
from ttft.indexing.claim import claim, search_for
from ttft.indexing.options import CorpusOptions, EncoderOptions, SearchOptions, at_least, one_of
from ttft.indexing.pieces import SourceShards
from ttft.indexing.searchable import make_searchable
from ttft.indexing.writer import LocalWriter, ShardWriter
from ttft.jobs import Job
from ttft.progress import OnNote, OnProgress, counted, ignore
from ttft.run_dir import PROBLEMS, finish_provenance, locked, provenance, record_provenance, sha256_file
from ttft.vector_index.facts import remarks
from ttft.vector_index.manifest import Manifest, ProblemsFile, ShardEntry, write_manifest
from ttft.vector_index.shards import VectorIndex, opened


def build_index(
    source: str | Path | Iterable[Any], out: str | Path, *,
    embedder: str | Path | Embedder = defaults.EMBEDDER, text_field: str = defaults.TEXT_FIELD,
    subset_field: str = defaults.SUBSET_FIELD, subsets: Sequence[str] | None = None, glob: str = defaults.GLOB,
    name: str | None = None, split: str = defaults.SPLIT, streaming: bool = True, max_documents: int | None = None,
    piece_chars: int = defaults.PIECE_CHARS, max_line_bytes: int = defaults.MAX_LINE_BYTES, strict: bool = False,
    embedder_revision: str | None = None, embedder_tokenizer: str | None = None, pooling: str | None = None,
    max_tokens: int | None = None, batch_size: int = defaults.BATCH_SIZE, shard_rows: int = defaults.SHARD_ROWS,
    precision: str = defaults.PRECISION, dedup: str = defaults.DEDUP, append: bool = False, job: str | None = None,
    factory: str = defaults.FACTORY, store: str = defaults.STORE, uri: str | None = None,
    collection: str = defaults.COLLECTION, device: str = defaults.DEVICE, dtype: str = defaults.DTYPE,
    seed: int = defaults.SEED, trust_remote_code: bool = False, writer: ShardWriter | None = None,
    problems: Problems | None = None, on_progress: OnProgress = ignore, on_note: OnNote = ignore,
) -> VectorIndex:  # fmt: skip
    """Embed a corpus and write a searchable index into the folder `out`. Returns the opened index.

        build_index("docs/", "runs/docs")
        build_index(["one text", "another"], "runs/two")

    The same call resumes an interrupted build, and returns at once if the index is complete.

    source            path of a .jsonl, .jsonl.zst, .jsonl.gz, .parquet or text file, or of a folder of such files; name
                      of a Hugging Face dataset; or data in memory: a list of strings, an iterable of mappings (read
                      into a list first), a datasets.Dataset or IterableDataset (read twice). Data in memory is
                      identified by a hash of its content
    embedder          name, folder, or a loaded encoder; with a loaded one, embedder_revision, embedder_tokenizer,
                      pooling, max_tokens, device, dtype and trust_remote_code are ignored
    text_field, subset_field  dotted paths into a record;  subsets: use only these
    glob              files to read from a folder;  name, split, streaming: for a Hugging Face dataset
    max_documents     use at most this many texts
    piece_chars       maximum length of a piece;  max_line_bytes: longer lines are skipped and reported
    strict            raise an error for the first record that cannot be used
    shard_rows        pieces per shard; an interrupted build loses at most one shard of work
    precision         of the stored vectors: float16 or float32
    dedup             exact duplicates of an earlier piece: "off", "count" (report them) or "exact" (leave them out)
    append            add the source to an existing index
    job               "i/n": build only every n-th shard, starting from the i-th. The returned index has only those rows
                      (possibly none); merge_indexes joins the n parts
    factory, store, uri, collection   the search index: a Faiss factory string or "auto"; "faiss" or "milvus", the
                      address of the latter, and the name of the collection
    seed              of the sample of vectors that kinds other than Flat are trained on
    writer            embeds and writes the shards; default: this process
    problems          counts what could not be read; on_note gets a summary in any case
    Raises CorpusError if the source cannot be read or has no text, ConfigError for invalid options or if `out` holds
    another index, MissingArtifact, DiskFull. Everything finished before an error stays valid.
    """
    one_of(precision=(precision, ("float16", "float32")), dedup=(dedup, ("off", "count", "exact")))
    at_least(shard_rows=shard_rows)
    corpus = CorpusOptions(
        as_source(source), text_field, subset_field, list(subsets) if subsets is not None else None, glob, name, split,
        streaming, max_documents, piece_chars, max_line_bytes,
    )  # fmt: skip
    encoder = EncoderOptions(
        embedder.name if isinstance(embedder, Embedder) else str(embedder), embedder_revision, embedder_tokenizer,
        pooling, max_tokens, batch_size, device, dtype, trust_remote_code,
    )  # fmt: skip
    search = SearchOptions(factory, store, uri, collection)
    if isinstance(embedder, Embedder) and writer is not None:
        raise ConfigError("a writer loads its own encoder", "pass the embedder's name, or leave writer out")
    writer = writer or LocalWriter(embedder if isinstance(embedder, Embedder) else None)
    options = _Options(Path(out), corpus, encoder, search, _job(job, store), shard_rows, precision, dedup, append, seed)
    return _build(options, writer, Problems(strict) if problems is None else problems, on_progress, on_note)


def _job(job: str | None, store: str) -> str | None:
    if job is None:
        return None
    if store == "milvus":
        raise ConfigError(
            "job builds a part of an index, which is not searchable yet", "give --store milvus to ttft index merge"
        )
    try:
        return str(Job.parse(job))
    except ValueError as error:
        raise ConfigError(f"job {job!r}: {error}") from None


@dataclass(frozen=True)
class _Options:
    """The arguments of build_index."""

    folder: Path
    corpus: CorpusOptions
    encoder: EncoderOptions
    search: SearchOptions
    job: str | None
    shard_rows: int
    precision: str
    dedup: str
    append: bool
    seed: int


def _build(
    options: _Options, writer: ShardWriter, problems: Problems, on_progress: OnProgress, on_note: OnNote
) -> VectorIndex:
    folder, corpus, seed = options.folder, options.corpus, options.seed
    documents = corpus.documents(problems)
    first = next(documents, None)  # fails on a source that cannot be read before anything is loaded or written
    if first is None:
        raise CorpusError(f"{corpus.source} has no text", "check --text-field and --glob")
    with locked(folder):
        started = time.perf_counter()
        facts, host = writer.prepare(options.encoder, folder, seed=seed, on_note=on_note)
        asked = Manifest(
            facts, options.precision, options.dedup, options.job, search_for(options.search, folder, facts.dimension)
        )
        digests = corpus.digests()
        manifest = claim(
            folder, asked, corpus.facts(digests, shard_rows=options.shard_rows, seed=seed), append=options.append,
            in_memory=isinstance(corpus.source, InMemory),
        )  # fmt: skip
        if manifest.complete:
            return opened(folder, manifest, uri=manifest.search.uri)
        record_provenance(folder, provenance(seed, host))
        before = manifest.rows
        shards = SourceShards(folder, manifest, corpus, problems)
        if not shards.source.complete:
            if shards.source.rows:
                on_note(f"resuming after {counted(shards.source.rows, 'piece')} of {shards.source.corpus.source}")
            _add_shards(shards, writer.entries(shards, chain([first], documents), on_progress))
            _check_unchanged(shards, digests)
            _finish_source(shards)
        if options.job is None:
            make_searchable(folder, manifest, seed, on_progress)
        finish_provenance(folder, time.perf_counter() - started, manifest.rows - before)
    for line in (*problems.summary(), *remarks(manifest)):
        on_note(line)
    return opened(folder, manifest, uri=manifest.search.uri)


def _add_shards(shards: SourceShards, entries: Iterator[ShardEntry]) -> None:
    """Add every shard to the manifest as soon as it is written."""
    folder, manifest, source = shards.folder, shards.manifest, shards.source
    for entry in entries:
        manifest.shards.append(entry)
        manifest.rows += entry.rows
        source.rows += entry.rows
        write_manifest(folder, manifest)


def _check_unchanged(shards: SourceShards, digests: dict[str, str]) -> None:
    """Check that the files are those of the beginning, since shards made of two versions of a corpus are neither."""
    now = shards.corpus.digests()
    changed = [name for name, digest in digests.items() if now.get(name) != digest]
    if changed:
        raise CorpusError(
            f"{changed[0]} of {shards.source.corpus.source} has changed while the index was built",
            f"delete {shards.folder} and run the same command again",
        )


def _finish_source(shards: SourceShards) -> None:
    """Record what was read, and mark the source as complete."""
    folder, manifest, source = shards.folder, shards.manifest, shards.source
    source.read, source.duplicates = shards.read, shards.duplicates
    source.problems = shards.problems.counts
    source.problems_file = _write_problems(folder / PROBLEMS.format(shards.place), shards.problems)
    source.complete = True
    manifest.complete = manifest.part is not None
    write_manifest(folder, manifest)


def _write_problems(path: Path, problems: Problems) -> ProblemsFile:
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in problems.records).encode()
    write_whole(path, lines)
    return ProblemsFile(path.name, len(lines), sha256_file(path))
