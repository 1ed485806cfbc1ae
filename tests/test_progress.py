"""Numbers with nouns, as messages give them."""

from __future__ import annotations

from ttft.progress import counted


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(n, "piece") for n in (0, 1, 2, 1024)] == ["0 pieces", "1 piece", "2 pieces", "1,024 pieces"]
    assert [counted(n, "copy", "copies") for n in (1, 2)] == ["1 copy", "2 copies"]
