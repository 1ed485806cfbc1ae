"""An index folder from elsewhere is data: it names no file outside, runs nothing, and is checked before it is used."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from vector_index.test_manifest import MILVUS, example
from vector_index.test_shards import make_index

from ttft.embedding import load_embedder
from ttft.errors import ConfigError, MissingArtifact, TtftError
from ttft.finetuning.model import load_causal_lm
from ttft.run_dir import MANIFEST, sealed
from ttft.vector_index.manifest import Manifest, Search, read_manifest, write_manifest
from ttft.vector_index.milvus_address import address, remarks
from ttft.vector_index.shards import open_vector_index


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


# ---- Milvus --------------------------------------------------------------------------------------------------------

SERVER = "http://127.0.0.1:1"


def at(uri: str) -> Search:
    return replace(MILVUS, uri=uri)


def test_a_token_goes_only_to_an_address_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILVUS_URI", raising=False)
    monkeypatch.setenv("MILVUS_TOKEN", "secret")
    with pytest.raises(ConfigError, match="it would be sent there") as caught:
        address(tmp_path, SERVER, None)
    assert f"set MILVUS_URI={SERVER}" in caught.value.hint
    with pytest.raises(ConfigError):
        address(tmp_path, SERVER, "http://127.0.0.1:2")
    assert address(tmp_path, SERVER, SERVER) == (SERVER, "secret")
    monkeypatch.setenv("MILVUS_URI", SERVER + "/")
    assert address(tmp_path, SERVER, None) == (SERVER, "secret")
    assert remarks(tmp_path, at(SERVER)) == []
    monkeypatch.delenv("MILVUS_URI")
    monkeypatch.delenv("MILVUS_TOKEN")
    assert address(tmp_path, SERVER, None) == (SERVER, "")
    assert SERVER in remarks(tmp_path, at(SERVER))[0]


@pytest.mark.parametrize("uri", ["ftp://host", "unix:/tmp/x", "host:19530", "http://root:secret@host"])
def test_what_is_no_address_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        address(tmp_path, uri, uri)


def test_a_milvus_file_lies_in_the_folder_or_is_named_by_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MILVUS_URI", raising=False)
    folder, private = tmp_path / "index", tmp_path / "private.db"
    (folder / "milvus.db").mkdir(parents=True)
    private.mkdir()
    assert address(folder, "milvus.db", None) == (str(folder / "milvus.db"), "")
    for uri in (str(private), "../private.db"):
        with pytest.raises(ConfigError, match="outside of that folder"):
            address(folder, uri, None)
    assert address(folder, str(private), str(private))[0] == str(private)
    monkeypatch.setenv("MILVUS_URI", str(private))
    assert address(folder, str(private), None)[0] == str(private)
    monkeypatch.delenv("MILVUS_URI")
    (folder / "milvus.db" / "wal").symlink_to(private)
    with pytest.raises(ConfigError, match="symbolic link"):
        address(folder, "milvus.db", None)
    (folder / "link.db").symlink_to(private)
    with pytest.raises(ConfigError, match="outside of that folder"):
        address(folder, "link.db", None)


def test_a_search_does_not_follow_the_folder_to_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymilvus", reason="needs pip install 'ttft[milvus]'")
    monkeypatch.delenv("MILVUS_URI", raising=False)
    monkeypatch.setenv("MILVUS_TOKEN", "secret")
    index, vectors = make_index(tmp_path / "i", [8])
    manifest = replace(index.manifest, search=replace(at(SERVER), factory="Flat"))
    write_manifest(tmp_path / "i", manifest)
    with pytest.raises(ConfigError, match="it would be sent there"):
        open_vector_index(tmp_path / "i").search(vectors[:1], 2)


# ---- code ----------------------------------------------------------------------------------------------------------

CODE = """
from pathlib import Path
Path({marker!r}).write_text("run")
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
class Mine(BertModel): pass
class MineConfig(BertConfig): model_type = "mine"
class MineTokenizer(PreTrainedTokenizerFast): pass
"""


@pytest.fixture
def with_code(tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An encoder's folder that brings code, and the file that this code writes. Whoever is asked says yes."""
    folder, marker = tmp_path / "encoder", tmp_path / "marker"
    shutil.copytree(encoder_folder, folder)
    (folder / "mine.py").write_text(CODE.format(marker=str(marker)))
    for name, auto_map in (
        ("config.json", {"AutoConfig": "mine.MineConfig", "AutoModel": "mine.Mine"}),
        ("tokenizer_config.json", {"AutoTokenizer": [None, "mine.MineTokenizer"]}),
    ):
        value = json.loads((folder / name).read_text()) | {"auto_map": auto_map}
        value |= {"model_type": "mine"} if name == "config.json" else {"tokenizer_class": "MineTokenizer"}
        (folder / name).write_text(json.dumps(value))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *prompt: "y")
    return folder, marker


def test_an_encoder_or_tokenizer_of_a_folder_runs_no_code(with_code: tuple[Path, Path], encoder_folder: Path) -> None:
    folder, marker = with_code
    for name, tokenizer in ((folder, None), (encoder_folder, str(folder))):
        with pytest.raises(MissingArtifact):
            load_embedder(str(name), tokenizer=tokenizer)
        assert not marker.exists()
    with contextlib.suppress(MissingArtifact):
        load_embedder(str(encoder_folder), tokenizer=str(folder), trust_remote_code=True)
    assert marker.exists()


def test_a_language_model_runs_no_code(with_code: tuple[Path, Path]) -> None:
    folder, marker = with_code
    with pytest.raises(MissingArtifact):
        load_causal_lm(str(folder))
    assert not marker.exists()


def test_pickled_weights_are_not_read(tmp_path: Path, encoder_folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    shutil.copytree(encoder_folder, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingArtifact):
        load_embedder(str(folder))
