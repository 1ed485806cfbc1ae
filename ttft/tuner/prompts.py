"""Prompts as a caller may give them, and as they are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ttft.errors import ConfigError
from ttft.records import Prompt
from ttft.tuner.scoring import Scoring, Target, target, target_of_parts

PromptLike = str | Prompt | Mapping[str, Any]
"""A text, a Prompt, or a record with "text" and perhaps "id" and "subset"."""


def as_prompt(prompt: PromptLike, number: int | None = None) -> Prompt:
    """The Prompt of a text or a record. Raises ConfigError for anything else, and for one without a word."""
    name = "prompt" if number is None else f"prompt-{number}"
    if isinstance(prompt, str):
        prompt = Prompt(name, prompt)
    elif isinstance(prompt, Mapping):
        if not isinstance(prompt.get("text"), str):
            raise ConfigError(f"a prompt has no text; fields there: {', '.join(map(repr, prompt))}", '{"text": "..."}')
        prompt = Prompt(str(prompt.get("id", name)), prompt["text"], str(prompt.get("subset", "")))
    if not isinstance(prompt, Prompt):
        raise ConfigError(f"a {type(prompt).__name__} is no prompt", "give a string, a Prompt, or a dict with a text")
    if not prompt.text.strip():
        raise ConfigError(f"the prompt {prompt.id} is empty", "give some text")
    return prompt


def unique(prompts: Iterable[PromptLike]) -> Iterator[Prompt]:
    seen: set[str] = set()
    for number, prompt in enumerate(prompts):
        this = as_prompt(prompt, number)
        if this.id in seen:
            raise ConfigError(f"two prompts have the id {this.id!r}", "make ids unique")
        seen.add(this.id)
        yield this


def targets(
    prompts: Iterable[PromptLike | tuple[str, PromptLike]], tokenizer: Any, scoring: Scoring
) -> Iterator[Target]:
    """What is scored of each prompt; of a tuple (prefix, prompt) the prompt, after its prefix."""
    prefixes: dict[str, str | None] = {}

    def plain() -> Iterator[Prompt]:
        for number, given in enumerate(prompts):
            prefix, prompt = given if isinstance(given, tuple) else (None, given)
            this = as_prompt(prompt, number)
            prefixes[this.id] = prefix
            yield this

    for this in unique(plain()):
        prefix = prefixes.pop(this.id)
        if prefix is None:
            yield target(this, tokenizer, scoring)
        else:
            whole = Prompt(this.id, prefix + this.text, this.subset)
            yield target_of_parts(whole, prefix, this.text, prefix, tokenizer)
