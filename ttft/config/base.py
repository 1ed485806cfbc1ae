"""Base class of all configurations: strict, and merged from several sources.

Precedence: command-line flag > --set key=value > YAML file > default.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ttft.errors import ConfigError


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
        """Merge a YAML file, --set options and flags. Raises ConfigError naming the source, the key and, for an
        unknown key, the closest known one."""
        values: dict[str, Any] = {}
        origin: dict[str, str] = {}
        layers = [(read_yaml(file), str(file))] if file else []
        layers.append((dict(parse_set(s) for s in sets or []), "--set"))
        layers.append(({k: v for k, v in (flags or {}).items() if v is not None}, "the command line"))
        for given, name in layers:
            layer = {cls._field(key): value for key, value in given.items()}
            for key in layer:
                if key not in cls.model_fields:
                    raise cls._unknown(key, name)
            values |= layer
            origin |= dict.fromkeys(layer, name)
        try:
            return cls(**values)
        except ValidationError as error:
            raise ConfigError("\n".join(cls._explain(e, origin) for e in error.errors())) from None

    @classmethod
    def _field(cls, key: str) -> str:
        """The field for a key: "lambda" is a Python keyword, so its field is called lambda_."""
        return key + "_" if key + "_" in cls.model_fields else key

    @classmethod
    def _unknown(cls, key: str, where: str) -> ConfigError:
        near = difflib.get_close_matches(key, list(cls.model_fields), 1, 0.5)
        hint = f'did you mean "{near[0]}"?' if near else "known keys: " + ", ".join(cls.model_fields)
        return ConfigError(f'{where}: unknown key "{key}"', hint)

    @classmethod
    def _explain(cls, error: Any, origin: dict[str, str]) -> str:
        key = str(error["loc"][0]) if error["loc"] else ""
        if error["type"] == "missing":
            return f"{key} is missing: set it on the command line (see --help) or in a YAML file ({key}: ...)"
        where = f"{origin[key]}: " if key in origin else ""
        message = error["msg"].removeprefix("Value error, ")
        return f"{where}{key + ': ' if key else ''}{message}" + (f" (got {error['input']!r})" if key else "")

    def resolved(self) -> dict[str, Any]:
        """All values as plain data, as written to config.yaml."""
        return self.model_dump(mode="json")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose root is a mapping ({} if the file is empty)."""
    if not path.is_file():
        near = sorted(str(p) for p in path.parent.glob("*.yaml"))[:6] if path.parent.exists() else []
        raise ConfigError(f"no such configuration file: {path}", "found there: " + ", ".join(near) if near else "")
    try:
        value = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: the root must be a mapping (key: value), not a {type(value).__name__}")
    return {str(k): v for k, v in value.items()}


def parse_set(text: str) -> tuple[str, Any]:
    """Parse 'key=value'; the value is read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected key=value, for example --set lambda=0.1")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not valid YAML: {error}") from None
