"""Files that stay valid whenever the process is killed, the disk fills, or a second process comes along."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ttft import files, run_dir
from ttft.errors import ConfigError, DiskFull, TtftError
from ttft.files import write_whole
from ttft.json_lines import JsonLines
from ttft.run_dir import claim_run, locked
from ttft.state import checked_line, read_lines

REPO = Path(__file__).parents[1]


def python(source: str, *args: object) -> subprocess.CompletedProcess:
    """Run source in a process of its own, with ttft importable."""
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", source, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def said(caught: pytest.ExceptionInfo) -> str:
    return f"{caught.value.message}\n{caught.value.hint}"


# ---- names ---------------------------------------------------------------------------------------------------------


def test_shard_names_sort_as_numbers() -> None:
    assert run_dir.shard_name(0) == "shard-00000"
    names = [run_dir.shard_name(n) for n in (0, 2, 10, 99_999)]
    assert names == sorted(names)


def test_sha256(tmp_path: Path) -> None:
    text = "grün\r\n" * 1000
    (tmp_path / "file").write_bytes(text.encode())
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert run_dir.sha256_text(text) == run_dir.sha256_file(tmp_path / "file") == expected


# ---- JSON lines ----------------------------------------------------------------------------------------------------


def test_lines_come_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [{"id": 1, "text": "ein\nzwei\u2028drei\x85"}, {"id": 2, "text": "ö"}]
    for record in records:
        with JsonLines(path) as lines:
            lines.append(record)
    assert read_lines(path) == records
    assert path.read_bytes().count(b"\n") == 2


def test_a_line_is_on_disk_before_append_returns(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "a.jsonl") as lines:
        lines.append({"id": 1})
        assert read_lines(tmp_path / "a.jsonl") == [{"id": 1}]


@pytest.mark.parametrize("cut", [b'{"id": 2, "te', b"{", b'{"id": 2}', b"x" * 200_000])
def test_a_last_line_that_was_cut_is_dropped_and_the_rest_goes_on(tmp_path: Path, cut: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(checked_line({"id": 1}) + cut)
    assert read_lines(path) == [{"id": 1}]
    with JsonLines(path) as lines:
        assert path.read_bytes() == checked_line({"id": 1})
        lines.append({"id": 3})
    assert read_lines(path) == [{"id": 1}, {"id": 3}]


def test_a_file_that_is_one_cut_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 1')
    JsonLines(path).close()
    assert path.read_bytes() == b""


def test_no_file_is_no_records(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("damage", [b"{'id': 2}", b"\xff", b"", b'{"id": 2}{"id": 3}', b'{"id": 2}'])
def test_a_damaged_line_is_named_by_its_number(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(checked_line({"id": 1}) + damage + b"\n" + checked_line({"id": 4}))
    with pytest.raises(TtftError) as caught:
        read_lines(path)
    assert f"{path}:2 " in said(caught)


FILL = """
import resource, sys
from pathlib import Path
from ttft.errors import DiskFull
from ttft.json_lines import JsonLines

path, limit, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
try:
    with JsonLines(path) as lines:
        for number in range(1000):
            try:
                lines.append({"id": number, "text": "x" * size})
            except DiskFull:
                if sys.argv[4] == "space is made":
                    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
                raise
except DiskFull as error:
    print(number, error.message, error.hint)
