"""The return values of a session. Scores are `records.Result`, as in the results.jsonl of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ttft.records import Document, QueryRecord, Selection


@dataclass(frozen=True, slots=True)
class ChosenTexts:
    """The texts selected for a prompt, in training order; repeats are possible.

    selection  ids, scores, cosines, sigma, why it stopped, seconds: see `records.Selection`; its fields are also
               attributes of this object
    documents  the texts themselves, with their source and subset
    rewrite    the queries, if the prompt is a dialog
    """

    selection: Selection
    documents: tuple[Document, ...]
    rewrite: QueryRecord | None = None

    @property
    def texts(self) -> list[str]:
        return [document.text for document in self.documents]

    @property
    def sources(self) -> list[str]:
        """Where each text comes from: "file:line", "file" or "dataset:row"."""
        return [document.source for document in self.documents]

    @property
    def prompt_id(self) -> str:
        return self.selection.prompt_id

    @property
    def ids(self) -> list[int]:
        """Row numbers in the index."""
        return self.selection.ids

    @property
    def scores(self) -> list[float]:
        return self.selection.scores

    @property
    def cosines(self) -> list[float]:
        return self.selection.cosines

    @property
    def sigma(self) -> list[float]:
        return self.selection.sigma

    @property
    def stopped_because(self) -> str:
        return self.selection.stopped_because

    def to_json(self, *, texts: bool = True) -> dict[str, Any]:
        """The record that `ttft select` prints."""
        record = self.selection.to_json() | {"sources": self.sources}
        return record | ({"texts": self.texts} if texts else {}) | shown(self.rewrite)


def shown(rewrite: QueryRecord | None) -> dict[str, Any]:
    """The queries of a dialog as a part of the record that a command prints, {} for any other prompt."""
    if rewrite is None:
        return {}
    queries = {"query": rewrite.queries[0] if rewrite.queries else None, "queries": rewrite.queries}
    return queries | {"search": rewrite.search, "how": rewrite.how, "note": rewrite.note}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the tuned model to a prompt; printing it prints the text.

    text     of the tuned model; None if training failed
    base     the base model's answer, if it was requested
    seconds  by stage: embed, search, select, train; tuned and base are the generation of the two answers
    failed   why there is no text, else ""
    rewrite  the queries, if the prompt is a dialog
    """

    prompt_id: str
    text: str | None
    ids: list[int]
    steps: int
    base: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    rewrite: QueryRecord | None = None

    def __str__(self) -> str:
        return self.text or ""

    def to_json(self) -> dict[str, Any]:
        """The record that `ttft generate --json` prints."""
        record: dict[str, Any] = {"prompt_id": self.prompt_id, "text": self.text}
        if self.failed:
            record["failed"] = self.failed
        if self.base is not None:
            record["base"] = self.base
        return record | {"ids": self.ids, "seconds": self.seconds} | shown(self.rewrite)
