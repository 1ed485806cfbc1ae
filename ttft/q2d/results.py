"""Results of an evaluation: rows of numbers with intervals, as JSON, as CSV, and as tables to print."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ttft.q2d.metrics import Interval
from ttft.q2d.retrieval import Retrieved
from ttft.q2d.turing import safe_cell

NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Row:
    """One number. group: of the turns, such as "all" or "depth 2"; n: of turns; above: the paired difference to the
    baseline that copies the last turn, nan where there is none."""

    table: str
    system: str
    group: str
    metric: str
    n: int
    value: Interval
    above: Interval = NOTHING

    def flat(self) -> dict[str, Any]:
        """Its fields by name, with the parts of the intervals as value, low, high, above, above_low and above_high."""
        value, above = self.value.to_json(), self.above.to_json()
        rest = {key: part for key, part in asdict(self).items() if key not in ("value", "above")}
        return rest | {
            "value": value["value"], "low": value["low"], "high": value["high"],
            "above": above["value"], "above_low": above["low"], "above_high": above["high"],
        }  # fmt: skip


COLUMNS = tuple(Row("", "", "", "", 0, NOTHING).flat())


def retrieval_rows(
    found: Sequence[Retrieved], conversations: Mapping[str, str], groups: Mapping[str, Sequence[str]], baseline: str
) -> list[Row]:
    """nDCG, recall and MRR of every set of queries, in every group of queries that is not empty."""
    copy = next(one for one in found if one.name == baseline)
    names = {"ndcg": f"nDCG@{copy.k}", "graded": f"graded nDCG@{copy.k}", "recall": f"recall@{copy.k}", "mrr": "MRR"}
    if all(one.scores["graded"] == one.scores["ndcg"] for one in found):  # no judgement is above 1
        del names["graded"]
    return [
        Row(
            "retrieval", one.name, group, shown, len(ids), one.estimate(metric, conversations, ids),
            one.above(copy, metric, conversations, ids),
        )
        for group, ids in groups.items()
        if ids
        for one in found
        for metric, shown in names.items()
    ]  # fmt: skip


def to_csv(rows: Iterable[Row]) -> str:
    """All rows with their columns; an empty cell where there is no number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        cells = row.flat().values()
        writer.writerow(["" if c is None else safe_cell(c) if isinstance(c, str) else c for c in cells])
    return out.getvalue()


def table(rows: Sequence[Row], group: str, *, factor: float = 1.0, digits: int = 3) -> list[list[str]]:
    """The lines of one group, the head first: a line for each system, a column for each metric, and one for the
    difference of its first metric to the last turn's. factor: 100 for per cent."""
    here = [row for row in rows if row.group == group]
    metrics = list(dict.fromkeys(row.metric for row in here))
    by_place = {(row.system, row.metric): row for row in here}
    lines = [["", *metrics, f"{metrics[0]} above last turn"]] if metrics else []
    for system in dict.fromkeys(row.system for row in here):
        cells = [by_place[system, metric] for metric in metrics]
        intervals = [*(cell.value for cell in cells), cells[0].above]
        lines.append([system, *(with_interval(one, factor, digits) for one in intervals)])
    return lines


def with_interval(interval: Interval, factor: float = 1.0, digits: int = 3) -> str:
    """ "0.412 [0.350, 0.471]", the interval only where there is one; "-" for no number."""
    value, low, high = (f"{factor * part:.{digits}f}" for part in (interval.value, interval.low, interval.high))
    if not math.isfinite(interval.value):
        return "-"
    return f"{value} [{low}, {high}]" if math.isfinite(interval.low) else value
