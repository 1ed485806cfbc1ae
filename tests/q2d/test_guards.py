"""What a model wrote: tidied, and refused where it cannot be the query."""

from __future__ import annotations

import pytest

from ttft.q2d.guards import fault, is_no_search, loops, main_script, tidy
from ttft.q2d.records import alternating

TANK = alternating(["Tell me about the Leopard 2.", "A German tank.", "Who makes it?"])
THAI = alternating(["ช่วยเล่าเรื่องวัดพระแก้วหน่อย", "เป็นวัดในกรุงเทพ", "สร้างเมื่อไหร่"])
ARABIC = alternating(["حدثني عن نهر النيل", "هو أطول نهر في أفريقيا", "كم طوله؟"])
JAPANESE = alternating(["富士山について教えて", "日本で一番高い山です", "高さは?"])


@pytest.mark.parametrize(
    ("output", "query"),
    [
        ("  Who makes the Leopard 2?\nIt is made by", "Who makes the Leopard 2?"),
        ('Query: "Leopard 2 maker"', "Leopard 2 maker"),
        ("**Search query:** Leopard 2 maker", "Leopard 2 maker"),
        ('{"query": "Leopard 2 maker"}', "Leopard 2 maker"),
        ("“Leopard 2 maker”", "Leopard 2 maker"),
        ('who said "I have a dream"', 'who said "I have a dream"'),
        ("a\tb\x1b[31m", "a b [31m"),
        ("{", "{"),
        (" \n ", ""),
    ],
)
def test_tidy(output: str, query: str) -> None:
    assert tidy(output) == query


@pytest.mark.parametrize("word", ["NONE", "none.", '"None"'])
def test_no_search(word: str) -> None:
    assert is_no_search(word) and not is_no_search(f"{word} of them")


@pytest.mark.parametrize(
    ("query", "turns"),
    [
        ("Who makes the Leopard 2?", TANK),
        ("Leopard 2", TANK),
        ("german tank manufacturers", TANK),
        ("วัดพระแก้วสร้างเมื่อไหร่", THAI),
        ("كم طول نهر النيل", ARABIC),
        ("富士山の高さ", JAPANESE),
        ("iPhone 15", alternating(["iPhone 15 ราคาเท่าไหร่ครับผม", "แพงมาก", "มีสีอะไรบ้าง"])),
        ("Köln Straße Größe", alternating(["Wie groß ist die Straße in Köln?", "Lang.", "Und die Größe?"])),
    ],
)
def test_good_queries_pass(query: str, turns) -> None:
    assert fault(query, turns) == ""


@pytest.mark.parametrize(
    ("query", "turns", "why"),
    [
        ("", TANK, "empty"),
        ("?!", TANK, "no words"),
        ("leopard " * 100, TANK, "too long"),
        ("Leopard 2 is the Leopard 2 is the Leopard 2 is the Leopard 2 is the Leopard 2 is the", TANK, "repeats"),
        ("The capital of France", TANK, "no content word"),
        ("who is it", TANK, "no content word"),
        ("When was the temple built?", THAI, "latin script, the dialog in thai"),
        ("How long is the Nile?", ARABIC, "latin script, the dialog in arabic"),
        ("height of Mount Fuji", JAPANESE, "latin script, the dialog in east asian"),
        ("豹2坦克制造商", TANK, "east asian script, the dialog in latin"),
        ("แมวสีดำ", THAI[:1], "no content word"),
    ],
)
def test_bad_ones_do_not(query: str, turns, why: str) -> None:
    assert why in fault(query, turns)


def test_loops_and_scripts() -> None:
    assert loops("abcabcabcabc") and not loops("1000000000000") and not loops("that that is is that that is not is not")
    assert main_script(["hello привет привет"]) == "CYRILLIC" and main_script(["1 2 3"]) == ""
