"""Base class of all configurations: strict, and merged from several sources.

Precedence: command-line flag > --set key=value > YAML file > default.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ttft import state
from ttft.errors import ConfigError
from ttft.visible import shortened

COMMAND_LINE = "the command line"
MOST_SEED = 2**63 - 1  # what torch and numpy take
MOST_FLOAT = 1e38  # about the largest number of float32
MOST_TEXTS = 1_000_000
"""Of a selection: its arrays grow with n, whether or not the index has that many texts."""
BETTER_WORDS = {"a valid array": "a list, such as [1, 2]", f"{MOST_FLOAT:.0f}": f"{MOST_FLOAT:g}"}


class Config(BaseModel):
    """Frozen; unknown keys are errors; the docstrings of the fields are the --help texts."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        defer_build=True,
    )

    @classmethod
    def build(
        cls, file: Path | None = None, sets: list[str] | None = None, flags: dict[str, Any] | None = None
    ) -> Self:
        """Merge a YAML file, --set options and flags that are not None. Raises as `merge`, and for a file that cannot
        be read."""
        layers = [(str(file), read_yaml(file))] if file else []
        layers.append(("--set", dict(parse_set(s) for s in sets or [])))
        layers.append((COMMAND_LINE, {k: v for k, v in (flags or {}).items() if v is not None}))
        return cls.merge(layers, str(file) if file else "a YAML file")

    @classmethod
    def merge(cls, layers: Sequence[tuple[str, Mapping[str, Any]]], file: str = "a YAML file") -> Self:
        """Merge mappings, each with its origin; later ones win. Values are not converted: true is not 1, "5" is not 5.
        `file`: where a missing option can be set, for the message.

        Raises ConfigError naming the origin, the key and the value and, for an unknown key, the closest known one.
        """
        values: dict[str, Any] = {}
        origin: dict[str, str] = {}
        for name, given in layers:
            layer = {cls._field(key): value for key, value in given.items()}
            for key in layer:
                if key not in cls.model_fields:
                    raise cls._unknown(key, name)
            values |= layer
            origin |= dict.fromkeys(layer, name)
        for key, value in values.items():
            if fault := _fault(value):
                raise ConfigError(f"{origin[key]}: {key}: {fault} (got {shortened(repr(value))})")
        try:
            # as JSON: in strict mode a list is accepted for a tuple only there
            return cls.model_validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            raise ConfigError("\n".join(cls._explain(e, origin, values, file) for e in error.errors())) from None

    @classmethod
    def _field(cls, key: str) -> str:
        """The field for a key: "lambda" is a Python keyword, so its field is called lambda_."""
        return key + "_" if key + "_" in cls.model_fields else key

    @classmethod
    def _unknown(cls, key: str, where: str) -> ConfigError:
        near = difflib.get_close_matches(key[:100], list(cls.model_fields), 1, 0.5)
        hint = f'did you mean "{near[0]}"?' if near else "known keys: " + ", ".join(cls.model_fields)
        return ConfigError(f'{where}: unknown key "{shortened(key)}"', hint)

    @classmethod
    def _explain(cls, error: Any, origin: dict[str, str], values: dict[str, Any], file: str) -> str:
        key = str(error["loc"][0]) if error["loc"] else ""
        if error["type"] == "missing":
            return f"{key} is missing: set it on the command line (see --help) or in {file} ({key}: ...)"
        where = f"{origin[key]}: " if key in origin else ""
        message = error["msg"].removeprefix("Value error, ")
        for words, better in BETTER_WORDS.items():
            message = message.replace(words, better)
        # the value as it was given: pydantic's own is what its JSON parser made of it
        got = f" (got {shortened(repr(values.get(key, error['input'])))})" if key else ""
        return f"{where}{key + ': ' if key else ''}{message}{got}"

    def resolved(self) -> dict[str, Any]:
        """All values as plain data, as written to config.yaml."""
        return self.model_dump(mode="json")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose root is a mapping of names ({} if the file is empty). Raises ConfigError, and
    MissingArtifact for what is not an ordinary file."""
    if not os.path.exists(path):
        raise ConfigError(f"no such configuration file: {path}", _beside(path))
    value = state.read_yaml(path)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: the root must be a mapping (key: value), not a {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"{path}: a key must be the name of an option, not {key!r}")
    return value


def _fault(value: Any) -> str:
    """What makes a value's texts unfit for file names and UTF-8 files, if anything."""
    for text in _texts(value):
        if "\0" in text:
            return "a text contains a null character"
        if any("\ud800" <= c <= "\udfff" for c in text):
            return "a text is not valid Unicode: it contains a lone surrogate"
    return ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _beside(path: Path) -> str:
    """The configuration files in the folder of one that is not there."""
    with contextlib.suppress(OSError, ValueError):
        near = sorted(str(p) for p in path.parent.glob("*.yaml"))[:6]
        return "found there: " + ", ".join(near) if near else ""
    return ""


def parse_set(text: str) -> tuple[str, Any]:
    """Parse 'key=value'; the value is read as YAML. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {shortened(text)}: expected key=value, for example --set lambda=0.1")
    return key.strip(), state.parse_yaml(value, f"--set {shortened(text)}: the value")
