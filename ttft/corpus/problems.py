"""What could not be read from a source: counted, with positions, never dropped silently."""

from __future__ import annotations

from ttft.errors import CorpusError

UNCHECKED = "zstd frame without a checksum"
"""A remark about a file that can be read: damage to it might go unnoticed."""


class Problems:
    """What could not be read, by kind: counts (exact), places (the first 10), records (the first 10,000, as dicts).

    With strict=True the first problem raises CorpusError.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.counts: dict[str, int] = {}
        self.places: dict[str, list[str]] = {}
        self.records: list[dict[str, str]] = []

    def add(self, kind: str, place: str, detail: str = "") -> None:
        """Count one problem. Raises CorpusError if strict."""
        self.remark(kind, place, detail)
        if self.strict:
            raise CorpusError(f"{kind}: {place}" + f" ({detail})" * bool(detail), "fix it, or leave strict out")

    def remark(self, kind: str, place: str, detail: str = "") -> None:
        """Count something that the user should know and that loses no text."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= 10:
            self.places.setdefault(kind, []).append(place)
        if len(self.records) < 10_000:
            self.records.append({"kind": kind, "place": place, "detail": detail})

    def summary(self) -> list[str]:
        """One line per kind: "3 x malformed JSON: a.jsonl:4, a.jsonl:9, a.jsonl:12", with "..." after ten places."""
        more = {kind: ", ..." * (count > len(self.places[kind])) for kind, count in self.counts.items()}
        return [f"{n} x {kind}: {', '.join(self.places[kind])}{more[kind]}" for kind, n in self.counts.items()]
