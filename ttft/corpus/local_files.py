"""Local sources: the files of a folder, the records of a JSON-lines file, the text of any other file.

Bytes are decoded as UTF-8, without newline translation. Anything that cannot be used is counted (Problems).
"""

from __future__ import annotations

import difflib
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from ttft.corpus.pieces import Text
from ttft.corpus.problems import UNCHECKED, Problems
from ttft.errors import CorpusError

FORMS = "local formats: .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .txt, or a folder of such files or of code"
# datasets takes these names to mean "files of this format in the current folder", which nobody means here
BUILDERS = {"arrow", "audiofolder", "csv", "imagefolder", "json", "pandas", "parquet", "sql", "text", "xml"}


FRAME, SKIPPABLE = 0xFD2FB528, 0x184D2A5  # magic numbers of zstd; the last four bits of the second are free
REPEATED = 1  # kind of a zstd block that is one byte, repeated
ROWS = 256  # of a parquet file, in memory at once


def local_path(source: str) -> Path | None:
    """The path of a local source, or None if it can only be the name of a dataset. Raises CorpusError if there is no
    such path."""
    path = Path(os.path.expanduser(source))
    if source and os.path.exists(path):
        return path
    suffixes = ("/", ".jsonl", ".json", ".parquet", ".txt", ".gz", ".zst")
    named = source.startswith(("/", "./", "../", "~")) or source.endswith(suffixes) or source.count("/") > 1
    if not named and source.strip() and source not in BUILDERS:
        return None
    beside = os.listdir(path.parent) if os.path.isdir(path.parent) and os.access(path.parent, os.R_OK) else []
    near = ", ".join(str(path.parent / n) for n in difflib.get_close_matches(path.name, beside, 5, 0.5))
    raise CorpusError(f"no such file or folder: {source or repr(source)}", f"similar names: {near}" if near else FORMS)


def check_ordinary(path: Path) -> None:
    """Raises CorpusError for a pipe, a socket or a device: an index reads its corpus more than once."""
    if not (path.is_file() or path.is_dir()):
        raise CorpusError(f"{path} is neither an ordinary file nor a folder", "write the texts into a file first")


