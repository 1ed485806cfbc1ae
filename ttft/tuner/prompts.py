"""Prompts in the forms that callers may pass, and in the form in which they are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ttft.errors import ConfigError
from ttft.records import Prompt
from ttft.tuner.scoring import Scoring, Target, target, target_of_parts

PromptLike = str | Prompt | Mapping[str, Any]
"""A text, a Prompt, or a mapping with "text" and optionally "id" and "subset"."""


def as_prompt(prompt: PromptLike, number: int | None = None) -> Prompt:
    """Convert a text or a mapping to a Prompt. Raises ConfigError for anything else, and for empty prompts."""
    name = "prompt" if number is None else f"prompt-{number}"
    if isinstance(prompt, str):
        prompt = Prompt(name, prompt)
    elif isinstance(prompt, Mapping):
        if not isinstance(prompt.get("text"), str):
            raise ConfigError(
                f"a prompt has no text; its fields: {', '.join(map(repr, prompt))}", 'give {"text": "..."}'
            )
        prompt = Prompt(str(prompt.get("id", name)), prompt["text"], str(prompt.get("subset", "")))
    if not isinstance(prompt, Prompt):
        raise ConfigError(
            f"a {type(prompt).__name__} is not a prompt", "give a string, a Prompt, or a dict with a text"
        )
    if not prompt.text.strip():
        raise ConfigError(f"the prompt {prompt.id} is empty", "give some text")
    return prompt


def unique(prompts: Iterable[PromptLike]) -> Iterator[Prompt]:
    seen: set[str] = set()
    for number, prompt in enumerate(prompts):
        this = as_prompt(prompt, number)
        if this.id in seen:
            raise ConfigError(f"two prompts have the id {this.id!r}", "ids must be unique")
        seen.add(this.id)
        yield this


def targets(
    prompts: Iterable[PromptLike | tuple[str, PromptLike]], tokenizer: Any, scoring: Scoring
) -> Iterator[Target]:
    """The scored part of each prompt; for a tuple (prefix, prompt), the prompt after its prefix."""
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
