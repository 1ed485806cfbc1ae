"""Options of the command line that several commands share; help texts and choices come from the configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from ttft.config.backend import BackendFields
from ttft.config.base import Config
from ttft.config.index import IndexConfig
from ttft.config.select import SelectConfig
from ttft.config.tuning import TuningFields

KEYS_OF_CLI = {"config", "sets", "dry_run"}


def option(config: type[Config], field: str, *names: str) -> Any:
    """A flag whose help is the docstring of the field it sets, and its choices, where it has some."""
    info = config.model_fields[field]
    choices = [
        c
        for part in (info.annotation, *get_args(info.annotation))
        if get_origin(part) is Literal
        for c in get_args(part)
    ]
    names = names or ("--" + field.replace("_", "-"),)
    return typer.Option(*names, help=info.description, metavar="|".join(choices) or None)


def argument(config: type[Config], field: str, name: str) -> Any:
    return typer.Argument(metavar=name, help=config.model_fields[field].description, show_default=False)


ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file of options (see configs/).")]
Sets = Annotated[list[str] | None, typer.Option("--set", "-s", help="Any option as key=value, over the YAML file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved options and the files; do nothing.")]

Index = Annotated[str | None, argument(SelectConfig, "index", "INDEX")]
Prompts = Annotated[str | None, option(SelectConfig, "prompts", "--prompts", "-p")]
PromptText = Annotated[str | None, option(SelectConfig, "prompt")]
MaxPrompts = Annotated[int | None, option(SelectConfig, "max_prompts")]
Embedder = Annotated[str | None, option(IndexConfig, "embedder", "--embedder", "-e")]
Strategy = Annotated[str | None, option(SelectConfig, "strategy")]
N = Annotated[int | None, option(SelectConfig, "n", "-n")]
K = Annotated[str | None, option(SelectConfig, "k", "-k")]
Lambda = Annotated[str | None, option(SelectConfig, "lambda_", "--lambda")]
Stop = Annotated[str | None, option(SelectConfig, "stop")]
Alpha = Annotated[float | None, option(SelectConfig, "alpha")]
Policy = Annotated[str | None, option(SelectConfig, "policy")]
Model = Annotated[str | None, option(TuningFields, "model", "--model", "-m")]
Method = Annotated[str | None, option(TuningFields, "method")]
Rank = Annotated[int | None, option(TuningFields, "rank")]
Vocabulary = Annotated[str | None, option(TuningFields, "vocabulary")]
LearningRate = Annotated[float | None, option(TuningFields, "lr")]
Device = Annotated[str | None, option(SelectConfig, "device")]
Dtype = Annotated[str | None, option(SelectConfig, "dtype")]
Seed = Annotated[int | None, option(SelectConfig, "seed")]
Backend = Annotated[str | None, option(BackendFields, "backend")]
Workers = Annotated[int | None, option(BackendFields, "workers")]
RayAddress = Annotated[str | None, option(BackendFields, "ray_address")]
Subset = Annotated[list[str] | None, option(SelectConfig, "subsets", "--subset")]


def configure(kind: type[Config], given: dict[str, Any]) -> Any:
    """The configuration from a command's own arguments: flags over --set over --config over defaults."""
    flags = {k: v for k, v in given.items() if k not in KEYS_OF_CLI and v not in (None, [])}
    return kind.build(given["config"], given["sets"], flags)