def files_of(root: Path, glob: str, problems: Problems) -> list[tuple[str, Path]]:
    """(relative name, path) of the files of a source, sorted. A folder reached through several links is read once."""

    def relative(path: str | Path) -> str:
        # file names need not be valid UTF-8, but records must be
        return os.fsencode(os.path.relpath(path, root)).decode(errors="backslashreplace")

    if not root.is_dir():
        return [(os.fsencode(root.name).decode(errors="backslashreplace"), root)]
    found, visited = [], set()
    faulty = lambda error: problems.add("unreadable file", relative(error.filename), str(error.strerror))  # noqa: E731
    for folder, folders, names in os.walk(root, onerror=faulty, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        paths = [Path(folder, n) for n in names if not n.startswith(".")]
        for name, path in [(relative(p), p) for p in paths]:
            if _matches(name.split("/"), glob.split("/")):
                if os.path.isfile(path):
                    found.append((name, path))
                else:
                    problems.add("unreadable file", name, "not a regular file, or a link to nothing")
    if not found:
        raise CorpusError(f"no file in {root} matches {glob!r}", "hidden files and folders are skipped")
    return sorted(found)


def _matches(parts: list[str], pattern: list[str]) -> bool:
    if not parts or not pattern:
        return not parts and all(p == "**" for p in pattern)
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _opened(path: Path | io.BytesIO) -> io.BufferedIOBase:
    if isinstance(path, io.BytesIO):
        return path
    if path.suffix.lower() == ".zst":
        import pyarrow

        # not zstandard: its stream_reader does not notice a truncated file. Small reads, because the bytes of the read
        # that hits the damaged part are lost
        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"), 4096)
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")


def _all_checked(path: Path) -> bool:
    """Whether every frame of a zstd file (RFC 8878, section 3.1) ends with a checksum. Reads headers only."""
    with open(path, "rb") as handle:
        while len(head := handle.read(5)) == 5:
            magic, descriptor = int.from_bytes(head[:4], "little"), head[4]
            if magic >> 4 == SKIPPABLE:
                handle.seek(int.from_bytes(head[4:] + handle.read(3), "little"), os.SEEK_CUR)
                continue
            if magic != FRAME:
                break  # not a frame: reading the file says so
            if not descriptor & 4:
                return False
            single, dictionary, size = descriptor >> 5 & 1, (0, 1, 2, 4)[descriptor & 3], descriptor >> 6
            handle.seek((not single) + dictionary + (single, 2, 4, 8)[size], os.SEEK_CUR)
            last = False
            while not last and len(block := handle.read(3)) == 3:
                value = int.from_bytes(block, "little")
                last, kind, length = bool(value & 1), value >> 1 & 3, value >> 3
                handle.seek(1 if kind == REPEATED else length, os.SEEK_CUR)
            handle.seek(4, os.SEEK_CUR)
    return True


def plain_text(path: Path | io.BytesIO, name: str, problems: Problems) -> Iterator[Text]:
    try:
        with path if isinstance(path, io.BytesIO) else open(path, "rb") as handle:
            binary = b"\0" in (data := handle.read(8192))
            text = "" if binary else (data + handle.read()).decode()
    except OSError as error:
        problems.add("unreadable file", name, str(error))
    except UnicodeDecodeError as error:
        problems.add("invalid UTF-8", name, f"byte {error.start}")
    else:
        if text.strip():
            yield Text(text, name.split("/")[0] if "/" in name else "", name)
        else:
            problems.add("binary" if binary else "empty text", name)


def _lines(handle: io.BufferedIOBase, limit: int) -> Iterator[tuple[bytes | None, int]]:
    """(line, its size in bytes). Only newline bytes end a line. A line over the limit is None and never read whole."""
    while line := handle.readline(limit + 1):
        size = len(line)
        if size > limit and not line.endswith(b"\n"):
            line = None
            while part := handle.readline(2**16):
                size += len(part.removesuffix(b"\n"))
                if part.endswith(b"\n"):
                    break
        yield line, size


def parsed(line: bytes) -> dict | tuple[str, str]:
    """The object in a line of JSON, or (kind, detail) of the problem with it."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return "invalid UTF-8", f"byte {error.start} of the line"
    except RecursionError:
        return "malformed JSON", "nested too deeply"
    except ValueError as error:
        return "malformed JSON", str(error)
    return value if isinstance(value, dict) else ("not an object", type(value).__name__)


def line_records(path: Path | io.BytesIO, name: str, limit: int, problems: Problems) -> Iterator[tuple[str, dict]]:
    number = 0
    try:
        if isinstance(path, Path) and path.suffix.lower() == ".zst" and not _all_checked(path):
            problems.remark(UNCHECKED, name, "damage to the file might go unnoticed")
        with _opened(path) as handle:
            for number, (line, size) in enumerate(_lines(handle, limit), 1):
                if line is None:
                    problems.add("line too long", f"{name}:{number}", f"{size} bytes, the limit is {limit}")
                elif line.strip():
                    if isinstance(record := parsed(line), dict):
                        yield f"{name}:{number}", record
                    else:
                        problems.add(record[0], f"{name}:{number}", record[1])
    except (OSError, EOFError, zlib.error) as error:
        problems.add("unreadable file", f"{name}:{number + 1}", str(error))


def row_records(path: Path, name: str, problems: Problems) -> Iterator[tuple[str, dict]]:
    """The rows of a parquet file, some at a time. Checksums of pages are verified where the file has them."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as table:
            for batch in table.iter_batches(ROWS):
                for record in batch.to_pylist():
                    yield f"{name}:{number}", record
                    number += 1
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        problems.add("unreadable file", f"{name}:{number}", (str(error) or type(error).__name__).splitlines()[0])
