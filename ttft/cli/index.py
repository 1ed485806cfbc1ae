"""ttft index: `ttft index SOURCE` builds an index; merge, info and verify work on existing ones."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ttft.cli.options import (
    Backend,
    ConfigFile,
    Device,
    DryRun,
    Dtype,
    Embedder,
    RayAddress,
    Seed,
    Sets,
    Subset,
    Workers,
    argument,
    configure,
    option,
)
from ttft.config.index import IndexConfig, InfoConfig, MergeConfig, VerifyConfig

BUILD = "build"


class BuildUnlessNamed(TyperGroup):
    """Runs `build` unless the first argument names another command of the group."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else [BUILD, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == BUILD else name), command, rest


class UnnamedContext(typer.Context):
    """Context of the unnamed command `build`: its path in usage messages ends with the group's name."""

    @property
    def command_path(self) -> str:
        return super().command_path.rstrip()


class UnnamedCommand(TyperCommand):
    context_class = UnnamedContext


Folder = Annotated[str | None, argument(InfoConfig, "folder", "INDEX")]
Factory = Annotated[str | None, option(IndexConfig, "factory")]
Store = Annotated[str | None, option(IndexConfig, "store")]
Uri = Annotated[str | None, option(IndexConfig, "uri")]

index = typer.Typer(cls=BuildUnlessNamed)


@index.command(BUILD, cls=UnnamedCommand)
def build(
    source: Annotated[str | None, argument(IndexConfig, "source", "SOURCE")] = None,
    out: Annotated[str | None, option(IndexConfig, "out", "--out", "-o")] = None,
    embedder: Embedder = None,
    subsets: Subset = None,
    text_field: Annotated[str | None, option(IndexConfig, "text_field")] = None,
    subset_field: Annotated[str | None, option(IndexConfig, "subset_field")] = None,
    max_documents: Annotated[int | None, option(IndexConfig, "max_documents")] = None,
    glob: Annotated[str | None, option(IndexConfig, "glob")] = None,
    split: Annotated[str | None, option(IndexConfig, "split")] = None,
    piece_chars: Annotated[int | None, option(IndexConfig, "piece_chars")] = None,
    shard_rows: Annotated[int | None, option(IndexConfig, "shard_rows")] = None,
    factory: Factory = None,
    store: Store = None,
    uri: Uri = None,
    dedup: Annotated[str | None, option(IndexConfig, "dedup")] = None,
    append: Annotated[bool | None, option(IndexConfig, "append", "--append")] = None,
    job: Annotated[str | None, option(IndexConfig, "job")] = None,
    backend: Backend = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    strict: Annotated[bool | None, option(IndexConfig, "strict", "--strict/--no-strict")] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Embed a corpus and write a searchable index. Run the same command again to resume an interrupted build.

    Examples:

        ttft index corpus.jsonl.zst --out runs/index

        ttft index src/ --glob '**/*.py' --out runs/code

        ttft index monology/pile-uncopyrighted --max-documents 100000 --out runs/pile

        ttft index more.jsonl --out runs/index --append

    For existing indexes: `ttft index info`, `ttft index verify` and `ttft index merge` (see their --help).
    """
    given = configure(IndexConfig, locals())
    from ttft.commands.index import run

    run(given, dry_run=dry_run)


@index.command("merge")
def merge(
    parts: Annotated[list[str] | None, argument(MergeConfig, "parts", "PART...")] = None,
    out: Annotated[str | None, option(MergeConfig, "out", "--out", "-o")] = None,
    factory: Factory = None,
    store: Store = None,
    uri: Uri = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Merge the parts of one build (--job), or several complete indexes, into one index; nothing is embedded again.

    Examples:

        ttft index merge runs/parts/* --out runs/index

        ttft index merge runs/index --factory IVF1024,PQ48 --out runs/small

        ttft index merge runs/index --store milvus --uri http://127.0.0.1:19530 --out runs/shared
    """
    given = configure(MergeConfig, locals())
    from ttft.commands.index_merge import run

    run(given, dry_run=dry_run)


@index.command("info")
def info(
    folder: Folder = None,
    recall: Annotated[int | None, option(InfoConfig, "recall")] = None,
    sample: Annotated[int | None, option(InfoConfig, "sample")] = None,
    nprobe: Annotated[int | None, option(InfoConfig, "nprobe")] = None,
    ef_search: Annotated[int | None, option(InfoConfig, "ef_search")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Show what is in an index: a table on a terminal, JSON in a pipe. With --recall, also measure its search.

    Examples:

        ttft index info runs/index

        ttft index info runs/index --recall 200 --nprobe 32
    """
    given = configure(InfoConfig, locals())
    from ttft.commands.index_info import run

    run(given, dry_run=dry_run)


@index.command("verify")
def verify(folder: Folder = None, config: ConfigFile = None, sets: Sets = None, dry_run: DryRun = False) -> None:
    """Check every file of an index: hashes, row counts, and that all vectors are finite and of unit length. Of a run,
    every line of every file.

    Examples:

        ttft index verify runs/index

        ttft index verify runs/sift
    """
    given = configure(VerifyConfig, locals())
    from ttft.commands.index_verify import run

    run(given, dry_run=dry_run)
