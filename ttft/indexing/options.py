"""The options of a build in three parts, validated on construction: the corpus, the encoder, and the search index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ttft.corpus.in_memory import InMemory
from ttft.corpus.pieces import Text, pieces
from ttft.corpus.problems import Problems
from ttft.corpus.sources import content_fingerprint, file_digests, fingerprint, read_texts
from ttft.defaults import LEAST
from ttft.errors import ConfigError
from ttft.records import Document
from ttft.vector_index.manifest import COLLECTION, CorpusFacts


@dataclass(frozen=True)
class CorpusOptions:
    """Which texts of a source are used, and how they are cut; see corpus.sources.read_texts for the fields."""

    source: str | InMemory
    text_field: str
    subset_field: str
    subsets: list[str] | None
    glob: str
    name: str | None
    split: str
    streaming: bool
    max_documents: int | None
    piece_chars: int
    max_line_bytes: int

    def __post_init__(self) -> None:
        at_least(max_documents=self.max_documents, piece_chars=self.piece_chars, max_line_bytes=self.max_line_bytes)

    def texts(self, problems: Problems) -> Iterator[Text]:
        return read_texts(
            self.source, text_field=self.text_field, subset_field=self.subset_field, subsets=self.subsets,
            max_documents=self.max_documents, glob=self.glob, name=self.name, split=self.split,
            streaming=self.streaming, max_line_bytes=self.max_line_bytes, problems=problems,
        )  # fmt: skip

    def documents(self, problems: Problems) -> Iterator[Document]:
        """The source's texts cut into pieces. What cannot be read is added to `problems`."""
        return pieces(self.texts(problems), self.piece_chars)

    def digests(self) -> dict[str, str]:
        """The digest of each local file; {} for a dataset or data in memory."""
        return {} if isinstance(self.source, InMemory) else file_digests(self.source, self.glob)

    def facts(self, digests: dict[str, str], *, shard_rows: int, seed: int) -> CorpusFacts:
        """The entry of the manifest. The fingerprint is a hash of the content, or of the name of a dataset."""
        if isinstance(self.source, InMemory):
            name, found = self.source.name, content_fingerprint(self.texts(Problems()))
        else:
            name, found = self.source, fingerprint(self.source, digests)
        return CorpusFacts(
            glob=self.glob, max_documents=self.max_documents, max_line_bytes=self.max_line_bytes, name=self.name,
            piece_chars=self.piece_chars, seed=seed, shard_rows=shard_rows, source=name, split=self.split,
            streaming=self.streaming, subset_field=self.subset_field, subsets=self.subsets, text_field=self.text_field,
            fingerprint=found,
        )  # fmt: skip


@dataclass(frozen=True)
class EncoderOptions:
    """The encoder and how it embeds; see embedding.load_embedder for the fields."""

    name: str
    revision: str | None
    tokenizer: str | None
    pooling: str | None
    max_tokens: int | None
    batch_size: int
    device: str
    dtype: str
    trust_remote_code: bool

    def __post_init__(self) -> None:
        at_least(max_tokens=self.max_tokens, batch_size=self.batch_size)
        one_of(pooling=(self.pooling, (None, "mean", "cls")), dtype=(self.dtype, ("auto", "float32", "bfloat16")))


@dataclass(frozen=True)
class SearchOptions:
    """The search index: its kind, whether Faiss or Milvus holds it, and the address of the latter."""

    factory: str
    store: str
    uri: str | None
    collection: str

    def __post_init__(self) -> None:
        one_of(store=(self.store, ("faiss", "milvus")))
        if not re.fullmatch(COLLECTION, self.collection):
            raise ConfigError(f"collection is {self.collection!r}", "give a name of letters, digits and underscores")
        if self.uri is None:
            return
        if self.store != "milvus":
            raise ConfigError(
                "uri is the address of a Milvus server or file", "add --store milvus (in Python: store='milvus')"
            )
        if "://" in self.uri and "@" in self.uri:
            raise ConfigError(
                "uri: the password would be saved with the index",
                "leave it out and set MILVUS_TOKEN=user:pass instead",
            )
        if self.uri.endswith(".db") == self.uri.startswith(("http://", "https://")):
            raise ConfigError(
                f"uri is {self.uri!r}", "give a file NAME.db, or an address such as http://127.0.0.1:19530"
            )


def at_least(**values: int | None) -> None:
    """Raises ConfigError for a number below the minimum in defaults.LEAST."""
    for key, value in values.items():
        if value is not None and value < LEAST[key]:
            raise ConfigError(f"{key} is {value}", f"it must be at least {LEAST[key]}")


def one_of(**values: tuple[Any, tuple]) -> None:
    """Raises ConfigError for a value that is not among the allowed ones. key=(value, allowed values)."""
    for key, (value, known) in values.items():
        if value not in known:
            raise ConfigError(f"{key} is {value!r}", "choose one of " + ", ".join(map(str, known)))
