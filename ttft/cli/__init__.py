"""The command line: one short function per command. User errors are printed here and nowhere else.

Exit codes: 0 done, 1 a bug (with its traceback), 2 a fault the user can mend, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ttft.cli.index import index
from ttft.cli.options import (
    Alpha,
    Backend,
    ConfigFile,
    Device,
    DryRun,
    Dtype,
    Embedder,
    Index,
    K,
    Lambda,
    LearningRate,
    MaxPrompts,
    Method,
    Model,
    N,
    Policy,
    Prompts,
    PromptText,
    Rank,
    RayAddress,
    Seed,
    Sets,
    Stop,
    Strategy,
    Subset,
    Vocabulary,
    Workers,
    argument,
    configure,
    option,
)
from ttft.config.calibrate import CalibrateConfig
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.config.generate import GenerateConfig
from ttft.config.report import ReportConfig
from ttft.config.select import SelectConfig
from ttft.errors import TtftError


class Commands(TyperGroup):
    """Takes Ctrl-C and a closed pipe before Typer does, which would end them without a word and with exit code 1."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the work: Typer puts groups of commands, as `index` is one, last."""
        return sorted(super().list_commands(ctx), key=lambda name: name != "index")

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted; what is written is valid: run the same command again to go on", file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:
            # the reader of our output went away (| head): not an error; keep Python from complaining at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


