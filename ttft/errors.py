"""Errors for users: what is wrong and where, what exists instead, what to type.

Raised where the problem is found, printed in one place (cli.main) with exit code 2. Any other exception is a bug and
keeps its traceback.
"""

from __future__ import annotations


class TtftError(Exception):
    """An error that the user can fix: bad input, or something missing on this machine.

    `message` says what is wrong and where; `hint` says what exists or what to type.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(TtftError):
    """An invalid option or argument, or several that cannot be combined."""


class CorpusError(TtftError):
    """A source of documents or prompts that cannot be read as requested."""


class MissingArtifact(TtftError):
    """A file, folder, model or package that is missing or damaged."""


class DiskFull(TtftError):
    """No space left on the device, or a quota or file size limit was reached."""


def install_hint(extra: str) -> str:
    """How to install an optional dependency group ("extra") of this package."""
    return f"pip install 'ttft[{extra}]' (from a checkout: pip install '.[{extra}]')"
