"""Sources of text -> Texts and Prompts.

A source is a local file (.jsonl or .json with one record per line, plain, .gz or .zst; .parquet; any other file is one
text), a folder of such files (in which .json is one text), the name of a Hugging Face dataset, or data in memory
(in_memory.py). Text is kept exactly. Positions are given as "file:line" from 1, "file.parquet:row" and "dataset:row"
from 0, or "path/of/file".
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ttft import defaults
from ttft.corpus.in_memory import InMemory
from ttft.corpus.local_files import (
    FORMS,
    check_ordinary,
    files_of,
    line_records,
    local_path,
    parsed,
    plain_text,
    row_records,
)
from ttft.corpus.pieces import Text, cut
from ttft.corpus.problems import UNCHECKED, Problems
from ttft.errors import CorpusError
from ttft.records import Prompt

LINES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst")
Turns = tuple[tuple[str, str], ...]
DialogReader = Callable[[dict, str], tuple[str, Turns] | None]
"""The dialog in a record at a place, as one text and as turns; None if it holds none. Raises CorpusError."""
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def read_texts(
    source: str | InMemory, *, text_field: str = defaults.TEXT_FIELD, subset_field: str = defaults.SUBSET_FIELD,
    subsets: Sequence[str] | None = None, max_documents: int | None = None, glob: str = defaults.GLOB,
    name: str | None = None, split: str = defaults.SPLIT, streaming: bool = True,
    max_line_bytes: int = defaults.MAX_LINE_BYTES, problems: Problems,
) -> Iterator[Text]:  # fmt: skip
    """The texts of a source, one by one, in an order that depends only on the source.

    Fields are dotted paths into a record. The subset of a text file in a folder is its top-level subfolder, or "".
    `subsets` selects by exact name; problems are counted before this filter, max_documents after it. `glob` selects
    files of a folder ("**" matches any number of folders; hidden ones are skipped). `name` (configuration), `split` and
    `streaming` apply to Hugging Face datasets.
    Raises CorpusError if there is no such source or it is no ordinary file, and at the end if it had no text, or none
    in `subsets`.
    """
    if isinstance(source, str) and (root := local_path(source)) is not None:
        check_ordinary(root)
    make = partial(_made, text_field=text_field, subset_field=subset_field, problems=problems)
    if isinstance(source, InMemory):
        found, shown = make(source.records(text_field, problems)), f"the {source.name}"
    else:
        found, shown = _found(source, make, glob, (name, split, streaming), max_line_bytes, problems, None), source
    return islice(_chosen(found, shown, subsets, problems, "text"), max_documents)


def _found(
    source: str, make: Callable, glob: str, dataset: tuple, limit: int, problems: Problems, stdin: BinaryIO | None
) -> Iterator[Text]:
    files: Sequence[tuple[str, Path | io.BytesIO]]
    lines: tuple[str, ...]
    if stdin is not None:
        data = stdin.read()
        objects = data.strip() and all(isinstance(parsed(part), dict) for part in data.split(b"\n") if part.strip())
        files, lines = [("stdin", io.BytesIO(data))], ("stdin",) if objects else ()
    elif (root := local_path(source)) is None:
        yield from make(_hub_records(source, *dataset))
        return
    else:
        files, lines = files_of(root, glob, problems), LINES if root.is_dir() else (*LINES, ".json")
    for name, path in files:
        if name.lower().endswith(lines):
            yield from make(line_records(path, name, limit, problems))
        elif isinstance(path, Path) and name.lower().endswith(".parquet"):
            yield from make(row_records(path, name, problems))
        else:
            yield from plain_text(path, name, problems)


def _chosen(
    texts: Iterable[Text], source: str, subsets: Sequence[str] | None, problems: Problems, noun: str
) -> Iterator[Text]:
    kept = False
    seen: dict[str, None] = {}
    for text in texts:
        seen[text.subset] = None
        if subsets is None or text.subset in subsets:
            kept = True
            yield text
    if not seen:
        wrong = (
            f"the {noun} is empty: {source}"
            if set(problems.counts) - {UNCHECKED} == {"empty text"}
            else f"no {noun} in {source}"
        )
        raise CorpusError(wrong, "; ".join(problems.summary() + [r["detail"] for r in problems.records[:1]]) or FORMS)
    absent = [s for s in subsets or () if s not in seen]
    if not kept:
        there = ", ".join(list(seen)[:20]) + ", ..." * (len(seen) > 20)
        raise CorpusError(f"no {noun} of subset {', '.join(absent)} in {source}", f"subsets there: {there}")
    for subset in absent:
        problems.add("subset not found", subset, f"no {noun} in {source} has it")


def _made(
    records: Iterable[tuple[str, dict]], text_field: str, subset_field: str, problems: Problems,
    dialog: DialogReader | None = None,
) -> Iterator[Text]:  # fmt: skip
    for place, record in records:
        text, subset, own = (
            _field(record, text_field),
            _field(record, subset_field),
            record.get("id", record.get("_id")),
        )
        subset = str(subset) if isinstance(subset, str | int | float) else ""
        own = str(own) if isinstance(own, str | int) and not isinstance(own, bool) and own != "" else None
        if text is KeyError and dialog is not None and (found := dialog(record, place)) is not None:
            yield Text(found[0], subset, place, own, found[1])
        elif text is KeyError:
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


def _hub_records(source: str, name: str | None, split: str, streaming: bool) -> Iterator[tuple[str, dict]]:
    from datasets import load_dataset
    from datasets.config import HF_HUB_OFFLINE
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError

    row = -1
    try:
        for row, record in enumerate(load_dataset(source, name, split=split, streaming=streaming)):
            yield f"{source}:{row}", record
    except (DatasetsError, HTTPError, OSError, ValueError, RuntimeError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        asked = f"split {split!r}" + f", configuration {name!r}" * bool(name)
        offline = "; HF_HUB_OFFLINE is set, so only datasets in the local cache can be read" * bool(HF_HUB_OFFLINE)
        hint = f"there is no local file or folder {source} either; {FORMS}{offline}"
        raise CorpusError(f"dataset {source!r} ({asked}) cannot be read at {source}:{row + 1}: {why}", hint) from None


def read_prompts(
    source: str, *, text_field: str = defaults.TEXT_FIELD, subset_field: str = defaults.SUBSET_FIELD,
    subsets: Sequence[str] | None = None, max_prompts: int | None = None, max_chars: int | None = None,
    glob: str = defaults.GLOB, name: str | None = None, split: str = defaults.SPLIT, problems: Problems,
    stdin: BinaryIO | None = None, dialog: DialogReader | None = None,
) -> list[Prompt]:  # fmt: skip
    """The prompts of a source, read like read_texts. "-" is standard input: JSON lines, or else one prompt.

    The id of a prompt is its record's "id", else its position ("val.jsonl:17", "stdin:3"; "stdin" for one prompt).
    With max_chars a prompt is the first piece of cut(text, max_chars); a dialog stays whole.
    dialog  reads records that have no text
    Raises CorpusError if the source cannot be read, no prompt is left, the prompt is empty, or an id is not unique.
    """
    make = partial(_made, text_field=text_field, subset_field=subset_field, problems=problems, dialog=dialog)
    handle = (stdin or sys.stdin.buffer) if source == "-" else None
    found = _found(source, make, glob, (name, split, True), defaults.MAX_LINE_BYTES, problems, handle)
    shown = "standard input" if source == "-" else source
    prompts: list[Prompt] = []
    places: dict[str, str] = {}
    for text in islice(_chosen(found, shown, subsets, problems, "prompt"), max_prompts):
        key = text.id or text.source
        if key in places:
            raise CorpusError(f"two prompts have the id {key!r}: {places[key]} and {text.source}", "ids must be unique")
        places[key] = text.source
        start = text.text if max_chars is None or text.turns else cut(text.text, max_chars)[0]
        if start.isspace():
            problems.add("empty text", text.source, f"its first {max_chars} characters are white space")
        else:
            prompts.append(Prompt(key, start, text.subset, text.turns))
    if not prompts:
        raise CorpusError(f"the prompt is empty: {shown}", "; ".join(problems.summary()))
    return prompts


def file_digests(source: str, glob: str) -> dict[str, str]:
    """Relative path -> sha256 of the content of each file of a local source, sorted; {} for the name of a dataset.

    Reads every file once. Of a file that cannot be read, this is the digest. Raises CorpusError if there is no such
    path, or it is not an ordinary file and so cannot be read twice.
    """
    root = local_path(source)
    if root is None:
        return {}
    check_ordinary(root)
    found = {}
    for relative, path in files_of(root, glob, Problems()):
        try:
            with open(path, "rb") as handle:
                found[relative] = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError:
            found[relative] = "unreadable"
    return found


def fingerprint(source: str, digests: Mapping[str, str]) -> str:
    """sha256 over relative path and digest of a local source's files (`file_digests`), or over a dataset's name.

    Detects whether a corpus has changed since an index of it was begun: only its content counts, not its times.
    """
    total = hashlib.sha256()
    if not digests:
        total.update(source.encode())
    for relative, digest in digests.items():
        total.update(f"{relative}\0{digest}\n".encode())
    return total.hexdigest()


def content_fingerprint(texts: Iterable[Text]) -> str:
    """sha256 over the texts of a source in memory, with their subsets, positions and ids."""
    total = hashlib.sha256()
    for text in texts:
        for part in (text.text, text.subset, text.source, text.id or ""):
            data = part.encode()
            total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()
