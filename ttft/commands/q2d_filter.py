"""ttft q2d filter: generated dialogs -> dialogs with verdicts, pairs to train on, and the funnel on the screen."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note, plain, progress, say, show_plan
from ttft.commands.q2d_recovery import recovery
from ttft.commands.q2d_similarity import similarity_named
from ttft.config.q2d_filter import Q2dFilterConfig
from ttft.run_dir import CONFIG, PROVENANCE

if TYPE_CHECKING:
    from ttft.q2d.funnel import Funnel
    from ttft.q2d.records import Dialog

FUNNEL = "funnel.json"
PLACES = {"dialogs", "out", "device", "api_key_env"}  # of the options: where, not what


def run(config: Q2dFilterConfig, *, dry_run: bool = False) -> None:
    """Filter, unless OUT has the result already, and show the funnel. Raises TtftError."""
    from ttft.q2d.dialogs import DIALOGS, read_dialogs
    from ttft.q2d.export import CARD
    from ttft.q2d.pairs import PAIRS

    folder = Path(config.out)
    if dry_run:
        show_plan(config, [folder / name for name in (DIALOGS, PAIRS, CARD, FUNNEL, CONFIG, PROVENANCE)])
        return
    from ttft import run_dir
    from ttft.q2d.filters import filter_dialogs

    dialogs = read_dialogs(Path(config.dialogs))
    identity = {k: v for k, v in config.resolved().items() if k not in PLACES} | {"threshold": config.tau}
    identity["recover_with"] = model_identity(config.recover_with)
    with run_dir.locked(folder):
        run_dir.claim_run(folder, identity | {"dialogs_sha256": _sha256(dialogs)})
        if (folder / FUNNEL).is_file():
            note(f"{folder} is complete; nothing to do")
            _show(json.loads((folder / FUNNEL).read_bytes()), folder)
            return
        run_dir.record_provenance(folder, run_dir.provenance(config.seed, {}))
        started = time.perf_counter()
        with progress() as display:
            done, funnel = filter_dialogs(
                dialogs, limits_of(config), on_progress=display, on_note=note, recover=recovery(config),
                similarity=similarity_named(config.similarity, config.embedder, config.device, config.seed),
            )  # fmt: skip
        write(folder, done, funnel, identity)
        run_dir.finish_provenance(folder, time.perf_counter() - started, len(done))
    _show(funnel.to_json(), folder)


def model_identity(name: str | None) -> str | None:
    """A model's name, a query model's content: the same folder may hold another model tomorrow."""
    from ttft.run_dir import sha256_file

    weights = Path(name or "") / "adapter_model.safetensors"
    return f"query model {sha256_file(weights)}" if name and weights.is_file() else name


def limits_of(config: Q2dFilterConfig) -> Any:
    """The library's limits for the options."""
    from ttft.q2d.filters import Limits

    return Limits(
        config.min_turns, config.max_turns, config.max_turn_words, config.max_last_words, config.max_dialog_words,
        config.copied, config.answer_chars, config.recoverable, config.tau, config.jaccard, config.per_question,
        config.off,
    )  # fmt: skip


def write(folder: Path, dialogs: list[Dialog], funnel: Funnel, settings: dict[str, Any]) -> None:
    """The files of a folder of filtered dialogs; the funnel last, which says that the others are whole."""
    from ttft import run_dir
    from ttft.files import write_whole
    from ttft.q2d.dialogs import DIALOGS
    from ttft.q2d.export import CARD, card_of
    from ttft.q2d.pairs import PAIRS, of_dialogs
    from ttft.state import checked_line

    write_whole(folder / DIALOGS, b"".join(checked_line(dialog.to_json()) for dialog in dialogs))
    lines = [json.dumps(pair.to_json(), ensure_ascii=False) + "\n" for pair in of_dialogs(dialogs)]
    write_whole(folder / PAIRS, "".join(lines).encode())
    card = card_of(dialogs, name=folder.resolve().name, funnel=funnel.to_json(), settings=settings)
    write_whole(folder / CARD, card.encode())
    run_dir.write_json(folder / FUNNEL, funnel.to_json())


def _sha256(dialogs: list[Dialog]) -> str:
    from ttft.run_dir import sha256_text

    return sha256_text("\n".join(json.dumps(dialog.to_json(), sort_keys=True) for dialog in dialogs))


def _show(funnel: dict[str, Any], folder: Path) -> None:
    rows = [("filter", "dropped", "only by it", "left"), ("", "", "", f"{funnel['total']:,}")]
    rows += [(s["name"], f"{s['dropped']:,}", f"{s['only']:,}", f"{s['left']:,}") for s in funnel["steps"]]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*rows[0])
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows[1:]:
            table.add_row(*map(plain, row))
        Console().print(table)
    else:
        say("\n".join(f"{name:18}{dropped:>9}{only:>12}{left:>9}".rstrip() for name, dropped, only, left in rows))
    for name, count in funnel["notes"].items():
        say(f"{name}: {count:,}")
    share = 100 * funnel["kept"] / funnel["total"]
    say(f"{funnel['kept']:,} of {funnel['total']:,} dialogs kept ({share:.1f}%)")
    if funnel["kept"]:
        from ttft.q2d.funnel import HUMAN_DECILES

        say("ROUGE-1 F of last turn and query, deciles of the dialogs kept: " + _deciles(funnel["last_turn_deciles"]))
        say("  human dialogs (higher values mean that the query is copied more): " + _deciles(HUMAN_DECILES))
        say(f"{folder}; next: ttft q2d train {folder} --out MODEL")
    else:
        say(f"{folder}; nothing is left to train on: see the reasons in its dialogs, or generate more")


def _deciles(values: Any) -> str:
    return " ".join(f"{value:.2f}" for value in values)
