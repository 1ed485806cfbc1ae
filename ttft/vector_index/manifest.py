"""manifest.json: what is in an index folder, and the facts of each file, by which damage is found.

    schema, sha256   the version of this format; the hash of all the rest
    embedder         EmbedderFacts: what made the vectors
    metric           inner_product: vectors have length 1, so that it is the cosine
    precision        of the stored vectors
    part             null, or "i/n": this folder holds the shards whose number is i - 1 modulo n
    dedup            off, count, or exact (repeated pieces are left out)
    sources          a Source for every corpus, in the order in which they were added
    shards           a ShardEntry for every shard, in the order of the rows
    search           Search: what searches the vectors
    rows, complete   of all

In memory these are the dataclasses below, whose fields stand in the order of the file. A build makes a Manifest, its
last Source and its Search grow; what is said of a file that is written never changes. The manifest names a file only
when it is whole on disk, and is itself replaced as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from ttft.errors import ConfigError, MissingArtifact
from ttft.run_dir import MANIFEST, sealed, write_json

SCHEMA = 2
INNER_PRODUCT = "inner_product"

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class EmbedderFacts:
    """What made the vectors: an index is searched with vectors of the same encoder."""

    name: str
    revision: str
    dimension: int
    pooling: str
    max_tokens: int
    tokenizer: str | None
    dtype: str
    device: str


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """Which pieces a source gives, and in which shards: the options it was read with, and its fingerprint."""

    glob: str
    max_documents: int | None
    max_line_bytes: int
    name: str | None
    piece_chars: int
    seed: int
    shard_rows: int
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

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ProblemsFile:
    """The list of what could not be read of a source: its name in the folder, size and hash."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A Faiss file over some consecutive shards: its name in the folder, how many shards and rows are in it."""

    file: str
    shards: int
    rows: int
    bytes: int
    sha256: str


HashedFile = FileFacts | ProblemsFile | Segment


@dataclass(slots=True)
class Source:
    """One corpus: pieces read of it, duplicates among them, rows kept, problems by kind and the list of them."""

    corpus: CorpusFacts
    read: int = 0
    duplicates: int = 0
    rows: int = 0
    problems: dict[str, int] = field(default_factory=dict)
    problems_file: ProblemsFile | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard: its folder's name, its rows, the facts of each file in it, and the number of the source it is from."""

    name: str
    rows: int
    files: dict[str, FileFacts]
    source: int

    @classmethod
    def from_json(cls, value: Any, place: str = MANIFEST) -> Self:
        """Raises MissingArtifact that names the place and the key for a missing or unknown key."""
        return _record(cls, value, place, files=lambda v, p: {n: _record(FileFacts, f, p) for n, f in v.items()})

    def to_json(self) -> dict:
        files = {name: {"bytes": facts.bytes, "sha256": facts.sha256} for name, facts in self.files.items()}
        return {"name": self.name, "rows": self.rows, "files": files, "source": self.source}


@dataclass(slots=True)
class Search:
    """What searches the vectors.

    store             "faiss" or "milvus"
    factory, kind     the kind of index asked for ("auto": by size), and the one that is built
    trained, segments Faiss files: the empty trained index that the segments begin as, and the segments (segments.py)
    uri, collection, rows  of Milvus: where the vectors are and how many were put there; no files of the index
    """

    store: str = "faiss"
    factory: str = "auto"
    kind: str | None = None
    trained: Segment | None = None
    segments: list[Segment] = field(default_factory=list)
    uri: str | None = None
    collection: str | None = None
    rows: int = 0

    def to_json(self) -> dict:
        value = asdict(self)
        return value if self.store == "milvus" else {key: value[key] for key in FAISS_KEYS}


FAISS_KEYS = ("store", "factory", "kind", "trained", "segments")
MILVUS_KEYS = ("uri", "collection", "rows")


