"""Texts on one line for tables, and curves in block characters."""

from __future__ import annotations

BLOCKS = "▁▂▃▄▅▆▇█"


def first_line(text: str) -> str:
    """The first line that is not blank, with control characters replaced by spaces."""
    line = next((part for part in text.split("\n") if part.strip()), "")
    return "".join(c if c.isprintable() else " " for c in line.strip())


def sparkline(values: list[float], low: float, width: int = 24) -> str:
    """A falling curve in block characters, from its first value down to `low`, with at most `width` of its values."""
    thinned = values[:: max(1, -(-len(values) // width))]
    height = values[0] - low
    return "".join(BLOCKS[round((v - low) / height * (len(BLOCKS) - 1))] if height > 0 else BLOCKS[-1] for v in thinned)
