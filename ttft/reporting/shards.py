"""The shards of one run (`ttft finetune-eval --shard i/n`), joined to that run.

Shards are of one run when their configurations are equal but for the shard. They may lie anywhere.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ttft import run_dir
from ttft.errors import TtftError

if TYPE_CHECKING:
    from ttft.reporting.runs import Run

PLACES = {"out", "shard"}  # keys that say where a run is, or which part of it this is, and not what it is


def join(runs: list[Run]) -> list[Run]:
    """The runs, in order of first appearance, with the shards of one run as that run.

    Raises TtftError when shards do not fit together: a prompt comes twice, or they are of different numbers of shards.
    """
    together: dict[str, list[Run]] = {}
    for run in runs:
        what = {key: value for key, value in run.config.items() if key not in PLACES}
        key = json.dumps(what, sort_keys=True, default=str) if run.config.get("shard") else str(run.folder)
        together.setdefault(key, []).append(run)
    return [_joined(some) if some[0].config.get("shard") else some[0] for some in together.values()]


def _joined(shards: list[Run]) -> Run:
    shards = sorted(shards, key=_numbers)
    _check_one_partition(shards)
    parent = Path(os.path.commonpath([shard.folder.absolute() for shard in shards]))
    starts = [{"shard": s.config["shard"], **start} for s in shards for start in s.provenance["starts"]]
    return replace(
        shards[0],
        folder=parent.relative_to(Path.cwd()) if parent.is_relative_to(Path.cwd()) else parent,
        config={key: value for key, value in shards[0].config.items() if key not in PLACES},
        results=tuple(result for shard in shards for result in shard.results),
        selections=tuple(selection for shard in shards for selection in shard.selections),
        provenance={"starts": starts},
        warnings=tuple(_warnings(shards)),
    )


def _numbers(run: Run) -> tuple[int, int]:
    """(i, n) of a shard i/n."""
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", str(run.config["shard"]))
    if found is None:
        where = run.folder / run_dir.CONFIG
        raise TtftError(f"{where}: shard is {run.config['shard']!r}, not i/n", "the file was changed by hand")
    return int(found[1]), int(found[2])


def _check_one_partition(shards: list[Run]) -> None:
    for one, other in pairwise(shards):
        if _numbers(one)[1] != _numbers(other)[1]:
            raise TtftError(
                f"{one.folder} is shard {one.config['shard']} and {other.folder} shard {other.config['shard']} of the "
                "same run, cut differently",
                "report the shards of one cut only",
            )
    seen: dict[str, Run] = {}
    for shard in shards:
        for result in shard.results:
            first = seen.setdefault(result.prompt_id, shard)
            if first is not shard:
                raise TtftError(
                    f"prompt {result.prompt_id!r} is in two shards of one run: {first.folder} and {shard.folder}",
                    "report one of them, or run them again with the same prompts, each into a new --out",
                )


def _warnings(shards: list[Run]) -> list[str]:
    """What is not there, as far as it can be told: a finished shard has at least as many prompts as any after it, and
    at most one less than any before it."""
    total = _numbers(shards[0])[1]
    absent = sorted(set(range(1, total + 1)) - {_numbers(shard)[0] for shard in shards})
    lines = []
    if absent:
        names, verb = ", ".join(f"{number}/{total}" for number in absent), " are" if len(absent) > 1 else " is"
        lines.append(f"WARNING: {len(absent)} of {total} shards{verb} missing ({names}), and so are their prompts.")
    counts = [len(shard.results) for shard in shards]
    for place, shard in enumerate(shards):
        least = max(max(counts) - 1, *counts[place:])
        if counts[place] < least:
            lines.append(
                f"WARNING: shard {shard.config['shard']} is not finished: it has {counts[place]} prompts of {least}."
            )
    return lines
