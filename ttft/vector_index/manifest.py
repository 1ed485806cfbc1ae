"""manifest.json: what is in an index folder, with the size and hash of each file, so that damage is detected.

    schema, sha256   the version of this format; a hash of everything else
    embedder         EmbedderFacts: the encoder that made the vectors
    metric           inner_product; vectors have length 1, so that it is the cosine
    precision        of the stored vectors
    part             null, or "i/n": this folder holds the shards whose number is i - 1 modulo n
    dedup            off, count, or exact (exact duplicates are left out)
    sources          a Source for every corpus, in the order in which they were added
    shards           a ShardEntry for every shard, in row order
    search           Search: the search index
    rows, complete   number of rows in all; whether the build has finished

In memory these are the dataclasses below, with fields in the order of the file. A build extends a Manifest, its last
Source and its Search; entries of files that are written never change. A file is added to the manifest only when it is
complete on disk, and the manifest is replaced atomically.

A manifest that is read may come from anybody. So every value is checked by type and range here, and in consistency.py
that all file names are those that ttft gives, each in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from ttft.errors import ConfigError, MissingArtifact
from ttft.run_dir import MANIFEST, sealed, write_json
from ttft.state import STRICT, read_json, record
from ttft.vector_index.consistency import contradictions

SCHEMA = 2
INNER_PRODUCT = "inner_product"
COLLECTION = "^[A-Za-z_][A-Za-z0-9_]{0,254}$"
AGAIN = "it was edited by hand, damaged, or written by another version of ttft: build the index again"

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Count = Annotated[int, Field(ge=0, le=1 << 53)]
Positive = Annotated[int, Field(ge=1, le=1 << 53)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class EmbedderFacts:
    """The encoder that made the vectors; queries must be embedded by the same one."""

    __pydantic_config__ = STRICT

    name: Text
    revision: Text
    dimension: Annotated[int, Field(ge=1, le=1 << 16)]
    pooling: Annotated[str, Field(pattern="^(mean|cls)$")]
    max_tokens: Positive
    tokenizer: Text | None
    dtype: Annotated[str, Field(pattern=r"^b?float\d+$")]
    device: Annotated[str, Field(pattern="^[a-z]+$")]


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """The options a source was read with, which determine its pieces and shards, and its fingerprint."""

    __pydantic_config__ = STRICT

    glob: str
    max_documents: Positive | None
    max_line_bytes: Positive
    name: str | None
    piece_chars: Positive
    seed: int
    shard_rows: Positive
    source: str
    split: str
    streaming: bool
    subset_field: str
    subsets: list[str] | None
    text_field: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Size and hash of a file."""

    __pydantic_config__ = STRICT

    bytes: Count
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class ProblemsFile:
    """The file that lists what could not be read from a source: its name in the folder, size and hash."""

    __pydantic_config__ = STRICT

    file: Text
    bytes: Count
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Segment:
    """A Faiss file over some consecutive shards: its name in the folder, and how many shards and rows it covers."""

    __pydantic_config__ = STRICT

    file: Text
    shards: Count
    rows: Count
    bytes: Count
    sha256: Sha256


HashedFile = FileFacts | ProblemsFile | Segment


@dataclass(slots=True)
class Source:
    """One corpus: pieces read, duplicates among them, rows kept, problems by kind and the file that lists them."""

    __pydantic_config__ = STRICT

    corpus: CorpusFacts
    read: Count = 0
    duplicates: Count = 0
    rows: Count = 0
    problems: dict[str, Count] = field(default_factory=dict)
    problems_file: ProblemsFile | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard: its folder's name, its rows, size and hash of each file in it, and the number of its source."""

    __pydantic_config__ = STRICT

    name: Text
    rows: Positive
    files: dict[str, FileFacts]
    source: Count

    @classmethod
    def from_json(cls, value: Any, place: str = MANIFEST) -> Self:
        """Raises MissingArtifact naming place and key if a key is missing or unknown, or a value is not allowed."""
        return record(cls, value, place, MissingArtifact, AGAIN)

    def to_json(self) -> dict:
        files = {name: {"bytes": facts.bytes, "sha256": facts.sha256} for name, facts in self.files.items()}
        return {"name": self.name, "rows": self.rows, "files": files, "source": self.source}


@dataclass(slots=True)
class Search:
    """The search index over the vectors.

    store             "faiss" or "milvus"
    factory, kind     the kind of index that was requested ("auto": by size), and the kind that is built
    trained, segments of Faiss: the trained empty index from which segments are made, and the segments (segments.py)
    uri, collection, rows  of Milvus: where the vectors are, and how many rows have been inserted
    """

    __pydantic_config__ = STRICT

    store: Annotated[str, Field(pattern="^(faiss|milvus)$")] = "faiss"
    factory: Text = "auto"
    kind: Text | None = None
    trained: Segment | None = None
    segments: list[Segment] = field(default_factory=list)
    uri: Text | None = None
    collection: Annotated[str, Field(pattern=COLLECTION)] | None = None
    rows: Count = 0

    def to_json(self) -> dict:
        value = asdict(self)
        return value if self.store == "milvus" else {key: value[key] for key in FAISS_KEYS}


