"""Search through Milvus: a collection holds the vectors of an index, with id = row number, compared by inner product.

The same calls of pymilvus' MilvusClient work for milvus-lite (a file NAME.db, one process at a time) and for a server
or cluster (http://host:19530). Milvus only searches: documents and the exact vectors for selection come from the
shards. The manifest records where the collection is and how many rows have been inserted; the token of a server is read
from the environment variable MILVUS_TOKEN and never written to a file (milvus_address.py).

Rows are upserted in order, so an interrupted build resumes after the last complete shard and overwrites what it had
begun. A collection is taken to belong to an index if it has no more rows than the index, and the same vectors.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ttft.errors import ConfigError, MissingArtifact, install_hint
from ttft.vector_index.faiss import probes
from ttft.vector_index.manifest import Search
from ttft.vector_index.milvus_address import EMBEDDED, TOKEN, address, address_unset
from ttft.vector_index.segments import AUTO, FLAT, FaissSearch

DEFAULT = "milvus.db"
ID, VECTOR, METRIC = "id", "vector", "IP"
MOST_HITS, MOST_QUERIES = 16_384, 16_384  # Milvus limits: hits per query, queries per request
REQUEST_BYTES, REQUEST_HITS = 4 << 20, 1 << 20  # keeps requests and responses far below gRPC's 64 MB
CONNECT_SECONDS, SECONDS = 10, 120
GRPC = {"grpc.keepalive_time_ms": 600_000}  # with pymilvus' 10 s, milvus-lite may close the connection: too_many_pings
SAMPLED = 5


def place(folder: Path, uri: str | None, collection: str, factory: str) -> Search:
    """The manifest entry for a new collection. A file inside the index folder is stored by its relative path, any other
    file by its absolute path. Raises ConfigError for a factory string that Milvus does not support."""
    build_parameters(factory)
    if uri is None:
        uri = DEFAULT
    elif uri.endswith(EMBEDDED):
        path, home = Path(uri).resolve(), folder.resolve()
        uri = str(path.relative_to(home) if path.is_relative_to(home) else path)
    return Search("milvus", factory, uri=uri, collection=collection)


def build_parameters(factory: str) -> tuple[str, dict[str, int]]:
    """Milvus' index type and parameters for a factory string. Raises ConfigError."""
    if factory in (AUTO, FLAT):
        return "FLAT", {}
    if found := re.fullmatch(r"IVF(\d+),(Flat|SQ8)", factory):
        return f"IVF_{found[2].upper()}", {"nlist": int(found[1])}
    if found := re.fullmatch(r"HNSW(\d+)(,Flat)?", factory):
        return "HNSW", {"M": int(found[1]), "efConstruction": 200}
    raise ConfigError(
        f"Milvus has no index for the factory {factory!r}", "supported: Flat, IVF1024,Flat, IVF1024,SQ8, HNSW32"
    )


def search_parameters(kind: str, k: int, nprobe: int | None, ef_search: int | None) -> dict[str, int]:
    """Search parameters of an approximate index, the same as for Faiss; HNSW never keeps fewer than k candidates."""
    parameters = build_parameters(kind)[1]
    if "nlist" in parameters:
        return {"nprobe": probes(parameters["nlist"], nprobe)}
    return {"ef": max(ef_search or 128, k)} if "M" in parameters else {}


