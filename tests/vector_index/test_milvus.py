"""Milvus as the store: it finds what Faiss finds, goes on after a failure, and uses no collection but its own."""

from __future__ import annotations

import importlib.util
import time

import numpy as np
import pytest
from small import embedder_facts, source_of

from ttft.errors import ConfigError, MissingArtifact
from ttft.records import Document
from ttft.retriever import Retriever
from ttft.run_dir import record_provenance
from ttft.vector_index import milvus
from ttft.vector_index.manifest import Manifest, Search, read_manifest, write_manifest
from ttft.vector_index.recall import recall
from ttft.vector_index.segments import add_segments
from ttft.vector_index.shards import open_shards, open_vector_index, write_shard
from ttft.vector_index.verify import damage

pytest.importorskip("pymilvus", reason="needs pip install 'ttft[milvus]'")
pytest.importorskip("milvus_lite", reason="needs pip install 'ttft[milvus]'")

SHARDS = (1000, 700, 1300)


def unit(rows: int, dimension: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def stored(rows: int, dimension: int = 32, seed: int = 0) -> np.ndarray:
    """Unit vectors, every tenth of them an exact copy of the row before."""
    vectors = unit(rows, dimension, seed)
    vectors[1::10] = vectors[0::10]
    return vectors


def shards_in(folder, vectors, *, factory="Flat", milvus_place=None, shard_rows=SHARDS):
    """A folder of shards that nothing searches yet, and its manifest."""
    folder.mkdir()
    search = milvus_place or Search(factory=factory)
    manifest = Manifest(embedder_facts(vectors.shape[1]), "float32", "off", search=search)
    manifest.sources.append(source_of(len(vectors)))
    start = 0
    for number, rows in enumerate(shard_rows):
        documents = [Document(f"text {i}", "", f"f:{i}") for i in range(start, start + rows)]
        entry = write_shard(folder, number, documents, vectors[start : start + rows], precision="float32")
        manifest.shards.append(entry)
        start += rows
    manifest.rows = start
    write_manifest(folder, manifest)
    record_provenance(folder, {"seed": 0})
    return manifest


def fill(folder, manifest, on_rows=lambda rows: None):
    save = lambda: write_manifest(folder, manifest)  # noqa: E731
    milvus.add_rows(folder, open_shards(folder, manifest), manifest.search, save, on_rows=on_rows)
    save()
    return open_vector_index(folder)


def in_milvus(folder, vectors, *, uri=None, collection="ttft", factory="Flat", shard_rows=SHARDS):
    place = milvus.place(folder, uri, collection, factory)
    return fill(folder, shards_in(folder, vectors, factory=factory, milvus_place=place, shard_rows=shard_rows))


def in_faiss(folder, vectors, shard_rows=SHARDS):
    manifest = shards_in(folder, vectors, shard_rows=shard_rows)
    add_segments(folder, open_shards(folder, manifest), manifest.search, lambda: None, seed=0)
    write_manifest(folder, manifest)
    return open_vector_index(folder)


@pytest.fixture
def both(tmp_path):
    vectors = stored(sum(SHARDS))
    return in_faiss(tmp_path / "faiss", vectors), in_milvus(tmp_path / "milvus", vectors), vectors


def assert_same_but_for_ties(ours, expected):
    for our_scores, our_ids, scores, ids in zip(*ours, *expected, strict=True):
        np.testing.assert_allclose(our_scores, scores, atol=1e-6)
        above = scores[-1] + 2e-6
        assert set(our_ids[our_scores > above]) == set(ids[scores > above])


def test_it_finds_what_faiss_finds(both, monkeypatch):
    faiss, ours, vectors = both
    queries = np.concatenate([vectors[:20], unit(20, 32, seed=1)])
    expected = faiss.search(queries, 200)
    assert_same_but_for_ties(ours.search(queries, 200), expected)
    assert ours.search(vectors[:1], 2)[1].tolist() == [[0, 1]]  # of equal rows the first of the index comes first
    monkeypatch.setattr(milvus, "REQUEST_HITS", 450)  # two queries a request
    assert_same_but_for_ties(ours.search(queries, 200), expected)
    assert ours.search(queries[:3], 10**6)[1].shape == (3, 3000)


def test_sift_takes_the_same_rows(both):
    faiss, ours, _ = both
    for query in unit(12, 32, seed=2):
        one, two = (Retriever(index, lambda_=0.1).choose(query, n=20, k=200) for index in (faiss, ours))
        assert one.ids.tolist() == two.ids.tolist()
        assert np.array_equal(one.vectors, two.vectors)


@pytest.mark.parametrize(
    ("factory", "less", "more"),
    [
        ("IVF16,Flat", {"nprobe": 1}, {"nprobe": 16}),
        ("IVF16,SQ8", {"nprobe": 1}, {"nprobe": 16}),
        ("HNSW8", {"ef_search": 10}, {"ef_search": 400}),
    ],
)
def test_other_kinds_of_index(tmp_path, factory, less, more):
    vectors = unit(3000, 32, seed=0)
    made = in_milvus(tmp_path / "i", vectors, factory=factory).searcher.collection
    while made.ask("describe_index", index_name="vector")["pending_index_rows"]:  # until then all rows are read
        time.sleep(0.01)
    truth = np.argsort(-(vectors[:20] @ vectors.T), axis=1)[:, :10]
    true_scores = np.take_along_axis(vectors[:20] @ vectors.T, truth, 1)
    found = []
    for options in (less, more):
        ids = open_vector_index(tmp_path / "i", **options).search(vectors[:20], 10)[1]
        found.append(recall(ids, np.take_along_axis(vectors[:20] @ vectors.T, ids, 1), true_scores))
    assert found[0] <= found[1] > 0.95 and (found[0] < found[1] or "HNSW" in factory)


def test_what_milvus_has_no_index_for_is_said(tmp_path):
    for factory in ("IVF1024,PQ48", "SQ8", "OPQ16,IVF64,Flat", "flat"):
        with pytest.raises(ConfigError, match="Milvus has no index") as caught:
            milvus.place(tmp_path, None, "ttft", factory)
        assert "IVF1024,SQ8" in caught.value.hint


def test_more_hits_than_milvus_gives_are_refused(both, monkeypatch):
    monkeypatch.setattr(milvus, "MOST_HITS", 100)
    assert both[1].search(both[2][:1], 100)[1].shape == (1, 100)
    with pytest.raises(ConfigError, match="at most 100 rows per query, asked for 101"):
        both[1].search(both[2][:1], 101)


def failing(monkeypatch, after: int) -> list[int]:
    """The client fails after so many upserts; the list grows by the rows of each that went through."""
    from pymilvus import MilvusClient

    written: list[int] = []
    upsert = MilvusClient.upsert

    def counted(self, name, data, **more):
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(len(data))
        return upsert(self, name, data, **more)

    monkeypatch.setattr(MilvusClient, "upsert", counted)
    return written


def test_interrupted_while_inserting_it_goes_on(tmp_path, monkeypatch):
    vectors, folder = stored(3000), tmp_path / "i"
    monkeypatch.setattr(milvus, "REQUEST_BYTES", 4 * 32 * 500)
    manifest = shards_in(folder, vectors, milvus_place=milvus.place(folder, None, "ttft", "Flat"))
    with monkeypatch.context() as patch:
        assert failing(patch, after=4) == []  # two shards of two requests each
        with pytest.raises(KeyboardInterrupt):
            fill(folder, manifest)
    manifest = read_manifest(folder)
    assert manifest.search.rows == 1700
    expected = in_faiss(tmp_path / "faiss", vectors).search(vectors[:20], 200)
    assert_same_but_for_ties(open_vector_index(folder).search(vectors[:20], 200), expected)  # the rest from the shards
    with monkeypatch.context() as patch:
        written, told = failing(patch, after=100), []
        index = fill(folder, manifest, told.append)
    assert written == told == [500, 500, 300]
    assert index.searcher.collection.rows() == 3000
    assert_same_but_for_ties(index.search(vectors[:20], 200), expected)


def test_a_collection_that_was_emptied_is_filled_from_the_start(tmp_path):
    vectors, folder = stored(300), tmp_path / "i"
    index = in_milvus(folder, vectors, shard_rows=(100, 200))
    index.searcher.collection.ask("drop_collection")
    with pytest.raises(MissingArtifact, match="it does not exist"):
        open_vector_index(folder).search(vectors[:1], 5)
    (line,) = damage(folder, index.manifest, index.shards, lambda name: None)
    assert line.endswith("it does not exist")
    index = fill(folder, index.manifest)
    assert index.searcher.collection.rows() == 300
    assert list(damage(folder, index.manifest, index.shards, lambda name: None)) == []


def test_missing_rows_are_found(tmp_path):
    index = in_milvus(tmp_path / "i", stored(300), shard_rows=(100, 200))
    index.searcher.collection.ask("delete", ids=[150])
    (line,) = damage(tmp_path / "i", index.manifest, index.shards, lambda name: None)
    assert "has 299 rows, the manifest says 300" in line
    with pytest.raises(MissingArtifact, match="299 rows"):
        open_vector_index(tmp_path / "i").search(stored(1), 5)


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (stored(400), "it has 400 rows, the index 300"),
        (stored(300, seed=9), "row 0 has a different vector"),
        (stored(300, dimension=16), "instead of id and vector with 32 dimensions"),
    ],
)
def test_the_collection_of_another_index_is_not_touched(tmp_path, monkeypatch, vectors, reason):
    uri = str(tmp_path / "shared.db")
    monkeypatch.setenv("MILVUS_URI", uri)
    there = in_milvus(tmp_path / "a", vectors, uri=uri, shard_rows=(len(vectors),))
    with pytest.raises(ConfigError, match=reason):
        in_milvus(tmp_path / "b", stored(300), uri=uri, shard_rows=(300,))
    assert there.searcher.collection.rows() == len(vectors)
    with pytest.raises(MissingArtifact, match=reason):
        manifest = read_manifest(tmp_path / "b")
        manifest.search.rows, manifest.search.kind = 300, "Flat"
        write_manifest(tmp_path / "b", manifest)
        open_vector_index(tmp_path / "b").search(stored(1), 5)
    assert in_milvus(tmp_path / "c", stored(300), uri=uri, collection="c", shard_rows=(300,)).search(stored(1), 2)
    with pytest.raises(ConfigError, match="there already is a collection c"):
        milvus.check_free(tmp_path, milvus.place(tmp_path, uri, "c", "Flat"))