@dataclass(slots=True)
class Manifest:
    """What is in an index folder."""

    embedder: EmbedderFacts
    precision: str
    dedup: str
    part: str | None = None
    search: Search = field(default_factory=Search)
    sources: list[Source] = field(default_factory=list)
    shards: list[ShardEntry] = field(default_factory=list)
    rows: int = 0
    complete: bool = False

    @classmethod
    def from_json(cls, value: Any, place: str = MANIFEST) -> Self:
        """The manifest of the JSON form, without "sha256". `place` is the file that errors name.

        Raises ConfigError for another schema version, MissingArtifact for a missing or unknown key.
        """
        if not isinstance(value, dict):
            raise MissingArtifact(f"{place} is damaged: the root is no mapping", "build the index again")
        rest = dict(value)
        if rest.pop("schema", None) != SCHEMA:
            raise ConfigError(
                f"{place} has schema {value.get('schema')!r}, this ttft reads {SCHEMA}", "build the index again"
            )
        if "metric" not in rest:
            raise MissingArtifact(f"{place} lacks the key 'metric'", AGAIN)
        if rest.pop("metric") != INNER_PRODUCT:
            raise ConfigError(f"{place}: metric is {value.get('metric')!r}, ttft has {INNER_PRODUCT}")
        return _record(
            cls, rest, place, embedder=lambda v, p: _record(EmbedderFacts, v, p), search=_search,
            sources=lambda v, p: [_source(source, p) for source in v],
            shards=lambda v, p: [ShardEntry.from_json(entry, p) for entry in v],
        )  # fmt: skip

    def to_json(self) -> dict:
        """The JSON form, in the order of the file, without "sha256"."""
        return {
            "schema": SCHEMA, "embedder": asdict(self.embedder), "metric": INNER_PRODUCT, "precision": self.precision,
            "part": self.part, "dedup": self.dedup, "sources": [asdict(source) for source in self.sources],
            "shards": [entry.to_json() for entry in self.shards], "search": self.search.to_json(), "rows": self.rows,
            "complete": self.complete,
        }  # fmt: skip

    def content_sha256(self) -> str:
        """Hash of what a search depends on, wherever the folder lies: shards, embedder, and what searches them."""
        value = self.to_json()
        content = json.dumps([value["shards"], value["embedder"], value["search"]], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def files(self) -> dict[str, HashedFile]:
        """Every file that the manifest vouches for: its path in the folder -> bytes and sha256."""
        found: dict[str, HashedFile] = {
            f"{shard.name}/{name}": facts for shard in self.shards for name, facts in shard.files.items()
        }
        others = [*self.search.segments, self.search.trained, *(source.problems_file for source in self.sources)]
        return found | {other.file: other for other in others if other is not None}


def _record(cls: type[Record], value: Any, place: str, /, **parts: Callable[[Any, str], Any]) -> Record:
    """A dataclass from a mapping with exactly its keys; `parts` make of a key's value what is not plain data.

    Raises MissingArtifact that names the place and the key.
    """
    wanted = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    if not isinstance(value, dict):
        raise MissingArtifact(f"{place} is damaged: no mapping where {', '.join(wanted)} should be", AGAIN)
    if unknown := value.keys() - set(wanted):
        raise MissingArtifact(f"{place} has an unknown key {sorted(unknown)[0]!r}", AGAIN)
    if missing := [key for key in wanted if key not in value]:
        raise MissingArtifact(f"{place} lacks the key {missing[0]!r}", AGAIN)
    made = {key: parts[key](part, f"{place}: {key}") if key in parts else part for key, part in value.items()}
    return cls(**made)


AGAIN = "it was changed by hand or written by another version of ttft: build the index again"


def _source(value: Any, place: str) -> Source:
    return _record(
        Source, value, place, corpus=lambda v, p: _record(CorpusFacts, v, p),
        problems_file=lambda v, p: None if v is None else _record(ProblemsFile, v, p),
    )  # fmt: skip


def _search(value: Any, place: str) -> Search:
    if isinstance(value, dict) and value.get("store") == "faiss":
        if foreign := [key for key in MILVUS_KEYS if key in value]:
            raise MissingArtifact(f"{place} has an unknown key {foreign[0]!r}", AGAIN)
        value = value | {"uri": None, "collection": None, "rows": 0}
    return _record(
        Search, value, place, trained=lambda v, p: None if v is None else _record(Segment, v, p),
        segments=lambda v, p: [_record(Segment, segment, p) for segment in v],
    )  # fmt: skip


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_json(folder / MANIFEST, sealed(manifest.to_json()))


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of an index folder.

    Raises MissingArtifact when there is none or it is damaged, ConfigError when it is of another schema version.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.exists():
        raise MissingArtifact(f"{folder} is not an index (no {MANIFEST} there)", _what_there_is(folder))
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise MissingArtifact(f"{path} is not JSON: {error}", "build the index again") from None
    known = isinstance(value, dict) and value.get("schema") == SCHEMA
    if known and value != sealed(value):
        raise MissingArtifact(f"{path} is damaged: its content has not the hash that it states", "build it again")
    rest = {key: part for key, part in value.items() if key != "sha256"} if known else value
    return Manifest.from_json(rest, str(path))


def _what_there_is(folder: Path) -> str:
    beside = sorted(p.parent.name for p in folder.parent.glob(f"*/{MANIFEST}"))[:5] if folder.parent.exists() else []
    if not beside:
        return f"make one: ttft index SOURCE --out {folder}"
    return f"indexes beside it: {', '.join(beside)}"