class Collection:
    """A Milvus collection and the client that connects to it.

    given  the address that the user gave; see milvus_address.address
    fill   create the file of an embedded Milvus, and its folder, if it does not exist
    Raises MissingArtifact if a package is missing or Milvus does not answer, ConfigError for an address that the user
    has to confirm.
    """

    def __init__(self, folder: Path, search: Search, *, given: str | None = None, fill: bool = False) -> None:
        self.name = search.collection or ""
        self.uri, token = address(folder, search.uri or "", given)
        if self.uri.endswith(EMBEDDED):
            if fill:
                Path(self.uri).parent.mkdir(parents=True, exist_ok=True)
            elif not Path(self.uri).exists():
                raise MissingArtifact(
                    f"{self.uri}, the Milvus file that holds the vectors to search, is missing",
                    f"restore it, or fill a new one: ttft index merge {folder} --store milvus --out NEW",
                )
        self.dropped_by = f"MilvusClient({self.uri!r}).drop_collection({self.name!r}) in Python"
        library(embedded=self.uri.endswith(EMBEDDED))
        with self._answers():
            from pymilvus import MilvusClient

            self.client = MilvusClient(self.uri, token=token, timeout=CONNECT_SECONDS, grpc_options=GRPC)
        self.close = self.client.close

    def ask(self, call: str, **arguments: Any) -> Any:
        """Call a method of the client for this collection. Raises MissingArtifact."""
        with self._answers():
            return getattr(self.client, call)(self.name, timeout=SECONDS, **arguments)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turn errors of Milvus and of the connection into MissingArtifact."""
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, RpcError) as error:
            said = error.message if isinstance(error, MilvusException) else error.details()
            hint = f"check that the server is running and --uri is right; if it requires a token, set {TOKEN}"
            if self.uri.endswith(EMBEDDED):
                hint = (
                    f"a {EMBEDDED} file serves one process at a time: stop the other process, or use a server, which "
                    "serves many: milvus-lite server --host 127.0.0.1 --data-dir DIR, --uri http://127.0.0.1:19530"
                )
            raise MissingArtifact(f"Milvus at {self.uri}: {said}", hint) from None

    def rows(self) -> int:
        """Number of rows, including all that have just been written."""
        return int(self.ask("query", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"])

    def begin(self, dimension: int, factory: str) -> None:
        """Create the collection and its index, if they do not exist yet, and load it."""
        from pymilvus import DataType, MilvusClient

        if not self.ask("has_collection"):
            schema = MilvusClient.create_schema(auto_id=False)
            schema.add_field(ID, DataType.INT64, is_primary=True)
            schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
            self.ask("create_collection", schema=schema)
        if not self.ask("list_indexes"):
            kind, parameters = build_parameters(factory)
            wanted = MilvusClient.prepare_index_params()
            # in "params", which both a cluster and milvus-lite read; milvus-lite ignores plain keyword arguments
            wanted.add_index(VECTOR, index_type=kind, metric_type=METRIC, params={"params": parameters})
            self.ask("create_index", index_params=wanted)
        self.ask("load_collection")

    def put(self, start: int, vectors: np.ndarray, on_rows: Callable[[int], None]) -> None:
        """Write vectors (rows,d) to the rows from `start` on, replacing any existing ones."""
        step = max(1, REQUEST_BYTES // (4 * vectors.shape[1]))
        for first in range(0, len(vectors), step):
            part = np.asarray(vectors[first : first + step], dtype=np.float32)
            self.ask("upsert", data=[{ID: start + first + i, VECTOR: vector} for i, vector in enumerate(part)])
            on_rows(len(part))

    def another(self, shards: Sequence[Any], dimension: int) -> str:
        """Why this collection cannot belong to these shards or the first of them; "" if it can."""
        fields = {f["name"]: f["params"].get("dim") for f in self.ask("describe_collection")["fields"]}
        if set(fields) != {ID, VECTOR} or int(fields[VECTOR] or 0) != dimension:
            return f"it has the fields {', '.join(fields)} instead of {ID} and {VECTOR} with {dimension} dimensions"
        self.ask("load_collection")
        rows, there = sum(s.rows for s in shards), self.rows()
        if there > rows:
            return f"it has {there:,} rows, the index {rows:,}"
        sampled = np.unique(np.linspace(0, max(there - 1, 0), SAMPLED).astype(int)).tolist()
        for found in self.ask("get", ids=sampled, output_fields=[ID, VECTOR]):
            shard = next(s for s in reversed(shards) if s.start <= found[ID])
            if not np.allclose(found[VECTOR], shard.vectors[found[ID] - shard.start].astype(np.float32), atol=1e-6):
                return f"row {found[ID]} has a different vector"
        return ""

    def fault(self, shards: Sequence[Any], dimension: int, rows: int) -> str:
        """Why a search cannot use this collection, into which `rows` rows were inserted; "" if it can."""
        if not self.ask("has_collection"):
            return "it does not exist"
        if reason := self.another(shards, dimension):
            return reason
        there = self.rows()
        return f"it has {there:,} rows, the manifest says {rows:,}" if there < rows else ""


def library(*, embedded: bool) -> None:
    """Check that pymilvus is installed and, for an embedded Milvus, milvus-lite. Raises MissingArtifact."""
    for name, needed in (("pymilvus", True), ("milvus_lite", embedded)):
        if needed and importlib.util.find_spec(name) is None:
            raise MissingArtifact(f"the package {name.replace('_', '-')} is not installed", install_hint("milvus"))
    with address_unset():
        import pymilvus  # noqa: F401 - sets up its own logging, which the next lines undo

    # they log failures with a traceback; ttft reports them once, as an error message
    for name in ("pymilvus", "pymilvus.milvus_client", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def check_free(folder: Path, search: Search) -> None:
    """Before anything is embedded, check that Milvus answers (MissingArtifact) and that the collection does not exist
    yet (ConfigError)."""
    with closing(Collection(folder, search, given=search.uri, fill=True)) as collection:
        if collection.ask("has_collection"):
            raise ConfigError(
                f"there already is a collection {collection.name} at {collection.uri}",
                f"choose another name, --set collection=NAME, or drop it: {collection.dropped_by}",
            )


def add_rows(
    folder: Path, shards: Sequence[Any], search: Search, save: Callable[[], None], *,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> None:  # fmt: skip
    """Insert all rows of the shards into the collection named in `search`, the manifest's entry, which `save` writes to
    disk after each shard. `on_rows` is called with the number of rows just inserted.

    Raises MissingArtifact if Milvus does not answer, ConfigError if the collection holds something else.
    """
    dimension = shards[0].vectors.shape[1]
    search.kind = FLAT if search.factory == AUTO else search.factory
    with closing(Collection(folder, search, given=search.uri, fill=True)) as collection:
        begun = collection.ask("has_collection") and collection.ask("list_indexes")  # nothing is inserted before that
        if begun and (reason := collection.another(shards, dimension)):
            raise ConfigError(
                f"the collection {collection.name} at {collection.uri} holds another index: {reason}",
                f"drop it, {collection.dropped_by}, or build this index again with --set collection=NAME",
            )
        collection.begin(dimension, search.factory)
        if collection.rows() < search.rows:  # emptied or created again since
            search.rows = 0
        for shard in shards:
            if shard.start >= search.rows:
                collection.put(shard.start, shard.vectors, on_rows)
                search.rows = shard.start + shard.rows
                save()
        collection.ask("flush")
        if reason := collection.fault(shards, dimension, search.rows):
            raise MissingArtifact(
                f"the collection {collection.name} at {collection.uri}: {reason}", "run the same command again"
            )


def faults(folder: Path, search: Search, shards: Sequence[Any], dimension: int) -> Iterator[str]:
    """The problems of the collection, for `ttft index verify`. The manifest has no hashes for the files of an embedded
    Milvus, since Milvus rewrites them on its own."""
    if search.rows:
        with closing(Collection(folder, search)) as collection:
            if reason := collection.fault(shards, dimension, search.rows):
                yield f"the collection {collection.name} at {collection.uri}: {reason}"


class MilvusSearch:
    """Searches the collection, and exactly the shards that are not in it yet."""

    def __init__(
        self, folder: Path, shards: Sequence[Any], search: Search, dimension: int, nprobe: int | None,
        ef_search: int | None, given: str | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.shards, self.nprobe, self.ef_search, self.given = folder, shards, nprobe, ef_search, given
        self.settings, self.dimension, self.rows = search, dimension, search.rows
        rest = [s for s in shards if s.start >= self.rows]
        self.rest = FaissSearch(rest, Search()) if rest else None

    @cached_property
    def collection(self) -> Collection:
        """Opened by the first search. Raises MissingArtifact if it does not exist or does not belong to the index."""
        collection = Collection(self.folder, self.settings, given=self.given)
        if reason := collection.fault(self.shards, self.dimension, self.rows):
            raise MissingArtifact(
                f"the collection {collection.name} at {collection.uri} does not belong to {self.folder}: {reason}",
                f"fill a new one: ttft index merge {self.folder} --store milvus --set collection=NAME --out NEW",
            )
        return collection

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and row numbers for queries (m,d), unsorted: (m, k or more), with row -1 where fewer were found.

        Raises ConfigError if k is more than Milvus can return.
        """
        found = [self._in_milvus(queries, min(k, self.rows))] if self.rows else []
        found += [self.rest.search(queries, k)] if self.rest is not None else []
        return np.concatenate([scores for scores, _ in found], axis=1), np.concatenate(
            [ids for _, ids in found], axis=1
        )

    def _in_milvus(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if k > MOST_HITS:
            raise ConfigError(
                f"Milvus returns at most {MOST_HITS:,} rows per query, asked for {k:,}", "choose a smaller k"
            )
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        at_once = max(1, min(MOST_QUERIES, REQUEST_HITS // k, REQUEST_BYTES // (4 * self.dimension)))
        parameters = search_parameters(self.settings.kind or FLAT, k, self.nprobe, self.ef_search)
        for first in range(0, len(queries), at_once):
            hits = self.collection.ask(
                "search", data=list(queries[first : first + at_once]), limit=k, anns_field=VECTOR,
                search_params={"metric_type": METRIC, "params": parameters},
                filter=f"{ID} < {self.rows}",  # a build in progress may have inserted more
            )  # fmt: skip
            for row, found in enumerate(hits, start=first):
                ids[row, : len(found)] = [hit[ID] for hit in found]
                scores[row, : len(found)] = [hit["distance"] for hit in found]
        return scores, ids
