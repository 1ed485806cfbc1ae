"""Indexes made in parts, added to and merged: the same index as in one go, or an error that says what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import write_corpus
from test_index import arguments, files_of, kill_when, start

from ttft.vector_index.manifest import read_manifest
from ttft.vector_index.shards import open_vector_index


def parts_of(folder: Path, corpus, encoder, run, total: int = 3, *more) -> list[Path]:
    parts = [folder / f"part-{number}-of-{total}" for number in range(1, total + 1)]
    for number, part in enumerate(parts, 1):
        assert run(*arguments(corpus, part, encoder, "--job", f"{number}/{total}", *more)) == 0
    return parts


@pytest.mark.parametrize("dedup", ["count", "exact"])
def test_parts_merge_to_the_index_made_in_one_go(tmp_path, run_ttft, encoder_folder, dedup):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=30)
    corpus.write_text(corpus.read_text() + corpus.read_text()[: corpus.stat().st_size // 3])  # repeats, and a bad line
    assert run_ttft(*arguments(corpus, tmp_path / "one", encoder_folder, "--dedup", dedup)) == 0
    parts = parts_of(tmp_path, corpus, encoder_folder, run_ttft, 3, "--dedup", dedup)
    assert [p.part for p in map(read_manifest, parts)] == ["1/3", "2/3", "3/3"]
    assert run_ttft("index", "merge", *reversed(parts), "--out", tmp_path / "merged") == 0
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "one")
    assert run_ttft("index", "merge", *parts, "--out", tmp_path / "merged") == 0  # again: nothing to do
    assert run_ttft("index", "verify", tmp_path / "merged") == 0


def test_a_part_is_searched_like_any_index(tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    part = parts_of(tmp_path, corpus_file, encoder_folder, run_ttft, 2)[0]
    capsys.readouterr()
    assert run_ttft("select", part, "--prompt", "river stone cloud", "-n", 3, "--dtype", "float32") == 0
    assert len(json.loads(capsys.readouterr().out)["ids"]) == 3


def test_parts_that_do_not_fit_are_named(tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    one, two, three = parts_of(tmp_path, corpus_file, encoder_folder, run_ttft)
    other = tmp_path / "other"
    assert run_ttft(*arguments(corpus_file, other, encoder_folder, "--precision", "float32")) == 2  # no such flag
    assert run_ttft(*arguments(corpus_file, other, encoder_folder, "--set", "precision=float32")) == 0
    capsys.readouterr()
    for given, said in (
        ((one, three), "missing: 2/3"),
        ((one, two, two), "given twice"),
        ((other, one), "precision is 'float32', asked for 'float16'"),
        ((one, tmp_path / "none"), "not an index"),
    ):
        assert run_ttft("index", "merge", *given, "--out", tmp_path / "m") == 2
        assert said in capsys.readouterr().err and not (tmp_path / "m").exists()
    assert run_ttft(*arguments(corpus_file, two, encoder_folder, "--job", "3/3")) == 2
    assert "part is '2/3', asked for '3/3'" in capsys.readouterr().err


def test_a_killed_merge_goes_on(tmp_path, run_ttft, encoder_folder):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=60)
    parts = parts_of(tmp_path, corpus, encoder_folder, run_ttft, 2)
    merged, command = tmp_path / "merged", ["index", "merge", *parts, "--out", tmp_path / "merged"]
    assert kill_when(start(command, tmp_path / "log"), lambda: len(list(merged.glob("shard-?????"))) >= 5)
    assert run_ttft(*command) == 0
    assert run_ttft(*arguments(corpus, tmp_path / "one", encoder_folder)) == 0
    assert files_of(merged) == files_of(tmp_path / "one")


def test_whole_indexes_merge_in_their_order_and_to_another_kind(tmp_path, run_ttft, encoder_folder, capsys):
    first, second = write_corpus(tmp_path / "a.jsonl", documents=20), write_corpus(tmp_path / "b.jsonl", documents=30)
    for corpus in (first, second):
        assert run_ttft(*arguments(corpus, tmp_path / corpus.stem, encoder_folder)) == 0
    assert run_ttft("index", "merge", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "both") == 0
    one, two, both = (open_vector_index(tmp_path / name) for name in ("a", "b", "both"))
    texts = [d.text for index in (one, two) for d in index.documents(range(index.rows))]
    assert [d.text for d in both.documents(range(both.rows))] == texts
    assert np.array_equal(both.vectors(range(both.rows))[one.rows :], two.vectors(range(two.rows)))
    # b begins with the documents of a, so all of a's pieces come again
    repeats = [source.duplicates for source in both.manifest.sources]
    assert repeats[1] >= one.rows and sum(repeats) == len(texts) - len(set(texts))
    assert run_ttft("index", "merge", tmp_path / "both", "-o", tmp_path / "ivf", "--factory", "IVF4,Flat") == 0
    assert open_vector_index(tmp_path / "ivf", nprobe=4).search(both.vectors([7]), 1)[1][0, 0] in (7, *same(texts, 7))
    assert run_ttft("index", "verify", tmp_path / "ivf") == 0


def same(texts: list[str], row: int) -> list[int]:
    return [i for i, text in enumerate(texts) if text == texts[row]]


def test_append_adds_and_resumes_and_is_safe_to_repeat(tmp_path, run_ttft, encoder_folder, capsys):
    first, second = write_corpus(tmp_path / "a.jsonl", documents=20), write_corpus(tmp_path / "b.jsonl", documents=40)
    index = tmp_path / "i"
    assert run_ttft(*arguments(first, index, encoder_folder)) == 0
    assert run_ttft(*arguments(second, index, encoder_folder)) == 2
    assert "--append" in capsys.readouterr().err
    before = read_manifest(index)
    more = arguments(second, index, encoder_folder, "--append")
    wanted = len(before.shards) + 3
    assert kill_when(start(more, tmp_path / "log"), lambda: len(list(index.glob("shard-?????"))) >= wanted)
    assert open_vector_index(index).rows > before.rows  # a reader may open what is there
    assert run_ttft(*arguments(first, index, encoder_folder)) == 2  # the other source is under way
    assert "b.jsonl was interrupted" in capsys.readouterr().err
    assert run_ttft(*more) == 0
    whole = files_of(index)
    assert run_ttft(*more) == 0 and run_ttft(*arguments(first, index, encoder_folder)) == 0 and files_of(index) == whole
    manifest = read_manifest(index)
    assert manifest.complete and [s.rows for s in manifest.sources] == [
        before.rows, manifest.rows - before.rows
    ]  # fmt: skip
    assert manifest.shards[: len(before.shards)] == before.shards
    assert manifest.sources[1].duplicates >= before.rows
    once = tmp_path / "once"
    for corpus in (first, second):
        assert run_ttft(*arguments(corpus, once, encoder_folder, "--append")) == 0
    assert files_of(once) == whole


def test_a_source_that_is_there_is_not_doubled(tmp_path, run_ttft, encoder_folder, capsys):
    """A corpus that grew: with dedup "exact" what is new is added, otherwise it is refused."""
    corpus = write_corpus(tmp_path / "c.jsonl", documents=10)
    for dedup in ("count", "exact"):
        assert run_ttft(*arguments(corpus, tmp_path / dedup, encoder_folder, "--dedup", dedup)) == 0
    before = open_vector_index(tmp_path / "exact").rows
    write_corpus(corpus, documents=14)
    assert run_ttft(*arguments(corpus, tmp_path / "count", encoder_folder)) == 2
    assert "--append" not in capsys.readouterr().err
    assert run_ttft(*arguments(corpus, tmp_path / "count", encoder_folder, "--append")) == 2
    assert "would double its pieces" in capsys.readouterr().err
    assert run_ttft(*arguments(corpus, tmp_path / "exact", encoder_folder, "--append", "--dedup", "exact")) == 0
    index = open_vector_index(tmp_path / "exact")
    texts = [d.text for d in index.documents(range(index.rows))]
    assert index.rows > before and len(set(texts)) == len(texts)


def test_dedup_leaves_out_what_came_before(tmp_path, run_ttft, encoder_folder, capsys):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=10)
    corpus.write_text(corpus.read_text() * 3)
    for dedup in ("off", "count", "exact"):
        assert run_ttft(*arguments(corpus, tmp_path / dedup, encoder_folder, "--dedup", dedup)) == 0
    off, counted, exact = (open_vector_index(tmp_path / name) for name in ("off", "count", "exact"))
    texts = [d.text for d in off.documents(range(off.rows))]
    assert [d.text for d in counted.documents(range(counted.rows))] == texts
    assert [d.text for d in exact.documents(range(exact.rows))] == list(dict.fromkeys(texts))
    repeats = len(texts) - len(set(texts))
    assert [i.manifest.sources[0].duplicates for i in (off, counted, exact)] == [0, repeats, repeats]
    assert f"{repeats:,} of {len(texts):,} pieces repeat an earlier one exactly (left out)" in capsys.readouterr().err
    assert not list(tmp_path.rglob(".seen*"))


def test_verify_finds_a_flipped_byte_in_any_file(tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    index = tmp_path / "i"
    assert run_ttft(*arguments(corpus_file, index, encoder_folder, "--factory", "IVF4,Flat", "--shard-rows", 200)) == 0
    assert run_ttft("index", "verify", index) == 0
    assert "is intact" in capsys.readouterr().out
    files = [p for p in sorted(index.rglob("*")) if p.is_file() and p.name not in (".lock", ".checked.json")]
    assert {p.name for p in files} >= {"manifest.json", "provenance.json", "trained.faiss", "segment-00000.faiss"}
    rng = np.random.default_rng(0)
    for path in files:
        content = path.read_bytes()
        for place in rng.integers(0, len(content), 3) if content else []:
            damaged = bytearray(content)
            damaged[place] ^= 1 << int(rng.integers(0, 7))
            path.write_bytes(damaged)
            assert run_ttft("index", "verify", index) == 2
            said = capsys.readouterr()
            assert str(path.relative_to(index)) in said.out + said.err
            path.write_bytes(content)
    assert run_ttft("index", "verify", index) == 0


def test_verify_says_what_whole_files_should_not_hold(tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    from ttft.files import write_whole
    from ttft.run_dir import sha256_file
    from ttft.vector_index.manifest import FileFacts, write_manifest
    from ttft.vector_index.shards import npy_bytes

    index = tmp_path / "i"
    assert run_ttft(*arguments(corpus_file, index, encoder_folder)) == 0
    manifest, path = read_manifest(index), index / "shard-00002" / "vectors.npy"
    for value, said in ((np.nan, "row 1 is not finite"), (0.9, "row 1 has length")):
        vectors = np.load(path).copy()
        vectors[1] = value
        write_whole(path, npy_bytes(vectors))
        manifest.shards[2].files["vectors.npy"] = FileFacts(path.stat().st_size, sha256_file(path))
        write_manifest(index, manifest)
        capsys.readouterr()
        assert run_ttft("index", "verify", index) == 2
        out = capsys.readouterr().out
        assert f"shard-00002/vectors.npy: {said}" in out
    write_manifest(index, replace(manifest, rows=manifest.rows + 1))
    assert run_ttft("index", "verify", index) == 2
    assert f"rows is {manifest.rows + 1}, but the shards have {manifest.rows}" in capsys.readouterr().err


def test_select_finds_a_flipped_byte_in_what_it_reads(tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    index = tmp_path / "i"
    assert run_ttft(*arguments(corpus_file, index, encoder_folder, "--shard-rows", 1000)) == 0
    select = ["select", index, "--prompt", "river stone cloud", "-n", 5, "--dtype", "float32"]
    assert run_ttft(*select) == 0
    for path in (*(index / "shard-00000").iterdir(), index / "manifest.json"):
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 1
        path.write_bytes(damaged)
        capsys.readouterr()
        assert run_ttft(*select) == 2
        said = capsys.readouterr().err
        assert path.name in said and "Traceback" not in said
        path.write_bytes(content)
    assert run_ttft(*select) == 0


def test_info_says_what_is_there_and_how_good_the_search_is(tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    index = tmp_path / "i"
    assert run_ttft(*arguments(corpus_file, index, encoder_folder, "--factory", "IVF8,Flat")) == 0
    capsys.readouterr()
    shares = []
    for nprobe in (1, 8):
        assert run_ttft("index", "info", index, "--recall", 20, "--nprobe", nprobe) == 0
        facts = json.loads(capsys.readouterr().out)
        shares.append(facts["search"]["recall"])
    assert shares[0] < shares[1] == 1.0 and facts["search"]["k"] == 20
    assert facts["kind"] == "IVF8,Flat" and facts["pieces"] == open_vector_index(index).rows and facts["complete"]
    assert facts["sources"][0]["source"] == str(corpus_file) and facts["bytes"]["vectors.npy"] > 0


def test_a_full_disk_while_it_is_made_searchable(tmp_path, run_ttft, corpus_file, encoder_folder, capsys, monkeypatch):
    """The shards stay, and the same command goes on with what searches them."""
    from ttft.vector_index import faiss as faiss_index

    def full(index, path):
        raise OSError(28, os.strerror(28))

    index = tmp_path / "i"
    with monkeypatch.context() as patch:
        patch.setattr(faiss_index, "write", full)
        assert run_ttft(*arguments(corpus_file, index, encoder_folder)) == 2
    assert "no space left" in capsys.readouterr().err and not list(index.rglob("*.part"))
    assert not read_manifest(index).complete and open_vector_index(index).rows > 0
    assert run_ttft(*arguments(corpus_file, index, encoder_folder)) == 0
    assert run_ttft(*arguments(corpus_file, tmp_path / "one", encoder_folder)) == 0
    assert files_of(index) == files_of(tmp_path / "one")


def test_a_kind_that_cannot_be_built_is_said_early_or_may_be_changed(
    tmp_path, run_ttft, corpus_file, encoder_folder, capsys
):
    index = tmp_path / "i"
    assert run_ttft(*arguments(corpus_file, index, encoder_folder, "--factory", "IVF4,Flut")) == 2
    said = capsys.readouterr().err
    assert "could not parse" in said and ".cpp" not in said and not list(index.glob("shard-*"))
    assert run_ttft(*arguments(corpus_file, index, encoder_folder, "--factory", "IVF9999,Flat")) == 2
    assert "cannot be trained on" in capsys.readouterr().err and open_vector_index(index).rows > 0
    before = files_of(index)
    assert run_ttft(*arguments(corpus_file, index, encoder_folder, "--factory", "IVF4,Flat")) == 0
    assert before.keys() < files_of(index).keys() and read_manifest(index).search.kind == "IVF4,Flat"
    assert run_ttft(*arguments(corpus_file, index, encoder_folder, "--factory", "Flat")) == 2
    assert "factory is 'IVF4,Flat', asked for 'Flat'" in capsys.readouterr().err


@pytest.mark.slow
def test_thirty_kills_at_random_moments_leave_nothing_wrong(tmp_path, run_ttft, encoder_folder):
    """A build of 20 shards, killed at any moment, goes on to the very index of an undisturbed build."""
    corpus = write_corpus(tmp_path / "c.jsonl", documents=320)
    more = ["--piece-chars", 120, "--shard-rows", 64]
    assert run_ttft(*arguments(corpus, tmp_path / "one", encoder_folder, *more)) == 0
    assert len(read_manifest(tmp_path / "one").shards) >= 20
    rng, kills, killed = np.random.default_rng(0), 0, tmp_path / "killed"
    for _ in range(200):
        process = start(arguments(corpus, killed, encoder_folder, *more), tmp_path / "log")
        try:
            process.wait(timeout=float(rng.uniform(2.0, 5.5)))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        if kills >= 30 and (killed / "manifest.json").exists():
            break
        if process.returncode == 0:  # done before thirty kills: begin again
            assert files_of(killed) == files_of(tmp_path / "one")
            subprocess.run(["rm", "-r", killed], check=True)
    assert kills >= 30
    assert run_ttft(*arguments(corpus, killed, encoder_folder, *more)) == 0
    assert files_of(killed) == files_of(tmp_path / "one")
