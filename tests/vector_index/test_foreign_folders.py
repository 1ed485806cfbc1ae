"""An index folder from elsewhere is data: it names no file outside, runs nothing, and is checked before it is used."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands.test_finetune_eval import arguments as evaluation
from commands.test_index import arguments
from vector_index.test_manifest import MILVUS, example
from vector_index.test_shards import make_index

from ttft.embedding import load_embedder
from ttft.errors import ConfigError, MissingArtifact, TtftError
from ttft.finetuning.model import load_causal_lm
from ttft.indexing.merge import merge_indexes
from ttft.records import Document
from ttft.run_dir import MANIFEST, record_provenance, sealed, sha256_file
from ttft.tuner.selector import encoder_of
from ttft.vector_index.manifest import FileFacts, Manifest, Search, read_manifest, write_manifest
from ttft.vector_index.milvus_address import address, remarks
from ttft.vector_index.segments import add_segments
from ttft.vector_index.shards import open_shards, open_vector_index, write_shard
from ttft.vector_index.verify import damage


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


def test_a_merge_writes_nothing_outside_and_takes_nothing_from_there(
    tmp_path: Path, run_ttft: Any, index_folder: Path, capsys: Any
) -> None:
    """What the names lead to: a file of the user's that is overwritten, or whose content gets into the index."""
    part, mine, merged = tmp_path / "download" / "index", tmp_path / "mine", tmp_path / "merged"
    shutil.copytree(index_folder, part)
    (part.parent / "mine").write_text("payload")
    whole = json.loads((part / MANIFEST).read_text())
    theirs = {"bytes": 7, "sha256": sha256_file(part.parent / "mine")}
    for change in (
        put("shards", 0, "files", "../../mine", theirs),
        put("sources", 0, "problems_file", {"file": "../mine", **theirs}),
    ):
        mine.write_text("as it was")
        value = json.loads(json.dumps(whole))
        change(value)
        (part / MANIFEST).write_text(json.dumps(sealed(value)))
        assert run_ttft("index", "merge", part, "--out", merged) == 2
        assert MANIFEST in capsys.readouterr().err
        assert mine.read_text() == "as it was" and not merged.exists()


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


# ---- links ---------------------------------------------------------------------------------------------------------


def test_a_build_writes_through_no_link(tmp_path: Path, run_ttft: Any, corpus_file: Path, encoder_folder: Path) -> None:
    """Links at every place where something is written, to a file and to a folder of the user."""
    private, there, out = tmp_path / "private", tmp_path / "there", tmp_path / "index"
    private.write_text("mine")
    there.mkdir()
    (there / "kept").write_text("mine")
    out.mkdir()
    names = (".seen", ".checked.json", "manifest.json.part", "provenance.json.part", "trained.faiss",
             "trained.faiss.part", "segment-00000.faiss", "problems-00.jsonl", "problems-00.jsonl.part",
             "shard-00001", f".checked.json.{os.getpid()}")  # fmt: skip
    for name in names:
        (out / name).symlink_to(private)
    for name in ("shard-00000", "shard-00000.part", "shard-00002.part"):
        (out / name).symlink_to(there)
    command = arguments(corpus_file, out, encoder_folder, "--factory", "IVF4,Flat")
    assert run_ttft(*command) == 0
    open_vector_index(out).vectors([0])
    assert private.read_text() == "mine"
    assert [p.name for p in there.iterdir()] == ["kept"] and (there / "kept").read_text() == "mine"
    assert [p for p in out.rglob("*") if p.is_symlink()] == []


@pytest.mark.parametrize("name", [".lock", "selections.jsonl", "config.yaml.part", "provenance.json.part"])
def test_a_run_writes_through_no_link(
    tmp_path: Path, run_ttft: Any, index_folder: Path, prompts_file: Path, lm_folder: Path, capsys: Any, name: str
) -> None:
    private, out = tmp_path / "private", tmp_path / "run"
    private.write_text("mine")
    out.mkdir()
    (out / name).symlink_to(private)
    code = run_ttft(*evaluation(index_folder, prompts_file, out, lm_folder))
    assert private.read_text() == "mine"
    if name.endswith(".part"):
        assert code == 0 and not (out / name).is_symlink()
    else:
        assert code == 2 and f"{name} is a symbolic link" in capsys.readouterr().err


