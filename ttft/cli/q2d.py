"""The commands of q2d: from questions to dialogs to a model that writes search queries."""

from __future__ import annotations

from typing import Annotated

import typer

from ttft.cli.options import ConfigFile, DryRun, Sets, argument, configure, option
from ttft.cli.q2d_results import analyse, evaluate, export
from ttft.config.q2d_calibrate import Q2dCalibrateConfig
from ttft.config.q2d_filter import Q2dFilterConfig
from ttft.config.q2d_generate import Q2dGenerateConfig
from ttft.config.q2d_rewrite import RewriteConfig
from ttft.config.q2d_train import Q2dTrainConfig

q2d = typer.Typer(no_args_is_help=True)


@q2d.command("generate")
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


@q2d.command("filter")
def filter_(
    dialogs: Annotated[str | None, argument(Q2dFilterConfig, "dialogs", "DIALOGS")] = None,
    out: Annotated[str | None, option(Q2dFilterConfig, "out", "--out", "-o")] = None,
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


@q2d.command("calibrate")
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


@q2d.command("train")
def train(
    pairs: Annotated[str | None, argument(Q2dTrainConfig, "pairs", "PAIRS")] = None,
    out: Annotated[str | None, option(Q2dTrainConfig, "out", "--out", "-o")] = None,
    model: Annotated[str | None, option(Q2dTrainConfig, "model", "--model", "-m")] = None,
    kind: Annotated[str | None, option(Q2dTrainConfig, "kind")] = None,
    form: Annotated[str | None, option(Q2dTrainConfig, "form")] = None,
    exclude: Annotated[list[str] | None, option(Q2dTrainConfig, "exclude")] = None,
    max_pairs: Annotated[int | None, option(Q2dTrainConfig, "max_pairs")] = None,
    no_search: Annotated[float | None, option(Q2dTrainConfig, "no_search")] = None,
    epochs: Annotated[float | None, option(Q2dTrainConfig, "epochs")] = None,
    lr: Annotated[float | None, option(Q2dTrainConfig, "lr")] = None,
    rank: Annotated[int | None, option(Q2dTrainConfig, "rank")] = None,
    batch: Annotated[int | None, option(Q2dTrainConfig, "batch")] = None,
    device: Annotated[str | None, option(Q2dTrainConfig, "device")] = None,
    dtype: Annotated[str | None, option(Q2dTrainConfig, "dtype")] = None,
    seed: Annotated[int | None, option(Q2dTrainConfig, "seed")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Train a model that writes the search query of a dialog.

    Examples:

        ttft q2d train runs/q2d-filtered --out runs/query-model

        ttft q2d train human.jsonl --out runs/query-model --model smollm2 --max-pairs 2000

        ttft q2d train pairs.jsonl --out runs/query-t5 --kind seq2seq --model google-t5/t5-small
    """
    given = configure(Q2dTrainConfig, locals())
    from ttft.commands.q2d_train import run

    run(given, dry_run=dry_run)


@q2d.command("rewrite")
def rewrite(
    dialogs: Annotated[str | None, argument(RewriteConfig, "dialogs", "DIALOGS")] = None,
    turn: Annotated[list[str] | None, option(RewriteConfig, "turn", "--turn", "-t")] = None,
    model: Annotated[str | None, option(RewriteConfig, "model", "--model", "-m")] = None,
    n: Annotated[int | None, option(RewriteConfig, "n", "-n")] = None,
    out: Annotated[str | None, option(RewriteConfig, "out", "--out", "-o")] = None,
    lenient: Annotated[bool | None, option(RewriteConfig, "lenient", "--lenient/--strict")] = None,
    batch: Annotated[int | None, option(RewriteConfig, "batch")] = None,
    max_new_tokens: Annotated[int | None, option(RewriteConfig, "max_new_tokens")] = None,
    device: Annotated[str | None, option(RewriteConfig, "device")] = None,
    dtype: Annotated[str | None, option(RewriteConfig, "dtype")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Write the search query of each dialog's last turn. A dialog of one turn passes unchanged.

    Examples:

        ttft q2d rewrite dialogs.jsonl --model runs/q2d/model

        ttft q2d rewrite -m runs/q2d/model -n 3 -t 'Tell me about the Leopard 2.' -t 'A German tank.' -t 'Who makes it?'

        tail -f chats.jsonl | ttft q2d rewrite - --model runs/q2d/model | jq -r .query
    """
    given = configure(RewriteConfig, locals())
    from ttft.commands.q2d_rewrite import run

    run(given, dry_run=dry_run)


q2d.command("evaluate")(evaluate)
q2d.command("analyse")(analyse)
q2d.command("export")(export)
