"""Dialogs as others write them, and what is said of those that are none."""

from __future__ import annotations

import json

import pytest

from ttft.errors import CorpusError
from ttft.q2d.dialog_input import read_dialog, read_dialogs, read_turns
from ttft.q2d.records import Turn, alternating

THREE = alternating(["Who was Ada?", "A mathematician.", "When was she born?"])


@pytest.mark.parametrize(
    "record",
    [
        {"turns": ["Who was Ada?", "A mathematician.", "When was she born?"]},
        {"turns": [{"role": turn.role, "text": turn.text} for turn in THREE]},
        {"messages": [{"role": turn.role, "content": turn.text} for turn in THREE]},
        [{"role": turn.role, "content": turn.text} for turn in THREE],
        {"messages": [{"role": turn.role, "content": [{"type": "text", "text": turn.text}]} for turn in THREE]},
        {"turns": [{"role": {"user": "Human", "assistant": "ai"}[turn.role], "text": turn.text} for turn in THREE]},
        {"check": "0", "turns": [{"role": turn.role, "text": turn.text, "more": 1} for turn in THREE], "query": "x"},
    ],
)
def test_every_form_gives_the_same_turns(record) -> None:
    assert read_turns(record, "f:1") == THREE


def test_a_chat_with_system_and_tools() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the time in Bern?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "x" * (2 << 20)},
        {"role": "assistant", "content": "Noon."},
        {"role": "assistant", "content": "In summer."},
        {"role": "user", "content": [{"type": "image", "url": "a.png"}, {"type": "text", "text": "And there?"}]},
    ]
    dialog = read_dialog({"id": 7, "messages": messages}, "f:1")
    assert (dialog.id, dialog.system) == ("7", "Be brief.")
    assert dialog.turns == alternating(["What is the time in Bern?", "Noon. In summer.", "And there?"])
    assert len(dialog.notes) == 3 and "tools" in " ".join(dialog.notes)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"turns": []}, "the dialog is empty"),
        ({"text": "a"}, "no dialog: there is no 'turns' or 'messages'; fields there: 'text'"),
        ({"turns": "a"}, "must be a list of turns, not str"),
        ({"turns": ["a", "b"]}, "the last turn is the assistant's"),
        ({"turns": [{"role": "user", "text": "a"}] * 2}, "turn 2 and the one before it are both the user's"),
        ({"turns": [{"role": "user", "text": " "}]}, "turn 1, the user's, is empty"),
        ({"turns": [{"role": "judge", "text": "a"}]}, "turn 1 has the role 'judge'"),
        ({"turns": [{"text": "a"}]}, "turn 1 has the role None"),
        ({"turns": ["a", {"role": "user", "text": "b"}]}, "turn 1 is str"),
        ({"turns": [{"role": "user", "text": 5}]}, "turn 1 has a text that is int"),
        ({"turns": ["a" * (1 << 20) + "b"]}, "turn 1 has 1,048,577 bytes"),
        ({"turns": ["\ud800"]}, "lone surrogate"),
        ({"messages": [{"role": "system", "content": "a"}]}, "the dialog is empty"),
        (None, "must be a list of turns, not NoneType"),
    ],
)
def test_errors_say_what_and_where(record, words: str) -> None:
    with pytest.raises(CorpusError) as caught:
        read_dialog(record, "chats.jsonl:12")
    assert caught.value.message.startswith("chats.jsonl:12") and words in caught.value.message


def test_lenient_joins_turns_and_says_so() -> None:
    record = {"turns": [{"role": "user", "text": text} for text in ("Hi.", " ", "Who was Ada?")]}
    dialog = read_dialog(record, "f:1", lenient=True)
    assert dialog.turns == (Turn("user", "Hi. Who was Ada?"),)
    assert dialog.notes == (
        "turn 2, which is empty, was left out", "turn 3 was joined to the one before it, both the user's",
    )  # fmt: skip
    with pytest.raises(CorpusError, match="the dialog is empty"):
        read_dialog({"turns": [" "]}, "f:1", lenient=True)


def test_a_file_is_read_line_by_line_and_errors_name_the_line() -> None:
    lines = [b"\n", json.dumps({"turns": ["a"]}).encode(), b'{"turns": ["b"], "id": "x"}\n', b"{"]
    found = read_dialogs(lines, "d.jsonl")
    assert [next(found).id, next(found).id] == ["d.jsonl:2", "x"]
    with pytest.raises(CorpusError, match=r"d\.jsonl:4 is not JSON"):
        next(found)
