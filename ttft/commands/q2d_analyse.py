"""ttft q2d analyse: generated dialogs in numbers beside human ones; the blind sheet, its score, an LLM as the judge."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.q2d_analyse import Q2dAnalyseConfig
from ttft.progress import counted

if TYPE_CHECKING:
    from ttft.q2d.analysis import Case
    from ttft.q2d.llm import Llm
    from ttft.q2d.turing import Score, Sheet


def run(config: Q2dAnalyseConfig, *, dry_run: bool = False) -> None:
    """Print the numbers: a table on a terminal, JSON in a pipe. Raises TtftError."""
    from ttft.q2d.turing import key_file, read_guesses, score

    if dry_run:
        files = [Path(config.sheet), key_file(Path(config.sheet))] if config.sheet else []
        show_plan(config, [*([Path(config.out)] if config.out else []), *files])
        return
    from ttft import run_dir

    if config.score is not None:
        found: dict[str, Any] = {"people": score(*read_guesses(Path(config.score))).to_json()}
    else:
        machine, human = _cases(config)
        found = _described(machine, human, config.seed)
        if config.sheet or config.judge:
            sheet = _sheet(config, machine, human)
            found |= {"judge": _judge(config, sheet).to_json()} if config.judge else {}
    if config.out:
        run_dir.write_json(Path(config.out), found)
    if sys.stdout.isatty():
        _print(found)
    else:
        say(json.dumps(found, ensure_ascii=False))


def _cases(config: Q2dAnalyseConfig) -> tuple[list[Case], list[Case]]:
    """The generated and the human dialogs; [] of the latter if none are asked for."""
    from ttft.q2d import analysis
    from ttft.q2d.conversations import load_examples
    from ttft.q2d.dialogs import read_dialogs

    machine = analysis.generated(read_dialogs(Path(config.dialogs or "")))
    if config.against is None:
        return machine, []
    return machine, analysis.human(load_examples(Path(config.against), config.form))


def _described(machine: list[Case], human: list[Case], seed: int) -> dict[str, Any]:
    """distinct-n is computed over as many dialogs of both."""
    from ttft.q2d.analysis import describe
    from ttft.q2d.funnel import HUMAN_DECILES

    compared = min(len(machine), len(human)) if human else len(machine)
    sets = {"generated": machine} | ({"human": human} if human else {})
    found = {
        name: describe(cases, compared=compared, seed=seed).to_json()
        for name, cases in sets.items()
    }  # fmt: skip
    return found | ({} if human else {"human": {"deciles": HUMAN_DECILES}})


def _sheet(config: Q2dAnalyseConfig, machine: list[Case], human: list[Case]) -> Sheet:
    """The blind sheet, written with its key if a file is asked for."""
    from ttft.files import write_whole
    from ttft.q2d.turing import blind_sheet, key_file, key_json, sheet_csv
    from ttft.run_dir import make_folder, write_json

    sheet = blind_sheet(machine, human, each=config.items, seed=config.seed)
    if config.sheet:
        path = Path(config.sheet)
        make_folder(path.parent)
        write_json(key_file(path), key_json(sheet, config.seed))
        write_whole(path, sheet_csv(sheet).encode())
        note(
            f"{path}: {counted(len(sheet.items), 'dialog')}; fill in the column guess (human or machine), then: "
            f"ttft q2d analyse --score {path}; do not look at {key_file(path)}"
        )  # fmt: skip
    return sheet


def _judge(config: Q2dAnalyseConfig, sheet: Sheet) -> Score:
    """The guesses of a language model at the dialogs of the sheet, scored."""
    from ttft.q2d.turing import ask_judge, score

    with progress() as display:
        guesses = ask_judge(_llm(config), sheet.items, on_progress=display)
    return score(guesses, {item: entry["origin"] for item, entry in sheet.key.items()})


def _llm(config: Q2dAnalyseConfig) -> Llm:
    from ttft.q2d.llm import Sampling
    from ttft.q2d.llms import open_llm

    sampling = Sampling(temperature=0.0, max_tokens=16, seed=config.seed)
    return open_llm(
        config.judge or "", sampling, model=config.judge_model, key_env=config.api_key_env, device=config.device
    )


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    sets = {name: value for name, value in found.items() if name in ("generated", "human")}
    console = Console()
    if sets:
        table = Table("", *sets)
        keys = list(dict.fromkeys(key for value in sets.values() for key in value))
        for key in keys:
            table.add_row(key, *(_shown(value.get(key)) for value in sets.values()))
        console.print(table)
    for name in ("people", "judge"):
        if name in found:
            s = found[name]
            say(f"{name}: {s['right']} of {s['guessed']} right, {100 * s['accuracy']:.1f}% "
                f"(95% interval {100 * s['low']:.1f} to {100 * s['high']:.1f}; chance is 50); "
                f"{s['blank']} without a guess")  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return " ".join(_shown(part) for part in value)
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
