"""Pairs of a dialog and its query: from a file, from human conversations, from generated dialogs."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ttft.errors import CorpusError
from ttft.files import open_regular, read_bytes
from ttft.q2d.records import Dialog, Example, Pair
from ttft.q2d.text import LABELS, model_text, norm, one_line
from ttft.state import parse_json, record

PAIRS = "pairs.jsonl"
SHORT = 5  # words: so short a query is asked in many conversations
LONGEST_LINE, LARGEST = 1 << 20, 1 << 32  # bytes, of a line and of a file


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a JSONL file ({"id", "source", "target"}), or of the folder of `ttft q2d filter`.

    Raises CorpusError that names file and line for what is not such a record, or is empty; MissingArtifact for no file.
    """
    path = path / PAIRS if path.is_dir() else path
    if not path.is_file():
        raise CorpusError(f"no pairs file: {path}", "`ttft q2d filter` writes one")
    pairs = []
    for number, line in enumerate(read_bytes(path, LARGEST).split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        if len(line) > LONGEST_LINE:
            raise CorpusError(f"{where}: the line has {len(line):,} bytes, more than {LONGEST_LINE:,}")
        hint = 'a pair is {"id": ..., "source": the dialog, "target": its query}'
        pair = record(Pair, parse_json(line, where, CorpusError, hint), where, CorpusError, hint)
        if not pair.source.strip() or not pair.target.strip():
            raise CorpusError(f"{where}: source and target must not be empty", hint)
        pairs.append(pair)
    if not pairs:
        raise CorpusError(f"{path} is empty")
    return pairs


def is_pairs_file(path: Path) -> bool:
    """Whether the first record of a JSONL file has the fields of a pair."""
    if not path.is_file():
        return False
    with open_regular(path) as file:
        line = file.readline(LONGEST_LINE)
    try:
        first = json.loads(line)
    except ValueError:
        return False
    return isinstance(first, dict) and {"id", "source", "target"} <= first.keys()


def of_examples(examples: Iterable[Example]) -> Iterator[Pair]:
    """Of the turns that have a history: a first turn is its own query."""
    for one in examples:
        if len(one.turns) > 1 and one.target.strip():
            yield Pair(one.id, model_text(one.turns), one_line(one.target))


def of_dialogs(dialogs: Iterable[Dialog]) -> Iterator[Pair]:
    """Of the dialogs that were not dropped."""
    for one in dialogs:
        if one.verdict != "drop":
            yield Pair(one.id, model_text(one.turns), one_line(one.query))


def without_targets(pairs: Sequence[Pair], others: Iterable[Example]) -> list[Pair]:
    """The pairs whose query is not the rewrite of one of these examples; queries of up to five words may be."""
    known = {norm(one.target) for one in others}
    return [one for one in pairs if len(norm(one.target).split()) <= SHORT or norm(one.target) not in known]


def without_answers(pairs: Sequence[Pair], share: float, seed: int) -> list[Pair]:
    """The pairs, a share of them without the assistant's turns: some histories hold questions alone."""
    rng = random.Random(seed)
    return [replace(one, source=_questions(one.source)) if rng.random() < share else one for one in pairs]


def _questions(source: str) -> str:
    answer = f"{LABELS['assistant']}: "
    return "\n".join(line for line in source.split("\n") if not line.startswith(answer))


def held_out(pairs: Sequence[Pair], share: float, most: int = 200) -> tuple[list[Pair], list[Pair]]:
    """(pairs to train on, held-out pairs): by a hash of the target, so that no query is on both sides, and always the
    same ones."""
    kept: list[Pair] = []
    held: list[Pair] = []
    for pair in pairs:
        draw = int.from_bytes(hashlib.sha256(pair.target.encode()).digest()[:8], "big") / 2**64
        (held if draw < share and len(held) < most else kept).append(pair)
    return kept, held
