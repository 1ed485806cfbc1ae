"""Dialogs that passed the filters -> a data set for others: JSON lines, Parquet, or a folder of `datasets`.

DIR/README.md                      the card, for people and for the Hub
DIR/data/{train,validation,test}.jsonl | .parquet, or DIR/{dataset_dict.json, train/, ...} with "datasets"
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ttft.errors import ConfigError, CorpusError
from ttft.files import replacing_folder, write_whole
from ttft.q2d.analysis import describe, generated
from ttft.q2d.cards import dataset_card
from ttft.q2d.records import Dialog
from ttft.q2d.splits import SHARES, split
from ttft.q2d.text import dialog_text, norm
from ttft.run_dir import make_folder

Format = Literal["jsonl", "parquet", "datasets"]
DATA, CARD = "data", "README.md"


def rows_by_split(
    dialogs: Sequence[Dialog], *, shares: Mapping[str, float] = SHARES, seed: int = 0, without: Sequence[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Split -> rows of the dialogs that no filter dropped, in their order; no question is in two splits.

    without  questions that are in no split, such as those of the demonstrations
    Raises CorpusError if no dialog is left.
    """
    left_out = {norm(question) for question in without}
    kept = [d for d in dialogs if d.verdict != "drop" and norm(d.query) not in left_out]
    if not kept:
        raise CorpusError("no dialog is left to export", "see funnel.json for what the filters dropped")
    names = split([question_keys(d) for d in kept], shares, seed=seed)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in shares}
    for name, dialog in zip(names, kept, strict=True):
        rows[name].append(row(dialog))
    return {name: some for name, some in rows.items() if some}


def question_keys(dialog: Dialog) -> list[str]:
    """What no dialog of another split may share: its question, by id and by its words."""
    return [f"id {dialog.question_id}", f"words {norm(dialog.query)}"]


def row(dialog: Dialog) -> dict[str, Any]:
    """input, target: what a query model is trained on;  turns: the same dialog as records."""
    return {
        "id": dialog.id, "question_id": dialog.question_id, "input": dialog_text(dialog.turns),
        "target": dialog.query, "turns": [{"role": turn.role, "text": turn.text} for turn in dialog.turns],
        "answers": list(dialog.answers), "source": dialog.source, "generator": dialog.generator.model,
    }  # fmt: skip


def card_of(
    dialogs: Sequence[Dialog], *, name: str, funnel: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None, splits: Mapping[str, int] | None = None, data_files: str | None = None,
) -> str:  # fmt: skip
    """The card of dialogs (cards.dataset_card), with the statistics of those that no filter dropped."""
    cases = generated(dialogs)
    statistics = describe(cases, compared=len(cases)).to_json() if cases else None
    return dataset_card(
        dialogs, name=name, funnel=funnel, settings=settings, statistics=statistics, splits=splits,
        data_files=data_files,
    )  # fmt: skip


def export(rows: Mapping[str, Sequence[Mapping[str, Any]]], out: Path, form: Format, card: str) -> list[Path]:
    """Write the folder `out` whole or not at all, and return its data files. Raises ConfigError if it is there already
    and not empty, DiskFull, TtftError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already", "choose another --out")
    make_folder(out.parent)
    with replacing_folder(out) as part:
        if form == "datasets":
            _datasets(rows).save_to_disk(str(part))
        else:
            (part / DATA).mkdir()
            for name, some in rows.items():
                _write(part / DATA / f"{name}.{form}", some, form)
        write_whole(part / CARD, card.encode())
    return sorted(p for p in out.rglob("*") if p.is_file() and p.name != CARD)


def _write(path: Path, rows: Sequence[Mapping[str, Any]], form: Format) -> None:
    if form == "jsonl":
        write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema()), sink)
    write_whole(path, sink.getvalue().to_pybytes())


def _datasets(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    from datasets import Dataset, DatasetDict
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    import pyarrow as pa

    tables = {name: pa.Table.from_pylist(list(some), schema=_schema()) for name, some in rows.items()}
    return DatasetDict({name: Dataset(table) for name, table in tables.items()})


def _schema() -> Any:
    """Stated, so that a split in which no dialog has answers has the same columns as the others."""
    import pyarrow as pa

    text = pa.string()
    turn = pa.struct([("role", text), ("text", text)])
    kinds = {"turns": pa.list_(turn), "answers": pa.list_(text)}
    names = ("id", "question_id", "input", "target", "turns", "answers", "source", "generator")
    return pa.schema([(name, kinds.get(name, text)) for name in names])
