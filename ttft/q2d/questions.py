"""Files of questions -> Questions: one's own, and the question sets that q2d makes dialogs of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ttft.errors import ConfigError, CorpusError
from ttft.progress import OnNote, counted, ignore
from ttft.q2d.conversation_forms import OTHERS_MAY_FOLLOW
from ttft.q2d.reading import FIX, Row, checked_text, fields_of, read_rows, typed
from ttft.q2d.records import Question
from ttft.q2d.text import norm
from ttft.visible import shortened

LONGEST_QUESTION = 10_000  # characters


@dataclass(frozen=True)
class _MuSiQueStep:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    answer: str


@dataclass(frozen=True)
class _MuSiQue:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    id: str
    question: str
    question_decomposition: list[_MuSiQueStep]
    answer: str
    answer_aliases: list[str] = field(default_factory=list)


def _musique(row: Row, column: str) -> Question:
    """MuSiQue: the answers of all steps but the last are bridges that a dialog must not name."""
    one = typed(_MuSiQue, row)
    bridges = [step.answer for step in one.question_decomposition[:-1]]
    return _question(one.id, one.question, [one.answer, *one.answer_aliases], bridges, "musique")


@dataclass(frozen=True)
class _Bamboogle:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    Question: str
    Answer: str
    A1: list[str]
    A2: list[str] = field(default_factory=list)


def _bamboogle(row: Row, column: str) -> Question:
    """Bamboogle with its two steps: the first answer is a bridge."""
    one = typed(_Bamboogle, row)
    return _question("", one.Question, [one.Answer, *one.A2], one.A1, "bamboogle")


@dataclass(frozen=True)
class _Hotpot:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    question: str
    answer: str
    id: str


def _hotpotqa(row: Row, column: str) -> Question:
    one = typed(_Hotpot, Row(row.where, {**row.value, "id": row.value["_id"]}))
    return _question(one.id, one.question, [one.answer], [], "hotpotqa")


@dataclass(frozen=True)
class _Own:
    __pydantic_config__: ClassVar = OTHERS_MAY_FOLLOW
    question: str
    id: str | int = ""
    answers: list[str] | str | None = None
    answer: list[str] | str | None = None
    forbidden: list[str] | str | None = None
    source: str = ""


def _own(row: Row, column: str) -> Question:
    """A record or a line of a table with a question, and perhaps id, answers or answer, forbidden and source."""
    named = {key if key == column else key.lower(): value for key, value in row.value.items()}
    one = typed(_Own, Row(row.where, {**named, "question": named.get(column, named.get(column.lower()))}))
    answers = _list(one.answers) + _list(one.answer)
    return _question(str(one.id), one.question, answers, _list(one.forbidden), one.source)


def _text(row: Row, column: str) -> Question:
    if not isinstance(row.value, str):
        raise CorpusError(f"{row.where} is {fields_of(row.value)}, not a text", FIX)
    return _question("", row.value, [], [], "")


def _list(value: list[str] | str | None) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _question(id: str, text: str, answers: Sequence[str], forbidden: Sequence[str], source: str) -> Question:
    """Answers that are equal in lower case count once; an id that is not given is a hash of the question."""
    id = id or "q-" + hashlib.sha256(text.encode()).hexdigest()[:12]
    forms = {answer.strip().lower(): answer.strip() for answer in reversed(answers) if answer.strip()}
    bridges = {answer.strip().lower(): answer.strip() for answer in reversed(forbidden) if answer.strip()}
    return Question(id, text, tuple(reversed(forms.values())), tuple(reversed(bridges.values())), source)


@dataclass(frozen=True)
class Form:
    """How a set of questions is published. `needs`: the fields by which it is known."""

    needs: tuple[str, ...]
    read: Callable[[Row, str], Question]
    about: str


FORMS: dict[str, Form] = {
    "musique": Form(("question", "question_decomposition"), _musique, "MuSiQue with its steps"),
    "bamboogle": Form(("Question", "Answer", "A1"), _bamboogle, "Bamboogle with its two steps"),
    "hotpotqa": Form(("_id", "question", "supporting_facts"), _hotpotqa, "HotpotQA"),
    "own": Form(("question",), _own, "records or a table: question, and perhaps id, answers, forbidden, source"),
    "text": Form((), _text, "a question per line of a .txt file, or a JSON list of texts"),
}
"""In the order in which they are tried. Field names of "own" may be written in capitals, as in SimpleDeepSearcher's
MuSiQue and Bamboogle."""


def load_questions(
    path: Path | str, form: str | None = None, *, column: str = "question", on_note: OnNote = ignore
) -> list[Question]:
    """The questions of a file, in its order.

    form    a name of FORMS; by default the form is seen from the fields of the first record
    column  the field of the question in records and tables of one's own

    A question that stands twice, the same by text.norm, is left out the second time and told to `on_note`. Raises
    CorpusError for a file without such a field, with the fields that it has; for an empty question or one of more than
    LONGEST_QUESTION characters; and for two questions of one id.
    """
    path = Path(path)
    rows = read_rows(path)
    name = form if form is not None else _form_of(path, rows, column)
    if name not in FORMS:
        raise ConfigError(f"unknown form of questions {name!r}", _list_of_forms())
    questions: list[Question] = []
    texts: dict[str, str] = {}
    ids: dict[str, str] = {}
    twice: list[str] = []
    for row in rows:
        _check_fields(row, name, column)
        one = FORMS[name].read(row, column)
        _check_length(one, row.where)
        if texts.setdefault(norm(one.question) or one.question, row.where) != row.where:
            twice.append(row.where)
            continue
        if ids.setdefault(one.id, row.where) != row.where:
            raise CorpusError(f"{row.where} has the id {one.id!r} of {ids[one.id]}", "give every question its own id")
        questions.append(one)
    if twice:
        on_note(f"left out {counted(len(twice), 'question')} that stand twice: {shortened(', '.join(twice), 200)}")
    return questions


def _check_length(one: Question, where: str) -> None:
    if len(checked_text(one.question, where, "the question")) > LONGEST_QUESTION:
        raise CorpusError(
            f"{where}: the question has {len(one.question):,} characters, more than {LONGEST_QUESTION:,}",
            "is it a question? name the field that holds it",
        )


def _check_fields(row: Row, name: str, column: str) -> None:
    needs = (column,) if name == "own" else FORMS[name].needs
    if needs and not (isinstance(row.value, dict) and all(_has(row.value, field) for field in needs)):
        raise CorpusError(
            f"{row.where} has no question: it is {fields_of(row.value)}; expected {', '.join(needs)} (form {name})",
            _list_of_forms(),
        )


def _form_of(path: Path, rows: Sequence[Row], column: str) -> str:
    first: Any = rows[0].value
    if isinstance(first, str):
        return "text"
    if isinstance(first, dict):
        for name, form in FORMS.items():
            needs = (column,) if name == "own" else form.needs
            if needs and all(_has(first, field) if name == "own" else field in first for field in needs):
                return name
    raise CorpusError(f"{path} has no field {column!r} to read questions from: it holds {fields_of(first)}",
                      f"name the field of the question, or convert the file.\n{_list_of_forms()}")  # fmt: skip


def _has(value: dict[str, Any], field: str) -> bool:
    return field in value or field.lower() in {key.lower() for key in value}


def _list_of_forms() -> str:
    return "forms:\n" + "\n".join(f"  {name:9} {form.about}" for name, form in FORMS.items())
