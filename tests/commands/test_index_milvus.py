"""ttft index --store milvus: the other commands need no more options, and a kill or a wrong address harms nothing."""

from __future__ import annotations

import fcntl
import json
import shutil

import pytest
from small import write_corpus
from test_finetune_eval import arguments as finetune
from test_finetune_eval import content
from test_index import arguments, kill_when, start

from ttft.vector_index.manifest import read_manifest
from ttft.vector_index.shards import open_vector_index

pytest.importorskip("pymilvus", reason="needs pip install 'ttft[milvus]'")
pytest.importorskip("milvus_lite", reason="needs pip install 'ttft[milvus]'")

MILVUS = ("--store", "milvus")


@pytest.fixture
def written(monkeypatch) -> list[int]:
    """Grows by the row numbers that are put into Milvus."""
    from pymilvus import MilvusClient

    rows: list[int] = []
    upsert = MilvusClient.upsert

    def counted(self, name, data, **more):
        rows.extend(row["id"] for row in data)
        return upsert(self, name, data, **more)

    monkeypatch.setattr(MilvusClient, "upsert", counted)
    return rows


def selections(run_ttft, capsys, index, prompts) -> list[dict]:
    capsys.readouterr()
    assert run_ttft("select", index, "--prompts", prompts, "-n", 8, "-k", 40, "--no-texts") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_the_other_commands_use_it_and_find_the_same(
    tmp_path, run_ttft, corpus_file, encoder_folder, prompts_file, lm_folder, capsys
):
    faiss, ours = tmp_path / "faiss", tmp_path / "milvus"
    assert run_ttft(*arguments(corpus_file, faiss, encoder_folder)) == 0
    assert run_ttft(*arguments(corpus_file, ours, encoder_folder, *MILVUS)) == 0
    rows = read_manifest(faiss).rows
    assert f"searched by Milvus: {rows:,} rows in ttft at milvus.db" in capsys.readouterr().err
    search = read_manifest(ours).search.to_json()
    assert search == {
        "store": "milvus", "factory": "auto", "kind": "Flat", "trained": None, "segments": [], "uri": "milvus.db",
        "collection": "ttft", "rows": rows,
    }  # fmt: skip
    assert selections(run_ttft, capsys, ours, prompts_file) == selections(run_ttft, capsys, faiss, prompts_file)
    for index, out in ((faiss, "a"), (ours, "b")):
        assert run_ttft(*finetune(index, prompts_file, tmp_path / out, lm_folder, "--set", "max_prompts=2")) == 0
    assert [r["ids"] for r in content(tmp_path / "a")] == [r["ids"] for r in content(tmp_path / "b")]
    capsys.readouterr()
    assert run_ttft("index", "info", ours, "--recall", 20) == 0
    assert json.loads(capsys.readouterr().out)["search"]["recall"] == 1.0
    assert run_ttft("index", "verify", ours) == 0
    assert run_ttft(*arguments(corpus_file, ours, encoder_folder, *MILVUS)) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run_ttft(*arguments(corpus_file, ours, encoder_folder)) == 2
    assert "store is 'milvus', asked for 'faiss'" in capsys.readouterr().err
    open_vector_index(ours).searcher.collection.ask("delete", ids=[3])
    assert run_ttft("index", "verify", ours) == 2
    assert f"has {rows - 1:,} rows, the manifest says {rows:,}" in capsys.readouterr().out


def test_append_puts_in_only_what_is_new(tmp_path, run_ttft, encoder_folder, written):
    one, two = write_corpus(tmp_path / "a.jsonl", 10), write_corpus(tmp_path / "b.jsonl", 14)
    assert run_ttft(*arguments(one, tmp_path / "i", encoder_folder, *MILVUS)) == 0
    before = read_manifest(tmp_path / "i").rows
    assert written == list(range(before))
    assert run_ttft(*arguments(two, tmp_path / "i", encoder_folder, *MILVUS, "--append")) == 0
    index = open_vector_index(tmp_path / "i")
    assert written == list(range(index.rows)) and index.rows > before
    assert index.search(index.vectors([index.rows - 1]), 1)[0][0, 0] == pytest.approx(1, abs=1e-3)
    assert set(index.search(index.vectors([index.rows - 1]), index.rows)[1][0]) == set(range(index.rows))