@pytest.mark.parametrize("name", [MANIFEST, "shard-00001"])
def test_a_link_in_a_folder_that_is_added_to_is_refused(
    tmp_path: Path, run_ttft: Any, index_folder: Path, encoder_folder: Path, capsys: Any, name: str
) -> None:
    out, there = tmp_path / "index", tmp_path / "there"
    shutil.copytree(index_folder, out)
    (out / name).rename(there)
    (out / name).symlink_to(there)
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({"text": "river stone cloud"}) + "\n")
    assert run_ttft(*arguments(more, out, encoder_folder, "--append")) == 2
    assert f"{name} is a symbolic link" in capsys.readouterr().err


def test_a_merge_copies_what_a_link_leads_to(tmp_path: Path, index_folder: Path) -> None:
    part, there = tmp_path / "part", tmp_path / "there"
    shutil.copytree(index_folder, part)
    vectors = part / "shard-00000" / "vectors.npy"
    vectors.rename(there)
    vectors.symlink_to(there)
    merged = merge_indexes([part], tmp_path / "out").folder / "shard-00000" / "vectors.npy"
    assert not merged.is_symlink() and merged.stat().st_ino != there.stat().st_ino
    assert merged.read_bytes() == there.read_bytes()


# ---- what is in the files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
@pytest.mark.parametrize("name", [MANIFEST, "shard-00000/vectors.npy", "shard-00000/documents.arrow", ".checked.json"])
def test_something_else_in_place_of_a_file(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    index, vectors = make_index(tmp_path / "i", [8])
    index.documents([0]), index.search(vectors[:1], 2)  # so that there is a .checked.json
    (index.folder / name).unlink(missing_ok=True)
    make(index.folder / name)
    if name == ".checked.json":
        assert open_vector_index(index.folder).rows == 8
    else:
        with pytest.raises(MissingArtifact, match=name.rsplit("/", 1)[-1]):
            open_vector_index(index.folder)


def stated_anew(folder: Path, name: str, content: bytes) -> Path:
    """A file of an index replaced, and its new size and hash in the manifest."""
    path, manifest = folder / name, read_manifest(folder)
    path.unlink()
    path.write_bytes(content)
    facts = {"bytes": len(content), "sha256": sha256_file(path)}
    for shard in manifest.shards:
        for file in shard.files:
            if f"{shard.name}/{file}" == name:
                shard.files[file] = FileFacts(**facts)
    search = manifest.search
    search.segments = [replace(s, **facts) if s.file == name else s for s in search.segments]
    if search.trained is not None and search.trained.file == name:
        search.trained = replace(search.trained, **facts)
    write_manifest(folder, manifest)
    return folder


def use(folder: Path) -> None:
    index = open_vector_index(folder)
    index.search(np.ones((1, index.dimension), dtype=np.float32), 5)
    index.vectors(range(index.rows)), index.documents(range(index.rows))


def problems(folder: Path) -> list[str]:
    manifest = read_manifest(folder)
    return list(damage(folder, manifest, open_shards(folder, manifest), lambda name: None))


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "HNSW8"])
@pytest.mark.parametrize("what", ["documents.arrow", "vectors.npy", ".faiss"])
def test_a_cut_file_with_the_right_hash_is_refused(tmp_path: Path, factory: str, what: str) -> None:
    """Mapped as it is, it would end the process."""
    folder = make_index(tmp_path / "i", [200], factory=factory)[0].folder
    record_provenance(folder, {"seed": 0})
    assert problems(folder) == []
    (name,) = [name for name in read_manifest(folder).files() if name.endswith(what) and name != "trained.faiss"]
    whole = (folder / name).read_bytes()
    for end in (0, 5, 30, 66, 80, len(whole) // 4, len(whole) // 2, len(whole) - 200, len(whole) - 1):
        stated_anew(folder, name, whole[:end])
        with pytest.raises(MissingArtifact, match=name):
            use(folder)
        assert any(name in problem for problem in problems(folder))
    use(stated_anew(folder, name, whole))


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    good = rng.normal(size=(8, 12)).astype(np.float32)
    return {
        "another type": good.astype(np.float64), "another precision": good.astype(np.float16),
        "another byte order": good.astype(">f4"), "objects": good.astype(object), "other rows": good[:7],
        "another dimension": good[:, :11], "one dimension": good.ravel(), "columns first": np.asfortranarray(good),
        "not finite": np.full_like(good, np.nan), "too long": good * 100,
    }  # fmt: skip


@pytest.mark.parametrize("name", arrays())
def test_vectors_of_another_form_are_refused(tmp_path: Path, name: str) -> None:
    folder = make_index(tmp_path / "i", [8])[0].folder
    sink = io.BytesIO()
    np.save(sink, arrays()[name], allow_pickle=True)
    with pytest.raises(MissingArtifact):
        use(stated_anew(folder, "shard-00000/vectors.npy", sink.getvalue()))


def test_documents_of_another_form_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    index, _ = make_index(tmp_path / "i", [8])
    table = index.shards[0].documents
    wrong = {
        "other columns": table.drop_columns(["digest"]),
        "other rows": table.slice(1),
        "another type": table.set_column(0, "text", table["text"].cast(pa.string())),
        "missing": table.set_column(0, pa.field("text", pa.large_string()), pa.array([None] * 8, pa.large_string())),
        "no text": table.set_column(
            0, "text",
            pa.LargeStringArray.from_buffers(
                8, pa.py_buffer(np.array([0, 10**6, *[1] * 6, 8])), pa.py_buffer(b"a" * 10)
            ),
        ),
    }  # fmt: skip
    for documents in wrong.values():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, documents.schema) as writer:
            writer.write_table(documents)
        with pytest.raises(MissingArtifact, match=r"documents\.arrow"):
            use(stated_anew(index.folder, "shard-00000/documents.arrow", sink.getvalue().to_pybytes()))