"""


@pytest.mark.parametrize("then", ["it stays full", "space is made"])
@pytest.mark.parametrize(("limit", "size"), [(1200, 300), (100_000, 30_000)], ids=["short lines", "long lines"])
def test_a_full_disk_leaves_whole_lines_and_is_an_error_for_people(
    tmp_path: Path, limit: int, size: int, then: str
) -> None:
    path = tmp_path / "results.jsonl"
    done = python(FILL, path, limit, size, then)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 no space left while writing") and "run the same command again" in done.stdout
    assert path.read_bytes().endswith(b"\n")
    assert [r["id"] for r in read_lines(path)] == [0, 1, 2]
    with JsonLines(path) as lines:
        lines.append({"id": 3})
    assert [r["id"] for r in read_lines(path)] == [0, 1, 2, 3]


# ---- whole files ---------------------------------------------------------------------------------------------------


def test_a_whole_file_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_whole(path, b"old")
    run_dir.write_json(path, {"name": "ü"})
    assert json.loads(path.read_bytes()) == {"name": "ü"}
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_file_stays_as_it_was_when_writing_fails(tmp_path: Path, monkeypatch, step: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(b"old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(DiskFull) as caught:
        write_whole(path, b"new")
    assert str(path) in said(caught)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_a_place_that_cannot_be_written_is_an_error_for_people(tmp_path: Path, monkeypatch) -> None:
    def read_only(*args):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files.os, "replace", read_only)
    with pytest.raises(TtftError) as caught:
        write_whole(tmp_path / "a", b"new")
    assert "Read-only" in said(caught) and "--out" in said(caught)


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(TtftError, match="is a file, not a folder"):
        run_dir.make_folder(tmp_path / "out")
    with pytest.raises(TtftError, match="out"):
        run_dir.make_folder(tmp_path / "out" / "below")


# ---- two processes -------------------------------------------------------------------------------------------------

TAKE = """
import sys
from pathlib import Path
from ttft.errors import TtftError
from ttft.run_dir import locked
try:
    with locked(Path(sys.argv[1])):
        print("taken")
except TtftError as error:
    print("refused:", error.message, error.hint)
"""


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder):
        refused = python(TAKE, folder)
        assert refused.stdout.startswith(f"refused: another process is writing to {folder}"), refused.stderr
    assert python(TAKE, folder).stdout == "taken\n"


def test_the_lock_goes_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_an_error_inside_is_not_blamed_on_the_lock(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere"), locked(tmp_path):
        raise PermissionError(13, "Permission denied", "elsewhere")


# ---- run folders ---------------------------------------------------------------------------------------------------


def test_a_run_folder_belongs_to_one_configuration(tmp_path: Path) -> None:
    config = {"n": 20, "lr": 5e-5, "subsets": ["a", "ü"], "alpha": None}
    claim_run(tmp_path, config)
    claim_run(tmp_path, dict(reversed(config.items())))
    before = (tmp_path / run_dir.CONFIG).read_bytes()
    with pytest.raises(ConfigError) as caught:
        claim_run(tmp_path, config | {"n": 50})
    assert "n is 20, asked for 50" in said(caught) and "lr is" not in said(caught)
    assert (tmp_path / run_dir.CONFIG).read_bytes() == before


@pytest.mark.parametrize("name", [run_dir.RESULTS, run_dir.MANIFEST])
def test_a_folder_that_holds_something_else_is_not_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match="holds other files"):
        claim_run(tmp_path, {"n": 1})
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("text", [b"a: [1\n", b"- 1\n", b"", b"a: \xff\n"])
def test_a_damaged_configuration_is_an_error_for_people(tmp_path: Path, text: bytes) -> None:
    (tmp_path / run_dir.CONFIG).write_bytes(text)
    with pytest.raises(ConfigError):
        claim_run(tmp_path, {"n": 1})
    assert (tmp_path / run_dir.CONFIG).read_bytes() == text


def test_differences() -> None:
    assert run_dir.differences({"a": 1, "b": 2}, {"b": 2, "a": 1}) == []
    assert run_dir.differences({"a": 1}, {"a": "1", "c": 3}) == ["a is 1, asked for '1'", "c is None, asked for 3"]
    assert run_dir.differences(None, {"a": 1}) == ["a is None, asked for 1"]


def test_missing_keeps_the_order() -> None:
    assert run_dir.missing(["c", "a", "b"], {"a"}) == ["c", "b"]


def test_provenance_grows_by_one_start_each_time(tmp_path: Path) -> None:
    for seed in (1, 2):
        run_dir.record_provenance(tmp_path, run_dir.provenance(seed, {"device": "cpu"}))
        run_dir.finish_provenance(tmp_path, 1.5, 3)
    starts = json.loads((tmp_path / run_dir.PROVENANCE).read_text())["starts"]
    assert [(s["seed"], s["seconds"], s["records_written"]) for s in starts] == [(1, 1.5, 3), (2, 1.5, 3)]
    assert starts[0]["host"]["device"] == "cpu" and starts[0]["versions"]["python"]