def test_killed_while_inserting_it_goes_on(tmp_path, run_ttft, encoder_folder, capsys):
    corpus, folder = write_corpus(tmp_path / "c.jsonl", documents=30), tmp_path / "i"
    command = arguments(corpus, folder, encoder_folder, *MILVUS)

    def inserting() -> bool:
        there = (folder / "manifest.json").exists()
        return there and json.loads((folder / "manifest.json").read_bytes())["search"]["rows"] > 0

    assert kill_when(start(command, tmp_path / "log"), inserting), (tmp_path / "log").read_text()
    begun = read_manifest(folder)
    assert 0 < begun.search.rows < begun.rows and not begun.complete
    assert run_ttft(*command) == 0
    assert read_manifest(folder).complete and read_manifest(folder).search.rows == begun.rows
    assert run_ttft("index", "info", folder, "--recall", 50) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["search"]["recall"] == 1.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--store", "milvus", "--uri", "http://127.0.0.1:1"], "Milvus at http://127.0.0.1:1"),
        (["--store", "milvus", "--uri", "milvus"], "give a file NAME.db, or an address"),
        (["--store", "milvus", "--uri", "http://root:secret@host:19530"], "MILVUS_TOKEN"),
        (["--uri", "http://127.0.0.1:1"], "add --store milvus"),
        (["--store", "milvus", "--job", "1/2"], "give --store milvus to ttft index merge"),
        (["--store", "milvus", "--factory", "IVF64,PQ8"], "supported: Flat, IVF1024,Flat"),
        (["--store", "milvus", "--set", "collection=a-b"], "collection"),
        (["--store", "redis"], "redis"),
    ],
)
def test_a_wrong_option_is_said_before_anything_is_embedded(
    tmp_path, run_ttft, corpus_file, encoder_folder, capsys, options, said
):
    assert run_ttft(*arguments(corpus_file, tmp_path / "i", encoder_folder, *options)) == 2
    message = capsys.readouterr().err
    assert said in message and "Traceback" not in message
    assert not (tmp_path / "i" / "manifest.json").exists()


def test_the_collection_of_another_index_is_refused(tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    there = (*MILVUS, "--uri", tmp_path / "shared.db")
    other = write_corpus(tmp_path / "c.jsonl", documents=5)
    assert run_ttft(*arguments(other, tmp_path / "a", encoder_folder, *there)) == 0
    assert read_manifest(tmp_path / "a").search.uri == str(tmp_path / "shared.db")
    assert run_ttft(*arguments(corpus_file, tmp_path / "b", encoder_folder, *there)) == 2
    assert "there already is a collection ttft" in capsys.readouterr().err
    assert not (tmp_path / "b" / "manifest.json").exists()
    assert run_ttft(*arguments(corpus_file, tmp_path / "b", encoder_folder, *there, "--set", "collection=b")) == 0


def test_merge_moves_an_index_into_milvus_and_a_lost_file_is_said(
    tmp_path, run_ttft, index_folder, prompts_file, capsys
):
    assert run_ttft("index", "merge", index_folder, *MILVUS, "--out", tmp_path / "i") == 0
    moved = selections(run_ttft, capsys, tmp_path / "i", prompts_file)
    assert moved == selections(run_ttft, capsys, index_folder, prompts_file)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "i", copy)
    with open(copy / "milvus.db" / "LOCK", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_ttft("select", copy, "--prompts", prompts_file) == 2
    said = capsys.readouterr().err
    assert "serves one process at a time" in said and "Traceback" not in said
    shutil.rmtree(copy / "milvus.db")
    assert run_ttft("select", copy, "--prompts", prompts_file) == 2
    said = capsys.readouterr().err
    assert (
        "milvus.db, the Milvus file that holds the vectors to search, is missing" in said and "ttft index merge" in said
    )
    assert run_ttft("index", "merge", copy, "--out", tmp_path / "again") == 0
