"""Reading state files, JSON, JSON lines and YAML, into typed records: every value checked before anything uses it.

A record is a dataclass. Its fields' types are checked strictly (true is not 1, "1" is not 1), numbers must be finite
unless the field says otherwise, ranges are those that the field is annotated with, and a missing or an unknown field is
an error; so is a key that stands twice. Each message names the file, the line and the field.

A line of a JSON-lines file ends with its checksum, "check": the first 16 hex digits of the SHA-256 of the rest of the
record. A JSON file may be sealed ("sha256"; run_dir.sealed).

YAML is read with a plain schema: strings, numbers, true and false, null, lists and mappings. There are no tags, no
dates and no aliases, so that a small file cannot become a large value.

This is the only module that parses state files and configuration files.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ttft.errors import ConfigError, MissingArtifact, TtftError
from ttft.files import read_bytes

T = TypeVar("T")
DAMAGED = "the file was changed by hand or damaged: restore it from a copy, or remove it"
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""For records: set as `__pydantic_config__` of the dataclass."""
KEYS = {"missing": "is missing", "unexpected_keyword_argument": "unknown key"}
DEEPEST = 64
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""In JSON: half of a character, or of none."""
CHECK = "check"
CHECKED = len(f', "{CHECK}": "0123456789abcdef"}}')  # bytes at the end of a line


# ---- records -------------------------------------------------------------------------------------------------------


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def record(kind: type[T], value: Any, where: str, error: type[TtftError] = TtftError, hint: str = DAMAGED) -> T:
    """A parsed value as a record. `where` is what messages begin with, a file or a file and line.

    Raises `error` that names the first field that is wrong, missing or unknown.
    """
    try:
        text = json.dumps(value)
    except RecursionError:
        raise error(f"{where}: nested too deeply", hint) from None
    return _validated(kind, text, where, error, hint)


def _validated(
    kind: type[T], text: bytes | str, where: str, error: type[TtftError] = TtftError, hint: str = DAMAGED
) -> T:
    """`record` of a JSON text, since in strict mode a mapping is a dataclass only there."""
    try:
        return _adapter(kind).validate_json(text)  # type: ignore[arg-type]
    except ValidationError as invalid:
        raise error(f"{where}: {_complaint(invalid)}", hint) from None
    except RecursionError:
        raise error(f"{where}: nested too deeply", hint) from None


def _complaint(invalid: ValidationError) -> str:
    """The first complaint: field, what is wrong, and the value where it is not the whole record."""
    first = invalid.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        return f"{place + ': ' if place else ''}{first['ctx']['error']}"
    what = KEYS.get(first["type"]) or f"{first['msg']} (got {_short(first['input'])})"
    return f"{place + ': ' if place else ''}{what}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# ---- JSON ----------------------------------------------------------------------------------------------------------


def parse_json(data: bytes | str, where: str, error: type[TtftError] = TtftError, hint: str = DAMAGED) -> Any:
    """The value of a JSON text in UTF-8. NaN, numbers beyond the range of a float, keys that stand twice and texts that
    are not Unicode are refused. Raises `error`."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise error(f"{where} is nested too deeply", hint) from None
    except ValueError as invalid:
        raise error(f"{where} is not JSON: {invalid}", hint) from None
    if SURROGATE.search(text):
        check_plain(value, where, error, hint)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large")
    return value


def check_plain(value: Any, where: str, error: type[TtftError] = TtftError, hint: str = DAMAGED) -> None:
    """Raises `error` for a text or a number that could not be written to any file."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise error(f"{where}: a text is not valid Unicode: it contains a lone surrogate", hint) from None
    except ValueError:
        raise error(f"{where}: a number is too large", hint) from None


def read_json(path: Path, error: type[TtftError] = MissingArtifact, hint: str = DAMAGED) -> Any:
    """The value of a JSON file. Raises `error`, or as `files.read_bytes`."""
    return parse_json(read_bytes(path), str(path), error, hint)


# ---- JSON lines ----------------------------------------------------------------------------------------------------


def _check(text: bytes) -> bytes:
    """The end of a line: the checksum of a record's JSON text, as its last field."""
    return f', "{CHECK}": "{hashlib.sha256(text).hexdigest()[:16]}"}}'.encode()