app = typer.Typer(
    cls=Commands,
    name="ttft",
    help="Test-time fine-tuning of language models: index a corpus, select texts for a prompt, fine-tune, score.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(index, name="index", help="Embed a corpus and write a searchable index; merge, info, verify.")


@app.command("select")
def select(
    index: Index = None,
    prompts: Prompts = None,
    prompt: PromptText = None,
    max_prompts: MaxPrompts = None,
    subsets: Subset = None,
    embedder: Embedder = None,
    strategy: Strategy = None,
    n: N = None,
    k: K = None,
    lambda_: Lambda = None,
    stop: Stop = None,
    alpha: Alpha = None,
    policy: Policy = None,
    texts: Annotated[bool | None, option(SelectConfig, "texts", "--texts/--no-texts")] = None,
    explain: Annotated[bool | None, option(SelectConfig, "explain", "--explain/--no-explain")] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Choose texts for prompts: a table on a terminal, JSON lines in a pipe. Without a prompt, standard input is read.

    Examples:

        ttft select runs/index --prompt 'def quicksort(items):'

        ttft select runs/index --prompt 'def quicksort(items):' --explain

        ttft select runs/index --prompts prompts.jsonl --strategy nearest | jq .ids
    """
    given = configure(SelectConfig, locals())
    from ttft.commands.select import run

    run(given, dry_run=dry_run)


@app.command("finetune-eval")
def finetune_eval(
    index: Index = None,
    prompts: Prompts = None,
    prompt: PromptText = None,
    out: Annotated[str | None, option(FinetuneEvalConfig, "out", "--out", "-o")] = None,
    max_prompts: MaxPrompts = None,
    subsets: Subset = None,
    model: Model = None,
    embedder: Embedder = None,
    strategy: Strategy = None,
    n: N = None,
    k: K = None,
    lambda_: Lambda = None,
    stop: Stop = None,
    alpha: Alpha = None,
    policy: Policy = None,
    job: Annotated[str | None, option(FinetuneEvalConfig, "job")] = None,
    budget_steps: Annotated[int | None, option(FinetuneEvalConfig, "budget_steps")] = None,
    method: Method = None,
    rank: Rank = None,
    vocabulary: Vocabulary = None,
    lr: LearningRate = None,
    score: Annotated[str | None, option(FinetuneEvalConfig, "score")] = None,
    guard: Annotated[bool | None, option(FinetuneEvalConfig, "guard", "--guard")] = None,
    mix: Annotated[bool | None, option(FinetuneEvalConfig, "mix", "--mix")] = None,
    backend: Backend = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    save_adapters: Annotated[str | None, option(FinetuneEvalConfig, "save_adapters")] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Fine-tune on the texts chosen for each prompt, score it in bits per byte, and forget. Resumes where it stopped.

    Examples:

        ttft finetune-eval runs/index --prompts prompts.jsonl --out runs/sift

        ttft finetune-eval runs/index -p prompts.jsonl -o runs/suffix --score suffix --alpha 0.3

        ttft finetune-eval runs/pile -p test.jsonl.zst -o runs/gpt2 -c configs/finetune-eval/paper-sift.yaml

        ttft finetune-eval runs/index -p prompts.jsonl -o runs/big/job-3-of-8 --job 3/8
    """
    given = configure(FinetuneEvalConfig, locals())
    from ttft.commands.finetune_eval import run

    run(given, dry_run=dry_run)


@app.command("generate")
def generate(
    index: Index = None,
    prompts: Prompts = None,
    prompt: PromptText = None,
    max_prompts: MaxPrompts = None,
    subsets: Subset = None,
    model: Model = None,
    embedder: Embedder = None,
    strategy: Strategy = None,
    n: N = None,
    k: K = None,
    lambda_: Lambda = None,
    stop: Stop = None,
    alpha: Alpha = None,
    policy: Policy = None,
    method: Method = None,
    rank: Rank = None,
    vocabulary: Vocabulary = None,
    lr: LearningRate = None,
    max_new_tokens: Annotated[int | None, option(GenerateConfig, "max_new_tokens")] = None,
    do_sample: Annotated[bool | None, option(GenerateConfig, "do_sample", "--do-sample/--greedy")] = None,
    temperature: Annotated[float | None, option(GenerateConfig, "temperature")] = None,
    top_k: Annotated[int | None, option(GenerateConfig, "top_k")] = None,
    top_p: Annotated[float | None, option(GenerateConfig, "top_p")] = None,
    repetition_penalty: Annotated[float | None, option(GenerateConfig, "repetition_penalty")] = None,
    compare: Annotated[bool | None, option(GenerateConfig, "compare", "--compare/--no-compare")] = None,
    json_lines: Annotated[bool | None, option(GenerateConfig, "json_lines", "--json/--no-json")] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Fine-tune on the texts chosen for a prompt and let the tuned model go on from it, as it is made; then forget.

    Examples:

        ttft generate runs/index --prompt 'def quicksort(items):'

        ttft generate runs/index --prompt 'def quicksort(items):' --compare --max-new-tokens 64

        ttft generate runs/index --prompts prompts.jsonl --json --do-sample --temperature 0.7 > answers.jsonl
    """
    given = configure(GenerateConfig, locals())
    from ttft.commands.generate import run

    run(given, dry_run=dry_run)


@app.command("calibrate")
def calibrate(
    runs: Annotated[list[str] | None, argument(CalibrateConfig, "runs", "[RUN...]")] = None,
    index: Annotated[str | None, option(CalibrateConfig, "index")] = None,
    prompts: Annotated[str | None, option(CalibrateConfig, "prompts", "--prompts", "-p")] = None,
    lambdas: Annotated[list[str] | None, option(CalibrateConfig, "lambdas", "--lambda")] = None,
    out: Annotated[str | None, option(CalibrateConfig, "out", "--out", "-o")] = None,
    keep: Annotated[float | None, option(CalibrateConfig, "keep")] = None,
    folds: Annotated[int | None, option(CalibrateConfig, "folds")] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Learn from runs what a step gains: a policy for --policy and --budget-steps. Choose lambda on the way.

    Examples:

        ttft calibrate runs/sift --out runs/policy.json

        ttft calibrate --index runs/index -p validation.jsonl -o runs/calibration --lambda 0.1 --lambda 1 --lambda auto

        ttft calibrate --index runs/index -p validation.jsonl -o runs/calibration --set 'finetune={n: 50, model: gpt2}'
    """
    given = configure(CalibrateConfig, locals())
    from ttft.commands.calibrate import run

    run(given, dry_run=dry_run)


@app.command("report")
def report(
    runs: Annotated[list[str] | None, argument(ReportConfig, "runs", "RUN...")] = None,
    out: Annotated[str | None, option(ReportConfig, "out", "--out", "-o")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Compare runs: a table with bootstrap intervals here, and one self-contained HTML page.

    Examples:

        ttft report runs/nearest runs/sift

        ttft report runs/*/ --out report.html

        ttft report runs/big   # a folder of jobs: one run
    """
    given = configure(ReportConfig, locals())
    from ttft.commands.report import run

    run(given, dry_run=dry_run)


def main() -> None:
    """Entry point: run a command, print a user's error as one message, end quietly on Ctrl-C or a closed pipe."""
    try:
        app()
    except TtftError as error:
        fail(error)


def fail(error: TtftError) -> None:
    print(f"ttft: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)
    sys.exit(2)
