"""Sources of text -> Texts -> Documents (pieces to embed and index) and Prompts.

A source is a local file (.jsonl or .json with one record a line, plain or .gz or .zst; .parquet; any other file is one
text), a folder of such files (there .json is one text), or the name of a Hugging Face dataset. Text is kept exactly:
bytes are decoded as UTF-8 here, with no newline translation. What cannot be used is counted, never dropped in silence
(Problems). Places: "file:line" from 1, "file.parquet:row" and "dataset:row" from 0, "path/of/file".
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import io
import json
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from glob import escape
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ttft.errors import CorpusError
from ttft.records import Document, Prompt

LINES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst")
FORMS = "local forms: .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .txt, or a folder of such files or of code"
# datasets takes these names for "the files of this kind in the current folder", which nobody means by them here
BUILDERS = {"arrow", "audiofolder", "csv", "imagefolder", "json", "pandas", "parquet", "sql", "text", "xml"}
MAX_LINE_BYTES = 32 * 2**20
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Text:
    """One whole text of a source. `id` is the record's own "id" field, where it has one."""

    text: str
    subset: str
    source: str
    id: str | None = None


class Problems:
    """What could not be read, by kind: counts (exact), places (first 10), records (first 10,000, as dicts).

    With strict=True the first problem raises CorpusError.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.counts: dict[str, int] = {}
        self.places: dict[str, list[str]] = {}
        self.records: list[dict[str, str]] = []

    def add(self, kind: str, place: str, detail: str = "") -> None:
        """Count one problem. Raises CorpusError if strict."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= 10:
            self.places.setdefault(kind, []).append(place)
        if len(self.records) < 10_000:
            self.records.append({"kind": kind, "place": place, "detail": detail})
        if self.strict:
            raise CorpusError(f"{kind}: {place}" + f" ({detail})" * bool(detail), "mend it, or read without strict")

    def summary(self) -> list[str]:
        """One line per kind: "3 x malformed JSON: a.jsonl:4, a.jsonl:9, a.jsonl:12", with "..." after ten places."""
        more = {kind: ", ..." * (count > len(self.places[kind])) for kind, count in self.counts.items()}
        return [f"{n} x {kind}: {', '.join(self.places[kind])}{more[kind]}" for kind, n in self.counts.items()]


def read_texts(
    source: str, *, text_field: str = "text", subset_field: str = "meta.pile_set_name",
    subsets: Sequence[str] | None = None, max_documents: int | None = None, glob: str = "**/*", name: str | None = None,
    split: str = "train", streaming: bool = True, max_line_bytes: int = MAX_LINE_BYTES, problems: Problems,
) -> Iterator[Text]:  # fmt: skip
    """The texts of a source, one by one, in an order that depends only on the source.

    Fields are dotted paths into a record. A file of a folder that is one text has its first folder as subset, or "".
    `subsets` keeps exact names; problems are counted before that choice, max_documents after it. `glob` chooses files
    of a folder ("**" is any number of folders; hidden ones are left out); `name` (configuration), `split` and
    `streaming` are for Hugging Face datasets.
    Raises CorpusError when there is no such source, and at the end when it has no text, or none of `subsets`.
    """
    make = partial(_made, text_field=text_field, subset_field=subset_field, problems=problems)
    found = _found(source, make, glob, (name, split, streaming), max_line_bytes, problems, None)
    return islice(_chosen(found, source, subsets, problems, "text"), max_documents)


def _found(
    source: str, make: Callable, glob: str, dataset: tuple, limit: int, problems: Problems, stdin: BinaryIO | None
) -> Iterator[Text]:
    if stdin is not None:
        data = stdin.read()
        objects = data.strip() and all(isinstance(_parsed(part), dict) for part in data.split(b"\n") if part.strip())
        files, lines = [("stdin", io.BytesIO(data))], ("stdin",) if objects else ()
    elif (root := _local_path(source)) is None:
        yield from make(_hub_records(source, *dataset))
        return
    else:
        files, lines = _files(root, glob, problems), LINES if root.is_dir() else (*LINES, ".json")
    for name, path in files:
        if name.lower().endswith(lines):
            yield from make(_line_records(path, name, limit, problems))
        elif name.lower().endswith(".parquet"):
            # data_files is a pattern, and a path may hold its special characters
            options = {"data_files": escape(os.path.abspath(path)), "split": "train", "streaming": True}
            yield from make(_rows(name, partial(problems.add, "unreadable file"), "parquet", **options))
        else:
            yield from _plain_text(path, name, problems)


def _chosen(texts: Iterable[Text], source: str, subsets: Sequence[str] | None, problems: Problems, noun: str):
    kept, seen = False, {}
    for text in texts:
        seen[text.subset] = None
        if subsets is None or text.subset in subsets:
            kept = True
            yield text
    if not seen:
        wrong = f"the {noun} is empty: {source}" if set(problems.counts) == {"empty text"} else f"no {noun} in {source}"
        raise CorpusError(wrong, "; ".join(problems.summary() + [r["detail"] for r in problems.records[:1]]) or FORMS)
    absent = [s for s in subsets or () if s not in seen]
    if not kept:
        there = ", ".join(list(seen)[:20]) + ", ..." * (len(seen) > 20)
        raise CorpusError(f"no {noun} of subset {', '.join(absent)} in {source}", f"subsets there: {there}")
    for subset in absent:
        problems.add("subset not found", subset, f"no {noun} in {source} has it")


