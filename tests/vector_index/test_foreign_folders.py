"""An index folder from elsewhere is data: it names no file outside, runs nothing, and is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vector_index.test_manifest import MILVUS, example

from ttft.errors import MissingArtifact, TtftError
from ttft.run_dir import MANIFEST, sealed
from ttft.vector_index.manifest import Manifest, read_manifest


def changed(folder: Path, change: Callable[[dict[str, Any]], Any], manifest: Manifest | None = None) -> Path:
    """A folder with a manifest that was changed and sealed again, as who makes a folder can do."""
    value = (manifest or example()).to_json()
    change(value)
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps(sealed(value)))
    return folder


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value: put("shards", 0, "rows", -1)."""

    def change(value: Any) -> None:
        *steps, key, new = path
        for step in steps:
            value = value[step]
        value[key] = new

    return change


def rename_file(value: dict[str, Any]) -> None:
    files = value["shards"][0]["files"]
    files["../../.bashrc"] = files.pop("vectors.npy")


def one_more_file(value: dict[str, Any]) -> None:
    value["shards"][0]["files"]["../../.bashrc"] = {"bytes": 1, "sha256": "a" * 64}


def twice(value: dict[str, Any]) -> None:
    value["shards"] *= 2
    value["rows"] *= 2
    value["sources"][0]["rows"] *= 2


SEGMENT = ("search", "segments", 0)
FOREIGN = {
    "a file of a shard": rename_file,
    "one more file of a shard": one_more_file,
    "a shard elsewhere": put("shards", 0, "name", "../elsewhere"),
    "a shard at an absolute place": put("shards", 0, "name", "/etc"),
    "another shard's name": put("shards", 0, "name", "shard-00001"),
    "a shard twice": twice,
    "problems": put("sources", 0, "problems_file", "file", "../private.txt"),
    "another source's problems": put("sources", 0, "problems_file", "file", "problems-01.jsonl"),
    "no problems": put("sources", 0, "problems_file", None),
    "a segment": put(*SEGMENT, "file", "../segment-00000.faiss"),
    "another segment": put(*SEGMENT, "file", "segment-00001.faiss"),
    "the manifest as a segment": put(*SEGMENT, "file", MANIFEST),
    "a trained index": put("search", "trained", "file", "/etc/passwd"),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN.keys())
def test_only_names_that_ttft_gives_are_read(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(MissingArtifact, match=MANIFEST):
        read_manifest(changed(tmp_path, change))


WRONG = [
    put("sha256x", 1), put("complete", 1), put("complete", "yes"), put("rows", -1), put("rows", True), put("rows", 8.0),
    put("rows", 9), put("part", "3/2"), put("part", "1"), put("precision", "int8"), put("dedup", "maybe"),
    put("sources", {}), put("sources", []), put("shards", None), put("shards", [3]), put("embedder", "minilm"),
    put("embedder", "dimension", 0), put("embedder", "dimension", "4"), put("embedder", "pooling", "max"),
    put("embedder", "name", ""), put("embedder", "max_tokens", None), put("embedder", "trust_remote_code", True),
    put("shards", 0, "rows", 0), put("shards", 0, "source", 1), put("shards", 0, "source", -1),
    put("shards", 0, "files", {}), put("shards", 0, "files", "vectors.npy", "sha256", "A" * 64),
    put("shards", 0, "files", "vectors.npy", "sha256", "a" * 64 + "\n"),
    put("shards", 0, "files", "vectors.npy", "bytes", -1), put("shards", 0, "files", "vectors.npy", "bytes", 10**30),
    put("sources", 0, "rows", 7), put("sources", 0, "problems", {"x": -1}), put("sources", 0, "duplicates", 10),
    put("sources", 0, "complete", False), put("sources", 0, "corpus", "piece_chars", 0),
    put("sources", 0, "corpus", "subsets", "all"), put("search", "store", "redis"), put("search", "kind", "Flat"),
    put("search", "kind", None), put("search", "segments", []), put("search", "uri", "http://host"),
    put(*SEGMENT, "rows", 7), put(*SEGMENT, "shards", 2), put(*SEGMENT, "shards", 0),
    put("search", "trained", "rows", 3),
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG)
def test_every_value_is_checked(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(TtftError, match=MANIFEST):
        read_manifest(changed(tmp_path, change))


@pytest.mark.parametrize(
    "change",
    [
        put("search", "rows", 9),
        put("search", "rows", 4),
        put("search", "uri", None),
        put("search", "collection", "../x"),
    ],
)
def test_what_it_says_of_milvus_is_checked(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(MissingArtifact, match=r"search\."):
        read_manifest(changed(tmp_path, change, example(MILVUS)))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    changed(tmp_path, lambda value: None)
    text = (tmp_path / MANIFEST).read_text()
    (tmp_path / MANIFEST).write_text(text.replace('"rows": 8,', '"rows": 7, "rows": 8,', 1))
    with pytest.raises(MissingArtifact, match="stands twice"):
        read_manifest(tmp_path)


def test_an_unchanged_one_is_read(tmp_path: Path) -> None:
    assert read_manifest(changed(tmp_path, lambda value: None)) == example()
