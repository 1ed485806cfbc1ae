"""Errors that people read: what is wrong, where, what exists instead, what to type.

Raised by the layer that knows, printed in one place (cli.main), exit code 2. Everything else is a bug and keeps its
traceback.
"""

from __future__ import annotations


class TtftError(Exception):
    """A fault of the input or the surroundings that the user can mend.

    `message` says what is wrong and where; `hint` says what exists or what to type.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(TtftError):
    """A key or value of a configuration, or two that do not fit together."""


class CorpusError(TtftError):
    """A source of documents or prompts that cannot be read as asked."""


class MissingArtifact(TtftError):
    """A file, folder, model or package that should be there and is not."""


class DiskFull(TtftError):
    """The device has no space left, or a quota or size limit is reached."""
