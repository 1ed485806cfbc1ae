"""Files are opened without waiting and written never through a link; what a kill leaves is removed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ttft import files
from ttft.errors import DiskFull, MissingArtifact, TtftError
from ttft.json_lines import JsonLines
from ttft.run_dir import locked, make_folder


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize("make", [fifo, folder, nothing], ids=lambda make: make.__name__)
def test_only_an_ordinary_file_is_read(tmp_path: Path, make) -> None:
    make(tmp_path / "x")
    with pytest.raises(MissingArtifact, match="x is"):
        files.read_bytes(tmp_path / "x")
    assert not files.is_regular(tmp_path / "x")


def test_a_link_to_an_ordinary_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"here")
    (tmp_path / "x").symlink_to(tmp_path / "there")
    assert files.read_bytes(tmp_path / "x") == b"here"


def test_a_file_that_is_too_large_or_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert files.read_bytes(tmp_path / "x", 5) == b"12345"
    with pytest.raises(MissingArtifact, match="5 bytes"):
        files.read_bytes(tmp_path / "x", 4)
    with pytest.raises(MissingArtifact, match="is missing"):
        files.read_bytes(tmp_path / "x" / "y")


def test_a_file_that_may_not_be_read_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "x").write_bytes(b"")
    monkeypatch.setattr(files.os, "open", denied)
    with pytest.raises(TtftError, match=r"cannot read .*x: Permission denied"):
        files.read_bytes(tmp_path / "x")


# ---- links ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def private(tmp_path: Path) -> Path:
    path = tmp_path / "private"
    path.write_text("mine")
    return path


def test_a_planted_link_is_replaced_and_never_written_to(tmp_path: Path, private: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("manifest.json", "manifest.json.part"):
        (out / name).symlink_to(private)
    files.write_whole(out / "manifest.json", b"new")
    assert private.read_text() == "mine"
    assert (out / "manifest.json").read_bytes() == b"new" and not (out / "manifest.json").is_symlink()


def test_a_lock_and_a_log_are_not_opened_through_links(tmp_path: Path, private: Path) -> None:
    for name in (".lock", "results.jsonl"):
        (tmp_path / name).symlink_to(private)
    with pytest.raises(TtftError, match="symbolic link"), locked(tmp_path):
        pass
    with pytest.raises(TtftError, match="symbolic link"):
        JsonLines(tmp_path / "results.jsonl")
    assert private.read_text() == "mine"


def test_a_lock_does_not_empty_the_file(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("kept")
    with locked(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "kept"


@pytest.mark.parametrize("make", [fifo, folder], ids=lambda make: make.__name__)
def test_something_else_in_place_of_a_lock_or_a_log(tmp_path: Path, make) -> None:
    for name in (".lock", "results.jsonl"):
        make(tmp_path / name)
    with pytest.raises(TtftError, match="lock"), locked(tmp_path):
        pass
    with pytest.raises(TtftError, match="results"):
        JsonLines(tmp_path / "results.jsonl")


def test_a_link_in_place_of_a_folder(tmp_path: Path) -> None:
    there, place = tmp_path / "there", tmp_path / "shard-00000"
    there.mkdir()
    (there / "kept").write_text("mine")
    place.symlink_to(there)
    with files.replacing_folder(place) as part:
        (part / "new").write_text("")
    assert (there / "kept").read_text() == "mine" and [p.name for p in there.iterdir()] == ["kept"]
    assert not place.is_symlink() and [p.name for p in place.iterdir()] == ["new"]


def test_a_folder_cannot_be_made_below_a_file_or_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    with pytest.raises(TtftError, match="out is a file, not a folder"):
        make_folder(tmp_path / "out")


# ---- what is left over ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EISDIR])
def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch, number: int) -> None:
    """Even where it cannot be removed, the error is that of writing."""

    def fails(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fails)
    with pytest.raises(TtftError, match="writ"):
        files.write_whole(tmp_path / "x", b"new")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Path, "unlink", fails)
    with pytest.raises(TtftError, match="writ"):
        files.write_whole(tmp_path / "x", b"new")


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskFull), files.replacing_folder(tmp_path / "shard-00000"):
        raise OSError(errno.ENOSPC, "full")
    assert list(tmp_path.iterdir()) == []


LEFT = (
    ".manifest.json.0123456789abcdef.part", ".seen.0123456789abcdef.part", ".shard-00001.0123456789abcdef.part/x",
    "manifest.json.part", "provenance.json.part", "problems-00.jsonl.part", "shard-00002.part/x",
    "trained.faiss.part", "segment-00000.faiss.part", "shard-00000/index.faiss.part", ".checked.json.4711", ".seen",
    "shard-00000/.index.faiss.0123456789abcdef.part",
)  # fmt: skip
KEPT = (
    "manifest.json", "notes.part", "my.json.part", ".checked.json", ".part", "shard-00000/vectors.npy", "mine/x.part",
    ".x.part", "a.faiss.part.txt",
)  # fmt: skip


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path, private: Path) -> None:
    out = tmp_path / "out"
    for name in (*LEFT, *KEPT):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("x")
    (out / "shard-00003").symlink_to(tmp_path)
    (out / "config.yaml.part").symlink_to(private)
    with locked(out):
        there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file() and not p.is_symlink()}
        assert there - {".lock"} == set(KEPT)
    assert private.read_text() == "mine" and not (out / "config.yaml.part").is_symlink()