def test_compressed_documents_are_not_expanded(tmp_path: Path) -> None:
    import pyarrow as pa

    index, _ = make_index(tmp_path / "i", [8])
    texts = pa.array(["a" * 2**20] * 8, pa.large_string())
    table = index.shards[0].documents
    table = table.set_column(0, table.schema.field("text"), texts)
    for codec in ("zstd", "lz4"):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
            writer.write_table(table)
        stated_anew(index.folder, "shard-00000/documents.arrow", sink.getvalue().to_pybytes())
        before = pa.default_memory_pool().max_memory()
        with pytest.raises(MissingArtifact, match=r"documents\.arrow .*compressed"):
            use(index.folder)
        assert pa.default_memory_pool().max_memory() == before


def test_the_kind_of_a_faiss_file_fits_its_size(tmp_path: Path) -> None:
    """An empty index of these kinds would take gigabytes before it is compared."""
    folder = make_index(tmp_path / "i", [200], factory="IVF4,Flat")[0].folder
    for kind in ("IVF1073741824,Flat", "IMI2x15,Flat", "PQ1x31", "IVF4,PQ2x28", "PCA" + "9" * 400 + ",Flat"):
        manifest = read_manifest(folder)
        manifest.search.kind = manifest.search.factory = kind
        write_manifest(folder, manifest)
        with pytest.raises(MissingArtifact, match=r"segment-00000\.faiss .*too small"):
            use(folder)


def test_a_merge_refuses_damaged_shards(tmp_path: Path, index_folder: Path) -> None:
    for name in ("documents.arrow", "vectors.npy"):
        folder = tmp_path / name
        shutil.copytree(index_folder, folder)
        path = folder / "shard-00000" / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(MissingArtifact, match=f"{name} is damaged"):
            merge_indexes([folder], tmp_path / "out")
        shutil.rmtree(tmp_path / "out")


def test_a_wrong_vector_and_a_missing_encoder_are_named(tmp_path: Path, index_folder: Path) -> None:
    folder = tmp_path / "i"
    shutil.copytree(index_folder, folder)
    vectors = np.load(folder / "shard-00001" / "vectors.npy")
    vectors[3, 2] = np.nan
    sink = io.BytesIO()
    np.save(sink, vectors)
    with pytest.raises(MissingArtifact, match=r"shard-00001/vectors\.npy .* row 3"):
        use(stated_anew(folder, "shard-00001/vectors.npy", sink.getvalue()))
    manifest = read_manifest(folder)
    manifest.embedder = replace(manifest.embedder, tokenizer="./none")
    write_manifest(folder, manifest)
    with pytest.raises(MissingArtifact, match=r"/i: cannot load the embedder .*'\./none'"):
        encoder_of(open_vector_index(folder), asked=None, device="cpu", dtype=None)


