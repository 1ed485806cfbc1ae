"""Dialogs made by rules: invariants, determinism, and how near their figures are to those of human dialogs."""

from __future__ import annotations

import json
import random
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from ttft.q2d.mentions import parse
from ttft.q2d.records import NO_SEARCH, Question, Turn
from ttft.q2d.rule_templates import OWN_QUESTIONS
from ttft.q2d.rule_turns import PRONOUN
from ttft.q2d.rules import make_dialog, no_search_dialogs
from ttft.q2d.text import content_words, norm, rouge1

CORPORA = next((p / "shared/corpora/q2d" for p in Path(__file__).parents if (p / "shared/corpora/q2d").is_dir()), None)
ODD = (
    "why?", "?", "Who", "the of the", "ผลข้างเคียงของไอบูโพรเฟนคืออะไร", "ما هي عاصمة فرنسا؟", "When did {he} do {0} {x}?",
    'Who wrote "User: hi" and\nAssistant: no?', "WHO IS THE PRESIDENT OF FRANCE?", "a" * 200, "What's in 'The Box'?",
    "Is 3 > 2?", "When was\u2028the war?", "Who is \\1 of \\g<0>?", "What was Ana's brother's dog's name?",
)  # fmt: skip


def own_questions() -> list[Question]:
    return [Question(f"own-{number}", text) for number, text in enumerate(OWN_QUESTIONS)]


def faults(question: Question, turns: tuple[Turn, ...]) -> set[str]:
    """The reasons of the filters 1 to 5 of the specification, computed here from their definitions."""
    texts = [turn.text for turn in turns]
    said, asked = [norm(text) for text in texts], norm(question.question)
    found = set()
    if len(texts) % 2 == 0 or any(t.role != ("user", "assistant")[i % 2] for i, t in enumerate(turns)):
        found.add("format")
    sizes = [len(text.split()) for text in texts]
    if not 3 <= len(texts) <= 13 or max(sizes) > 80 or sizes[-1] > 40 or sum(sizes) > 300 or min(sizes) == 0:
        found.add("length")
    if asked in said or rouge1(question.question, texts[-1])[0] >= 0.95:
        found.add("copied")
    for secret in map(norm, (*question.answers, *question.forbidden)):
        skipped = len(secret) < 3 or secret in ("yes", "no") or f" {secret} " in f" {asked} "
        if not skipped and any(f" {secret} " in f" {text} " for text in said):
            found.add("leak")
    words, known = content_words(question.question), set(" ".join(said).split())
    if words and sum(word in known for word in words) / len(words) < 0.6:
        found.add("recoverable")
    return found


@pytest.mark.parametrize("text", [*OWN_QUESTIONS, *ODD])
def test_a_dialog_is_well_formed_whatever_the_question(text: str) -> None:
    for sample in range(6):
        turns = make_dialog(Question("q", text), sample=sample, seed=1, others=own_questions())
        assert [turn.role for turn in turns] == [("user", "assistant")[i % 2] for i in range(len(turns))]
        assert len(turns) % 2 == 1 and all(turn.text.strip() for turn in turns)
        assert faults(Question("q", text), turns) <= {"copied"}  # of a question without anything to refer to


def test_a_dialog_depends_on_question_sample_and_seed_only() -> None:
    question, others = own_questions()[1], own_questions()
    first = make_dialog(question, sample=0, seed=0, others=others)
    random.seed(99)
    assert make_dialog(question, sample=0, seed=0, others=others) == first
    different = {make_dialog(question, sample=n, seed=s, others=others) for n in range(10) for s in range(3)}
    assert len(different) > 25


def test_the_answer_and_bridge_answers_are_never_said() -> None:
    others = [Question("o", "When did Paris Hilton visit Lake Geneva in Switzerland?")]
    for sample in range(60):
        question = Question("q", "When did Anna Smith leave Oslo?", ("Geneva", "1999"), ("Paris",))
        turns = make_dialog(question, sample=sample, seed=0, others=others)
        assert not any(re.search(r"\b(Geneva|Paris|1999)\b", turn.text) for turn in turns)


def test_every_content_word_of_the_question_is_in_the_dialog() -> None:
    for question in own_questions():
        for sample in range(20):
            turns = make_dialog(question, sample=sample, seed=0, others=own_questions())
            known = set(norm(" ".join(turn.text for turn in turns)).split())
            assert set(content_words(question.question)) <= known