def _made(
    records: Iterable[tuple[str, dict]], text_field: str, subset_field: str, problems: Problems
) -> Iterator[Text]:
    for place, record in records:
        text, subset, own = _field(record, text_field), _field(record, subset_field), record.get("id")
        subset = str(subset) if isinstance(subset, str | int | float) else ""
        own = str(own) if isinstance(own, str | int) and not isinstance(own, bool) and own != "" else None
        if text is KeyError:
            problems.add("missing field", place, f"no {text_field!r}; fields there: {', '.join(map(repr, record))}")
        elif not isinstance(text, str):
            problems.add("text is not a string", place, f"{text_field!r} is {type(text).__name__}")
        elif not text.strip():
            problems.add("empty text", place)
        elif any(LONE_SURROGATE.search(value) for value in (text, subset, own or "")):
            problems.add("invalid UTF-8", place, "a lone surrogate")
        else:
            yield Text(text, subset, place, own)


def _field(record: dict, dotted: str):
    for key in [dotted] if dotted in record else dotted.split("."):
        if not isinstance(record, dict) or key not in record:
            return KeyError
        record = record[key]
    return record


def _local_path(source: str) -> Path | None:
    """The path a source names, or None if it can only be the name of a dataset. CorpusError for a path to nothing."""
    path = Path(os.path.expanduser(source))
    if source and os.path.exists(path):
        return path
    suffixes = ("/", ".jsonl", ".json", ".parquet", ".txt", ".gz", ".zst")
    named = source.startswith(("/", "./", "../", "~")) or source.endswith(suffixes) or source.count("/") > 1
    if not named and source.strip() and source not in BUILDERS:
        return None
    beside = os.listdir(path.parent) if os.path.isdir(path.parent) and os.access(path.parent, os.R_OK) else []
    near = ", ".join(str(path.parent / n) for n in difflib.get_close_matches(path.name, beside, 5, 0.5))
    raise CorpusError(f"no such file or folder: {source or repr(source)}", f"near it: {near}" if near else FORMS)


def _files(root: Path, glob: str, problems: Problems) -> list[tuple[str, Path]]:
    """(relative name, path) of the files of a source, sorted; a folder that several links reach is read once."""

    def relative(path: str | Path) -> str:
        # names of files need not be UTF-8, records must be
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
        raise CorpusError(f"no file in {root} matches {glob!r}", "hidden files and folders are left out")
    return sorted(found)


def _matches(parts: list[str], pattern: list[str]) -> bool:
    if not parts or not pattern:
        return not parts and all(p == "**" for p in pattern)
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _opened(path: Path | io.BytesIO) -> BinaryIO:
    if isinstance(path, io.BytesIO):
        return path
    if path.suffix.lower() == ".zst":
        import pyarrow

        # not zstandard: its stream_reader takes a file that was cut short for a whole one. Small reads, because the
        # bytes of the read that meets the fault are lost
        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"), 4096)
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")


def _plain_text(path: Path | io.BytesIO, name: str, problems: Problems) -> Iterator[Text]:
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


def _lines(handle: BinaryIO, limit: int) -> Iterator[tuple[bytes | None, int]]:
    """(line, its size in bytes), ended by newline bytes only; a line over the limit is None and never held whole."""
    while line := handle.readline(limit + 1):
        size = len(line)
        if size > limit and not line.endswith(b"\n"):
            line = None
            while part := handle.readline(2**16):
                size += len(part.removesuffix(b"\n"))
                if part.endswith(b"\n"):
                    break
        yield line, size


def _parsed(line: bytes) -> dict | tuple[str, str]:
    """The object in a line of JSON, or the kind and detail of what is wrong with it."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return "invalid UTF-8", f"byte {error.start} of the line"
    except RecursionError:
        return "malformed JSON", "nested too deeply"
    except ValueError as error:
        return "malformed JSON", str(error)
    return value if isinstance(value, dict) else ("not an object", type(value).__name__)


def _line_records(path: Path | io.BytesIO, name: str, limit: int, problems: Problems) -> Iterator[tuple[str, dict]]:
    number = 0
    try:
        with _opened(path) as handle:
            for number, (line, size) in enumerate(_lines(handle, limit), 1):
                if line is None:
                    problems.add("line too long", f"{name}:{number}", f"{size} bytes, the limit is {limit}")
                elif line.strip():
                    if isinstance(record := _parsed(line), dict):
                        yield f"{name}:{number}", record
                    else:
                        problems.add(record[0], f"{name}:{number}", record[1])
    except (OSError, EOFError, zlib.error) as error:
        problems.add("unreadable file", f"{name}:{number + 1}", str(error))


def _rows(name: str, fault: Callable[[str, str], None], *asked, **options) -> Iterator[tuple[str, dict]]:
    """The records of datasets.load_dataset(*asked, **options); what goes wrong there is given to fault(place, why)."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError

    row = -1
    try:
        for row, record in enumerate(load_dataset(*asked, **options)):
            yield f"{name}:{row}", record
    except (DatasetsError, HTTPError, OSError, ValueError, RuntimeError) as error:
        fault(f"{name}:{row + 1}", (str(error) or type(error).__name__).splitlines()[0])


