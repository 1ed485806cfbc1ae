"""The commands that take prompts: ttft select, finetune-eval and generate."""

from __future__ import annotations

from typing import Annotated

from ttft.cli.options import (
    Alpha,
    Backend,
    ConfigFile,
    Device,
    DryRun,
    Dtype,
    Index,
    K,
    Lambda,
    LearningRate,
    MaxPrompts,
    Method,
    Model,
    N,
    OwnEmbedder,
    Policy,
    Prompts,
    PromptText,
    Rank,
    RayAddress,
    Rewrite,
    Rewrites,
    Seed,
    Sets,
    StartFrom,
    Stop,
    Strategy,
    Subset,
    Vocabulary,
    Workers,
    configure,
    option,
)
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.config.generate import GenerateConfig
from ttft.config.select import SelectConfig


def select(
    index: Index = None,
    prompts: Prompts = None,
    prompt: PromptText = None,
    max_prompts: MaxPrompts = None,
    subsets: Subset = None,
    embedder: OwnEmbedder = None,
    strategy: Strategy = None,
    n: N = None,
    k: K = None,
    lambda_: Lambda = None,
    stop: Stop = None,
    alpha: Alpha = None,
    policy: Policy = None,
    rewrite: Rewrite = None,
    rewrites: Rewrites = None,
    texts: Annotated[bool | None, option(SelectConfig, "texts", "--texts/--no-texts")] = None,
    explain: Annotated[bool | None, option(SelectConfig, "explain", "--explain/--no-explain")] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Select texts for prompts: a table on a terminal, JSON lines in a pipe. Without a prompt, standard input is read.

    Examples:

        ttft select runs/index --prompt 'def quicksort(items):'

        ttft select runs/index --prompt 'def quicksort(items):' --explain

        ttft select runs/index --prompts prompts.jsonl --strategy nearest | jq .ids

        ttft select runs/index --prompts dialogs.jsonl --rewrite runs/q2d/model --rewrites 3 | jq .queries
    """
    given = configure(SelectConfig, locals())
    from ttft.commands.select import run

    run(given, dry_run=dry_run)


def finetune_eval(
    index: Index = None,
    prompts: Prompts = None,
    prompt: PromptText = None,
    out: Annotated[str | None, option(FinetuneEvalConfig, "out", "--out", "-o")] = None,
    max_prompts: MaxPrompts = None,
    subsets: Subset = None,
    model: Model = None,
    embedder: OwnEmbedder = None,
    strategy: Strategy = None,
    n: N = None,
    k: K = None,
    lambda_: Lambda = None,
    stop: Stop = None,
    alpha: Alpha = None,
    policy: Policy = None,
    rewrite: Rewrite = None,
    rewrites: Rewrites = None,
    job: Annotated[str | None, option(FinetuneEvalConfig, "job")] = None,
    budget_steps: Annotated[int | None, option(FinetuneEvalConfig, "budget_steps")] = None,
    method: Method = None,
    start_from: StartFrom = None,
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
    """Fine-tune on the texts selected for each prompt, score it in bits per byte, and discard the update.

    Run the same command again to resume an interrupted run.

    Examples:

        ttft finetune-eval runs/index --prompts prompts.jsonl --out runs/sift

        ttft finetune-eval runs/index -p prompts.jsonl -o runs/suffix --score suffix --alpha 0.3

        ttft finetune-eval runs/pile -p test.jsonl.zst -o runs/gpt2 -c configs/finetune-eval/paper-sift.yaml

        ttft finetune-eval runs/index -p prompts.jsonl -o runs/big/job-3-of-8 --job 3/8
    """
    given = configure(FinetuneEvalConfig, locals())
    from ttft.commands.finetune_eval import run

    run(given, dry_run=dry_run)


def generate(
    index: Index = None,
    prompts: Prompts = None,
    prompt: PromptText = None,
    max_prompts: MaxPrompts = None,
    subsets: Subset = None,
    model: Model = None,
    embedder: OwnEmbedder = None,
    strategy: Strategy = None,
    n: N = None,
    k: K = None,
    lambda_: Lambda = None,
    stop: Stop = None,
    alpha: Alpha = None,
    policy: Policy = None,
    rewrite: Rewrite = None,
    rewrites: Rewrites = None,
    method: Method = None,
    start_from: StartFrom = None,
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
    """Fine-tune on the texts selected for each prompt, stream the model's answer, and discard the update.

    Examples:

        ttft generate runs/index --prompt 'def quicksort(items):'

        ttft generate runs/index --prompt 'def quicksort(items):' --compare --max-new-tokens 64

        ttft generate runs/index --prompts prompts.jsonl --json --do-sample --temperature 0.7 > answers.jsonl
    """
    given = configure(GenerateConfig, locals())
    from ttft.commands.generate import run

    run(given, dry_run=dry_run)
