"""Shards -> vectors -> the index folder, in this process. index_ray.py has workers of Ray do the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.progress import Progress

from ttft.commands.index_pieces import Pieces
from ttft.config.index import IndexConfig
from ttft.records import Document
from ttft.run_dir import shard_name

if TYPE_CHECKING:
    from ttft.embedding import Embedder


class Engine(Protocol):
    """What embeds. facts: of the encoder, for the manifest; host: of the machine, for provenance.json."""

    facts: dict
    host: dict

    def entries(self, pieces: Pieces, documents: Iterator[Document], display: Progress) -> Iterator[dict]:
        """Embed and write each shard that is missing; its entry for the manifest, in the order of the shards."""
        ...


@contextmanager
def engine(config: IndexConfig, folder: Path) -> Iterator[Engine]:
    """The engine that the options ask for."""
    if config.backend == "ray":
        from ttft.commands.index_ray import ray_engine

        with ray_engine(config, folder) as workers:
            yield workers
    else:
        yield Local(config)


class Local:
    """An encoder on this process's device."""

    def __init__(self, config: IndexConfig) -> None:
        from ttft import runtime

        self.config = config
        runtime.keep_freed_memory()
        device = runtime.pick_device(config.device)
        self.embedder = load(config, device)
        self.facts = self.embedder.facts() | {"device": device.split(":")[0]}
        self.host = runtime.host_facts(device)

    def entries(self, pieces: Pieces, documents: Iterator[Document], display: Progress) -> Iterator[dict]:
        for number, shard in pieces.shards(documents):
            task = display.add_task(f"embedding {shard_name(number)}", total=len(shard))
            yield self.write(pieces, number, shard, lambda done, task=task: display.advance(task, done))  # type: ignore[misc]
            display.remove_task(task)

    def write(
        self, pieces: Pieces, number: int, documents: list[Document], on_batch: Callable[[int], None] | None = None
    ) -> dict:
        """Embed one shard and write it; its entry."""
        from ttft.vector_index.shards import write_shard

        texts = [d.text for d in documents]
        vectors = self.embedder.encode(texts, batch_size=self.config.batch_size, on_batch=on_batch)
        return write_shard(pieces.folder, number, documents, vectors, precision=pieces.manifest["precision"])


def load(config: IndexConfig, device: str) -> Embedder:
    from ttft import runtime
    from ttft.embedding import load_embedder

    return load_embedder(
        config.embedder,
        revision=config.embedder_revision,
        tokenizer=config.embedder_tokenizer,
        pooling=config.pooling,
        max_tokens=config.max_tokens,
        device=device,
        dtype=runtime.pick_dtype(config.dtype, device),
        trust_remote_code=config.trust_remote_code,
    )
