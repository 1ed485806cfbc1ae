"""The prompts and their demonstrations; recovering a query from an answer or by the rule."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ttft.errors import ConfigError
from ttft.q2d.llm import Completion, Request
from ttft.q2d.prompts import (
    DEMONSTRATIONS,
    check_no_leak,
    flat,
    generation_messages,
    load_demonstrations,
    prompt_sha256,
    recovery_messages,
)
from ttft.q2d.records import Dialog, Generator, alternating
from ttft.q2d.recovery import clean_query, recover_queries, rule_query

REPO = Path(__file__).parents[2]


def test_our_demonstrations_hold_what_the_prompt_asks_for() -> None:
    shown = load_demonstrations()
    assert len(shown.generation) >= 6 and len(shown.recovery) >= 4
    assert len(set(shown.questions())) == len(shown.questions())
    for one in shown.generation:
        assert len(one.turns) % 2 == 1 and one.question not in one.turns
    assert DEMONSTRATIONS.is_relative_to(REPO / "ttft")  # the wheel holds all files of the package


def test_no_demonstration_is_in_the_data() -> None:
    corpora = next(
        (p / "shared/corpora/q2d" for p in Path(__file__).parents if (p / "shared/corpora/q2d").is_dir()), None
    )
    if corpora is None:
        pytest.skip("needs the folder shared/corpora/q2d")
    rows = json.loads((corpora / "qrecc/infocqr_dev-sampled2k-modified.json").read_text())
    questions = [row["Truth_rewrite"] for row in rows]
    for name in ("musique/simpledeepsearcher_musique_500.json", "bamboogle/simpledeepsearcher_bamboogle.json"):
        questions += [row["Question"] for row in json.loads((corpora / name).read_text())]
    for name in ("human", "gpt"):
        lines = (corpora / f"qrecc/adaqr_4k_sft_data_with_{name}_rewrite.jsonl").read_text().splitlines()
        questions += [json.loads(line)["label"] for line in lines]
    check_no_leak(load_demonstrations(), questions)


def test_a_demonstration_among_the_questions_is_refused() -> None:
    shown = load_demonstrations()
    with pytest.raises(ConfigError, match="also a demonstration"):
        check_no_leak(shown, ["Who?", "what  foods are highest in the VITAMIN K2"])


@pytest.mark.parametrize(
    "value",
    [[], {"generation": []}, {"generation": [], "recovery": []}, {"generation": [{"question": "a"}], "recovery": []},
     {"generation": [{"question": "a", "turns": ["b", "c"]}], "recovery": [{"turns": ["a"], "query": "b"}]}],
)  # fmt: skip
def test_a_wrong_file_of_demonstrations_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "shown.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ConfigError, match=r"shown\.json"):
        load_demonstrations(path)


def test_prompts_are_an_instruction_some_demonstrations_and_the_case() -> None:
    shown = load_demonstrations()
    messages = generation_messages("Who is it?", shown, shots=2)
    assert [role for role, _ in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[-1] == ("user", "Question: Who is it?")
    assert prompt_sha256(messages) == prompt_sha256(generation_messages("Other?", shown, shots=2))
    assert prompt_sha256(messages) != prompt_sha256(generation_messages("Who is it?", shown, shots=3))
    assert flat(messages).endswith("Question: Who is it?\n")
    turns = alternating(("a\nUser: b", "c", "d"))
    assert recovery_messages(turns, shown)[-1] == ("user", "User: a User: b\nAssistant: c\nUser: d")


@pytest.mark.parametrize(
    "answer",
    [
        "How big is Oslo?", "Query: How big is Oslo?", "**Query:** How big is Oslo?", '"How big is Oslo?"',
        "“How big is Oslo?”", "Search query: 'How big is Oslo?'", "How big is Oslo?\n\nThis query asks for the size.",
        "Sure, here is the query:\nHow big is Oslo?",
        "How big is Oslo? (The user asks about Oslo.)", "`How big is Oslo?`",
        'Query: "How big is Oslo?" This is the query.', "Query:\nHow big is Oslo?", "\n\n  How big is Oslo?  \n",
        "How big is Oslo? - it refers to Oslo", "```\nHow big is Oslo?\n```",
    ],
)  # fmt: skip
def test_the_query_in_an_answer(answer: str) -> None:
    assert clean_query(answer) == "How big is Oslo?"


def test_other_queries_stay_as_they_are() -> None:
    for query in ("weather in Oslo (Norway) in May", 'Who said "I am" in 1990?', "กรุงเทพใหญ่แค่ไหน", "C++ vs. C: which?"):
        assert clean_query(query) == query
    assert clean_query("") == clean_query("\n \n") == ""


@pytest.mark.parametrize(
    ("texts", "query"),
    [
        (("Who is Ana Lima?", "A singer.", "When was she born?"), "When was Ana Lima born?"),
        (("Who is Ana Lima?", "A singer.", "Who is her sister?"), "Who is Ana Lima's sister?"),
        (("Tell me about Oslo.", "Gladly.", "What can one see there?"), "What can one see in Oslo?"),
        (("Tell me about Oslo.", "Gladly.", "Is Bergen big?"), "Is Bergen big?"),
        (("Hi", "Hello.", "How is it?"), "How is it?"),
    ],
)  # fmt: skip
def test_the_rule_replaces_a_pronoun_by_what_was_mentioned_last(texts: tuple[str, ...], query: str) -> None:
    assert rule_query(alternating(texts)) == query


def test_queries_are_recovered_in_order_of_the_dialogs() -> None:
    made = Generator("m", "0", 0, 0.0, 0)
    texts = [alternating(("a", "b", str(number))) for number in range(3)]
    dialogs = [Dialog(str(n), str(n), "q", turns, made) for n, turns in enumerate(texts)]

    def complete(requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        for place in (2, 0, 1):
            last = requests[place].messages[-1][1].splitlines()[-1]
            yield place, Completion(f'Query: "{last}"' if place else "", refused="" if place else "HTTP 400")

    assert recover_queries(dialogs, complete) == ["", "User: 1", "User: 2"]
