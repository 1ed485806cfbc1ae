"""The prompts for a language model: a question -> a dialog, and a dialog -> its query.

The wording and the demonstrations are ours: the paper's prompt is not known. Both prompts are an instruction, k
demonstrations and the new case, as messages of a chat; models without a chat template get them as one text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttft.errors import ConfigError
from ttft.files import read_bytes
from ttft.q2d.records import Turn, alternating
from ttft.q2d.text import dialog_text, norm, one_line
from ttft.run_dir import sha256_text
from ttft.state import STRICT, parse_json, record

DEMONSTRATIONS = Path(__file__).parent / "demonstrations.json"
SHOTS = 4
Messages = tuple[tuple[str, str], ...]
"""(role, content) pairs: system, user, assistant, user, ..., user."""

GENERATION = """You turn a question into a conversation between a user who looks for information and an assistant.

- Write one turn per line, "User: ..." and "Assistant: ..." by turns. The first and the last line are the user's.
- Write 3 to 9 turns. Turns are short, as people type them.
- The last user turn asks for exactly what the question asks, but leans on earlier turns: it uses a pronoun, "there", \
"that one", or leaves words out. It must not repeat the question.
- Whoever reads the whole conversation can rebuild the question exactly: every entity, number and constraint of the \
question is said in some turn.
- Never state or hint at the answer to the question.
- The assistant's turns are short and factual.
- Write nothing before the conversation and nothing after its last user turn."""

RECOVERY = """Write the single search query for the last user turn of a conversation.

- The query is complete by itself: a reader who has not seen the conversation understands it.
- Add nothing that the conversation does not say. Do not answer the query.
- Use the language of the last user turn.
- Write the query only, on one line."""


@dataclass(frozen=True, slots=True)
class ShownDialog:
    """A demonstration: a question with a dialog that asks it, texts of its turns by turns, the user's first."""

    __pydantic_config__ = STRICT

    question: str
    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownQuery:
    """A demonstration: a dialog with its query."""

    __pydantic_config__ = STRICT

    turns: tuple[str, ...]
    query: str


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """What the prompts show. A file of demonstrations is a JSON object with these two lists."""

    __pydantic_config__ = STRICT

    generation: tuple[ShownDialog, ...]
    recovery: tuple[ShownQuery, ...]

    def questions(self) -> list[str]:
        return [shown.question for shown in self.generation] + [shown.query for shown in self.recovery]


def load_demonstrations(path: Path | None = None) -> Demonstrations:
    """The demonstrations of a file, by default ours. Raises ConfigError that names what is wrong, MissingArtifact."""
    path = path or DEMONSTRATIONS
    hint = 'it needs {"generation": [{"question", "turns"}], "recovery": [{"turns", "query"}]}'
    value = parse_json(read_bytes(path), str(path), ConfigError, hint)
    shown = record(Demonstrations, value, str(path), ConfigError, hint)
    for kind, number, turns in [
        *(("generation", i, d.turns) for i, d in enumerate(shown.generation)),
        *(("recovery", i, d.turns) for i, d in enumerate(shown.recovery)),
    ]:
        if len(turns) % 2 == 0 or not all(turn.strip() for turn in turns):
            raise ConfigError(f"{path}: {kind}.{number}: the turns must begin and end with the user's, none empty")
    if not shown.generation or not shown.recovery:
        raise ConfigError(f"{path} needs at least one demonstration of each kind", hint)
    return shown


def check_no_leak(shown: Demonstrations, questions: Iterable[str]) -> None:
    """Raises ConfigError if a demonstration is one of the questions, by normal form: data must not be demonstrated."""
    known = {norm(text): text for text in shown.questions()}
    for question in questions:
        if question and norm(question) in known:
            raise ConfigError(
                f"the question {one_line(question)[:120]!r} is also a demonstration of the prompt",
                "remove it from the questions, or give other demonstrations with --demonstrations FILE",
            )


def generation_messages(question: str, shown: Demonstrations, shots: int = SHOTS) -> Messages:
    """The prompt for a dialog that asks `question`. Its line breaks become spaces."""
    messages = [("system", GENERATION)]
    for one in shown.generation[:shots]:
        messages += [("user", f"Question: {one.question}"), ("assistant", dialog_text(alternating(one.turns)))]
    return (*messages, ("user", f"Question: {one_line(question)}"))


def recovery_messages(turns: Sequence[Turn], shown: Demonstrations, shots: int = SHOTS) -> Messages:
    """The prompt for the query of a dialog."""
    messages = [("system", RECOVERY)]
    for one in shown.recovery[:shots]:
        messages += [("user", dialog_text(alternating(one.turns))), ("assistant", one.query)]
    return (*messages, ("user", dialog_text(turns)))


def prompt_sha256(messages: Messages) -> str:
    """Of the instruction and the demonstrations, that is of all messages but the last."""
    return sha256_text(json.dumps(messages[:-1], ensure_ascii=False))


def flat(messages: Messages) -> str:
    """The messages as one text, for models that only continue texts; it ends where the answer begins."""
    return "\n\n".join(content for _, content in messages) + "\n"