def test_a_faiss_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    import faiss

    folder = make_index(tmp_path / "i", [200], factory="IVF4,Flat")[0].folder
    vectors = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    for factory, rows, metric in (
        ("Flat", 200, faiss.METRIC_INNER_PRODUCT), ("IVF4,Flat", 199, faiss.METRIC_INNER_PRODUCT),
        ("IVF4,Flat", 200, faiss.METRIC_L2), ("IVF5,Flat", 200, faiss.METRIC_INNER_PRODUCT),
        ("IVF4,SQ8", 200, faiss.METRIC_INNER_PRODUCT),
    ):  # fmt: skip
        index = faiss.index_factory(12, factory, metric)
        index.train(vectors)
        index.add(vectors[:rows])
        with pytest.raises(MissingArtifact, match=r"segment-00000\.faiss"):
            use(stated_anew(folder, "segment-00000.faiss", bytes(faiss.serialize_index(index))))


def test_lists_in_another_file_are_not_opened(tmp_path: Path) -> None:
    """Faiss would open that file for writing."""
    import faiss

    folder, lists = make_index(tmp_path / "i", [200], factory="IVF4,Flat")[0].folder, tmp_path / "lists"
    vectors = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    index = faiss.index_factory(12, "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    elsewhere = faiss.OnDiskInvertedLists(4, index.code_size, str(lists))
    index.replace_invlists(elsewhere)
    index.add(vectors)
    content = bytes(faiss.serialize_index(index))
    assert lists.exists()
    with pytest.raises(MissingArtifact, match="in another file"):
        use(stated_anew(folder, "segment-00000.faiss", content))


def test_a_trained_index_is_checked_before_it_is_used(tmp_path: Path) -> None:
    index, vectors = make_index(tmp_path / "i", [200], factory="IVF4,Flat")
    trained, manifest = index.folder / "trained.faiss", read_manifest(index.folder)
    whole = trained.read_bytes()
    documents = [Document(f"late {i}", "", "g") for i in range(50)]
    manifest.shards.append(write_shard(index.folder, 1, documents, vectors[:50], precision="float32"))
    for place in range(0, len(whole), len(whole) // 20):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        trained.write_bytes(damaged)
        with pytest.raises(MissingArtifact, match=r"trained\.faiss is damaged"):
            add_segments(
                index.folder, open_shards(index.folder, manifest), manifest.search, lambda: None, seed=0
            )  # fmt: skip
    trained.write_bytes(whole)
    add_segments(index.folder, open_shards(index.folder, manifest), manifest.search, lambda: None, seed=0)
    assert len(manifest.search.segments) == 2


def test_verify_misses_the_provenance(tmp_path: Path, index_folder: Path) -> None:
    shutil.copytree(index_folder, tmp_path / "i")
    assert problems(tmp_path / "i") == []
    (tmp_path / "i" / "provenance.json").unlink()
    assert problems(tmp_path / "i") == ["provenance.json is missing"]


@pytest.mark.parametrize("cache", ["", "[]", '{"a": 1}', '{"shard-00000/vectors.npy": [1, 2, 3, 4]}', "[" * 10_000])
def test_a_strange_cache_of_checks_is_ignored(tmp_path: Path, cache: str) -> None:
    index, _ = make_index(tmp_path / "i", [8])
    (index.folder / ".checked.json").write_text(cache)
    use(index.folder)


def test_a_fifo_in_a_model_folder_does_not_block(tmp_path: Path, encoder_folder: Path, lm_folder: Path) -> None:
    for folder, load in ((encoder_folder, load_embedder), (lm_folder, load_causal_lm)):
        copy = tmp_path / folder.name
        shutil.copytree(folder, copy)
        (copy / "config.json").unlink()
        os.mkfifo(copy / "config.json")
        with pytest.raises(MissingArtifact, match=r"config\.json"):
            load(str(copy))
