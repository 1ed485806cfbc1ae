"""Files of dialogs, generated or filtered -> Dialogs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ttft.errors import CorpusError, TtftError
from ttft.files import read_bytes
from ttft.q2d.reading import LARGEST_FILE, LONGEST_TEXT, Row, read_rows
from ttft.q2d.records import Dialog
from ttft.state import CHECK, parse_json, read_records, record

DIALOGS = "dialogs.jsonl"
UNKNOWN = {"model": "unknown", "prompt_sha256": "", "seed": 0, "temperature": 0.0, "sample": 0}
HINT = "a dialog has id, query and turns [{role, text}]; `ttft q2d generate` writes such records"


def read_dialogs(path: Path) -> list[Dialog]:
    """The dialogs of a folder of `ttft q2d generate` or `filter`, or of a JSONL file.

    Lines with a checksum must match it. Lines without one need id, query and turns only. An id stands once. Raises
    CorpusError or TtftError that names file and line, MissingArtifact for no file.
    """
    path = path / DIALOGS if path.is_dir() else path
    dialogs = read_records(path, Dialog, key=lambda dialog: dialog.id) if _is_checked(path) else _plain(read_rows(path))
    for dialog in dialogs:
        longest = max((len(turn.text) for turn in dialog.turns), default=0)
        if longest > LONGEST_TEXT:
            raise CorpusError(
                f"{path}: a turn of dialog {dialog.id} has {longest:,} characters, more than {LONGEST_TEXT:,}",
                "shorten it, or remove the dialog",
            )
        if not dialog.query.strip():
            raise CorpusError(f"{path}: dialog {dialog.id} has no query", HINT)
    if not dialogs:
        raise CorpusError(f"{path} holds no dialogs", "make some with `ttft q2d generate`")
    return dialogs


def _is_checked(path: Path) -> bool:
    """Whether the first line is a record with a checksum."""
    first = read_bytes(path, LARGEST_FILE).partition(b"\n")[0]
    try:
        value = parse_json(first, str(path))
    except TtftError:
        return False
    return isinstance(value, dict) and CHECK in value


def _plain(rows: list[Row]) -> list[Dialog]:
    dialogs: dict[str, Dialog] = {}
    for where, value in rows:
        dialog = record(Dialog, _completed(value), where, CorpusError, HINT)
        if dialog.id in dialogs:
            raise CorpusError(f"{where} repeats the id {dialog.id!r}", "give every dialog its own id")
        dialogs[dialog.id] = dialog
    return list(dialogs.values())


def _completed(value: Any) -> Any:
    """A record of somebody else's with what only a generator knows."""
    if not isinstance(value, dict):
        return value
    known = {key: part for key, part in value.items() if key != CHECK}
    return {"question_id": str(known.get("id", "")), "generator": UNKNOWN} | known
