"""Prompts in the forms that callers may pass, and in the form in which they are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from ttft.errors import ConfigError, CorpusError
from ttft.progress import OnNote, ignore
from ttft.q2d.dialog_input import is_dialog, read_dialog
from ttft.records import Prompt
from ttft.tuner.dialogs import Queries, dialog_prompt
from ttft.tuner.scoring import Scoring, Target, target, target_of_parts

PromptLike = str | Prompt | Mapping[str, Any]
"""A text, a Prompt, or a mapping with "text" and optionally "id" and "subset"; in place of the text it may have the
"turns" or "messages" of a dialog (q2d.dialog_input)."""


def as_prompt(prompt: PromptLike, number: int | None = None, on_note: OnNote = ignore) -> Prompt:
    """Convert a text or a mapping to a Prompt. Raises ConfigError for anything else, and for empty prompts."""
    name = "prompt" if number is None else f"prompt-{number}"
    if isinstance(prompt, str):
        prompt = Prompt(name, prompt)
    elif isinstance(prompt, Mapping) and "text" not in prompt and is_dialog(prompt):
        name = str(prompt.get("id", name))
        dialog = read_dialog(prompt, f"prompt {name}", lenient=True)
        for note in dialog.notes:
            on_note(f"prompt {name}: {note}")
        prompt = dialog_prompt(name, dialog, str(prompt.get("subset", "")))
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


def unique(prompts: Iterable[PromptLike], on_note: OnNote = ignore) -> Iterator[Prompt]:
    seen: set[str] = set()
    for number, prompt in enumerate(prompts):
        this = as_prompt(prompt, number, on_note)
        if this.id in seen:
            raise ConfigError(f"two prompts have the id {this.id!r}", "ids must be unique")
        seen.add(this.id)
        yield this


def asked(prompts: Iterable[PromptLike], queries: Queries, *, together: bool) -> Iterable[Prompt]:
    """Unique prompts, dialogs with their queries. together: read all, and rewrite them in batches."""
    made = unique(prompts, queries.on_note)
    return queries.of(list(made)) if together else queries.one_by_one(made)


def targets(
    prompts: Iterable[PromptLike | tuple[str, PromptLike]], tokenizer: Any, scoring: Scoring, queries: Queries
) -> Iterator[Target]:
    """The scored part of each prompt; for a tuple (prefix, prompt), the prompt after its prefix.

    Raises CorpusError for a dialog with a prefix, and as `target`.
    """
    prefixes: dict[str, str | None] = {}

    def plain() -> Iterator[Prompt]:
        for number, given in enumerate(prompts):
            prefix, prompt = given if isinstance(given, tuple) else (None, given)
            this = as_prompt(prompt, number, queries.on_note)
            if prefix is not None and this.turns:
                raise CorpusError(f"prompt {this.id} is a dialog, which has no prefix", "leave the prefix out")
            prefixes[this.id] = prefix
            yield this

    for this in asked(plain(), queries, together=isinstance(prompts, Sized)):
        prefix = prefixes.pop(this.id)
        if prefix is None:
            yield target(this, tokenizer, scoring)
        else:
            whole = Prompt(this.id, prefix + this.text, this.subset)
            yield target_of_parts(whole, prefix, this.text, prefix, tokenizer)
