"""Index kinds: every one finds what exact search finds (or nearly), whole or in segments, and vectors stay exact."""

from __future__ import annotations

import numpy as np
import pytest
from small import embedder_facts, source_of
from vector_index.test_shards import make_index

from ttft.errors import ConfigError, MissingArtifact
from ttft.records import Document
from ttft.run_dir import shard_name
from ttft.vector_index import segments
from ttft.vector_index.manifest import Manifest, Search, read_manifest, write_manifest
from ttft.vector_index.recall import exact, recall
from ttft.vector_index.shards import open_shards, open_vector_index, write_shard

KINDS = ["Flat", "SQ8", "IVF8,Flat", "IVF8,PQ16x4", "IVF8,SQ8", "HNSW16", "OPQ16,IVF8,PQ16x4"]


def clustered(rows: int, d: int = 32) -> np.ndarray:
    """Unit vectors around a few centres, as texts are."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(16, d))
    vectors = centres[rng.integers(0, 16, rows)] + 0.5 * rng.normal(size=(rows, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def build(folder, vectors: np.ndarray, factory: str, shard_rows: int = 500):
    folder.mkdir()
    manifest = Manifest(embedder_facts(vectors.shape[1]), "float16", "off", search=Search(factory=factory))
    manifest.sources.append(source_of(len(vectors)))
    for number, start in enumerate(range(0, len(vectors), shard_rows)):
        some = vectors[start : start + shard_rows]
        documents = [Document(f"text {start + i}", "", f"f:{start + i}") for i in range(len(some))]
        manifest.shards.append(write_shard(folder, number, documents, some, precision="float16"))
        manifest.rows += len(some)
    cover(folder, manifest)
    return open_vector_index(folder)


def cover(folder, manifest) -> None:
    segments.add_segments(
        folder, open_shards(folder, manifest), manifest.search, lambda: write_manifest(folder, manifest), seed=0
    )
    write_manifest(folder, manifest)


@pytest.mark.parametrize("factory", KINDS)
def test_every_kind_finds_the_nearest_and_keeps_the_vectors(tmp_path, factory):
    vectors = clustered(2000)
    index = build(tmp_path / "i", vectors, factory)
    queries = vectors[::40]
    truth, ids = exact(index.shards, queries, 20)
    _, found = index.search(queries, 20)
    own = np.stack([index.vectors(row) @ query for row, query in zip(found, queries, strict=True)])
    assert recall(found, own, truth) >= (0.4 if "PQ" in factory else 0.95)
    assert np.array_equal(index.vectors(ids[0]), vectors[ids[0]].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("factory", ["IVF8,Flat", "IVF8,PQ8x4"])
def test_segments_together_find_what_one_finds(tmp_path, factory, monkeypatch):
    vectors = clustered(2000)
    one = build(tmp_path / "one", vectors, factory)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 600 * (4 * 32 + 8) if "Flat" in factory else 600 * (4 + 8))
    many = build(tmp_path / "many", vectors, factory)
    assert len(one.manifest.search.segments) == 1 and len(many.manifest.search.segments) == 4
    for index in (one, many):
        assert [segment.rows for segment in index.manifest.search.segments][:1] in ([2000], [500])
    scores = [index.search(vectors[:50], 20)[0] for index in (one, many)]
    assert np.allclose(*scores, atol=1e-6)


def test_shards_that_no_segment_covers_are_searched_exactly(tmp_path):
    """As while a source is added: the first shards have their index, the last have none yet."""
    vectors = clustered(1500)
    index = build(tmp_path / "i", vectors[:1000], "IVF8,Flat")
    manifest = read_manifest(index.folder)
    late = [Document(f"late {i}", "", "g") for i in range(500)]
    manifest.shards.append(write_shard(index.folder, 2, late, vectors[1000:], precision="float16"))
    manifest.rows = manifest.sources[0].rows = 1500
    write_manifest(index.folder, manifest)
    grown = open_vector_index(index.folder)
    _, ids = grown.search(vectors[1000:1400:50], 1)
    assert ids[:, 0].tolist() == list(range(1000, 1400, 50))
    cover(index.folder, manifest)
    covered = open_vector_index(index.folder)
    assert [s.shards for s in covered.manifest.search.segments] == [2, 1]
    assert covered.search(vectors[1000:1400:50], 1)[1].tolist() == ids.tolist()


def test_more_effort_finds_more(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3000, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    folder = build(tmp_path / "i", vectors, "IVF64,Flat").folder
    _, ids = exact(open_shards(folder, read_manifest(folder)), vectors[:100], 20)
    shares = []
    for nprobe in (1, 8, 64):
        found = open_vector_index(folder, nprobe=nprobe).search(vectors[:100], 20)[1]
        shares.append(np.mean([len(set(a) & set(b)) / 20 for a, b in zip(found, ids, strict=True)]))
    assert shares[0] < shares[1] < shares[2] and shares[2] > 0.999


def test_an_interrupted_cover_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 600 * (4 * 32 + 8))
    vectors = clustered(2000)
    whole = build(tmp_path / "whole", vectors, "IVF8,Flat")
    real, written = segments.faiss_index.write, []

    def write(index, path):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        real(index, path)

    monkeypatch.setattr(segments.faiss_index, "write", write)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cut", vectors, "IVF8,Flat")
    monkeypatch.setattr(segments.faiss_index, "write", real)
    cover(tmp_path / "cut", read_manifest(tmp_path / "cut"))
    assert read_manifest(tmp_path / "cut") == whole.manifest
    assert not list((tmp_path / "cut").rglob("*.part"))


def test_the_kind_is_chosen_by_size():
    assert segments.kind_for(10) == segments.kind_for(segments.FLAT_ROWS) == "Flat"
    assert segments.kind_for(segments.FLAT_ROWS + 1) == "IVF4096,SQ8"
    assert segments.kind_for(210_000_000) == "IVF65536,SQ8"


def test_too_few_vectors_to_train_is_said(tmp_path):
    with pytest.raises(ConfigError, match="IVF64,Flat cannot be trained on 20 vectors"):
        build(tmp_path / "i", clustered(20), "IVF64,Flat")


@pytest.mark.parametrize("name", ["documents.arrow", "vectors.npy", "index.faiss"])
def test_a_flipped_byte_is_found_when_the_file_is_read(tmp_path, name):
    index, vectors = make_index(tmp_path / "i", [20, 20])
    index.search(vectors[:1], 5)  # what was whole is remembered, and looked at again since the file has changed
    index.vectors([30]), index.documents([30])
    path = index.folder / shard_name(1) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    again = open_vector_index(index.folder)
    with pytest.raises(MissingArtifact, match=rf"{name} is damaged"):
        again.search(vectors[:1], 5), again.vectors([30]), again.documents([30])


@pytest.mark.gpu
@pytest.mark.parametrize("factory", ["Flat", "IVF8,Flat", "IVF8,SQ8"])
def test_a_gpu_finds_what_the_cpu_finds(tmp_path, factory):
    faiss = pytest.importorskip("faiss")
    if faiss.get_num_gpus() == 0:
        pytest.skip("faiss sees no GPU")
    vectors = clustered(2000)
    index = build(tmp_path / "i", vectors, factory)
    on_gpu, _ = index.search(vectors[:50], 20)
    index.searcher.fast_parts = index.searcher.parts
    on_cpu, _ = index.search(vectors[:50], 20)
    assert np.allclose(on_gpu, on_cpu, atol=1e-4)
