"""Files of human conversations with rewrites -> Examples, whatever data set they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ttft.errors import ConfigError, CorpusError
from ttft.q2d import cast_forms, dialog_forms
from ttft.q2d import conversation_forms as forms
from ttft.q2d.reading import Row, checked_text, fields_of, read_rows
from ttft.q2d.records import Example, Turn
from ttft.q2d.text import norm

EmptyTurns = Literal["drop turn", "keep", "drop exchange"]
SHORT_REWRITE = 5  # words; two people may well write the same short one


@dataclass(frozen=True)
class Form:
    """How a data set is published. `needs`: the fields by which it is known; `read`: its rows -> Examples."""

    needs: tuple[str, ...]
    read: Callable[[Path, list[Row]], Iterator[Example]]
    about: str


FORMS: dict[str, Form] = {
    "infocqr": Form(("NewContext", "Question"), forms.infocqr, "InfoCQR's QReCC, with its ChatGPT and editor rewrites"),
    "qrecc": Form(("Context", "Question", "Rewrite"), forms.qrecc, "QReCC as released"),
    "scai": Form(("Truth_rewrite", "Conversation_no", "Turn_no"), forms.scai, "SCAI-QReCC"),
    "scai-annotations": Form(("id", "question", "gt", "predicted"), forms.scai_annotations, "SCAI's annotated answers"),
    "adaqr": Form(("conversation", "question", "label"), forms.adaqr, "AdaQR's QReCC, contexts as text"),
    "canard": Form(("History", "QuAC_dialog_id", "Rewrite"), forms.canard, "CANARD"),
    "cast": Form(("number", "turn"), cast_forms.cast, "TREC CAsT 2019 to 2022"),
    "llm4cs": Form(("conv_id", "turns"), cast_forms.llm4cs, "TREC CAsT as LLM4CS writes it"),
    "mtrag-tasks": Form(("task_id", "input"), forms.mtrag_tasks, "tasks of MTRAG and MTRAG-UN, without rewrites"),
    "mtrag": Form(("_id", "text"), forms.mtrag, "queries of MTRAG: *_questions.jsonl with *_rewrite.jsonl beside it"),
    "alexa-cqr": Form(("dialogue",), dialog_forms.alexa, "Alexa's contextual query rewrites"),
    "own": Form(("turns",), dialog_forms.own, "turns [{role, text}] and a target (or query), as ttft q2d writes them"),
    "chat": Form(("messages",), dialog_forms.own, "messages [{role, content}] and a target (or query)"),
}
"""In the order in which they are tried: the first form whose fields the first record has."""


def load_examples(
    path: Path | str,
    form: str | None = None,
    *,
    empty_turns: EmptyTurns = "drop turn",
    rewritten_only: bool = True,
) -> list[Example]:
    """The turns of a file that have a human rewrite, in the order of the file.

    form            a name of FORMS; by default the form is seen from the fields of the first record
    empty_turns     what becomes of earlier turns without text, mostly answers that a data set does not have: drop the
                    turn alone (roles then no longer alternate), keep it, or drop it with the question that it answers
    rewritten_only  False: also turns that nobody rewrote, with target ""

    Ids that repeat get "#2", "#3", ... Raises CorpusError for a file of no known form, with a list of the forms; for a
    record that does not fit its form; for a last turn that is empty or not the user's, or a text of more than
    reading.LONGEST_TEXT characters; and for a file in which nothing was rewritten.
    """
    path = Path(path)
    rows = read_rows(path)
    name = form if form is not None else _form_of(path, rows)
    if name not in FORMS:
        raise ConfigError(f"unknown form of conversations {name!r}", _list_of_forms())
    seen: Counter[str] = Counter()
    examples = []
    for one in FORMS[name].read(path, rows):
        seen[one.id] += 1
        where = f"{path}: turn {one.id}"
        repeat = f"#{seen[one.id]}" if seen[one.id] > 1 else ""
        if one.target.strip() or not rewritten_only:
            examples.append(replace(one, id=one.id + repeat, turns=_turns(one.turns, empty_turns, where)))
    if not examples:
        raise CorpusError(
            f"{path}: no turn of it has a human rewrite (form {name})",
            "give the file with the rewrites; in Python, load_examples(..., rewritten_only=False) gives the dialogs",
        )
    return examples


def _form_of(path: Path, rows: Sequence[Row]) -> str:
    first: Any = rows[0].value
    if isinstance(first, dict):
        for name, form in FORMS.items():
            if all(field in first for field in form.needs):
                return name
    raise CorpusError(f"{path} has no known form of conversations: it holds {fields_of(first)}", _list_of_forms())


def _list_of_forms() -> str:
    return "forms:\n" + "\n".join(f"  {name:17} {f.about} ({', '.join(f.needs)}, ...)" for name, f in FORMS.items())


def _turns(turns: tuple[Turn, ...], empty: EmptyTurns, where: str) -> tuple[Turn, ...]:
    """The turns of an example, checked, after what `empty` says about those without text."""
    if not turns or turns[-1].role != "user":
        raise CorpusError(f"{where}: the dialog does not end with a turn of the user", "remove the record")
    for number, turn in enumerate(turns, 1):
        if turn.text.strip() or number == len(turns):
            checked_text(turn.text, where, f"turn {number} of its dialog")
    if empty == "keep":
        return turns
    kept: list[Turn] = []
    for turn in turns:
        if turn.text.strip():
            kept.append(turn)
        elif empty == "drop exchange" and turn.role == "assistant" and kept and kept[-1].role == "user":
            kept.pop()
    return tuple(kept)


def without_overlap(train: Sequence[Example], test: Sequence[Example]) -> list[Example]:
    """The training examples whose question and rewrite do not also stand in the test set.

    Data sets of rewrites are made from each other. Two examples are the same if the normal forms (text.norm) of last
    turn and target are; those with a target of at most SHORT_REWRITE words stay, since people agree in them.
    """
    known = {_key(one) for one in test}
    return [one for one in train if len(norm(one.target).split()) <= SHORT_REWRITE or _key(one) not in known]


def _key(one: Example) -> tuple[str, str]:
    return norm(one.turns[-1].text), norm(one.target)