def checked_line(value: dict[str, Any]) -> bytes:
    """A record, which has at least one field, as a line with its checksum."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return text[:-1] + _check(text) + b"\n"


def _is_intact(line: bytes) -> bool:
    return line[-CHECKED:] == _check(line[:-CHECKED] + b"}")


def _content(line: bytes, where: str) -> bytes:
    """The JSON text of a record without its checksum. Raises TtftError for a line that is no JSON object or not the one
    that was written."""
    text = line[:-CHECKED] + b"}"
    if _is_intact(line):
        return text
    value = parse_json(line, where)
    if not isinstance(value, dict):
        raise TtftError(f"{where} is not a record", DAMAGED)
    if CHECK not in value:
        raise TtftError(
            f"{where} has no checksum, so the file was written by an earlier version of ttft, or by hand",
            "make it again: run the command that wrote it with a new --out",
        )
    raise TtftError(f"{where} is damaged: its content does not match its checksum", DAMAGED)


def parse_line(kind: type[T], line: bytes, where: str) -> T:
    """The record of a line. Raises TtftError for a line that is damaged, or not such a record."""
    text = _content(line, where)
    parse_json(text, where)  # refuses keys that stand twice
    return _validated(kind, text, where)


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file, [] if there is none.

    A last line without its newline is not a record yet, as a kill leaves it. No kill leaves a whole record and another
    byte in place of the newline: that byte was changed, and the line is returned with it, for the reader to refuse.
    """
    if not path.exists() and not path.is_symlink():
        return []
    *lines, rest = read_bytes(path, 1 << 40).split(b"\n")
    return [*lines, rest] if _is_intact(rest[:-1]) else lines


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole records of a JSON-lines file, without their checksums; [] if there is no file.

    Raises TtftError that names file and line for a line that is damaged.
    """
    places = ((line, f"{path}:{number}") for number, line in enumerate(whole_lines(path), 1))
    return [parse_json(_content(line, where), where) for line, where in places]


def read_records(path: Path, kind: type[T], key: Callable[[T], str] | None = None) -> list[T]:
    """The records of a JSON-lines file. `key`: what must be unique among them. Raises TtftError that names file and
    line."""
    records: list[T] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(whole_lines(path), 1):
        records.append(parse_line(kind, line, f"{path}:{number}"))
        if key is not None and (first := seen.setdefault(key(records[-1]), number)) != number:
            raise TtftError(f"{path}:{number} repeats {key(records[-1])!r} of line {first}", "remove one of them")
    return records


# ---- YAML ----------------------------------------------------------------------------------------------------------


class _Plain(yaml.SafeLoader):
    """YAML's core schema, and nothing that makes a value larger than its text."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        key: value
        for key, value in yaml.SafeLoader.yaml_constructors.items()
        if key in {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")}
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if self.check_event(yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(None, None, "anchors and aliases are not allowed", event.start_mark)
        if getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(None, None, f"the tag {event.tag} is not allowed", event.start_mark)
        self.depth = getattr(self, "depth", 0) + 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(None, None, "nested too deeply", event.start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key.value, str):
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} stands twice", value.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]{0,18})", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", list("-+0123456789.")),
):
    _Plain.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def parse_yaml(text: bytes | str, where: str) -> Any:
    """The value of a YAML text. Raises ConfigError that begins with `where`."""
    try:
        return yaml.load(text, _Plain)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as invalid:
        reason = " ".join(str(invalid).split()) or type(invalid).__name__
        raise ConfigError(f"{where} is not YAML that ttft reads: {reason}") from None


def read_yaml(path: Path, limit: int = 1 << 20) -> Any:
    """The value of a YAML file. Raises ConfigError, or as `files.read_bytes`."""
    return parse_yaml(read_bytes(path, limit), str(path))


class _Dumper(yaml.SafeDumper):
    """Writes what `_Plain` reads: no aliases, and quotes around every text that would be read as a number."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()), *_Plain.yaml_implicit_resolvers.get(first, ())]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Plain.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_yaml(value: Any) -> str:
    """A YAML text of plain data in the order given, which `parse_yaml` reads back as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
