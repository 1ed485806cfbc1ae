"""ttft index: what it writes, that it refuses what is not its own, and that a kill leaves nothing wrong behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from small import write_corpus

from ttft.vector_index.manifest import read_manifest, write_manifest
from ttft.vector_index.shards import open_vector_index


def arguments(corpus, folder, encoder, *more):
    return [
        "index", corpus, "--out", folder, "--embedder", encoder, "--piece-chars", 60, "--shard-rows", 16,
        "--dtype", "float32", *more,
    ]  # fmt: skip


def files_of(folder) -> dict[str, bytes]:
    """Every file that says what is in the index, by name, with its bytes."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in (".lock", ".checked.json", "provenance.json")
    }


def test_the_pieces_are_the_corpus(tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    assert run_ttft(*arguments(corpus_file, tmp_path / "i", encoder_folder)) == 0
    index = open_vector_index(tmp_path / "i")
    documents = index.documents(range(index.rows))
    texts = [json.loads(line)["text"] for line in corpus_file.read_text().splitlines()]
    assert "".join(d.text for d in documents) == "".join(texts)
    assert documents[0].source == "corpus.jsonl:1" and documents[0].subset == "Github"
    manifest = read_manifest(tmp_path / "i")
    assert manifest.complete and manifest.rows == index.rows and len(manifest.shards) > 5
    assert manifest.embedder.dimension == 24 and manifest.to_json()["metric"] == "inner_product"
    assert f"{index.rows:,} pieces" in capsys.readouterr().out


def test_again_does_nothing_and_another_configuration_is_refused(
    tmp_path, run_ttft, corpus_file, encoder_folder, capsys
):
    assert run_ttft(*arguments(corpus_file, tmp_path / "i", encoder_folder)) == 0
    before = files_of(tmp_path / "i")
    assert run_ttft(*arguments(corpus_file, tmp_path / "i", encoder_folder)) == 0
    assert "nothing to do" in capsys.readouterr().out and files_of(tmp_path / "i") == before
    assert run_ttft(*arguments(corpus_file, tmp_path / "i", encoder_folder, "--piece-chars", 61)) == 2
    assert "piece_chars is 60, asked for 61" in capsys.readouterr().err
    assert files_of(tmp_path / "i") == before


def test_faults_are_counted_and_reported_with_their_line(tmp_path, run_ttft, encoder_folder, capsys):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=3)
    with open(corpus, "ab") as out:
        out.write(b'{"text": \n{"no": 1}\n{"text": "  "}\n{"text": "\xff"}\n{"text": "the last one is fine"}\n')
    assert run_ttft(*arguments(corpus, tmp_path / "i", encoder_folder)) == 0
    said = capsys.readouterr().err
    for fault, line in (("malformed JSON", 4), ("missing field", 5), ("empty text", 6), ("invalid UTF-8", 7)):
        assert f"1 x {fault}: c.jsonl:{line}" in said
    index = open_vector_index(tmp_path / "i")
    assert index.documents([index.rows - 1])[0].text == "the last one is fine"
    recorded = [json.loads(line) for line in (tmp_path / "i" / "problems-00.jsonl").read_text().splitlines()]
    assert [r["place"] for r in recorded] == ["c.jsonl:4", "c.jsonl:5", "c.jsonl:6", "c.jsonl:7"]
    assert run_ttft(*arguments(corpus, tmp_path / "strict", encoder_folder, "--strict")) == 2
    assert "malformed JSON: c.jsonl:4" in capsys.readouterr().err


def test_nothing_is_written_for_a_source_that_cannot_be_read(tmp_path, run_ttft, encoder_folder, capsys):
    assert run_ttft(*arguments(tmp_path / "no.jsonl", tmp_path / "i", encoder_folder)) == 2
    assert "no.jsonl" in capsys.readouterr().err and not (tmp_path / "i").exists()
    assert (
        run_ttft("index", write_corpus(tmp_path / "c.jsonl", 2), "--out", tmp_path / "i", "--embedder", "no/such") == 2
    )
    assert "no/such" in capsys.readouterr().err and not (tmp_path / "i" / "manifest.json").exists()


def start(command, log) -> subprocess.Popen:
    with open(log, "w") as out:
        return subprocess.Popen([sys.executable, "-m", "ttft", *map(str, command)], stdout=out, stderr=out)


def kill_when(process: subprocess.Popen, happened) -> bool:
    """kill -9 the process as soon as happened() is true; False if it ended before."""
    while process.poll() is None:
        if happened():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    return False


def test_killed_builds_end_as_the_undisturbed_one(tmp_path, run_ttft, encoder_folder):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=60)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert run_ttft(*arguments(corpus, undisturbed, encoder_folder)) == 0
    shards = len(read_manifest(undisturbed).shards)
    kills = 0
    for wanted in (1, shards // 2, shards - 2):
        # once inside a shard (its .part folder exists), else just after one
        def happened(wanted=wanted):
            parts = list(killed.glob(".shard-*.part")) if killed.exists() else []
            return len(list(killed.glob("shard-?????"))) >= wanted and (bool(parts) or wanted == 1)

        kills += kill_when(start(arguments(corpus, killed, encoder_folder), tmp_path / "log"), happened)
    assert kills >= 1
    assert run_ttft(*arguments(corpus, killed, encoder_folder)) == 0
    assert files_of(killed) == files_of(undisturbed)


def test_a_reader_may_open_what_is_complete(tmp_path, run_ttft, corpus_file, encoder_folder):
    assert run_ttft(*arguments(corpus_file, tmp_path / "i", encoder_folder)) == 0
    manifest = read_manifest(tmp_path / "i")
    whole = open_vector_index(tmp_path / "i")
    search = replace(manifest.search, segments=manifest.search.segments[:1])
    write_manifest(
        tmp_path / "i", replace(manifest, complete=False, shards=manifest.shards[:2], rows=32, search=search)
    )
    begun = open_vector_index(tmp_path / "i")
    assert begun.rows == 32
    query = whole.vectors([20])
    near = [i for i in whole.search(query, whole.rows)[1][0] if i < 32]
    assert begun.search(query, 32)[1][0].tolist() == near


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small file system needs root")
def test_a_full_disk_is_one_message_and_can_be_resumed(tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", disk], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        assert run_ttft(*arguments(corpus_file, disk / "i", encoder_folder)) == 2
        said = capsys.readouterr().err
        assert "no space left" in said and "run the same command again" in said and "Traceback" not in said
        assert not list((disk / "i").glob("*.part"))
        done = open_vector_index(disk / "i").rows
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        assert run_ttft(*arguments(corpus_file, disk / "i", encoder_folder)) == 0
        assert run_ttft(*arguments(corpus_file, tmp_path / "i", encoder_folder)) == 0
        assert 0 < done < open_vector_index(disk / "i").rows
        assert files_of(disk / "i") == files_of(tmp_path / "i")
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_the_usage_has_no_gap_where_the_build_has_no_name(run_ttft, capsys):
    assert run_ttft("index", "--help") == 0
    assert "ttft index [OPTIONS] [SOURCE]" in capsys.readouterr().out
    assert run_ttft("index", "--nothing") == 2
    assert "ttft index [OPTIONS] [SOURCE]" in capsys.readouterr().err
