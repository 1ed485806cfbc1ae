"""ttft q2d generate: questions -> dialogs, by rules or by a language model, in a resumable run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note, progress, say, show_plan
from ttft.config.q2d_generate import Q2dGenerateConfig
from ttft.progress import counted
from ttft.run_dir import CONFIG, PROVENANCE

if TYPE_CHECKING:
    from ttft.q2d.generate import Account, Author, Written
    from ttft.q2d.prompts import Demonstrations
    from ttft.q2d.records import Question

PLACES = ("out", "preview", "concurrency", "timeout", "api_key_env", "cache", "price_in", "price_out", "device")
"""Options that do not affect what is written."""


def run(config: Q2dGenerateConfig, *, dry_run: bool = False) -> None:
    """Write the dialogs, or those that are missing; or show some. Raises TtftError."""
    from ttft.q2d import endpoint, generate

    if endpoint.is_url(config.llm):  # before anything is shown or written
        endpoint.check_url(config.llm)
        endpoint.check_key_name(config.api_key_env)
    folder = Path(config.out or ".")
    if dry_run:
        files = (generate.DIALOGS, generate.FAILED, generate.COST, CONFIG, PROVENANCE)
        show_plan(config, [] if config.preview else [folder / name for name in files])
        return
    from ttft import run_dir
    from ttft.q2d.prompts import load_demonstrations

    shown = load_demonstrations(Path(config.demonstrations) if config.demonstrations else None)
    questions = _questions(config)
    generate.check_questions(questions, shown)
    author = _author(config, questions, shown)
    if config.preview:
        for question, one in zip(questions, generate.preview(questions[: config.preview], author), strict=False):
            say(_shown(question, one))
        return
    with run_dir.locked(folder):
        run_dir.claim_run(folder, identity(config, questions, shown))
        run_dir.record_provenance(folder, run_dir.provenance(config.seed, {}))
        started = time.perf_counter()
        prices = None if config.price_in is None or config.price_out is None else (config.price_in, config.price_out)
        with progress() as display:
            account = generate.generate_into(
                folder, questions, author, samples=config.samples, prices=prices, on_progress=display
            )
        seconds = time.perf_counter() - started
        run_dir.finish_provenance(folder, seconds, account.written)
    say(_summary(account, seconds, folder))


def _questions(config: Q2dGenerateConfig) -> list[Question]:
    from ttft.q2d.questions import load_questions

    return load_questions(config.questions, config.form, column=config.column, on_note=note)[: config.max_questions]


def _author(config: Q2dGenerateConfig, questions: list[Question], shown: Demonstrations) -> Author:
    """What writes the dialogs. Raises TtftError for a missing key, package or model."""
    from ttft.q2d import generate
    from ttft.q2d.llm import Sampling
    from ttft.q2d.llms import open_llm

    if config.llm == generate.RULES:
        return generate.RuleAuthor(questions, config.seed, others=config.other_topics)
    from ttft import runtime

    runtime.quiet_libraries()
    runtime.setup(config.seed)
    llm = open_llm(
        config.llm, Sampling(config.temperature, config.max_tokens, config.top_p, config.seed), model=config.llm_model,
        key_env=config.api_key_env, concurrency=config.concurrency, timeout=config.timeout, device=config.device,
        dtype=config.dtype, batch=config.batch,
    )  # fmt: skip
    cache = None if config.preview else Path(config.cache or f"{config.out}/cache")
    return generate.LlmAuthor(llm, shown, shots=config.shots, cache=cache)


def identity(config: Q2dGenerateConfig, questions: list[Question], shown: Demonstrations) -> dict[str, Any]:
    """The resolved configuration, in which questions and demonstrations are identified by content."""
    from ttft.q2d.endpoint import is_url
    from ttft.run_dir import sha256_text

    resolved = config.resolved() | {"command": "q2d generate", "count": len(questions)}
    resolved["questions"] = sha256_text("\n".join(repr(question) for question in questions))
    resolved["demonstrations"] = sha256_text(repr(shown))
    if is_url(config.llm):
        resolved["llm"] = "endpoint"  # the same model may be served elsewhere
        del resolved["batch"], resolved["dtype"]
    for place in PLACES:
        del resolved[place]
    return resolved


def _shown(question: Question, one: Written) -> str:
    from ttft.q2d.records import Dialog
    from ttft.q2d.text import dialog_text

    text = dialog_text(one.turns) if isinstance(one, Dialog) else f"[failed: {one.why}]\n{one.text}"
    return f"Question: {question.question}\n{text}\n"


def _summary(account: Account, seconds: float, folder: Path) -> str:
    cost, words = account.cost, [f"{folder}: {counted(account.dialogs, 'dialog')}"]
    if account.failed:
        words.append(f"{account.failed:,} failed (see failed.jsonl)")
    if cost.requests:
        words.append(f"{cost.prompt_tokens:,} + {cost.completion_tokens:,} tokens of prompts and answers")
        words += [f"{cost.cached:,} answers from the cache"] if cost.cached else []
    words += [f"cost {cost.cost:g}"] if cost.cost is not None else []
    return f"{', '.join(words)}, {seconds:.1f} s; next: ttft q2d filter {folder} --out {folder}-filtered"
