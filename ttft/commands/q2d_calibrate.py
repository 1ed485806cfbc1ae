"""ttft q2d calibrate: labelled pairs of queries -> the curve of a similarity, and the threshold to filter with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ttft.commands.console import say, show_plan
from ttft.commands.q2d_similarity import similarity_named
from ttft.config.q2d_calibrate import Q2dCalibrateConfig
from ttft.progress import counted

if TYPE_CHECKING:
    from ttft.q2d.calibration import Calibration, Pairs


def run(config: Q2dCalibrateConfig, *, dry_run: bool = False) -> None:
    """Show the curve and the chosen threshold; write them to config.out. Raises TtftError."""
    if dry_run:
        show_plan(config, [Path(config.out)] if config.out else [])
        return
    from ttft.q2d.calibration import calibrate
    from ttft.run_dir import make_folder, write_json

    same, other = labelled_pairs(config)
    similarity = similarity_named(config.similarity, config.embedder, config.device, config.seed)
    calibration = calibrate(similarity(same), similarity(other), keep=config.keep, step=config.step)
    if config.out:
        make_folder(Path(config.out).parent)
        options = config.resolved()
        options.pop("device")
        write_json(Path(config.out), {"options": options} | calibration.to_json())
    _show(calibration, config)


def labelled_pairs(config: Q2dCalibrateConfig) -> tuple[Pairs, Pairs]:
    """(pairs that ask the same, pairs that do not). Raises TtftError if there are none of either."""
    from ttft.q2d.calibration import check_pairs, is_query_pairs, pairs_within, read_query_pairs
    from ttft.q2d.conversations import load_examples

    same, other = read_query_pairs(Path(config.pairs))
    if config.negatives is not None:
        path = Path(config.negatives)
        if is_query_pairs(path):
            other += [pair for part in read_query_pairs(path) for pair in part]
        else:
            talks: dict[str, list[str]] = {}
            for example in load_examples(path):
                talks.setdefault(example.conversation, []).append(example.target)
            other += pairs_within(talks, config.seed)
    check_pairs(same, other)
    return same, other


def _show(calibration: Calibration, config: Q2dCalibrateConfig) -> None:
    rows = [("threshold", "keeps", "accepts", "")]
    for point in calibration.points:
        mark = "<- chosen" if point.tau == calibration.chosen else ""
        rows.append((f"{point.tau:g}", f"{100 * point.kept:.1f}%", f"{100 * point.accepted:.1f}%", mark))
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*rows[0])
        for column in table.columns[:3]:
            column.justify = "right"
        for row in rows[1:]:
            table.add_row(*row)
        Console().print(table)
    else:
        say("\n".join(f"{tau:>9}{keeps:>9}{accepts:>9}  {mark}".rstrip() for tau, keeps, accepts, mark in rows))
    say(
        f"AUC {calibration.auc:.3f} on {counted(calibration.positives, 'pair')} that ask the same and "
        f"{calibration.negatives:,} that do not"
    )
    rule = "largest keeps - accepts" if config.keep is None else f"largest that keeps {100 * config.keep:g}%"
    written = f"{config.out}; " if config.out else ""
    say(
        f"{written}threshold {calibration.chosen:g} ({rule}); next: ttft q2d filter DIALOGS --out OUT "
        f"--similarity {config.similarity} --threshold {calibration.chosen:g}"
    )
