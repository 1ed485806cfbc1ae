"""Command-line options that several commands share. Help texts and choices come from the configuration classes."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined

from ttft.config.backend import BackendFields
from ttft.config.base import Config
from ttft.config.index import IndexConfig
from ttft.config.select import SelectConfig
from ttft.config.tuning import TuningFields

KEYS_OF_CLI = {"config", "sets", "dry_run"}


def option(config: type[Config], field: str, *names: str) -> Any:
    """A flag for a field: its help is the field's docstring and default, its placeholder the field's choices."""
    names = names or ("--" + field.replace("_", "-"),)
    kinds = _parts(config.model_fields[field].annotation)
    parser = _number if {int, float} & set(kinds) else None  # else Typer checks, and its messages do not name the value
    return typer.Option(*names, help=_help(config, field, names[0]), metavar=_metavar(kinds), parser=parser)


def argument(config: type[Config], field: str, name: str) -> Any:
    return typer.Argument(metavar=name, help=_help(config, field, ""), show_default=False)


def _help(config: type[Config], field: str, flag: str) -> str:
    info = config.model_fields[field]
    text = (info.description or "").replace("[", "\\[")  # not markup
    default = info.default
    if default is None or default is False or default is PydanticUndefined or default in ((), []):
        return text
    if default is True:
        default = flag.split("/")[0].lstrip("-")
    return f"{text} [dim]\\[default: {default}][/dim]"


def _metavar(kinds: list[Any]) -> str | None:
    """The placeholder of a field with choices or numbers, such as INT|all; None for any other field."""
    choices: list[str] = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            choices += get_args(kind)
        elif kind in (int, float):
            choices.append(kind.__name__.upper())
    return "|".join(choices) or None


def _parts(annotation: Any) -> list[Any]:
    """The members of a union, or the elements of a tuple, without their annotations."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType, tuple):
        return [part for member in get_args(annotation) for part in _parts(member)]
    return [annotation]


def _number(word: str) -> int | float | str:
    """The finite number that a word stands for, else the word."""
    with suppress(ValueError):
        return int(word)
    with suppress(ValueError):
        value = float(word)
        if math.isfinite(value):
            return value
    return word


ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file with options (see configs/).")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Set any option: key=value. Overrides the YAML file.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print all options and the files to write, then exit.")]

Index = Annotated[str | None, argument(SelectConfig, "index", "INDEX")]
Prompts = Annotated[str | None, option(SelectConfig, "prompts", "--prompts", "-p")]
PromptText = Annotated[str | None, option(SelectConfig, "prompt")]
MaxPrompts = Annotated[int | None, option(SelectConfig, "max_prompts")]
Embedder = Annotated[str | None, option(IndexConfig, "embedder", "--embedder", "-e")]
OwnEmbedder = Annotated[str | None, option(SelectConfig, "embedder", "--embedder", "-e")]
Strategy = Annotated[str | None, option(SelectConfig, "strategy")]
N = Annotated[int | None, option(SelectConfig, "n", "-n")]
K = Annotated[str | None, option(SelectConfig, "k", "-k")]
Lambda = Annotated[str | None, option(SelectConfig, "lambda_", "--lambda")]
Stop = Annotated[str | None, option(SelectConfig, "stop")]
Alpha = Annotated[float | None, option(SelectConfig, "alpha")]
Policy = Annotated[str | None, option(SelectConfig, "policy")]
Model = Annotated[str | None, option(TuningFields, "model", "--model", "-m")]
Method = Annotated[str | None, option(TuningFields, "method")]
StartFrom = Annotated[str | None, option(TuningFields, "start_from")]
Rank = Annotated[int | None, option(TuningFields, "rank")]
Vocabulary = Annotated[str | None, option(TuningFields, "vocabulary")]
LearningRate = Annotated[float | None, option(TuningFields, "lr")]
Rewrite = Annotated[str | None, option(SelectConfig, "rewrite")]
Rewrites = Annotated[int | None, option(SelectConfig, "rewrites")]
Device = Annotated[str | None, option(SelectConfig, "device")]
Dtype = Annotated[str | None, option(SelectConfig, "dtype")]
Seed = Annotated[int | None, option(SelectConfig, "seed")]
Backend = Annotated[str | None, option(BackendFields, "backend")]
Workers = Annotated[int | None, option(BackendFields, "workers")]
RayAddress = Annotated[str | None, option(BackendFields, "ray_address")]
Subset = Annotated[list[str] | None, option(SelectConfig, "subsets", "--subset")]


def configure(kind: type[Config], given: dict[str, Any]) -> Any:
    """The configuration for a command's arguments. Precedence: flags, --set, --config, defaults."""
    flags = {k: v for k, v in given.items() if k not in KEYS_OF_CLI and v not in (None, [])}
    return kind.build(given["config"], given["sets"], flags)
