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
    """The encoder that made the vectors; queries must be embedded by the same one."""

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
    """The options a source was read with, which determine its pieces and shards, and its fingerprint."""

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
    """The file that lists what could not be read from a source: its name in the folder, size and hash."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A Faiss file over some consecutive shards: its name in the folder, and how many shards and rows it covers."""

    file: str
    shards: int
    rows: int
    bytes: int
    sha256: str


HashedFile = FileFacts | ProblemsFile | Segment


@dataclass(slots=True)
class Source:
    """One corpus: pieces read, duplicates among them, rows kept, problems by kind and the file that lists them."""

    corpus: CorpusFacts
    read: int = 0
    duplicates: int = 0
    rows: int = 0
    problems: dict[str, int] = field(default_factory=dict)
    problems_file: ProblemsFile | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard: its folder's name, its rows, size and hash of each file in it, and the number of its source."""

    name: str
    rows: int
    files: dict[str, FileFacts]
    source: int

    @classmethod
    def from_json(cls, value: Any, place: str = MANIFEST) -> Self:
        """Raises MissingArtifact naming place and key if a key is missing or unknown."""
        return _record(cls, value, place, files=lambda v, p: {n: _record(FileFacts, f, p) for n, f in v.items()})

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
        """The manifest from its JSON form, without "sha256". `place`: the file to name in errors.

        Raises ConfigError for another schema version, MissingArtifact for a missing or unknown key.
        """
        if not isinstance(value, dict):
            raise MissingArtifact(f"{place} is damaged: the root is not a mapping", "build the index again")
        rest = dict(value)
        if rest.pop("schema", None) != SCHEMA:
            raise ConfigError(
                f"{place} has schema {value.get('schema')!r}, this ttft reads {SCHEMA}", "build the index again"
            )
        if "metric" not in rest:
            raise MissingArtifact(f"{place}: the key 'metric' is missing", AGAIN)
        if rest.pop("metric") != INNER_PRODUCT:
            raise ConfigError(f"{place}: metric is {value.get('metric')!r}, ttft only supports {INNER_PRODUCT}")
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


def _record(cls: type[Record], value: Any, place: str, /, **parts: Callable[[Any, str], Any]) -> Record:
    """A dataclass from a mapping with exactly its keys; `parts` convert the values that are not plain data.

    Raises MissingArtifact naming place and key.
    """
    wanted = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    if not isinstance(value, dict):
        raise MissingArtifact(f"{place} is damaged: expected a mapping with {', '.join(wanted)}", AGAIN)
    if unknown := value.keys() - set(wanted):
        raise MissingArtifact(f"{place}: unknown key {sorted(unknown)[0]!r}", AGAIN)
    if missing := [key for key in wanted if key not in value]:
        raise MissingArtifact(f"{place}: the key {missing[0]!r} is missing", AGAIN)
    made = {key: parts[key](part, f"{place}: {key}") if key in parts else part for key, part in value.items()}
    return cls(**made)


AGAIN = "it was edited by hand or written by another version of ttft: build the index again"


def _source(value: Any, place: str) -> Source:
    return _record(
        Source, value, place, corpus=lambda v, p: _record(CorpusFacts, v, p),
        problems_file=lambda v, p: None if v is None else _record(ProblemsFile, v, p),
    )  # fmt: skip


def _search(value: Any, place: str) -> Search:
    if isinstance(value, dict) and value.get("store") == "faiss":
        if foreign := [key for key in MILVUS_KEYS if key in value]:
            raise MissingArtifact(f"{place}: unknown key {foreign[0]!r}", AGAIN)
        value = value | {"uri": None, "collection": None, "rows": 0}
    return _record(
        Search, value, place, trained=lambda v, p: None if v is None else _record(Segment, v, p),
        segments=lambda v, p: [_record(Segment, segment, p) for segment in v],
    )  # fmt: skip


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_json(folder / MANIFEST, sealed(manifest.to_json()))


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of an index folder.

    Raises MissingArtifact if there is none or it is damaged, ConfigError if it has another schema version.
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
        raise MissingArtifact(f"{path} is damaged: its hash does not match", "build the index again")
    rest = {key: part for key, part in value.items() if key != "sha256"} if known else value
    return Manifest.from_json(rest, str(path))


def _what_there_is(folder: Path) -> str:
    beside = sorted(p.parent.name for p in folder.parent.glob(f"*/{MANIFEST}"))[:5] if folder.parent.exists() else []
    if not beside:
        return f"build one: ttft index SOURCE --out {folder}"
    return f"indexes in the same folder: {', '.join(beside)}"
