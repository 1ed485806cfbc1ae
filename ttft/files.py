"""Opening and writing files in folders that may come from elsewhere.

A folder that somebody else made is data. What lies in it may be a FIFO that blocks whoever opens it, a device, a file
of any size, or a symbolic link to a file of the user's. So a file is opened without waiting and looked at before it is
read, and nothing is ever written through a link: new files get an unpredictable name in the same folder, which must not
exist yet, and are renamed when they are whole; lock and log files are opened with O_NOFOLLOW.

This is the only module that opens files of an index or a run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO

from ttft.errors import DiskFull, MissingArtifact, TtftError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DENIED = {errno.EACCES, errno.EROFS, errno.EPERM}
IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENXIO, errno.ENAMETOOLONG}
LARGEST_STATE = 256 << 20  # bytes of a file that is read as a whole
PART = re.compile(r"\..+\.[0-9a-f]{16}\.part")
SHARD = re.compile(r"shard-\d{5,}")
SCRATCH = re.compile(
    r"\.seen|\.checked\.json\.\d+|(shard-\d{5,}|(manifest|provenance)\.json|config\.yaml|problems-\d+\.jsonl"
    r"|(trained|index|segment-\d+)\.faiss|documents\.arrow|vectors\.npy)\.part"
)
"""What earlier versions of ttft left when they were killed."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk, an exceeded quota, missing permission or a planted link into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(
                f"no space left while writing {path}",
                "the files written so far are valid: free some space and run the same command again",
            ) from error
        if error.errno in DENIED:
            raise TtftError(f"cannot write {path}: {error.strerror}", "choose another --out") from error
        if error.errno in IN_THE_WAY:
            raise TtftError(f"cannot write {path}: {error.strerror}", "remove it, or choose another --out") from error
        if error.errno == errno.ELOOP:
            raise TtftError(f"{path} is a symbolic link, and nothing is written through links", "remove it") from error
        raise


# ---- reading -------------------------------------------------------------------------------------------------------


def open_regular(path: Path) -> BufferedReader:
    """Open an ordinary file for reading, without ever waiting for one.

    Raises MissingArtifact where there is none, or something else than an ordinary file; TtftError where it may not be
    read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MissingArtifact(f"{path} is missing") from None
    except NotADirectoryError:
        raise MissingArtifact(f"{path} is missing: a part of its path is a file") from None
    except OSError as error:
        raise TtftError(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise MissingArtifact(f"{path} is not an ordinary file", "it should be; was this folder made by ttft?")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, limit: int = LARGEST_STATE) -> bytes:
    """A whole file. Raises as `open_regular`, and MissingArtifact for one of more than `limit` bytes."""
    with open_regular(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        if size > limit:
            raise MissingArtifact(f"{path} has {size:,} bytes, more than any such file of ttft", "it is damaged")
        return handle.read(size)


def check_folder(folder: Path) -> None:
    """Before a library opens the files of a folder: raises MissingArtifact if one of them is a FIFO or a device, which
    could block it."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):
                raise MissingArtifact(f"{path} is not an ordinary file", "remove it")


def is_regular(path: Path) -> bool:
    """Whether there is an ordinary file, or a link to one."""
    with contextlib.suppress(OSError):
        return stat.S_ISREG(os.stat(path).st_mode)
    return False


# ---- writing -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when the block ends; it is there whole or not at all.

    What is at `path` (a link, too) is replaced and never written to. Raises DiskFull, TtftError.
    """
    part = _part(path)
    with writing(path):
        handle = _create(part)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(part, path)
            sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):  # the error that is on its way says more
                part.unlink()
            raise


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the place of `path` when the block ends, as `replacing` does for a file."""
    part = _part(path)
    with writing(path):
        part.mkdir()
        try:
            yield part
            sync_folder(part)
            _remove(path)
            part.rename(path)
            sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def scratch(path: Path) -> Path:
    """A new empty file beside `path`, under a name like its own that `sweep` knows. Raises DiskFull, TtftError."""
    part = _part(path)
    with writing(path):
        os.close(_create(part))
    return part


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name.lstrip('.')}.{os.urandom(8).hex()}.part")


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def _remove(path: Path) -> None:
    """Remove a folder, a file or a link, if there is one; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically: it is there in full or not at all."""
    with replacing(path) as file:
        file.write(data)


def open_log(path: Path) -> int:
    """A descriptor for reading and appending, never through a link; the file is made if it is not there."""
    with writing(path):
        handle = os.open(
            path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666
        )
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise MissingArtifact(f"{path} is not an ordinary file", "it should be; was this folder made by ttft?")
    return handle


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written, in an index's shards too. Only for who holds the folder's
    lock."""
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        real_folder = entry.is_dir(follow_symlinks=False)
        if PART.fullmatch(entry.name) or SCRATCH.fullmatch(entry.name):
            with contextlib.suppress(OSError):
                _remove(Path(entry.path))
        elif real_folder and SHARD.fullmatch(entry.name):
            sweep(Path(entry.path))


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
