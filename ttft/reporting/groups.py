"""Groups runs that can be compared in one table, and labels them.

A group holds runs with the same model and the same way of scoring ("whole" or "suffix"); no others are comparable. All
numbers of a group are over the prompts that all of its runs have scored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ttft.errors import TtftError
from ttft.reporting.jobs import read_runs
from ttft.reporting.runs import PLACES, Key, Run

KEYS_IN_LABEL = 3


@dataclass(frozen=True, slots=True)
class Group:
    """Comparable runs with unique labels. prompts: the keys common to all, sorted; seen: number of keys in any run."""

    score: str
    model: str
    runs: tuple[Run, ...]
    prompts: tuple[Key, ...]
    seen: int


def read_groups(folders: list[Path]) -> list[Group]:
    """Read run folders and group them; errors: see `read_runs`, `group_runs`."""
    return group_runs(read_runs(folders))


def group_runs(runs: list[Run]) -> list[Group]:
    """Group runs by model and score, in order of first appearance.

    Raises TtftError if the runs of a group have no prompt in common.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.score, run.model), []).append(run)
    return [_group(score, model, members) for (score, model), members in groups.items()]


def _group(score: str, model: str, runs: list[Run]) -> Group:
    keys = [set(run.by_key()) for run in runs]
    common = set.intersection(*keys)
    if not common:
        names = ", ".join(str(run.folder) for run in runs)
        raise TtftError(
            f"these runs have no prompt in common (same id, same text, same scored bytes): {names}",
            "report each run on its own, or run them with the same prompts",
        )
    labelled = tuple(replace(run, label=label) for run, label in zip(runs, labels(runs), strict=True))
    return Group(score, model, labelled, tuple(sorted(common)), len(set.union(*keys)))


# ---- labels --------------------------------------------------------------------------------------------------------


def labels(runs: list[Run]) -> list[str]:
    """Unique labels: the plain label, if necessary with the keys in which its runs differ, else the folder."""
    result = []
    for run in runs:
        namesakes = [other for other in runs if other.label == run.label]
        result.append(run.label if len(namesakes) == 1 else f"{run.label} {_differing(run, namesakes)}".strip())
    if len(set(result)) == len(result):
        return result
    names = [label if result.count(label) == 1 else run.folder.name for run, label in zip(runs, result, strict=True)]
    if len(set(names)) == len(names):
        return names
    places = [str(run.folder) for run in runs]  # two runs that are split into jobs may share a folder
    return [place if places.count(place) == 1 else f"{place} ({i})" for i, place in enumerate(places, 1)]


def _differing(run: Run, namesakes: list[Run]) -> str:
    keys = list(dict.fromkeys(key for other in namesakes for key in other.config if key not in PLACES))
    differ = [key for key in keys if any(other.config.get(key) != run.config.get(key) for other in namesakes)]
    if len(differ) > KEYS_IN_LABEL:
        return f"({run.folder.name})"
    return " ".join(f"{key.rstrip('_')}={_short(run.config.get(key))}" for key in differ)


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:23] + "…"
