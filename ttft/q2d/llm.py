"""Language models that complete prompts: what all of them have in common, and a cache of their answers on disk.

Endpoints over HTTP are in endpoint.py, models on this machine in local_model.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ttft.json_lines import JsonLines
from ttft.q2d.prompts import Messages
from ttft.run_dir import locked
from ttft.state import STRICT, read_records

COMPLETIONS = "completions.jsonl"


@dataclass(frozen=True, slots=True)
class Request:
    """One answer that is wanted. sample: which of several to the same messages."""

    messages: Messages
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer. complete: whether it ended by itself, not at the longest allowed; refused: why there is none, if the
    model will not answer this request however often it is asked."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    complete: bool = True
    cached: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn. temperature 0: the likeliest token each time. top_p: of the likeliest tokens that make up
    this share."""

    temperature: float = 0.7
    max_tokens: int = 400
    top_p: float = 1.0
    seed: int = 0


class Llm(Protocol):
    """A model that completes chats. `batch`: requests are answered in groups of this many, in their order, and an
    answer may depend on the others of its group in the last digit of a number."""

    name: str
    sampling: Sampling
    batch: int

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """(position in requests, answer), in any order. Raises TtftError where asking again later may help."""
        ...


def request_key(name: str, sampling: Sampling, request: Request) -> str:
    """A hash of all that determines an answer. Addresses and keys of endpoints are no part of it."""
    parts = [name, request.messages, asdict(sampling), request.sample]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def request_seed(sampling: Sampling, request: Request) -> int:
    """31 bits that differ between samples and seeds."""
    text = f"{sampling.seed}\n{request.sample}\n{request.messages[-1][1]}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


@dataclass(frozen=True, slots=True)
class _Line:
    __pydantic_config__: ClassVar = STRICT

    key: str
    text: str
    prompt_tokens: int
    completion_tokens: int
    complete: bool


class Cached:
    """A model whose answers are kept in a folder. One process at a time uses the folder; use it in a `with` block."""

    def __init__(self, llm: Llm, folder: Path) -> None:
        self.llm, self.folder = llm, folder
        self.name, self.sampling, self.batch = llm.name, llm.sampling, llm.batch
        self._known: dict[str, Completion] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Cached:
        with ExitStack() as stack:
            stack.enter_context(locked(self.folder))
            self._file = stack.enter_context(JsonLines(self.folder / COMPLETIONS))
            for line in read_records(self.folder / COMPLETIONS, _Line):
                facts: dict[str, Any] = asdict(line)
                self._known[facts.pop("key")] = Completion(**facts, cached=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def known(self, request: Request) -> Completion | None:
        """The answer in the cache."""
        return self._known.get(request_key(self.name, self.sampling, request))

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """As Llm.complete. A group of `batch` requests is asked for as a whole unless all of its answers are known."""
        keys = [request_key(self.name, self.sampling, request) for request in requests]
        open_places: list[int] = []
        for start in range(0, len(requests), self.batch):
            group = range(start, min(start + self.batch, len(requests)))
            if all(keys[place] in self._known for place in group):
                yield from ((place, self._known[keys[place]]) for place in group)
            else:
                open_places += group
        for position, answer in self.llm.complete([requests[place] for place in open_places]):
            place = open_places[position]
            known = self._known.get(keys[place])
            if known is None and not answer.refused:
                self._keep(keys[place], answer)
            yield place, known or answer

    def _keep(self, key: str, answer: Completion) -> None:
        facts = {"text": answer.text, "prompt_tokens": answer.prompt_tokens}
        facts |= {"completion_tokens": answer.completion_tokens, "complete": answer.complete}
        self._file.append({"key": key, **facts})
        self._known[key] = replace(answer, cached=True)
