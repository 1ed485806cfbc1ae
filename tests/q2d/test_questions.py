"""Questions of one's own in every form, and the published question sets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from q2d.corpora import corpus

from ttft.errors import ConfigError, CorpusError, MissingArtifact, TtftError
from ttft.q2d.questions import LONGEST_QUESTION, load_questions
from ttft.q2d.records import Question
from ttft.q2d.text import norm


def write(tmp_path, value: Any, name: str = "q.json"):
    path = tmp_path / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_records_of_ones_own(tmp_path) -> None:
    record = {"id": 3, "question": "Who?", "answers": ["Ann", "ANN", " "], "forbidden": "Bo", "source": "s", "meta": {}}
    (one,) = load_questions(write(tmp_path, [record]))
    assert one == Question("3", "Who?", ("Ann",), ("Bo",), "s")
    (one,) = load_questions(write(tmp_path, [{"question": "Who?", "answers": None}]))
    assert one.answers == () and one.id.startswith("q-")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.txt", "Who?\n\n  What is it? \n"),
        ("q.json", '["Who?", "What is it?"]'),
        ("q.jsonl", '{"question": "Who?"}\n{"question": "What is it?"}\n'),
        ("q.csv", 'question,answer\nWho?,\n"What is it?",Ann\n'),
        ("q.tsv", "Question\tid\nWho?\t\nWhat is it?\t\n"),
    ],
)
def test_every_kind_of_file(tmp_path, name: str, text: str) -> None:
    first, second = load_questions(write(tmp_path, text, name))
    assert (first.question, second.question) == ("Who?", "What is it?")
    again = load_questions(write(tmp_path, text, name))
    assert first.id == again[0].id == load_questions(write(tmp_path, "Who?", "other.txt"))[0].id != second.id


def test_the_column_can_be_named(tmp_path) -> None:
    path = write(tmp_path, "Text,n\nWho?,1\n", "q.csv")
    assert load_questions(path, column="Text")[0].question == "Who?"
    with pytest.raises(CorpusError, match=r"no field 'question'.*with the fields Text, n"):
        load_questions(path)


def test_musique_and_bamboogle_name_their_bridges(tmp_path) -> None:
    steps = [{"id": 1, "question": "?", "answer": "Ann"}, {"id": 2, "question": "?", "answer": "Rome"}]
    musique = {
        "id": "2hop", "question": "Where?", "question_decomposition": steps, "answer": "Rome",
        "answer_aliases": ["Roma"], "answerable": True, "paragraphs": [],
    }  # fmt: skip
    assert load_questions(write(tmp_path, [musique])) == [
        Question("2hop", "Where?", ("Rome", "Roma"), ("Ann",), "musique")
    ]
    bamboogle = {"Question": "Who?", "Answer": "ann", "Q1": "?", "A1": ["1812"], "Q2": "?", "A2": ["Ann", "A."]}
    (one,) = load_questions(write(tmp_path, [bamboogle]))
    assert (one.answers, one.forbidden, one.source) == (("ann", "A."), ("1812",), "bamboogle")
    hotpot = {"_id": "h", "question": "Which?", "answer": "Rush", "supporting_facts": [], "context": []}
    assert load_questions(write(tmp_path, [hotpot])) == [Question("h", "Which?", ("Rush",), (), "hotpotqa")]


def test_a_question_that_stands_twice_is_told(tmp_path) -> None:
    told: list[str] = []
    found = load_questions(write(tmp_path, "Who is it?\nWho is the it\nWhat?\n", "q.txt"), on_note=told.append)
    assert [one.question for one in found] == ["Who is it?", "What?"]
    assert len(told) == 1 and "q.txt:2" in told[0] and "1 question" in told[0]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([{"text": "Who?"}], "no field 'question' to read questions from: it holds a record with the fields text"),
        ([{"question": " "}], "record 1: the question is empty"),
        ([{"question": "Who?"}, {"q": "What?"}], "record 2 has no question: it is a record with the fields q"),
        ([{"question": "x" * (LONGEST_QUESTION + 1)}], f"more than {LONGEST_QUESTION:,}"),
        ([{"question": "x" * 1_000_000}], "characters, more than"),
        ([{"id": "1", "question": "a b"}, {"id": "1", "question": "c d"}], "has the id '1' of"),
        ([{"question": 3}], "question: Input should be a valid string"),
        (["Who?", 3], "record 2 is a int, not a text"),
        ([[1]], "it holds a list"),
        ("", "is empty"),
        ('{"question": "a"}\n{"question": \n', "q.json:2 is not JSON"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, value: Any, sentence: str) -> None:
    with pytest.raises(CorpusError) as error:
        load_questions(write(tmp_path, value))
    assert sentence in error.value.message


def test_no_file_a_folder_and_an_unknown_form(tmp_path) -> None:
    with pytest.raises(MissingArtifact, match=r"nothing\.txt is missing"):
        load_questions(tmp_path / "nothing.txt")
    with pytest.raises(TtftError, match="is a folder"):
        load_questions(tmp_path)
    with pytest.raises(ConfigError) as error:
        load_questions(write(tmp_path, ["Who?"]), "squad")
    assert "musique" in error.value.hint
    (tmp_path / "latin.txt").write_bytes(b"Wer k\xf6nnte?")
    with pytest.raises(CorpusError, match="is not UTF-8"):
        load_questions(tmp_path / "latin.txt")


@pytest.mark.parametrize(
    ("name", "count", "source"),
    [
        ("musique/simpledeepsearcher_musique_500.json", 500, "musique"),
        ("musique/migres_musique_200_full.jsonl", 200, "musique"),
        ("bamboogle/compgap_bamboogle_decomposed.json", 125, "bamboogle"),
        ("bamboogle/simpledeepsearcher_bamboogle.json", 125, "bamboogle"),
        ("hotpotqa/migres_hotpot_200.jsonl", 200, "hotpotqa"),
    ],
)
def test_the_counts_of_the_published_files(name: str, count: int, source: str) -> None:
    notes: list[str] = []
    found = load_questions(corpus(name), on_note=notes.append)
    assert len(found) == count and not notes
    assert all(one.source == source and one.answers for one in found)


def test_the_bridges_of_the_published_files() -> None:
    full = load_questions(corpus("musique/migres_musique_200_full.jsonl"))
    steps = [one.id.split("__")[0][0] for one in full]
    assert (steps.count("2"), steps.count("3"), steps.count("4")) == (145, 32, 23)
    assert all(1 <= len(one.forbidden) < int(hops) for one, hops in zip(full, steps, strict=True))
    known = {norm(one.question) for one in load_questions(corpus("musique/simpledeepsearcher_musique_500.json"))}
    assert sum(norm(one.question) in known for one in full) == 44
    assert all(one.forbidden for one in load_questions(corpus("bamboogle/compgap_bamboogle_decomposed.json")))
