"""State files are read into records: every value checked, every line with its checksum, YAML without surprises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from ttft import state
from ttft.errors import ConfigError, MissingArtifact, TtftError


@dataclass(frozen=True, slots=True)
class Example:
    __pydantic_config__ = state.STRICT

    name: str
    count: Annotated[int, Field(ge=0)]
    share: float = 0.5


def test_a_record() -> None:
    assert state.record(Example, {"name": "a", "count": 1, "share": 1}, "x") == Example("a", 1, 1.0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"name": "a"}, "count: is missing"),
        ({"name": "a", "count": 1, "more": 1}, "more: unknown key"),
        ({"name": "a", "count": True}, "count: .*True"),
        ({"name": "a", "count": "1"}, "count: .*'1'"),
        ({"name": "a", "count": 1.0}, "count: "),
        ({"name": "a", "count": -1}, "count: .*-1"),
        ({"name": 1, "count": 1}, "name: "),
        ({"name": "a", "count": 1, "share": float("nan")}, "share: "),
        ({"name": "a", "count": 1, "share": float("inf")}, "share: "),
        ([], "x: "),
        (None, "x: "),
    ],
)
def test_a_wrong_value_is_named(value: Any, said: str) -> None:
    with pytest.raises(TtftError, match=f"^x: .*{said}|^{said}"):
        state.record(Example, value, "x")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": -Infinity}', '{"a": [1e999]}', '{"a": "\\ud800"}',
        b'{"a": "\xed\xa0\x80"}', '{"\\udfff": 1}', "[" * 100_000, b"\xff", "1 2",
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MissingArtifact, match=r"x\.json( is|: a text)"):
        state.read_json(path)


def test_both_halves_of_a_character_may_be_escaped() -> None:
    assert state.parse_json('{"a": "\\ud83d\\ude00"}', "x") == {"a": "\U0001f600"}


def test_a_changed_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    lines = [state.checked_line({"name": f"ü{i}", "count": i}) for i in range(3)]
    path.write_bytes(b"".join(lines) + b'{"cut')
    assert state.read_records(path, Example) == [Example(f"ü{i}", i) for i in range(3)]
    for place in range(len(lines[1]) - 1):
        damaged = bytearray(lines[1])
        damaged[place] ^= 1
        path.write_bytes(lines[0] + bytes(damaged) + lines[2])
        with pytest.raises(TtftError, match=r"x\.jsonl:2"):
            state.read_records(path, Example)
    path.write_bytes(lines[0] + lines[1] + lines[0])
    with pytest.raises(TtftError, match=r"x\.jsonl:3 repeats 'ü0' of line 1"):
        state.read_records(path, Example, key=lambda example: example.name)
    path.write_bytes(b'{"name": "a", "count": 1}\n')
    with pytest.raises(TtftError, match="checksum"):
        state.read_records(path, Example)


def test_a_last_line_may_be_cut_anywhere_but_its_newline_is_not_changed(tmp_path: Path) -> None:
    path, first, last = tmp_path / "x.jsonl", *(state.checked_line({"name": "ü", "count": i}) for i in range(2))
    for end in range(len(last)):
        path.write_bytes(first + last[:end])
        assert state.read_records(path, Example) == [Example("ü", 0)]
    for other in set(range(256)) - {ord("\n")}:
        path.write_bytes(first + last[:-1] + bytes([other]))
        with pytest.raises(TtftError, match=r"x\.jsonl:2 is"):
            state.read_records(path, Example)


VALUES = [
    None, True, 0, -7, 2**63 - 1, 0.5, 1e-5, 5e-05, 1e20, -1.5, "", "a", "1", "1e5", "1.5e5", "12e3", "yes", "no", "on",
    "true", "True", "null", "~", "2024-01-01", "0x10", "0o7", "010", "1_000", "1:30", ".5", "-", "a: b", "a #b", "*x",
    "&x", "!x", "@x", "ü\u2028", "line\nline\n", " x ", "'", '"', "<<", "=", "inf", ".inf", "nan", [], {},
    [1, [2, {"a": None}]],
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_yaml_comes_back(value: Any) -> None:
    again = state.parse_yaml(state.dump_yaml({"key": value, "again": [value, value]}), "x")
    assert again == {"key": value, "again": [value, value]} and type(again["key"]) is type(value)


def test_keys_stay_in_order_and_a_list_may_stand_twice() -> None:
    some = [1, 2]
    text = state.dump_yaml({"b": some, "a": some})
    assert text.index("b") < text.index("a") and "&" not in text
    assert state.parse_yaml(text, "x") == {"b": some, "a": some}


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x", "a: !!python/object/apply:os.system [ls]", "a: !x 1", "a: 1\na: 2", "[" * 1000, "a: [1",
        "a: b: c", "{a: 1}}", b"\xff\xfe\x00",
    ],
)  # fmt: skip
def test_yaml_that_is_more_than_data_is_refused(text: str | bytes) -> None:
    with pytest.raises(ConfigError, match=r"^x is not YAML"):
        state.parse_yaml(text, "x")


def test_there_are_no_dates_and_no_octal_numbers() -> None:
    assert state.parse_yaml("a: 2024-01-01\nb: 010\nc: 0x10\nd: yes\ne: 1_0", "x") == {
        "a": "2024-01-01", "b": "010", "c": "0x10", "d": "yes", "e": "1_0"
    }  # fmt: skip