def _hub_records(source: str, name: str | None, split: str, streaming: bool) -> Iterator[tuple[str, dict]]:
    def fault(place: str, why: str) -> None:
        from datasets.config import HF_HUB_OFFLINE

        asked = f"split {split!r}" + f", configuration {name!r}" * bool(name)
        offline = "; HF_HUB_OFFLINE is set: only datasets in the local cache" * bool(HF_HUB_OFFLINE)
        hint = f"no local file or folder is called {source} either; {FORMS}{offline}"
        raise CorpusError(f"dataset {source!r} ({asked}) cannot be read at {place}: {why}", hint)

    return _rows(source, fault, source, name, split=split, streaming=streaming)


def cut(text: str, size: int) -> list[str]:
    """Pieces of at most `size` characters that, joined, are exactly the text; [] for "".

    A cut comes after the last newline in the second half of the window, else after the last white space there, else at
    `size`. It never parts "\\r\\n" (so that, with size 1, that pair is a piece of 2). Raises ValueError if size < 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    found, start = [], 0
    while start < len(text):
        end, half = start + size, text[start + size // 2 : start + size]
        if end < len(text):
            words = half.split("\n") if "\n" in half else re.split(r"\s", half)
            end -= len(words[-1]) if len(words) > 1 else 0
            if text[end - 1 : end + 1] == "\r\n":
                end += -1 if end - 1 > start else 1
        found.append(text[start:end])
        start = end
    return found


def pieces(texts: Iterable[Text], size: int) -> Iterator[Document]:
    """The Documents of texts, cut as by `cut`; those of one text, joined, are that text.

    A piece of white space only goes to the piece before it (leading ones to the first piece), which may then exceed
    `size`. A text of white space only, which no reader here yields, gives none. Raises ValueError if size < 1.
    """
    for text in texts:
        groups, blank = [], []
        for part in cut(text.text, size):
            if not part.isspace():
                groups.append([*blank, part])
                blank = []
            else:
                (groups[-1] if groups else blank).append(part)
        for number, group in enumerate(groups):
            yield Document("".join(group), text.subset, text.source, number)


def read_prompts(
    source: str, *, text_field: str = "text", subset_field: str = "meta.pile_set_name",
    subsets: Sequence[str] | None = None, max_prompts: int | None = None, max_chars: int | None = None,
    glob: str = "**/*", name: str | None = None, split: str = "train", problems: Problems,
    stdin: BinaryIO | None = None,
) -> list[Prompt]:  # fmt: skip
    """The prompts of a source, read as by read_texts; "-" is standard input: lines of JSON objects, else one prompt.

    The id of a prompt is its record's "id", else its place ("val.jsonl:17", "stdin:3"; "stdin" for the one prompt).
    With max_chars a prompt is the first piece of cut(text, max_chars).
    Raises CorpusError when the source cannot be read, no prompt is left, the prompt is empty, or an id comes twice.
    """
    make = partial(_made, text_field=text_field, subset_field=subset_field, problems=problems)
    handle = (stdin or sys.stdin.buffer) if source == "-" else None
    found = _found(source, make, glob, (name, split, True), MAX_LINE_BYTES, problems, handle)
    shown, prompts, places = "standard input" if source == "-" else source, [], {}
    for text in islice(_chosen(found, shown, subsets, problems, "prompt"), max_prompts):
        key = text.id or text.source
        if key in places:
            raise CorpusError(f"two prompts have the id {key!r}: {places[key]} and {text.source}", "make ids unique")
        places[key] = text.source
        start = text.text if max_chars is None else cut(text.text, max_chars)[0]
        if start.isspace():
            problems.add("empty text", text.source, f"its first {max_chars} characters are white space")
        else:
            prompts.append(Prompt(key, start, text.subset))
    if not prompts:
        raise CorpusError(f"the prompt is empty: {shown}", "; ".join(problems.summary()))
    return prompts


def fingerprint(source: str, glob: str) -> str:
    """sha256 over relative path, size and time of change (ns) of a local source's files, else of the dataset's name.

    Tells whether a corpus changed since an index of it was begun. Raises CorpusError for a path to nothing.
    """
    root, total = _local_path(source), hashlib.sha256()
    if root is None:
        total.update(source.encode())
    for relative, path in _files(root, glob, Problems()) if root else []:
        status = path.stat()
        total.update(f"{relative}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return total.hexdigest()
