"""Texts from elsewhere cannot drive a terminal: not in tables, notes, errors or answers."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from small import sentences

from ttft.commands import console
from ttft.visible import HIDDEN, shortened, visible

HOSTILE = "a\x1b]0;title\x07b\x1b[2J\x9b31m\u202egpj.exe\u2066\x7f\r[red]x[/nothing]"
STYLE = re.compile(r"\x1b\[[0-9;]*m")  # the colours that rich itself prints


@pytest.fixture
def terminal(monkeypatch) -> Callable[[], None]:
    """Called in a test, it makes standard output a terminal."""

    def make() -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", "300")

    return make


@pytest.fixture
def hostile_prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    record = {"id": HOSTILE, "text": HOSTILE + sentences(3, 5), "meta": {"pile_set_name": HOSTILE}}
    path.write_text(json.dumps(record) + "\n")
    return path


def assert_harmless(text: str) -> None:
    left = {hex(ord(c)) for c in STYLE.sub("", text)} & {hex(code) for code in HIDDEN}
    assert not left, text


def test_what_is_hidden_is_every_control_character_but_newline_and_tab() -> None:
    control = {code for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cs")}
    direction = {c for c in range(0x110000) if unicodedata.bidirectional(chr(c)) in BIDI_CONTROLS}
    assert control - set(HIDDEN) == {ord("\n"), ord("\t")}
    assert direction <= set(HIDDEN)
    assert all(not chr(code).isprintable() for code in HIDDEN)


BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_visible() -> None:
    assert visible("a\x1b[31m\x9b\u202e\x7f\tb\nä中🙂") == "a\\u001b[31m\\u009b\\u202e\\u007f\tb\nä中🙂"
    assert visible("caf\udce9") == "caf\\udce9"
    text = json.dumps({"text": HOSTILE}, ensure_ascii=False)
    assert json.loads(visible(text)) == {"text": HOSTILE}, "JSON keeps its meaning"
    assert shortened("x" * 81) == "x" * 77 + "..." and shortened("x" * 80) == "x" * 80


def test_results_are_unchanged_but_on_a_terminal(capsys, terminal) -> None:
    console.say(HOSTILE)
    assert capsys.readouterr().out == HOSTILE + "\n"
    terminal()
    console.say(HOSTILE)
    console.note(HOSTILE)
    said = capsys.readouterr()
    assert_harmless(said.out)
    assert_harmless(said.err)


@pytest.mark.parametrize("more", [(), ("--explain",)])
def test_tables_of_select(run_ttft, index_folder, hostile_prompts, capsys, terminal, more) -> None:
    terminal()
    assert run_ttft("select", index_folder, "--prompts", hostile_prompts, "-n", 2, *more) == 0
    said = capsys.readouterr().out
    assert_harmless(said)
    assert "\\u001b]0;title" in said and "[red]x[/nothing]" in said, "no markup either"


def test_select_shows_subsets_and_texts(run_ttft, encoder_folder, hostile_prompts, tmp_path, capsys, terminal) -> None:
    """Here the hostile prompts are the corpus."""
    terminal()
    assert run_ttft("index", hostile_prompts, "-o", tmp_path / "i", "-e", encoder_folder, "--dtype", "float32") == 0
    assert run_ttft("select", tmp_path / "i", "--prompt", "river", "-n", 1) == 0
    assert run_ttft("index", "info", tmp_path / "i") == 0
    assert_harmless(capsys.readouterr().out)


def test_info_of_an_index_with_markup_in_its_name(run_ttft, encoder_folder, tmp_path, capsys, terminal) -> None:
    terminal()
    corpus = tmp_path / "[" / "red]\x1b[31m.jsonl"
    corpus.parent.mkdir()
    corpus.write_text(json.dumps({"text": "river stone"}) + "\n")
    folder = tmp_path / "[" / "blue]\x1b[32m"
    assert run_ttft("index", corpus, "-o", folder, "-e", encoder_folder, "--dtype", "float32") == 0
    assert run_ttft("index", "info", folder) == 0
    said = capsys.readouterr()
    assert_harmless(said.out)
    assert_harmless(said.err)
    assert "[/red]\\u001b[31m.jsonl" in said.out


def test_errors(run_ttft, tmp_path, capsys) -> None:
    assert run_ttft("report", tmp_path / HOSTILE.replace("/", "")) == 2
    said = capsys.readouterr().err
    assert_harmless(said)
    assert "\\u001b[2J" in said


def test_answers(run_ttft, index_folder, lm_folder, prompts_file, capsys, terminal) -> None:
    """The tiny model answers with bytes of all kinds."""
    command = ("generate", index_folder, "--prompts", prompts_file, "--model", lm_folder, "-n", 1, "--do-sample")
    more = ("--max-new-tokens", 32, "--dtype", "float32", "--temperature", 5.0, "--top-k", 0, "--max-prompts", 2)
    assert run_ttft(*command, *more) == 0
    plain = capsys.readouterr().out
    assert set(map(ord, plain)) & set(HIDDEN), "this model shows nothing of the kind: the test is empty"
    terminal()
    assert run_ttft(*command, *more) == 0
    shown = capsys.readouterr().out
    assert_harmless(shown)
    assert shown == visible(plain)


# ---- prompts of any length ------------------------------------------------------------------------------------------


def test_a_very_long_prompt_is_announced_with_what_to_do(tmp_path, capsys) -> None:
    from ttft.commands.prompts import LONG, load_prompts
    from ttft.config.select import SelectConfig

    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"id": "big", "text": "river " * LONG}) + "\n")
    load_prompts(SelectConfig(index="i", prompts=str(path)))
    said = capsys.readouterr().err
    assert "prompt big has 600,000 characters" in said and "--set max_prompt_chars=" in said
    load_prompts(SelectConfig(index="i", prompts=str(path), max_prompt_chars=1000))
    assert capsys.readouterr().err == ""


def test_the_beginning_of_a_prompt_from_the_command_line() -> None:
    from ttft.commands.prompts import load_prompts
    from ttft.config.select import SelectConfig
    from ttft.errors import CorpusError

    assert load_prompts(SelectConfig(index="i", prompt="one two three", max_prompt_chars=8))[0].text == "one two "
    assert load_prompts(SelectConfig(index="i", prompt="one two three"))[0].text == "one two three"
    with pytest.raises(CorpusError, match="white space"):
        load_prompts(SelectConfig(index="i", prompt="   \n  word", max_prompt_chars=2))
