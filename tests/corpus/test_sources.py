"""corpus: every format gives the same texts, every fault is counted at its place, no character is lost in cutting."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import random
import tracemalloc
from pathlib import Path
from unittest.mock import Mock

import datasets
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from ttft.corpus.pieces import Text, cut, pieces
from ttft.corpus.problems import Problems
from ttft.corpus.sources import file_digests, fingerprint, read_prompts, read_texts
from ttft.errors import CorpusError

RECORDS = [
    {"text": f"document {i}\r\nwith\u2028 many ✓ lines\n", "meta": {"pile_set_name": "even" if i % 2 == 0 else "odd"}}
    for i in range(6)
]
zst = zstandard.ZstdCompressor(write_checksum=True).compress
unchecked = zstandard.ZstdCompressor(write_checksum=False).compress


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def read(source, problems=None, **options):
    return list(read_texts(str(source), problems=problems or Problems(strict=True), **options))


def write(path: Path, records: list[dict]) -> Path:
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zst":
        half = data.index(b"\n") + 9
        path.write_bytes(zst(data[:half]) + zst(data[half:]))
    else:
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.jsonl.zst", "A.JSONL", "a [1]*.parquet"])
def test_every_format_gives_the_same_texts(tmp_path, name):
    texts = read(write(tmp_path / name, RECORDS))
    first = 0 if name.endswith("parquet") else 1
    assert [t.text for t in texts] == [r["text"] for r in RECORDS]
    assert [t.subset for t in texts] == ["even", "odd"] * 3
    assert [t.source for t in texts] == [f"{name}:{i + first}" for i in range(6)]


def test_a_dataset_is_read_by_its_name(monkeypatch):
    load = Mock(return_value=datasets.Dataset.from_list(RECORDS).to_iterable_dataset())
    monkeypatch.setattr("datasets.load_dataset", load)
    texts = read("someone/pile", name="small", split="test")
    load.assert_called_once_with("someone/pile", "small", split="test", streaming=True)
    assert [(t.text, t.source) for t in texts] == [(r["text"], f"someone/pile:{i}") for i, r in enumerate(RECORDS)]


def test_a_folder_mixes_records_and_whole_files(tmp_path):
    for folder in ("code", ".git", "code/deep"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "code/data.jsonl.gz", RECORDS[:1])
    (tmp_path / "top.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r")
    (tmp_path / "code/deep/x.py").write_text("x = 1\n")
    (tmp_path / "code/package.json").write_text('{\n"a": 1}\n')
    (tmp_path / ".git/config").write_text("hidden")
    (tmp_path / "picture.png").write_bytes(b"P\0")
    (tmp_path / "code/loop").symlink_to(tmp_path)
    (tmp_path / "code/nowhere").symlink_to("nothing")
    problems = Problems()
    assert read(tmp_path, problems) == [
        Text(RECORDS[0]["text"], "even", "code/data.jsonl.gz:1"),
        Text("x = 1\n", "code", "code/deep/x.py"),
        Text('{\n"a": 1}\n', "code", "code/package.json"),
        Text("\ufeffa\r\nb\r", "", "top.txt"),
    ]
    assert problems.places == {"unreadable file": ["code/nowhere"], "binary": ["picture.png"]}
    assert [t.source for t in read(tmp_path, glob="**/*.py")] == ["code/deep/x.py"]
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_text("a")
    assert [t.source for t in read(tmp_path, glob="*.txt")] == ["\\xff.txt", "top.txt"]
    with pytest.raises(CorpusError, match="no file in"):
        read(tmp_path, glob="*.c")


def test_subsets_and_max_documents(tmp_path):
    path = write(tmp_path / "a.jsonl", RECORDS)
    assert [t.source for t in read(path, subsets=["odd"], max_documents=2)] == ["a.jsonl:2", "a.jsonl:4"]
    assert read(path, max_documents=0) == []
    assert len(read(path, subset_field="absent")) == 6
    with pytest.raises(CorpusError, match="no text of subset none") as caught:
        read(path, subsets=["none"])
    assert caught.value.hint == "subsets there: even, odd"
    assert len(read(path, problems := Problems(), subsets=["odd", "ood"])) == 3
    assert problems.places == {"subset not found": ["ood"]}


def test_unknown_sources(tmp_path, monkeypatch):
    path = write(tmp_path / "train.jsonl", RECORDS)
    with pytest.raises(CorpusError, match="no such file or folder") as caught:
        read(tmp_path / "trian.jsonl")
    assert str(path) in caught.value.hint
    for source in ("", "./nothing", "data/", "a/b/c", "text"):
        with pytest.raises(CorpusError, match="no such file or folder"):
            read(source)
    with pytest.raises(CorpusError, match=r"dataset 'nobody/nothing' \(split 'train', configuration 'x'\)") as caught:
        read("nobody/nothing", name="x")
    assert "OFFLINE" in caught.value.hint and ".parquet" in caught.value.hint
    fault = ValueError("Bad split: dev. Available splits: ['train']\nmore")
    monkeypatch.setattr("datasets.load_dataset", Mock(side_effect=fault))
    with pytest.raises(CorpusError, match="Available splits"):
        read("someone/pile", split="dev")


def test_fingerprint_sees_every_change_of_content_and_no_other(tmp_path):
    def of(source, glob="**/*"):
        return fingerprint(str(source), file_digests(str(source), glob))

    path = write(tmp_path / "a.jsonl", RECORDS)
    seen = [of(tmp_path), of("a/b")]
    os.utime(path, ns=(1, 1))
    assert of(tmp_path) == seen[0]
    path.write_bytes(path.read_bytes().replace(b"document 1", b"document 7"))
    os.utime(path, ns=(1, 1))
    seen.append(of(tmp_path))
    write(tmp_path / "b.jsonl", RECORDS)
    seen.append(of(tmp_path))
    seen.append(of(tmp_path / "b.jsonl"))
    (tmp_path / "b.jsonl").rename(tmp_path / "c.jsonl")
    seen.append(of(tmp_path))
    assert len(set(seen)) == 6
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorpusError, match="neither an ordinary file"):
        file_digests(str(tmp_path / "pipe"), "*")


FAULTS = {
    "malformed JSON": [b'{"text": "cut', b"[" * 100_000, b'{"text": ' + b"1" * 5000 + b"}"],
    "not an object": [b'["text"]', b"null"],
    "missing field": [b'{"body": "x"}'],
    "text is not a string": [b'{"text": null}', b'{"text": {"a": 1}}'],
    "empty text": [b'{"text": ""}', b'{"text": " \\n\\u2003"}'],
    "invalid UTF-8": [b'{"text": "\xff"}', b'{"text": "\\ud800"}', b'{"text": "a", "id": "\\udfff"}'],
    "line too long": [b'{"text": "' + b"x" * 200_000 + b'"}'],
}


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_every_fault_is_counted_at_its_line_and_its_neighbours_survive(tmp_path, suffix):
    lines, wanted = [b"\xef\xbb\xbf" + b'{"text": "first", "x": NaN}'], {}
    for kind, bad in FAULTS.items():
        for line in bad:
            lines += [line, b"  \r", b'{"text": "good \xe2\x80\xa8 one"}\r']
            wanted.setdefault(kind, []).append(f"a.jsonl{suffix}:{len(lines) - 2}")
    data = b"\n".join(lines)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes({"": bytes, ".gz": gzip.compress, ".zst": zst}[suffix](data))
    problems = Problems()
    texts = read(path, problems, max_line_bytes=150_000)
    assert [t.text for t in texts] == ["first"] + ["good \u2028 one"] * (len(lines) // 3)
    assert problems.places == wanted
    assert problems.counts == {kind: len(bad) for kind, bad in FAULTS.items()}
    assert problems.summary()[0] == f"3 x malformed JSON: {', '.join(wanted['malformed JSON'])}"
    json.dumps(problems.records).encode()


def test_strict_raises_and_the_lists_are_capped():
    with pytest.raises(CorpusError, match=r"malformed JSON: a:4 \(why\)"):
        Problems(strict=True).add("malformed JSON", "a:4", "why")
    problems = Problems()
    for number in range(10_005):
        problems.add("binary", str(number))
    assert (problems.counts, len(problems.records), len(problems.places["binary"])) == ({"binary": 10_005}, 10_000, 10)
    assert problems.summary()[0].startswith("10005 x binary: 0, 1,") and problems.summary()[0].endswith("9, ...")


def test_a_huge_line_is_skipped_without_being_held(tmp_path):
    path, size = tmp_path / "a.jsonl.gz", 50 * 2**20
    with gzip.open(path, "wb", compresslevel=1) as handle:
        handle.write(b'{"text": "before"}\n{"text": "')
        for _ in range(50):
            handle.write(b"x" * 2**20)
        handle.write(b'"}\n{"text": "after"}\n')
    problems = Problems()
    tracemalloc.start()
    assert [t.text for t in read(path, problems, max_line_bytes=2**20)] == ["before", "after"]
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()
    assert problems.records[0]["detail"] == f"{size + 12} bytes, the limit is {2**20}"
    assert len(read(path, default := Problems())) == 2 and default.places == {"line too long": ["a.jsonl.gz:2"]}
    assert len(read(path, max_line_bytes=2 * size)[1].text) == size


def test_a_line_at_the_limit_is_read(tmp_path):
    path, line = tmp_path / "a.jsonl", b'{"text": "abc"}'
    path.write_bytes(line + b"\n" + line)
    assert len(read(path, max_line_bytes=len(line))) == 2
    problems = Problems()
    with pytest.raises(CorpusError, match="no text in"):
        read(path, problems, max_line_bytes=len(line) - 1)
    assert [r["detail"] for r in problems.records] == [f"{len(line)} bytes, the limit is {len(line) - 1}"] * 2


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet"])
@pytest.mark.parametrize("fault", ["cut", "junk"])
def test_a_damaged_file_is_counted_and_the_next_one_read(tmp_path, suffix, fault):
    records = [{"text": random.Random(i).randbytes(50).hex()} for i in range(10_000)]
    path = write(tmp_path / f"a{suffix}", records)
    if suffix == ".jsonl.zst":
        path.write_bytes(zst("".join(json.dumps(r) + "\n" for r in records).encode()))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4] if fault == "cut" else b"junk" * 99)
    write(tmp_path / "b.jsonl", RECORDS)
    problems = Problems()
    texts = read(tmp_path, problems)
    mine = [t for t in texts if t.source.startswith("a")]
    assert len(texts) - len(mine) == 6 and problems.counts == {"unreadable file": 1}
    if suffix == ".parquet" or fault == "junk":
        assert not mine
    else:
        assert 5000 < len(mine) < 9999 and problems.places["unreadable file"] == [f"a{suffix}:{len(mine) + 1}"]
    with pytest.raises(CorpusError, match="unreadable file"):
        read(tmp_path)


@pytest.mark.parametrize("column", ["text", "other"])
def test_a_damaged_page_of_a_parquet_file_is_noticed(tmp_path, column):
    """A changed byte within a value leaves a file that can be read: the checksum of its page tells."""
    path, marked = tmp_path / "a.parquet", "MARKED" + column
    records = [{"text": f"text {i}", "other": "x"} for i in range(1000)]
    records[900][column] = marked
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True, "row_group_size": 512}
    options["write_statistics"] = False  # they repeat the value
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path, **options)
    assert len(read(path)) == 1000
    data = path.read_bytes()
    path.write_bytes(data.replace(marked.encode(), marked.lower().encode(), 1))
    problems = Problems()
    assert [t.text for t in read(path, problems)] == [f"text {i}" for i in range(512)]
    assert problems.places == {"unreadable file": ["a.parquet:512"]}
    with pytest.raises(CorpusError, match=r"unreadable file: a.parquet:512"):
        read(path)


def test_a_zstd_file_that_nobody_can_check_is_read_and_told(tmp_path):
    data = [(json.dumps(r) + "\n").encode() for r in RECORDS]
    large = [(json.dumps({"text": "a" * 10**6 + random.Random(0).randbytes(10**5).hex()}) + "\n").encode()]
    skippable = (0x184D2A53).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    cases = {
        "good": zst(data[0]) + skippable + zst(large[0]) + zst(data[1]),
        "one": unchecked(data[0]) + unchecked(data[1]),
        "last": zst(data[0]) + skippable + zst(large[0]) + unchecked(data[1]),
        "cut": zst(large[0])[:-5],
        "stream": zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(data[0]),
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.jsonl.zst"
        path.write_bytes(content)
        problems = Problems(strict=name != "cut")
        if name == "cut":
            with pytest.raises(CorpusError, match="no text in"):
                read(path, problems)
        else:
            assert read(path, problems)
        told = {"zstd frame without a checksum": [path.name]} if name in ("one", "last") else {}
        assert {kind: places for kind, places in problems.places.items() if kind.startswith("zstd")} == told


@pytest.mark.parametrize(("data", "kind"), [(b"a\xff", "invalid UTF-8"), (b" \n", "empty text"), (b"a\0", "binary")])
def test_faults_of_plain_files(tmp_path, data, kind):
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "b.txt").write_bytes(b"good")
    problems = Problems()
    assert [t.text for t in read(tmp_path, problems)] == ["good"] and problems.places == {kind: ["a.txt"]}
    with pytest.raises(CorpusError, match="the text is empty" if kind == "empty text" else "no text in"):
        read(tmp_path / "a.txt", Problems())


def test_cut_chooses_newline_then_white_space_then_size():
    assert cut("", 3) == []
    assert cut("ab\ncd ef gh", 6) == ["ab\ncd ", "ef gh"]
    assert cut("abcd\nf hijk", 8) == ["abcd\n", "f hijk"]
    assert cut("a\nbcdefghij", 8) == ["a\nbcdefg", "hij"]
    assert cut("abc\r\nd", 4) == ["abc", "\r\nd"]
    assert cut("a\r\nb", 1) == ["a", "\r\n", "b"]
    with pytest.raises(ValueError, match="at least 1"):
        cut("a", 0)


@pytest.mark.parametrize("alphabet", ["ab\r\n", "a \r\n\t\u2028\x85", "é😀中\u200d", " \n", "abcdef \n"])
def test_cutting_loses_nothing(alphabet):
    rng = random.Random(alphabet)
    for _ in range(300):
        text = "".join(rng.choices(alphabet, k=rng.randrange(60)))
        size = rng.randrange(1, 20)
        parts = cut(text, size)
        assert "".join(parts) == text and all(parts)
        assert all(len(p) <= size or (size == 1 and p == "\r\n") for p in parts)
        assert not any(a.endswith("\r") and b.startswith("\n") for a, b in itertools.pairwise(parts))
        documents = list(pieces([Text(text, "s", "f:1")], size))
        assert "".join(d.text for d in documents) == (text if text.strip() else "")
        assert [d.piece for d in documents] == list(range(len(documents)))
        assert all(d.text.strip() and (d.subset, d.source) == ("s", "f:1") for d in documents)


def prompts(source, problems=None, data=None, **options):
    stdin = None if data is None else io.BytesIO(data)
    return read_prompts(str(source), problems=problems or Problems(), stdin=stdin, **options)


def test_prompts_take_their_own_id_else_their_place(tmp_path):
    path = write(tmp_path / "val.jsonl.zst", [{"text": "a b", "id": 7}, {"text": "c d", "id": "x"}, *RECORDS[:2]])
    found = prompts(path, max_chars=2, max_prompts=3)
    assert [(p.id, p.text) for p in found] == [("7", "a "), ("x", "c "), ("val.jsonl.zst:3", "do")]
    assert [p.subset for p in prompts(path, subsets=["odd"])] == ["odd"]


def test_prompts_from_standard_input(monkeypatch):
    lines, mixed = b'{"text": "a"}\n\n{"text": "b"}', b'{"text": "a"}\r\nplain\n'
    assert [(p.id, p.text) for p in prompts("-", data=lines)] == [("stdin:1", "a"), ("stdin:3", "b")]
    assert [(p.id, p.text) for p in prompts("-", data=mixed)] == [("stdin", mixed.decode())]
    for data in (b"", b" \n\n", b'{"text": " "}'):
        with pytest.raises(CorpusError, match="the prompt is empty"):
            prompts("-", data=data)
    with pytest.raises(CorpusError, match="no prompt in standard input"):
        prompts("-", data=b"\xff")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"typed")))
    assert prompts("-")[0].text == "typed"


def test_bad_prompts(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"text": "a", "id": 1}, {"text": "b", "id": "1"}])
    with pytest.raises(CorpusError, match=r"the id '1': a.jsonl:1 and a.jsonl:2"):
        prompts(path)
    problems = Problems()
    path = write(tmp_path / "b.jsonl", [{"text": "     late"}])
    with pytest.raises(CorpusError, match="the prompt is empty"):
        prompts(path, problems, max_chars=4)
    assert problems.places == {"empty text": ["b.jsonl:1"]}
