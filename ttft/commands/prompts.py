"""Shared by the commands that take prompts: reading them, and the options of the library's `Tuner`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note
from ttft.config.select import SelectionFields
from ttft.config.tuning import TuningFields
from ttft.errors import CorpusError
from ttft.records import Prompt

if TYPE_CHECKING:
    from ttft.tuner.session import Tuner

SELECTION = (
    "index", "embedder", "strategy", "n", "lambda_", "alpha", "policy", "relevance", "query", "nprobe", "ef_search",
    "rewrites",
    "device", "dtype", "seed", "trust_remote_code",
)  # fmt: skip
LONG = 100_000  # characters of a prompt that take minutes
TRAINING = (
    "model", "model_revision", "max_length", "method", "rank", "lora_alpha", "rslora", "vocabulary", "lr", "warm_down",
    "reuse", "slots", "start_from",
)  # fmt: skip
"""Options with the same names as the arguments of `Tuner`."""


def load_prompts(config: SelectionFields) -> list[Prompt]:
    """Prompts from --prompt, --prompts or else standard input. Raises CorpusError if there is none."""
    from ttft.corpus.pieces import cut
    from ttft.corpus.problems import Problems
    from ttft.corpus.sources import read_prompts

    if config.prompt is not None:
        start = config.prompt if config.max_prompt_chars is None else cut(config.prompt, config.max_prompt_chars)[0]
        if start.isspace():
            raise CorpusError(f"the prompt's first {config.max_prompt_chars} characters are white space")
        return _told([Prompt("prompt", start)])
    if config.prompts in (None, "-") and sys.stdin is None:
        raise CorpusError("there is no prompt: standard input is closed", "give --prompt TEXT or --prompts FILE")
    if config.prompts is None and sys.stdin.isatty():
        note("type the prompt and end it with Ctrl-D (or give --prompt TEXT or --prompts FILE)")
    problems = Problems()
    prompts = read_prompts(
        config.prompts or "-", text_field=config.text_field, subset_field=config.subset_field, subsets=config.subsets,
        max_prompts=config.max_prompts, max_chars=config.max_prompt_chars, problems=problems, dialog=read_a_dialog,
    )  # fmt: skip
    for line in problems.summary():
        note(line)
    dialogs = sum(bool(prompt.turns) for prompt in prompts)
    if config.rewrite is not None and not dialogs:
        note("no prompt is a dialog, so there is nothing to --rewrite: a dialog's record has turns or messages")
    if dialogs and config.max_prompt_chars is not None:
        note("max_prompt_chars does not shorten dialogs")
    return _told(prompts)


def read_a_dialog(record: dict, place: str) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    """The dialog in a record of prompts, as `read_prompts` takes it."""
    from ttft.q2d.dialog_input import is_dialog, read_dialog
    from ttft.tuner.dialogs import plain_text, spoken

    if not is_dialog(record):
        return None
    dialog = read_dialog(record, place, lenient=True)
    for remark in dialog.notes:
        note(f"{place}: {remark}")
    turns = spoken(dialog)
    return plain_text(turns), turns


def _told(prompts: list[Prompt]) -> list[Prompt]:
    """The prompts, with a note on those that are so long that the work seems to hang."""
    for prompt in prompts:
        if len(prompt.text) > LONG:
            note(
                f"prompt {prompt.id} has {len(prompt.text):,} characters, which takes minutes; to use only the "
                "beginning of each prompt: --set max_prompt_chars=20000"
            )
    return prompts


def tuner_options(config: SelectionFields) -> dict[str, Any]:
    """The arguments of `Tuner` for a configuration, as plain values that can be sent to workers."""
    names = SELECTION + (TRAINING if isinstance(config, TuningFields) else ())
    rule = "calibrated" if config.rule() == "calibrated" else "never"
    return {name: getattr(config, name) for name in names} | {
        "k": None if config.k == "all" else config.k,
        "stop": rule,
        "rewriter": config.rewrite,
    }


def make_tuner(config: SelectionFields, **more: Any) -> Tuner:
    """The session of a command in this process."""
    from ttft import runtime
    from ttft.tuner.session import Tuner

    runtime.quiet_libraries()
    runtime.setup(config.seed)
    runtime.keep_freed_memory()
    return Tuner(**tuner_options(config), **more, on_note=note)
