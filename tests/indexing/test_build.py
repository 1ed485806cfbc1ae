"""build_index: the index of the command, from a path or from memory; resumed after a kill; silent; errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import datasets
import numpy as np
import pytest
from small import spoilt, write_corpus
from test_index import arguments, files_of

import ttft
from ttft import build_index
from ttft.corpus.problems import Problems
from ttft.embedding import load_embedder
from ttft.errors import ConfigError, CorpusError, TtftError
from ttft.indexing.merge import merge_indexes
from ttft.run_dir import PROVENANCE
from ttft.vector_index.manifest import read_manifest
from ttft.vector_index.shards import open_vector_index

SMALL = {"piece_chars": 60, "shard_rows": 16, "dtype": "float32"}


@pytest.fixture
def options(encoder_folder):
    return SMALL | {"embedder": str(encoder_folder)}


@pytest.fixture(scope="session")
def records(corpus_file):
    return [json.loads(line) for line in corpus_file.read_text().splitlines()]


def content(index) -> tuple:
    """Pieces without their places, and vectors."""
    documents = [(d.text, d.subset, d.piece) for d in index.documents(range(index.rows))]
    return documents, index.vectors(range(index.rows)).tolist()


def test_the_command_writes_the_same_bytes(tmp_path, run_ttft, corpus_file, options, encoder_folder, capsys):
    more = ("--dedup", "exact", "--factory", "IVF4,Flat")
    assert run_ttft(*arguments(corpus_file, tmp_path / "command", encoder_folder, *more)) == 0
    capsys.readouterr()
    index = build_index(corpus_file, tmp_path / "api", **options, dedup="exact", factory="IVF4,Flat")
    assert files_of(tmp_path / "api") == files_of(tmp_path / "command")
    assert index.manifest == read_manifest(tmp_path / "command") and index.rows == index.manifest.rows
    assert capsys.readouterr() == ("", "")
    loaded = load_embedder(str(encoder_folder))
    build_index(str(corpus_file), str(tmp_path / "loaded"), embedder=loaded, piece_chars=60, shard_rows=16,
                dedup="exact", factory="IVF4,Flat")  # fmt: skip
    assert files_of(tmp_path / "loaded") == files_of(tmp_path / "command")


def test_every_kind_of_source_gives_the_same_pieces_and_vectors(tmp_path, corpus_file, records, options):
    from_file = content(build_index(corpus_file, tmp_path / "file", **options, max_documents=12))
    records = records[:12]
    sources = {
        "records": records, "generator": (record for record in records), "tuple": tuple(records),
        "dataset": datasets.Dataset.from_list(records),
        "stream": datasets.Dataset.from_list(records).to_iterable_dataset(),
    }  # fmt: skip
    for name, source in sources.items():
        index = build_index(source, tmp_path / name, **options)
        assert content(index) == from_file, name
        called = "dataset" if name in ("dataset", "stream") else "records"
        assert index.manifest.sources[0].corpus.source.split()[0] == called
        assert index.documents([0])[0].source == f"{called}:0"
    assert files_of(tmp_path / "records") == files_of(tmp_path / "generator") == files_of(tmp_path / "tuple")
    texts = [record["text"] for record in records]
    index = build_index(texts, tmp_path / "texts", **options, text_field="any.thing")
    assert [text for text, _, _ in content(index)[0]] == [text for text, _, _ in from_file[0]]
    assert index.manifest.sources[0].corpus.source == "texts" and index.documents([0])[0].source == "texts:0"
    chosen = build_index(records, tmp_path / "chosen", **options, subsets=["Github"], max_documents=2)
    assert {d.source for d in chosen.documents(range(chosen.rows))} == {"records:0", "records:3"}


def test_again_returns_at_once_and_other_content_is_another_index(tmp_path, records, options):
    first = build_index(records, tmp_path / "i", **options)
    before, notes = files_of(tmp_path / "i"), []
    again = build_index(iter(records), tmp_path / "i", **options, on_note=notes.append)
    assert again.manifest == first.manifest and files_of(tmp_path / "i") == before and notes == []
    changed = [*records[:-1], records[-1] | {"text": records[-1]["text"] + "!"}]
    with pytest.raises(ConfigError, match="holds another index: the content of records has changed"):
        build_index(changed, tmp_path / "i", **options)
    with pytest.raises(ConfigError, match="piece_chars is 60, asked for 61"):
        build_index(records, tmp_path / "i", **options | {"piece_chars": 61})
    grown = build_index(changed[-1:], tmp_path / "i", **options, append=True)
    assert grown.rows > first.rows and [s.corpus.source for s in grown.manifest.sources] == ["records", "records"]
    assert build_index(changed[-1:], tmp_path / "i", **options, append=True).manifest == grown.manifest


def test_a_build_that_is_killed_resumes_in_another_process(tmp_path, options, encoder_folder):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=40)
    script = tmp_path / "build.py"
    script.write_text(
        "import json, sys, ttft\n"
        f"records = [json.loads(line) for line in open({str(corpus)!r})]\n"
        f"ttft.build_index(records, sys.argv[1], embedder={str(encoder_folder)!r}, piece_chars=60, shard_rows=16,\n"
        "                 dtype='float32', on_note=print)\n"
    )
    process = subprocess.Popen([sys.executable, script, tmp_path / "killed"], stdout=subprocess.DEVNULL)
    while len(list((tmp_path / "killed").glob("shard-?????"))) < 4:
        assert process.poll() is None, "ended before it could be disturbed"
        time.sleep(0.002)
    process.kill()
    process.wait()
    done = open_vector_index(tmp_path / "killed").rows
    notes, seen = [], []
    records = [json.loads(line) for line in corpus.read_text().splitlines()]
    index = build_index(records, tmp_path / "killed", **options, on_note=notes.append, on_progress=seen.append)
    build_index(records, tmp_path / "one", **options)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "one") and 0 < done < index.rows
    assert notes[0] == f"resuming after {done:,} pieces of records" and seen[0].done > done
    starts = json.loads((tmp_path / "killed" / PROVENANCE).read_text())["starts"]
    assert starts[0]["command"] == [str(script), str(tmp_path / "killed")]
    assert [start.get("records_written") for start in starts] == [None, index.rows - done]


class Killed(Exception):
    pass


def test_a_corpus_is_known_by_its_content_alone(tmp_path, options):
    """A build that was interrupted goes on after a mere touch, and not with another text of the same size and time."""
    corpus = write_corpus(tmp_path / "c.jsonl", documents=12)

    def kill(progress):
        raise Killed

    with pytest.raises(Killed):
        build_index(corpus, tmp_path / "i", **options, on_progress=kill)
    times = corpus.stat()
    changed = corpus.read_bytes().replace(b"river", b"rover")
    original = corpus.read_bytes()
    corpus.write_bytes(changed)
    os.utime(corpus, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ConfigError, match=r"the content of .*c.jsonl has changed since"):
        build_index(corpus, tmp_path / "i", **options)
    corpus.write_bytes(original)
    os.utime(corpus, ns=(1, 1))
    index = build_index(corpus, tmp_path / "i", **options)
    assert index.manifest.complete
    os.utime(corpus, ns=(2, 2))
    assert build_index(corpus, tmp_path / "i", **options).manifest == index.manifest


def test_a_corpus_that_changes_while_it_is_read_is_not_finished(tmp_path, options):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=12)

    def change(progress):
        corpus.write_bytes(corpus.read_bytes().replace(b"river", b"rover"))

    with pytest.raises(CorpusError, match=r"c.jsonl has changed while the index was built"):
        build_index(corpus, tmp_path / "i", **options, on_progress=change)
    assert not read_manifest(tmp_path / "i").sources[0].complete


def test_a_pipe_is_no_corpus(tmp_path, options):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(CorpusError, match="neither an ordinary file nor a folder"):
        build_index(tmp_path / "pipe.jsonl", tmp_path / "i", **options)


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_an_encoder_that_fails_on_a_text_is_refused_with_the_place_of_the_text(tmp_path, encoder_folder, value):
    corpus = tmp_path / "c.jsonl"
    lines = [json.dumps({"text": f"river stone {word}"}) for word in ("cloud", "copper", "market", "copper")]
    corpus.write_text("\n".join(lines))
    broken = spoilt(load_embedder(str(encoder_folder)), "copper", value)
    with pytest.raises(TtftError, match=r"no usable vector .* 2 texts of 4: c.jsonl:2, c.jsonl:4"):
        build_index(corpus, tmp_path / "i", embedder=broken, piece_chars=60)
    assert not list((tmp_path / "i").glob("shard-*"))


def test_progress_grows_and_notes_say_what_a_person_should_know(tmp_path, corpus_file, records, options, capsys):
    seen, notes, problems = [], [], Problems()
    odd = [*records, records[0], 7, {"no": "text"}, {"text": " "}]
    index = build_index(
        odd, tmp_path / "i", **options, on_progress=seen.append, on_note=notes.append, problems=problems
    )
    assert list(dict.fromkeys(p.stage for p in seen)) == ["embedding", "building the search index"]
    for stage in ("embedding", "building the search index"):
        done = [p.done for p in seen if p.stage == stage]
        assert done == sorted(done) and done[-1] == index.rows
    assert all(p.unit == "pieces" for p in seen) and seen[-1].total == index.rows and seen[0].total is None
    assert problems.counts == {"neither text nor record": 1, "missing field": 1, "empty text": 1}
    assert notes[0] == "1 x neither text nor record: records:41" and any("repeat an earlier" in n for n in notes)
    assert index.manifest.sources[0].problems == problems.counts
    assert capsys.readouterr() == ("", "")


def test_nothing_is_printed_in_a_process_that_never_was_told_to_be_quiet(tmp_path, encoder_folder):
    code = (
        "import ttft, transformers\n"
        "before = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()\n"
        f"ttft.build_index(['river stone'], {str(tmp_path / 'i')!r}, embedder={str(encoder_folder)!r})\n"
        "assert before == (transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_parts_merge_to_the_index_made_in_one_go(tmp_path, records, options):
    one = build_index(records, tmp_path / "one", **options)
    parts = [build_index(records, tmp_path / f"p{i}", **options, job=f"0{i}/3") for i in (1, 2, 3)]
    assert sum(part.rows for part in parts) == one.rows and [p.manifest.part for p in parts] == ["1/3", "2/3", "3/3"]
    seen = []
    merged = merge_indexes([part.folder for part in parts], tmp_path / "m", on_progress=seen.append)
    assert files_of(tmp_path / "m") == files_of(tmp_path / "one")
    assert [p.done for p in seen if p.stage == "copying shards"] == list(range(1, len(one.shards) + 1))
    assert merge_indexes([str(part.folder) for part in parts], str(tmp_path / "m")).manifest == merged.manifest
    empty = build_index(["one piece"], tmp_path / "e", **options, job="2/2")
    assert empty.rows == 0 and empty.search(np.ones((1, 24)), 3)[1].shape == (1, 0)


def test_wrong_sources_are_named(tmp_path, options):
    for source, words in (
        ([], "list of texts is empty"), (iter(()), "empty"), (["", " "], "the text is empty: the texts"),
        (["a", 3], None), (b"bytes", "bytes is not a source"), (7, "int is not a source"),
        ({"text": "a"}, "dict is not a source"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_list([{"text": "a"}])}), "DatasetDict is not a source"),
        ([{"body": "a"}], "no text in the records"), (datasets.Dataset.from_list([]), "no text in the dataset"),
        (tmp_path / "none.jsonl", "no such file"),
    ):  # fmt: skip
        if words is None:
            with pytest.raises(CorpusError, match="neither text nor record: texts:1"):
                build_index(source, tmp_path / "i", **options, strict=True)
        else:
            with pytest.raises(CorpusError, match=words):
                build_index(source, tmp_path / "i", **options)
        assert not (tmp_path / "i").exists() or not list((tmp_path / "i").glob("shard-*"))
    with pytest.raises(CorpusError) as caught:
        build_index([{"body": "a"}], tmp_path / "i", **options)
    assert "'body'" in caught.value.hint


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"piece_chars": 3}, "piece_chars is 3"),
        ({"shard_rows": 0}, "shard_rows is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_documents": 0}, "max_documents is 0"),
        ({"precision": "int8"}, "precision is 'int8'"),
        ({"dedup": "yes"}, "dedup is 'yes'"),
        ({"pooling": "max"}, "pooling is 'max'"),
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"store": "redis"}, "store is 'redis'"),
        ({"job": "3"}, "expected i/n"),
        ({"job": "1/2", "store": "milvus"}, "not searchable yet"),
        ({"uri": "m.db"}, "address of a Milvus"),
        ({"uri": "http://root:secret@host", "store": "milvus"}, "password"),
        ({"uri": "milvus", "store": "milvus"}, "uri is 'milvus'"),
        ({"factory": "IVF4,Flut"}, "could not parse"),
    ],
)
def test_wrong_options_are_named_before_anything_is_embedded(tmp_path, options, wrong, words):
    with pytest.raises(ConfigError, match=words):
        build_index(["a text"], tmp_path / "i", **options | wrong)
    assert not list(tmp_path.glob("i/shard-*"))


def test_it_is_in_the_public_api():
    assert ttft.build_index is build_index and "build_index" in ttft.__all__
