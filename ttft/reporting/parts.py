"""Pieces of the page that several of its parts use: titles, tables, legends, configuration and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ttft.reporting.charts import Series, escape, key
from ttft.reporting.tables import Table


def titled(title: str, content: str) -> str:
    return f"<h3>{title}</h3>{content}" if content else ""


def html_table(table: Table, caption: bool = True, kind: str = "numbers") -> str:
    """A table that scrolls sideways on narrow screens. kind is a class of the style sheet and determines which columns
    are left-aligned: "numbers" the first, "prompts" the first two, "words" all; "main" hides its second column (the
    number of prompts, which is also in the title) on a phone."""
    title = f"<caption>{escape(table.title)}</caption>" if caption and table.title else ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    top = f"<thead><tr>{head}</tr></thead>" if any(table.header) else ""
    return f'<div class="scroll"><table class="{kind}">{title}{top}<tbody>{rows}</tbody></table></div>'


def legend(series: list[Series]) -> str:
    names = "".join(f"<span>{key(i)}{escape(s.label)}</span>" for i, s in enumerate(series) if s.x)
    return f'<div class="legend">{names}</div>'


def configuration(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """The configurations of runs by their labels: what differs, and what they share."""
    first = next(iter(configs.values()))
    keys = list(dict.fromkeys(key for config in configs.values() for key in config))
    same = {key: first.get(key) for key in keys if all(c.get(key) == first.get(key) for c in configs.values())}
    own = {label: {k: v for k, v in config.items() if k not in same} for label, config in configs.items()}
    return two_tables(own, same)


def two_tables(own: Mapping[str, Mapping[str, Any]], shared: Mapping[str, Any]) -> str:
    """What differs between runs by their labels, and what they share."""
    keys = list(dict.fromkeys(k for config in own.values() for k in config))
    differing = [[k, *(_plain(own[run].get(k)) for run in own)] for k in keys]
    tables_of = [Table("different", ["key", *own], differing)] if differing else []
    same = [[k, _plain(value)] for k, value in shared.items()]
    tables_of.append(Table("the same in all runs" if len(own) > 1 else "", ["", ""], same))
    return "<br>".join(html_table(table, kind="words") for table in tables_of)


def provenance(runs: Mapping[str, tuple[str, Sequence[object]]]) -> str:
    """Label -> (folder, starts of the command)."""
    parts = []
    for label, (folder, starts) in runs.items():
        name = f"<summary>{escape(label)}: {escape(folder)}</summary>"
        each = "".join(html_table(_start(number, start), kind="words") for number, start in enumerate(starts, 1))
        parts.append(f"<details open>{name}{each or '<p>No provenance was recorded.</p>'}</details>")
    return "".join(parts)


def _start(number: int, start: object) -> Table:
    facts = start if isinstance(start, dict) else {"start": start}
    return Table(f"start {number}", ["", ""], [[str(name), _plain(value)] for name, value in facts.items()])


def _plain(value: object) -> str:
    """A value in readable form, with lists and mappings on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value))
    return {None: "none", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)
