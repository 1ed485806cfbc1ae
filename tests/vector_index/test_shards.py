"""The index folder: what is written is read back, search is exact whatever the sharding, damage is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small import embedder_facts, source_of

from ttft.errors import ConfigError, MissingArtifact
from ttft.records import Document
from ttft.run_dir import sha256_file
from ttft.vector_index.manifest import Manifest, Search, read_manifest, write_manifest
from ttft.vector_index.segments import add_segments
from ttft.vector_index.shards import open_shards, open_vector_index, write_shard


def make_index(folder, shard_rows: list[int], precision: str = "float32", factory: str = "Flat"):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(sum(shard_rows), 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7 % len(vectors)] = vectors[3]  # exact duplicates: equal scores
    folder.mkdir()
    manifest = Manifest(embedder_facts(12), precision, "count", search=Search(factory=factory))
    manifest.sources.append(source_of(len(vectors)))
    manifest.rows = len(vectors)
    start = 0
    for number, rows in enumerate(shard_rows):
        documents = [Document(f"text {i}\r\n ü", f"s{i % 3}", f"f:{i}", i) for i in range(start, start + rows)]
        entry = write_shard(folder, number, documents, vectors[start : start + rows], precision=precision)
        manifest.shards.append(entry)
        start += rows
    add_segments(folder, open_shards(folder, manifest), manifest.search, lambda: None, seed=0)
    write_manifest(folder, manifest)
    return open_vector_index(folder), vectors


def test_documents_and_vectors_come_back(tmp_path):
    index, vectors = make_index(tmp_path / "i", [5, 9, 6])
    assert index.rows == 20 and index.dimension == 12
    ids = [19, 0, 5, 5, 13]
    assert np.array_equal(index.vectors(ids), vectors[ids])
    assert [d.text for d in index.documents(ids)] == [f"text {i}\r\n ü" for i in ids]
    assert index.documents([13])[0] == Document("text 13\r\n ü", "s1", "f:13", 13)
    with pytest.raises(IndexError):
        index.documents([20])


@pytest.mark.parametrize("shard_rows", [[20], [5, 9, 6], [1] * 20])
def test_search_is_exact_whatever_the_sharding(tmp_path, shard_rows):
    index, vectors = make_index(tmp_path / "i", shard_rows)
    queries = vectors[[3, 11]] + 0.01
    scores, ids = index.search(queries, 8)
    for query, row_scores, row_ids in zip(queries, scores, ids, strict=True):
        expected = np.lexsort((np.arange(20), -(vectors @ query).astype(np.float32)))[:8]
        assert np.allclose(row_scores, (vectors @ query)[row_ids], atol=1e-6)
        assert sorted(row_ids) == sorted(expected)
    assert ids[0, :2].tolist() == [3, 7]  # of equal scores the smaller row number comes first
    assert index.search(queries, 100)[1].shape == (2, 20)


def test_half_precision_store_and_search_agree(tmp_path):
    index, vectors = make_index(tmp_path / "i", [20], precision="float16")
    stored = index.vectors(range(20))
    assert np.array_equal(stored, vectors.astype(np.float16).astype(np.float32))
    scores, ids = index.search(vectors[:1], 20)
    assert np.allclose(scores[0], stored[ids[0]] @ vectors[0], atol=1e-6)


def test_same_content_same_bytes(tmp_path):
    one, two = (make_index(tmp_path / n, [8, 12])[0] for n in "ab")
    assert one.manifest.shards == two.manifest.shards
    for name, facts in one.manifest.shards[1].files.items():
        assert sha256_file(one.folder / "shard-00001" / name) == facts.sha256


def test_a_leftover_of_a_kill_is_replaced(tmp_path):
    index, _ = make_index(tmp_path / "i", [4])
    (tmp_path / "i" / "shard-00001").mkdir()
    (tmp_path / "i" / "shard-00001" / "rubbish").write_text("x")
    document = [Document("t", "", "f:1")]
    write_shard(index.folder, 1, document, np.ones((1, 12), dtype=np.float32), precision="float16")
    assert not (tmp_path / "i" / "shard-00001" / "rubbish").exists()


def test_damage_is_named(tmp_path):
    index, _ = make_index(tmp_path / "i", [5, 5])
    vectors = index.folder / "shard-00001" / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    with pytest.raises(MissingArtifact, match=r"shard-00001/vectors\.npy"):
        open_vector_index(index.folder)
    with pytest.raises(MissingArtifact, match="not an index"):
        open_vector_index(tmp_path / "nothing")
    manifest = read_manifest(index.folder)
    write_manifest(index.folder, replace(manifest, shards=[], rows=0, search=Search()))
    with pytest.raises(MissingArtifact, match="no finished shard"):
        open_vector_index(str(index.folder))


def test_an_unknown_factory_is_refused_and_nothing_stays(tmp_path):
    with pytest.raises(ConfigError, match="Flatt"):
        make_index(tmp_path / "i", [5], factory="Flatt")
    assert not list((tmp_path / "i").rglob("*.faiss*"))
