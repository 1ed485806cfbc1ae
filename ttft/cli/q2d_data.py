"""Commands of q2d that make and sift dialogs: generate, filter, calibrate."""

from __future__ import annotations

from typing import Annotated

from ttft.cli.options import ConfigFile, DryRun, Sets, argument, configure, option
from ttft.config.q2d_calibrate import Q2dCalibrateConfig
from ttft.config.q2d_filter import Q2dFilterConfig
from ttft.config.q2d_generate import Q2dGenerateConfig


def generate(
    questions: Annotated[str | None, argument(Q2dGenerateConfig, "questions", "QUESTIONS")] = None,
    out: Annotated[str | None, option(Q2dGenerateConfig, "out", "--out", "-o")] = None,
    preview: Annotated[int | None, option(Q2dGenerateConfig, "preview")] = None,
    samples: Annotated[int | None, option(Q2dGenerateConfig, "samples")] = None,
    llm: Annotated[str | None, option(Q2dGenerateConfig, "llm")] = None,
    llm_model: Annotated[str | None, option(Q2dGenerateConfig, "llm_model")] = None,
    temperature: Annotated[float | None, option(Q2dGenerateConfig, "temperature")] = None,
    top_p: Annotated[float | None, option(Q2dGenerateConfig, "top_p")] = None,
    max_tokens: Annotated[int | None, option(Q2dGenerateConfig, "max_tokens")] = None,
    shots: Annotated[int | None, option(Q2dGenerateConfig, "shots")] = None,
    demonstrations: Annotated[str | None, option(Q2dGenerateConfig, "demonstrations")] = None,
    max_questions: Annotated[int | None, option(Q2dGenerateConfig, "max_questions")] = None,
    form: Annotated[str | None, option(Q2dGenerateConfig, "form")] = None,
    column: Annotated[str | None, option(Q2dGenerateConfig, "column")] = None,
    concurrency: Annotated[int | None, option(Q2dGenerateConfig, "concurrency")] = None,
    timeout: Annotated[float | None, option(Q2dGenerateConfig, "timeout")] = None,
    api_key_env: Annotated[str | None, option(Q2dGenerateConfig, "api_key_env")] = None,
    cache: Annotated[str | None, option(Q2dGenerateConfig, "cache")] = None,
    price_in: Annotated[float | None, option(Q2dGenerateConfig, "price_in")] = None,
    price_out: Annotated[float | None, option(Q2dGenerateConfig, "price_out")] = None,
    batch: Annotated[int | None, option(Q2dGenerateConfig, "batch")] = None,
    device: Annotated[str | None, option(Q2dGenerateConfig, "device")] = None,
    dtype: Annotated[str | None, option(Q2dGenerateConfig, "dtype")] = None,
    seed: Annotated[int | None, option(Q2dGenerateConfig, "seed")] = None,
    other_topics: Annotated[
        bool | None, option(Q2dGenerateConfig, "other_topics", "--other-topics/--no-other-topics")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Make dialogs from questions, by rules or by a language model. Run the same command again to resume.

    The API key of an endpoint is read from the environment variable OPENAI_API_KEY, or the one named by --api-key-env.

    Examples:

        ttft q2d generate questions.txt --preview 3

        ttft q2d generate questions.jsonl --out runs/dialogs

        ttft q2d generate questions.csv --out runs/dialogs --llm http://localhost:8000/v1 --llm-model qwen3

        ttft q2d generate questions.txt --out runs/dialogs --llm smollm2 --samples 4
    """
    given = configure(Q2dGenerateConfig, locals())
    from ttft.commands.q2d_generate import run

    run(given, dry_run=dry_run)


def filter_(
    dialogs: Annotated[str | None, argument(Q2dFilterConfig, "dialogs", "DIALOGS")] = None,
    out: Annotated[str | None, option(Q2dFilterConfig, "out", "--out", "-o")] = None,
    recover_with: Annotated[str | None, option(Q2dFilterConfig, "recover_with")] = None,
    similarity: Annotated[str | None, option(Q2dFilterConfig, "similarity")] = None,
    threshold: Annotated[float | None, option(Q2dFilterConfig, "threshold")] = None,
    embedder: Annotated[str | None, option(Q2dFilterConfig, "embedder", "--embedder", "-e")] = None,
    per_question: Annotated[int | None, option(Q2dFilterConfig, "per_question")] = None,
    off: Annotated[list[str] | None, option(Q2dFilterConfig, "off")] = None,
    min_turns: Annotated[int | None, option(Q2dFilterConfig, "min_turns")] = None,
    max_turns: Annotated[int | None, option(Q2dFilterConfig, "max_turns")] = None,
    recoverable: Annotated[float | None, option(Q2dFilterConfig, "recoverable")] = None,
    device: Annotated[str | None, option(Q2dFilterConfig, "device")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Keep the dialogs that are fit to train on, and tell for each of the others all reasons why it is not.

    Examples:

        ttft q2d filter runs/q2d --out runs/q2d-filtered

        ttft q2d filter dialogs.jsonl --out runs/q2d-filtered --similarity sbert --per-question 2

        ttft q2d filter runs/q2d --out runs/short --max-turns 7 --set max_dialog_words=150 --set copied=0.9
    """
    given = configure(Q2dFilterConfig, locals())
    from ttft.commands.q2d_filter import run

    run(given, dry_run=dry_run)


def calibrate(
    pairs: Annotated[str | None, argument(Q2dCalibrateConfig, "pairs", "PAIRS")] = None,
    negatives: Annotated[str | None, option(Q2dCalibrateConfig, "negatives")] = None,
    similarity: Annotated[str | None, option(Q2dCalibrateConfig, "similarity")] = None,
    embedder: Annotated[str | None, option(Q2dCalibrateConfig, "embedder", "--embedder", "-e")] = None,
    keep: Annotated[float | None, option(Q2dCalibrateConfig, "keep")] = None,
    step: Annotated[float | None, option(Q2dCalibrateConfig, "step")] = None,
    out: Annotated[str | None, option(Q2dCalibrateConfig, "out", "--out", "-o")] = None,
    device: Annotated[str | None, option(Q2dCalibrateConfig, "device")] = None,
    seed: Annotated[int | None, option(Q2dCalibrateConfig, "seed")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Measure how well a similarity tells queries of the same intent from others, and choose its threshold.

    Examples:

        ttft q2d calibrate multiple_refs.json --negatives dev.json   # of CANARD

        ttft q2d calibrate pairs.jsonl --similarity sbert --out runs/sbert.json
    """
    given = configure(Q2dCalibrateConfig, locals())
    from ttft.commands.q2d_calibrate import run

    run(given, dry_run=dry_run)
