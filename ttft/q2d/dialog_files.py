"""Files of generated dialogs: dialogs.jsonl of a folder that generate or filter made, or any JSON lines of Dialogs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ttft.errors import CorpusError
from ttft.files import read_bytes
from ttft.q2d.records import Dialog
from ttft.state import CHECK, parse_json, parse_line, record

DIALOGS, FUNNEL = "dialogs.jsonl", "funnel.json"
LARGEST = 1 << 32  # bytes
FORM = "a dialog has id, question_id, query, turns [{role, text}] and generator; `ttft q2d generate` writes such files"


def load_dialogs(path: Path) -> list[Dialog]:
    """The dialogs of a folder or a file, whose lines may have checksums.

    Raises CorpusError naming file and line for what is no dialog, an id that stands twice, or no dialog at all;
    TtftError for a line that does not match its checksum; MissingArtifact for no file.
    """
    file = path / DIALOGS if path.is_dir() else path
    if not file.is_file():
        raise CorpusError(f"no dialogs: {file} is not there", FORM)
    dialogs: dict[str, Dialog] = {}
    for number, line in enumerate(read_bytes(file, LARGEST).split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        value = parse_json(line, where, CorpusError, FORM)
        checked = isinstance(value, dict) and CHECK in value
        dialog = parse_line(Dialog, line, where) if checked else record(Dialog, value, where, CorpusError, FORM)
        if not dialog.turns or dialog.turns[-1].role != "user":
            raise CorpusError(f"{where}: the dialog does not end with a turn of the user", FORM)
        if dialog.id in dialogs:
            raise CorpusError(f"{where}: the id {dialog.id!r} stands twice")
        dialogs[dialog.id] = dialog
    if not dialogs:
        raise CorpusError(f"{file} is empty", FORM)
    return list(dialogs.values())


def load_funnel(path: Path) -> dict[str, Any] | None:
    """funnel.json beside the dialogs, None if there is none. Raises CorpusError if it is no mapping."""
    file = (path if path.is_dir() else path.parent) / FUNNEL
    if not file.is_file():
        return None
    value = json.loads(read_bytes(file))
    if not isinstance(value, dict):
        raise CorpusError(f"{file} is not a mapping")
    return value
