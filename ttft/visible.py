"""Text from elsewhere, made fit to be shown.

A prompt, an id, a subset or the name of a file may contain escape sequences that change a terminal's title, move its
cursor or clear it, and marks that reverse the direction of the text after them. Such characters are shown as JSON
escapes: \\u001b is visible and does nothing. JSON text keeps its meaning.
"""

from __future__ import annotations

HIDDEN = (
    *(code for code in range(0x20) if chr(code) not in "\n\t"),
    *range(0x7F, 0xA0),  # DEL and C1
    0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A),  # direction
    0x2028, 0x2029,  # line and paragraph separators
    *range(0xD800, 0xE000),  # lone surrogates: bytes of a file name that are no UTF-8
)  # fmt: skip
_ESCAPES = {code: f"\\u{code:04x}" for code in HIDDEN}


def visible(text: str) -> str:
    """The text with control characters other than newline and tab, direction marks and lone surrogates escaped."""
    return text.translate(_ESCAPES)


def shortened(text: str, longest: int = 80) -> str:
    """The beginning of a text that is too long for a message."""
    return text if len(text) <= longest else text[: longest - 3] + "..."
