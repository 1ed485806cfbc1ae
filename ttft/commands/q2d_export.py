"""ttft q2d export: dialogs -> a data set with splits and a card."""

from __future__ import annotations

from pathlib import Path

from ttft.commands.console import say, show_plan
from ttft.config.q2d_export import Q2dExportConfig
from ttft.progress import counted

SPLITS = ("train", "validation", "test")


def run(config: Q2dExportConfig, *, dry_run: bool = False) -> None:
    """Write the folder. Raises TtftError, and then leaves nothing behind."""
    out = Path(config.out)
    shares = {name: share for name, share in zip(SPLITS, config.shares, strict=True) if share}
    if dry_run:
        data = [out] if config.format == "datasets" else [out / f"data/{name}.{config.format}" for name in shares]
        show_plan(config, [*data, out / "README.md"])
        return
    from ttft.q2d import export
    from ttft.q2d.dialogs import read_dialogs
    from ttft.q2d.prompts import load_demonstrations
    from ttft.state import read_json

    source = Path(config.dialogs)
    dialogs = read_dialogs(source)
    rows = export.rows_by_split(dialogs, shares=shares, seed=config.seed, without=load_demonstrations().questions())
    funnel = source / "funnel.json"
    card = export.card_of(
        dialogs, name=config.name or out.resolve().name, funnel=read_json(funnel) if funnel.is_file() else None,
        settings={"seed of the splits": config.seed}, splits={name: len(some) for name, some in rows.items()},
        data_files=None if config.format == "datasets" else f"data/{{split}}.{config.format}",
    )  # fmt: skip
    export.export(rows, out, config.format, card)
    sizes = ", ".join(f"{name} {len(some):,}" for name, some in rows.items())
    say(f"{out}: {counted(sum(map(len, rows.values())), 'dialog')} ({sizes}); its card is README.md")
