"""Shards of documents -> vectors -> the index folder, by a ShardWriter; LocalWriter is the one in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from ttft import runtime
from ttft.embedding import Embedder, load_embedder
from ttft.indexing.options import EncoderOptions
from ttft.indexing.pieces import SourceShards
from ttft.progress import OnNote, OnProgress, Progress, ignore
from ttft.records import Document
from ttft.run_dir import shard_name
from ttft.vector_index.manifest import EmbedderFacts, ShardEntry
from ttft.vector_index.shards import write_shard

STAGE, UNIT = "embedding", "pieces"


class ShardWriter(Protocol):
    """Embeds shards and writes them into the index folder."""

    def prepare(
        self, encoder: EncoderOptions, folder: Path, *, seed: int, on_note: OnNote
    ) -> tuple[EmbedderFacts, dict]:
        """Load the encoder. Returns its facts, for the manifest, and those of the machine, for provenance.json. Called
        once, before `entries`, when the folder exists."""
        ...

    def entries(
        self, shards: SourceShards, documents: Iterator[Document], on_progress: OnProgress
    ) -> Iterator[ShardEntry]:
        """Embed and write each missing shard of the source; yields their entries, in the order of the shards.

        documents  all pieces of the source
        At the end shards.read, shards.duplicates and shards.problems are up to date.
        """
        ...


class LocalWriter:
    """One encoder, on this process's device.

    embedder     an encoder that is already loaded; then only the batch size of the options is used
    own_process  this process does nothing else, so that its seed, threads, allocator and logging may be set (see
                 runtime), as the commands do; otherwise they are left alone
    """

    def __init__(self, embedder: Embedder | None = None, *, own_process: bool = False) -> None:
        self.embedder, self.own_process = embedder, own_process
        self.batch_size = 1

    def prepare(
        self, encoder: EncoderOptions, folder: Path, *, seed: int = 0, on_note: OnNote = ignore
    ) -> tuple[EmbedderFacts, dict]:
        if self.own_process:
            runtime.quiet_libraries()
            runtime.setup(seed)
            runtime.keep_freed_memory()
        self.embedder = self.embedder or _loaded(encoder)
        self.batch_size = encoder.batch_size
        device = self.embedder.device
        return EmbedderFacts(**self.embedder.facts(), device=device.split(":")[0]), runtime.host_facts(device)

    def entries(
        self, shards: SourceShards, documents: Iterator[Document], on_progress: OnProgress
    ) -> Iterator[ShardEntry]:
        done = shards.source.rows
        for number, shard in shards.missing(documents):
            name = shard_name(number)

            def on_batch(count: int, name: str = name) -> None:
                nonlocal done
                done += count
                on_progress(Progress(STAGE, done, None, UNIT, name))

            precision, source = shards.manifest.precision, shards.place
            yield self.write(shards.folder, number, shard, precision=precision, source=source, on_batch=on_batch)

    def write(
        self, folder: Path, number: int, documents: list[Document], *, precision: str, source: int,
        on_batch: Callable[[int], None] | None = None,
    ) -> ShardEntry:  # fmt: skip
        """Embed one shard, write it and return its entry. `on_batch` is called with the number of pieces just
        embedded. Raises TtftError with the sources of texts that have no usable vector; then nothing is written."""
        assert self.embedder is not None, "call prepare() first"
        texts, sources = [d.text for d in documents], [d.source for d in documents]
        vectors = self.embedder.encode(texts, batch_size=self.batch_size, on_batch=on_batch, names=sources)
        return write_shard(folder, number, documents, vectors, precision=precision, source=source)


def _loaded(encoder: EncoderOptions) -> Embedder:
    device = runtime.pick_device(encoder.device)
    return load_embedder(
        encoder.name, revision=encoder.revision, tokenizer=encoder.tokenizer, pooling=encoder.pooling,
        max_tokens=encoder.max_tokens, device=device, dtype=runtime.pick_dtype(encoder.dtype, device),
        trust_remote_code=encoder.trust_remote_code,
    )  # fmt: skip