def test_the_kinds_of_last_turns_all_occur() -> None:
    question = Question("q", "Why did Marie Curie leave Warsaw in 1891?")
    others = [Question("o", "Where did Albert Einstein live in 1911?"), *own_questions()]
    last = {make_dialog(question, sample=n, seed=0, others=others)[-1].text for n in range(300)}
    assert "Why did she leave Warsaw in 1891?" in last or "Why did she leave Warsaw?" in last
    assert any(text.startswith(("What about", "And ", "How about", "Same for")) for text in last)  # ellipsis
    assert last & {"Why?", "Why was that?", "And why?", "What was the reason for that?", "Do you know why?"}
    assert any("Marie Curie leave Warsaw in 1891" in text for text in last)  # complete, or a switch of topic
    assert any("there" in text for text in last) or any("then" in text for text in last)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("When did Marie Curie die?", {("Marie Curie", "person")}),
        ("Who are the members of the band Testament?", {("the band Testament", "people")}),
        ("what are the effects of ibuprofen?", {("ibuprofen", "thing"), ("the effects of ibuprofen", "thing")}),
        ("Did Jim Jarmusch's film succeed in 1984?", {("Jim Jarmusch", "person"), ("1984", "time")}),
        ("When was the person who wrote Emma born?", {("the person who wrote Emma", "person")}),
        ('Who wrote "The Raven"?', {('"The Raven"', "work")}),
        ("Where is it?", set()),
    ],
)  # fmt: skip
def test_mentions(text: str, expected: set[tuple[str, str]]) -> None:
    assert expected <= {(mention.text, mention.kind) for mention in parse(text).mentions}
    for mention in parse(text).mentions:
        assert parse(text).body[mention.start : mention.end].startswith(mention.text)


def test_turns_that_need_no_search() -> None:
    pairs = no_search_dialogs(80, 0)
    assert pairs == no_search_dialogs(80, 0) != no_search_dialogs(80, 1)
    assert {pair.target for pair in pairs} == {NO_SEARCH} and len({pair.id for pair in pairs}) == 80
    assert all(pair.source.splitlines()[-1].startswith("User: ") for pair in pairs)
    assert len({pair.source.splitlines()[-1] for pair in pairs}) > 20


# ---- the figures of human dialogs ------------------------------------------------------------------------------------


def answers(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else (value,) if value else ()


def load(name: str) -> list[Question]:
    if CORPORA is None:
        pytest.skip("needs the folder shared/corpora/q2d")
    if name == "qrecc":
        rows = json.loads((CORPORA / "qrecc/infocqr_dev-sampled2k-modified.json").read_text())
        rows = [row for row in rows if row["NewContext"]]
        return [Question(f"{i}", r["Truth_rewrite"], answers(r["Truth_answer"])) for i, r in enumerate(rows[::2])]
    if name == "musique":
        rows = json.loads((CORPORA / "musique/simpledeepsearcher_musique_500.json").read_text())
        return [Question(str(r["id"]), r["Question"], answers(r["answer"])) for r in rows]
    rows = json.loads((CORPORA / "bamboogle/compgap_bamboogle_decomposed.json").read_text())
    return [Question(str(i), r["Question"], answers(r["Answer"]), answers(r["A1"])) for i, r in enumerate(rows)]


@pytest.mark.parametrize("name", ["qrecc", "musique", "bamboogle"])
def test_dialogs_of_a_data_set_pass_the_filters_and_resemble_human_ones(name: str) -> None:
    questions = load(name)
    dialogs = [make_dialog(question, sample=0, seed=0, others=questions) for question in questions]
    kept = [not faults(question, turns) for question, turns in zip(questions, dialogs, strict=True)]
    assert statistics.mean(kept) > 0.97
    last = [turns[-1].text for turns in dialogs]
    pronouns = statistics.mean(PRONOUN.search(text) is not None for text in last)
    similar = statistics.mean(rouge1(q.question, text)[0] for q, text in zip(questions, last, strict=True))
    assert abs(pronouns - 0.649) < 0.12
    assert abs(similar - 0.66) < 0.05
    turns_of_user = [len(turn.text.split()) for turns in dialogs for turn in turns[:-1:2]]
    assert abs(statistics.mean(turns_of_user) - 6.8) < 2
    assert {len(turns) for turns in dialogs} == {3, 5, 7, 9}
    if name == "qrecc":
        assert abs(statistics.mean(len(text.split()) for text in last) - 6.5) < 1.5
