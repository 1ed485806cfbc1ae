"""Milvus as what searches an index: a collection of its vectors, id = row number, compared by inner product.

The same calls of pymilvus' MilvusClient serve milvus-lite (a file NAME.db, for one process at a time) and a server or a
cluster (http://host:19530). Only the search goes there: documents, and the exact vectors to select with, come from the
shards. The manifest says where the collection is and how many rows were put into it; the token of a server is in the
environment variable MILVUS_TOKEN and never in a file.

Rows go in by upsert, in their order, so a build that was killed goes on after the last whole shard and writes over what
it had begun. Whose collection it is, is told by what is in it: no more rows than the index has, and the same vectors.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ttft.errors import ConfigError, MissingArtifact
from ttft.vector_index.faiss import probes
from ttft.vector_index.manifest import Search
from ttft.vector_index.segments import AUTO, FLAT, FaissSearch

TOKEN = "MILVUS_TOKEN"
DEFAULT = "milvus.db"
EMBEDDED = ".db"
ID, VECTOR, METRIC = "id", "vector", "IP"
MOST_HITS, MOST_QUERIES = 16_384, 16_384  # Milvus' limits on the hits of a query and the queries of a request
REQUEST_BYTES, REQUEST_HITS = 4 << 20, 1 << 20  # a request stays far below gRPC's 64 MB, its answer too
CONNECT_SECONDS, SECONDS = 10, 120
GRPC = {"grpc.keepalive_time_ms": 600_000}  # by pymilvus' default, 10 s, milvus-lite may hang up: too_many_pings
SAMPLED = 5


def place(folder: Path, uri: str | None, collection: str, factory: str) -> Search:
    """Where Milvus is to hold the vectors, as the manifest of `folder` says it: a file inside the folder by its name in
    it, another file by its whole path. Raises ConfigError for a factory string that Milvus has nothing for."""
    build_parameters(factory)
    uri = uri or str(folder / DEFAULT)
    if uri.endswith(EMBEDDED):
        path, home = Path(uri).resolve(), folder.resolve()
        uri = str(path.relative_to(home) if path.is_relative_to(home) else path)
    return Search("milvus", factory, uri=uri, collection=collection)


def build_parameters(factory: str) -> tuple[str, dict[str, int]]:
    """Milvus' index type and its parameters for a factory string. Raises ConfigError."""
    if factory in (AUTO, FLAT):
        return "FLAT", {}
    if found := re.fullmatch(r"IVF(\d+),(Flat|SQ8)", factory):
        return f"IVF_{found[2].upper()}", {"nlist": int(found[1])}
    if found := re.fullmatch(r"HNSW(\d+)(,Flat)?", factory):
        return "HNSW", {"M": int(found[1]), "efConstruction": 200}
    raise ConfigError(
        f"Milvus has no index for the factory {factory!r}", "there are: Flat, IVF1024,Flat, IVF1024,SQ8, HNSW32"
    )


def search_parameters(kind: str, k: int, nprobe: int | None, ef_search: int | None) -> dict[str, int]:
    """How much of an approximate index a search looks at: as Faiss is tuned, and HNSW's never fewer than k."""
    parameters = build_parameters(kind)[1]
    if "nlist" in parameters:
        return {"nprobe": probes(parameters["nlist"], nprobe)}
    return {"ef": max(ef_search or 128, k)} if "M" in parameters else {}