def test_a_server_is_used_as_the_embedded_one(tmp_path, monkeypatch):
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    server, database, port = start_server_in_thread(str(tmp_path / "data"))
    try:
        vectors, uri = stored(300), f"http://127.0.0.1:{port}"
        monkeypatch.setenv("MILVUS_URI", uri)
        index = in_milvus(tmp_path / "i", vectors, uri=uri, shard_rows=(100, 200))
        assert index.search(vectors[:1], 2)[1].tolist() == [[0, 1]]
        assert index.manifest.search.uri == uri
        assert not [p for p in (tmp_path / "i").rglob("*") if p.is_file() and b"secret" in p.read_bytes()]
    finally:
        server.stop(grace=None).wait()
        database.close()
    index.searcher.collection.client.close()
    with pytest.raises(MissingArtifact, match=f"Milvus at {uri}") as caught:
        open_vector_index(tmp_path / "i").search(vectors[:1], 2)
    assert "MILVUS_TOKEN" in caught.value.hint


@pytest.mark.parametrize("package", ["pymilvus", "milvus_lite"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a))
    with pytest.raises(MissingArtifact, match=package.replace("_", "-")) as caught:
        milvus.check_free(tmp_path, milvus.place(tmp_path, None, "ttft", "Flat"))
    assert "pip install 'ttft[milvus]'" in caught.value.hint
    if package == "milvus_lite":
        milvus.library(embedded=False)  # a server needs no milvus-lite
