"""ttft q2d rewrite: dialogs -> search queries, as JSON lines; from standard input it is a filter."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.q2d_rewrite import RewriteConfig
from ttft.errors import CorpusError
from ttft.files import open_regular, write_whole
from ttft.progress import Progress, counted

if TYPE_CHECKING:
    from ttft.q2d.dialog_input import DialogInput

BATCH = 16


def run(config: RewriteConfig, *, dry_run: bool = False) -> None:
    """Print or write a line for each dialog. Raises TtftError; a file is checked whole before anything is loaded."""
    if dry_run:
        show_plan(config, [Path(config.out)] if config.out else [])
        return
    dialogs, total = _dialogs(config)
    from ttft import runtime
    from ttft.q2d.rewriter import load_rewriter

    runtime.quiet_libraries()
    runtime.setup(0)
    rewriter = load_rewriter(
        config.model, device=config.device, dtype=config.dtype, max_new_tokens=config.max_new_tokens
    )
    size = config.batch or (1 if config.dialogs == "-" else BATCH)
    lines: list[str] = []
    done = failed = 0
    with progress() as display:
        while some := list(islice(dialogs, size)):
            made = rewriter.rewrite([dialog.turns for dialog in some], n=config.n)
            done += len(some)
            failed += sum(rewrite.how == "last turn" and bool(rewrite.note) for rewrite in made)
            new = [_line(dialog, rewrite.to_json()) for dialog, rewrite in zip(some, made, strict=True)]
            display(Progress("rewriting", done, total, "dialogs"))
            if config.out:
                lines += new
            else:
                with display.paused():
                    for line in new:
                        say(line)
    if not done:
        raise CorpusError(f"there is no dialog in {config.dialogs}", "give one JSON object per line")
    if config.out:
        write_whole(Path(config.out), "".join(line + "\n" for line in lines).encode())
        say(f"{config.out}: queries of {counted(done, 'dialog')}")
    if failed:
        note(f"{counted(failed, 'dialog')} of {done:,} got the last turn in place of the model's query: see `note`")


def _line(dialog: DialogInput, rewrite: dict) -> str:
    remarks = "; ".join([*dialog.notes, *([rewrite["note"]] if rewrite["note"] else [])])
    return json.dumps({"id": dialog.id} | rewrite | {"note": remarks}, ensure_ascii=False)


def _dialogs(config: RewriteConfig) -> tuple[Iterator[DialogInput], int | None]:
    """The dialogs, and how many there are if that is known. Those of a file are all read."""
    from ttft.q2d.dialog_input import read_dialog, read_dialogs

    if config.turn is not None:
        return iter([read_dialog({"id": "dialog", "turns": config.turn}, "--turn", lenient=config.lenient)]), 1
    assert config.dialogs is not None
    if config.dialogs == "-":
        if sys.stdin is None:
            raise CorpusError("there are no dialogs: standard input is closed", "give a file, or --turn TEXT")
        return read_dialogs(_stdin(), "stdin", lenient=config.lenient), None
    with open_regular(Path(config.dialogs)) as handle:
        dialogs = list(read_dialogs(handle, config.dialogs, lenient=config.lenient))
    return iter(dialogs), len(dialogs)


def _stdin() -> Iterator[bytes]:
    """Line by line, without reading ahead."""
    return iter(sys.stdin.buffer.readline, b"")