class Collection:
    """A collection of a Milvus that is reached through its client.

    fill  make the file of an embedded Milvus, and its folder, where there is none
    Raises MissingArtifact where a package is missing or Milvus does not answer.
    """

    def __init__(self, folder: Path, search: Search, *, fill: bool) -> None:
        self.name, self.uri = search.collection or "", search.uri or ""
        if self.uri.endswith(EMBEDDED):
            self.uri = str(folder / self.uri)
            if fill:
                Path(self.uri).parent.mkdir(parents=True, exist_ok=True)
            elif not Path(self.uri).exists():
                raise MissingArtifact(
                    f"{self.uri}, which holds the vectors to search, is missing",
                    f"restore it, or fill another: ttft index merge {folder} --store milvus --out NEW",
                )
        self.dropped_by = f"MilvusClient({self.uri!r}).drop_collection({self.name!r}) in Python"
        library(embedded=self.uri.endswith(EMBEDDED))
        with self._answers():
            from pymilvus import MilvusClient

            self.client = MilvusClient(
                self.uri, token=os.environ.get(TOKEN, ""), timeout=CONNECT_SECONDS, grpc_options=GRPC
            )
        self.close = self.client.close

    def ask(self, call: str, **arguments: Any) -> Any:
        """One call of the client for this collection. Raises MissingArtifact."""
        with self._answers():
            return getattr(self.client, call)(self.name, timeout=SECONDS, **arguments)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """What Milvus or the way to it says went wrong becomes an error for people."""
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, RpcError) as error:
            said = error.message if isinstance(error, MilvusException) else error.details()
            hint = f"is it running? it is asked for with --uri; where it wants a token, set {TOKEN}"
            if self.uri.endswith(EMBEDDED):
                hint = (
                    f"a {EMBEDDED} file serves one process at a time: end the other one, or use a server, which "
                    "serves many: milvus-lite server --host 127.0.0.1 --data-dir DIR, --uri http://127.0.0.1:19530"
                )
            raise MissingArtifact(f"Milvus at {self.uri}: {said}", hint) from None

    def rows(self) -> int:
        """How many there are, with all that was written."""
        return int(self.ask("query", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"])

    def begin(self, dimension: int, factory: str) -> None:
        """Make the collection and its index, so far as they are not there."""
        from pymilvus import DataType, MilvusClient

        if not self.ask("has_collection"):
            schema = MilvusClient.create_schema(auto_id=False)
            schema.add_field(ID, DataType.INT64, is_primary=True)
            schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
            self.ask("create_collection", schema=schema)
        if not self.ask("list_indexes"):
            kind, parameters = build_parameters(factory)
            wanted = MilvusClient.prepare_index_params()
            # in "params", where a cluster and milvus-lite look for them; the client's own way milvus-lite overlooks
            wanted.add_index(VECTOR, index_type=kind, metric_type=METRIC, params={"params": parameters})
            self.ask("create_index", index_params=wanted)
        self.ask("load_collection")

    def put(self, start: int, vectors: np.ndarray, on_rows: Callable[[int], None]) -> None:
        """Write vectors (rows,d) as the rows from `start` on, over those that are there."""
        step = max(1, REQUEST_BYTES // (4 * vectors.shape[1]))
        for first in range(0, len(vectors), step):
            part = np.asarray(vectors[first : first + step], dtype=np.float32)
            self.ask("upsert", data=[{ID: start + first + i, VECTOR: vector} for i, vector in enumerate(part)])
            on_rows(len(part))

    def another(self, shards: Sequence[Any], dimension: int) -> str:
        """What tells this collection from that of these shards, or of a part of them; "" when nothing does."""
        fields = {f["name"]: f["params"].get("dim") for f in self.ask("describe_collection")["fields"]}
        if set(fields) != {ID, VECTOR} or int(fields[VECTOR] or 0) != dimension:
            return f"it has the fields {', '.join(fields)}, not {ID} and {VECTOR} of {dimension} dimensions"
        self.ask("load_collection")
        rows, there = sum(s.rows for s in shards), self.rows()
        if there > rows:
            return f"it has {there:,} rows, the index {rows:,}"
        sampled = np.unique(np.linspace(0, max(there - 1, 0), SAMPLED).astype(int)).tolist()
        for found in self.ask("get", ids=sampled, output_fields=[ID, VECTOR]):
            shard = next(s for s in reversed(shards) if s.start <= found[ID])
            if not np.allclose(found[VECTOR], shard.vectors[found[ID] - shard.start].astype(np.float32), atol=1e-6):
                return f"row {found[ID]} is another vector"
        return ""

    def fault(self, shards: Sequence[Any], dimension: int, rows: int) -> str:
        """Why a search cannot use this collection, of which `rows` were put in; "" when it can."""
        if not self.ask("has_collection"):
            return "it is not there"
        if reason := self.another(shards, dimension):
            return reason
        there = self.rows()
        return f"it has {there:,} rows, the manifest says {rows:,}" if there < rows else ""


def library(*, embedded: bool) -> None:
    """Is pymilvus there, and milvus-lite where that is asked for? Raises MissingArtifact."""
    for name, needed in (("pymilvus", True), ("milvus_lite", embedded)):
        if needed and importlib.util.find_spec(name) is None:
            raise MissingArtifact(
                f"the package {name.replace('_', '-')} is not installed", "pip install 'ttft[milvus]'"
            )
    import pymilvus  # noqa: F401 - sets up its own logging, which the next lines then undo

    # they log what fails, with its traceback; it is said once, as an error for people
    for name in ("pymilvus", "pymilvus.milvus_client", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def check_free(folder: Path, search: Search) -> None:
    """Before anything is embedded: Milvus answers, and the collection that is to be filled is not in use.

    Raises MissingArtifact, ConfigError.
    """
    with closing(Collection(folder, search, fill=True)) as collection:
        if collection.ask("has_collection"):
            raise ConfigError(
                f"there already is a collection {collection.name} at {collection.uri}",
                f"take another, --set collection=NAME, or drop that one: {collection.dropped_by}",
            )


def add_rows(
    folder: Path, shards: Sequence[Any], search: Search, save: Callable[[], None], *,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> None:  # fmt: skip
    """Put every row of the shards into the collection that `search`, the manifest's entry, names; `save` writes that
    after each shard. `on_rows` is told how many rows are newly there.

    Raises MissingArtifact where Milvus does not answer, ConfigError where the collection holds something else.
    """
    dimension = shards[0].vectors.shape[1]
    search.kind = FLAT if search.factory == AUTO else search.factory
    with closing(Collection(folder, search, fill=True)) as collection:
        begun = collection.ask("has_collection") and collection.ask("list_indexes")  # before that nothing is put in
        if begun and (reason := collection.another(shards, dimension)):
            raise ConfigError(
                f"the collection {collection.name} at {collection.uri} holds another index: {reason}",
                f"drop that one, {collection.dropped_by}, or build this index anew, with --set collection=NAME",
            )
        collection.begin(dimension, search.factory)
        if collection.rows() < search.rows:  # emptied or made anew since
            search.rows = 0
        for shard in shards:
            if shard.start >= search.rows:
                collection.put(shard.start, shard.vectors, on_rows)
                search.rows = shard.start + shard.rows
                save()
        collection.ask("flush")
        if reason := collection.fault(shards, dimension, search.rows):
            raise MissingArtifact(f"the collection {collection.name} at {collection.uri}: {reason}", "run this again")


def faults(folder: Path, search: Search, shards: Sequence[Any], dimension: int) -> Iterator[str]:
    """What `ttft index verify` has to say about the collection. Files of an embedded Milvus have no hashes in the
    manifest: it rewrites them by itself."""
    if search.rows:
        with closing(Collection(folder, search, fill=False)) as collection:
            if reason := collection.fault(shards, dimension, search.rows):
                yield f"the collection {collection.name} at {collection.uri}: {reason}"


class MilvusSearch:
    """Search through the collection, and exactly through the shards that are not in it yet."""

    def __init__(
        self, folder: Path, shards: Sequence[Any], search: Search, dimension: int, nprobe: int | None,
        ef_search: int | None,
    ) -> None:  # fmt: skip
        self.folder, self.shards, self.nprobe, self.ef_search = folder, shards, nprobe, ef_search
        self.settings, self.dimension, self.rows = search, dimension, search.rows
        rest = [s for s in shards if s.start >= self.rows]
        self.rest = FaissSearch(rest, [], None, None) if rest else None

    @cached_property
    def collection(self) -> Collection:
        """Opened with the first search. Raises MissingArtifact where it is not there or not the index's."""
        collection = Collection(self.folder, self.settings, fill=False)
        if reason := collection.fault(self.shards, self.dimension, self.rows):
            raise MissingArtifact(
                f"the collection {collection.name} at {collection.uri} is not that of {self.folder}: {reason}",
                f"fill another: ttft index merge {self.folder} --store milvus --set collection=NAME --out NEW",
            )
        return collection

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and row numbers (m, at least k where so many are found, else -1) for queries (m,d), in no order.

        Raises ConfigError for more hits than Milvus gives.
        """
        found = [self._in_milvus(queries, min(k, self.rows))] if self.rows else []
        found += [self.rest.search(queries, k)] if self.rest is not None else []
        return np.concatenate([scores for scores, _ in found], axis=1), np.concatenate(
            [ids for _, ids in found], axis=1
        )

    def _in_milvus(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if k > MOST_HITS:
            raise ConfigError(
                f"Milvus finds at most {MOST_HITS:,} rows for a query, asked for {k:,}", "give a smaller k"
            )
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        at_once = max(1, min(MOST_QUERIES, REQUEST_HITS // k, REQUEST_BYTES // (4 * self.dimension)))
        parameters = search_parameters(self.settings.kind or FLAT, k, self.nprobe, self.ef_search)
        for first in range(0, len(queries), at_once):
            hits = self.collection.ask(
                "search", data=list(queries[first : first + at_once]), limit=k, anns_field=VECTOR,
                search_params={"metric_type": METRIC, "params": parameters},
                filter=f"{ID} < {self.rows}",  # a build that goes on may have put in more
            )  # fmt: skip
            for row, found in enumerate(hits, start=first):
                ids[row, : len(found)] = [hit[ID] for hit in found]
                scores[row, : len(found)] = [hit["distance"] for hit in found]
        return scores, ids