FAISS_KEYS = ("store", "factory", "kind", "trained", "segments")


@dataclass(slots=True)
class Manifest:
    """What is in an index folder."""

    __pydantic_config__ = STRICT

    embedder: EmbedderFacts
    precision: Annotated[str, Field(pattern="^float(16|32)$")]
    dedup: Annotated[str, Field(pattern="^(off|count|exact)$")]
    part: Annotated[str, Field(pattern=r"^[1-9]\d{0,5}/[1-9]\d{0,5}$")] | None = None
    search: Search = field(default_factory=Search)
    sources: list[Source] = field(default_factory=list)
    shards: list[ShardEntry] = field(default_factory=list)
    rows: Count = 0
    complete: bool = False

    @classmethod
    def from_json(cls, value: Any, place: str = MANIFEST) -> Self:
        """The manifest from its JSON form, without "sha256". `place`: the file to name in errors.

        Raises ConfigError for another schema version, MissingArtifact for a missing or unknown key, a value that is not
        allowed, or values that contradict each other.
        """
        if not isinstance(value, dict):
            raise MissingArtifact(f"{place} is damaged: the root is not a mapping", "build the index again")
        if value.get("schema") != SCHEMA:
            raise ConfigError(
                f"{place} has schema {value.get('schema')!r}, this ttft reads {SCHEMA}", "build the index again"
            )
        if value.get("metric") != INNER_PRODUCT:
            raise ConfigError(f"{place}: metric is {value.get('metric')!r}, ttft only supports {INNER_PRODUCT}")
        rest = {key: part for key, part in value.items() if key not in ("schema", "metric")}
        manifest = record(cls, rest, place, MissingArtifact, AGAIN)
        for wrong in chain(_other_keys(value, manifest.to_json(), ""), contradictions(manifest)):
            raise MissingArtifact(f"{place}: {wrong}", AGAIN)
        return manifest

    def to_json(self) -> dict:
        """The JSON form, in the order of the file, without "sha256"."""
        return {
            "schema": SCHEMA, "embedder": asdict(self.embedder), "metric": INNER_PRODUCT, "precision": self.precision,
            "part": self.part, "dedup": self.dedup, "sources": [asdict(source) for source in self.sources],
            "shards": [entry.to_json() for entry in self.shards], "search": self.search.to_json(), "rows": self.rows,
            "complete": self.complete,
        }  # fmt: skip

    def content_sha256(self) -> str:
        """Hash of everything a search depends on: shards, embedder and search index. Independent of the folder's
        location."""
        value = self.to_json()
        content = json.dumps([value["shards"], value["embedder"], value["search"]], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def files(self) -> dict[str, HashedFile]:
        """Every file listed in the manifest: path in the folder -> bytes and sha256."""
        found: dict[str, HashedFile] = {
            f"{shard.name}/{name}": facts for shard in self.shards for name, facts in shard.files.items()
        }
        others = [*self.search.segments, self.search.trained, *(source.problems_file for source in self.sources)]
        return found | {other.file: other for other in others if other is not None}


def _other_keys(value: Any, expected: Any, place: str) -> Iterator[str]:
    """The keys of a parsed value that are missing, though they have defaults, or are not written for this store."""
    if isinstance(value, dict):
        for key in expected.keys() - value.keys():
            yield f"{place}{key}: is missing"
        for key in value.keys() - expected.keys():
            yield f"{place}{key}: unknown key"
        for key in value.keys() & expected.keys():
            yield from _other_keys(value[key], expected[key], f"{place}{key}.")
    elif isinstance(value, list):
        for number, (one, other) in enumerate(zip(value, expected, strict=True)):
            yield from _other_keys(one, other, f"{place}{number}.")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_json(folder / MANIFEST, sealed(manifest.to_json()))


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of an index folder.

    Raises MissingArtifact if there is none or it is damaged, ConfigError if it has another schema version.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not os.path.lexists(path) and (os.access(folder, os.X_OK) or not os.path.lexists(folder)):
        raise MissingArtifact(f"{folder} is not an index (no {MANIFEST} there)", _what_there_is(folder))
    value = read_json(path, hint="build the index again")
    known = isinstance(value, dict) and value.get("schema") == SCHEMA
    if known and value != sealed(value):
        raise MissingArtifact(f"{path} is damaged: its hash does not match", "build the index again")
    rest = {key: part for key, part in value.items() if key != "sha256"} if known else value
    return Manifest.from_json(rest, str(path))


def _what_there_is(folder: Path) -> str:
    beside = sorted(p.parent.name for p in folder.parent.glob(f"*/{MANIFEST}"))[:5] if folder.parent.is_dir() else []
    if not beside:
        return f"build one: ttft index SOURCE --out {folder}"
    return f"indexes in the same folder: {', '.join(beside)}"
