"""Data files of other people as rows: JSON (a list or an object), JSON lines, CSV and TSV, plain text.

A row keeps where it stands, so that a message about it can say so. Everything in these files is data: sizes are limited
before anything is parsed, and fields are checked before anything uses them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ttft.errors import CorpusError, MissingArtifact
from ttft.files import read_bytes
from ttft.state import parse_json, record
from ttft.visible import shortened

T = TypeVar("T")
LARGEST_FILE = 1 << 30  # bytes
LONGEST_TEXT = 100_000  # characters of a question or a turn
SEPARATORS = {".csv": ",", ".tsv": "\t"}
PLAIN_TEXT = {".txt", ".text", ".list"}
FIX = "correct the file, or name its form if it was taken for another one"


class Row(NamedTuple):
    """A value of a file, and the place where it stands, such as "questions.jsonl:3"."""

    where: str
    value: Any


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark. Raises CorpusError, or as files.read_bytes."""
    if path.is_dir():
        raise CorpusError(f"{path} is a folder", "give a file")
    try:
        return read_bytes(path, LARGEST_FILE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8: {error}", "convert it: iconv -t UTF-8") from None
    except MissingArtifact as error:
        raise MissingArtifact(error.message, error.hint or "check the path") from None


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, by its name: .csv and .tsv (a mapping per line, by the header), .txt (a text per line), else
    JSON lines or JSON. A JSON list is its elements, any other JSON value a single row. Blank lines do not count.

    Raises CorpusError that names file and line, or as `read_text`; also for a file without a row.
    """
    text = read_text(path)
    if path.suffix in SEPARATORS:
        rows = list(_table(path, text))
    elif path.suffix in PLAIN_TEXT:
        rows = [Row(f"{path}:{number}", line.strip()) for number, line in _lines(text)]
    else:
        rows = _json(path, text)
    if not rows:
        raise CorpusError(f"{path} is empty", "give a file with at least one record")
    return rows


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # not str.splitlines: a JSON text may contain U+2028 and others as they are
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _table(path: Path, text: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=SEPARATORS[path.suffix])
    try:
        for values in reader:
            if None in values or None in values.values():
                raise CorpusError(f"{path}:{reader.line_num} does not have the columns of the first line", FIX)
            yield Row(f"{path}:{reader.line_num}", values)
    except csv.Error as error:
        raise CorpusError(f"{path}:{reader.line_num}: {error}", FIX) from None


def _json(path: Path, text: str) -> list[Row]:
    """JSON lines if the first line is a JSON value and there are others, else one JSON value."""
    lines = list(_lines(text))
    if len(lines) > 1 and _is_json(lines[0][1]):
        places = ((f"{path}:{number}", line) for number, line in lines)
        return [Row(where, parse_json(line, where, CorpusError, FIX)) for where, line in places]
    if not lines:
        return []
    value = parse_json(text, str(path), CorpusError, FIX)
    if isinstance(value, list):
        return [Row(f"{path}: record {number}", part) for number, part in enumerate(value, 1)]
    return [Row(str(path), value)]


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def typed(kind: type[T], row: Row) -> T:
    """A row as a record of a data set. Raises CorpusError that names place and field."""
    return record(kind, row.value, row.where, CorpusError, FIX)


def checked_text(text: str, where: str, what: str) -> str:
    """A text that is neither blank nor longer than LONGEST_TEXT. Raises CorpusError."""
    if not text.strip():
        raise CorpusError(f"{where}: {what} is empty", "give it a text, or remove the record")
    if len(text) > LONGEST_TEXT:
        raise CorpusError(
            f"{where}: {what} has {len(text):,} characters, more than {LONGEST_TEXT:,}: {shortened(text, 40)!r}",
            "shorten it, or remove the record",
        )
    return text


def fields_of(value: Any) -> str:
    """What a value is, for messages: the names of its fields."""
    if isinstance(value, dict):
        return "a record with the fields " + shortened(", ".join(map(str, value)), 200) if value else "an empty record"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"
