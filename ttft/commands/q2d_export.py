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
    from ttft.q2d.analysis import describe, generated
    from ttft.q2d.cards import dataset_card
    from ttft.q2d.dialogs import read_dialogs
    from ttft.q2d.export import export, rows_by_split
    from ttft.q2d.prompts import load_demonstrations

    source = Path(config.dialogs)
    dialogs = read_dialogs(source)
    shown = load_demonstrations().questions()
    rows = rows_by_split(dialogs, shares=shares, seed=config.seed, without=shown)
    cases = generated(dialogs)
    card = dataset_card(
        dialogs, name=config.name or out.name, funnel=load_funnel(source),
        settings={"seed of the splits": config.seed},
        statistics=describe(cases, compared=len(cases)).to_json(),
        splits={name: len(some) for name, some in rows.items()},
        data_files=None if config.format == "datasets" else f"data/{{split}}.{config.format}",
    )  # fmt: skip
    export(rows, out, config.format, card)
    sizes = ", ".join(f"{name} {len(some):,}" for name, some in rows.items())
    total = counted(sum(map(len, rows.values())), "dialog")
    say(f"{out}: {total} ({sizes}); next: ttft q2d train PAIRS, or publish it with its README.md")
