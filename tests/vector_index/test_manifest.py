"""The manifest: it comes back, its file keeps its form, and damage, another version or no index are said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from small import embedder_facts, source_of

from ttft.errors import ConfigError, MissingArtifact, TtftError
from ttft.run_dir import MANIFEST, sealed
from ttft.vector_index.manifest import (
    SCHEMA,
    FileFacts,
    Manifest,
    ProblemsFile,
    Search,
    Segment,
    ShardEntry,
    Source,
    read_manifest,
    write_manifest,
)


def said(caught: pytest.ExceptionInfo) -> str:
    return f"{caught.value.message} {caught.value.hint}"


def write_text(folder: Path, value: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(value if isinstance(value, str) else json.dumps(value))


def written(folder: Path) -> dict:
    return json.loads((folder / MANIFEST).read_text())


def example(search: Search | None = None) -> Manifest:
    listed = ProblemsFile("problems-00.jsonl", 7, "c" * 64)
    source = Source(source_of(0).corpus, 9, 1, 8, {"empty text": 1}, listed, True)
    entry = ShardEntry(
        "shard-00000", 8, {"documents.arrow": FileFacts(10, "a" * 64), "vectors.npy": FileFacts(20, "b" * 64)}, 0
    )
    search = search or Search("faiss", "IVF4,Flat", "IVF4,Flat", Segment("trained.faiss", 0, 0, 5, "d" * 64),
                              [Segment("segment-00000.faiss", 1, 8, 6, "e" * 64)])  # fmt: skip
    return Manifest(embedder_facts(4), "float16", "count", None, search, [source], [entry], 8, True)


MILVUS = Search("milvus", "auto", "Flat", uri="milvus.db", collection="ttft", rows=8)


@pytest.mark.parametrize("manifest", [example(), example(MILVUS), Manifest(embedder_facts(4), "float32", "off", "2/3")])
def test_a_manifest_comes_back(tmp_path: Path, manifest: Manifest) -> None:
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == read_manifest(str(tmp_path)) == manifest
    before = (tmp_path / MANIFEST).read_bytes()
    write_manifest(tmp_path, read_manifest(tmp_path))
    assert (tmp_path / MANIFEST).read_bytes() == before


def test_the_file_keeps_its_form(tmp_path: Path) -> None:
    write_manifest(tmp_path, example())
    value = written(tmp_path)
    assert list(value) == [
        "schema", "embedder", "metric", "precision", "part", "dedup", "sources", "shards", "search", "rows", "complete",
        "sha256",
    ]  # fmt: skip
    assert list(value["embedder"]) == [
        "name", "revision", "dimension", "pooling", "max_tokens", "tokenizer", "dtype", "device"
    ]  # fmt: skip
    (source,) = value["sources"]
    assert list(source) == ["corpus", "read", "duplicates", "rows", "problems", "problems_file", "complete"]
    assert list(source["corpus"]) == [*sorted(source["corpus"].keys() - {"fingerprint"}), "fingerprint"]
    assert source["problems_file"] == {"file": "problems-00.jsonl", "bytes": 7, "sha256": "c" * 64}
    (entry,) = value["shards"]
    assert list(entry) == ["name", "rows", "files", "source"]
    assert entry["files"]["vectors.npy"] == {"bytes": 20, "sha256": "b" * 64}
    assert list(value["search"]) == ["store", "factory", "kind", "trained", "segments"]
    assert list(value["search"]["segments"][0]) == ["file", "shards", "rows", "bytes", "sha256"]
    assert list(example(MILVUS).to_json()["search"]) == [
        "store", "factory", "kind", "trained", "segments", "uri", "collection", "rows"
    ]  # fmt: skip
    assert "Ä" in (tmp_path / MANIFEST).read_text() and value == sealed(value)


def test_the_hash_of_the_content_is_that_of_its_json() -> None:
    value = example().to_json()
    content = json.dumps([value["shards"], value["embedder"], value["search"]], sort_keys=True)
    assert example().content_sha256() == hashlib.sha256(content.encode()).hexdigest()
    other = example()
    other.sources.clear()
    assert other.content_sha256() == example().content_sha256() != example(MILVUS).content_sha256()


def test_every_file_is_vouched_for() -> None:
    assert {name: facts.bytes for name, facts in example().files().items()} == {
        "shard-00000/documents.arrow": 10, "shard-00000/vectors.npy": 20, "segment-00000.faiss": 6, "trained.faiss": 5,
        "problems-00.jsonl": 7,
    }  # fmt: skip


def test_a_missing_or_unknown_key_is_named(tmp_path: Path) -> None:
    for place, key in (
        ((), "rows"), (("embedder",), "dimension"), (("sources", 0), "read"), (("sources", 0, "corpus"), "glob"),
        (("shards", 0), "files"), (("shards", 0, "files", "vectors.npy"), "bytes"), (("search",), "kind"),
        (("search", "segments", 0), "shards"),
    ):  # fmt: skip
        for change, words in ((lambda part, key=key: part.pop(key), "is missing"),
                              (lambda part, key=key: part.update({key + "x": 1}), "unknown key")):  # fmt: skip
            value = part = example().to_json()
            for step in place:
                part = part[step]
            change(part)
            write_text(tmp_path, sealed(value))
            with pytest.raises(MissingArtifact, match=words) as caught:
                read_manifest(tmp_path)
            assert key in caught.value.message and str(tmp_path / MANIFEST) in caught.value.message


def test_a_changed_value_is_noticed(tmp_path: Path) -> None:
    write_manifest(tmp_path, example())
    path = tmp_path / MANIFEST
    path.write_text(path.read_text().replace("float16", "float32"))
    with pytest.raises(MissingArtifact, match="damaged"):
        read_manifest(tmp_path)


def test_no_index_names_those_beside_it_or_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact) as caught:
        read_manifest(tmp_path / "none")
    assert "is not an index" in said(caught) and "ttft index SOURCE" in said(caught)
    write_text(tmp_path / "code", {})
    with pytest.raises(MissingArtifact) as caught:
        read_manifest(tmp_path / "none")
    assert "code" in said(caught)
    with pytest.raises(MissingArtifact):
        read_manifest(tmp_path / "no" / "such" / "folder")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null"])
def test_a_damaged_manifest_is_an_error_for_people(tmp_path: Path, text: str) -> None:
    write_text(tmp_path, text)
    with pytest.raises(TtftError) as caught:
        read_manifest(tmp_path)
    assert MANIFEST in said(caught)


@pytest.mark.parametrize("manifest", [{}, {"schema": 0}, {"schema": SCHEMA + 1}])
def test_an_index_of_another_schema_is_refused(tmp_path: Path, manifest: dict) -> None:
    write_text(tmp_path, manifest)
    with pytest.raises(ConfigError, match=f"this ttft reads {SCHEMA}"):
        read_manifest(tmp_path)
