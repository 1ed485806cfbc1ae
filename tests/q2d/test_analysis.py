"""The intrinsic numbers by hand, and against those of the human dialogs of the shared corpora."""

from __future__ import annotations

import json

import pytest
from q2d.corpora import corpus

from ttft.errors import CorpusError
from ttft.q2d.analysis import Case, describe, distinct, generated, gives_answer_away, spread
from ttft.q2d.funnel import HUMAN_DECILES
from ttft.q2d.records import Dialog, Generator, alternating

MAKER = Generator("rules", "", 0, 0.0, 0)
CASES = [
    Case("1", alternating(["I like cars.", "Good cars.", "Who makes it?"]), "Who makes the car?", ("Ford",)),
    Case("2", alternating(["Who makes the car?"]), "Who makes the car?"),
]


def test_by_hand() -> None:
    found = describe(CASES, compared=9)
    assert found.turns == {1: 1, 3: 1}
    assert (found.user.mean, found.assistant.mean, found.last.mean, found.whole.largest) == (3, 2, 3.5, 8)
    assert (found.pronouns, found.query_pronouns, found.leaks) == (0.5, 0, 0)
    # who makes it? / who makes the car?: 7 words, 5 different; 5 pairs, 4 different
    assert (found.distinct_1, found.distinct_2) == (5 / 7, 4 / 5)
    assert found.deciles[0] == pytest.approx(2 * (2 / 3 * 2 / 4) / (2 / 3 + 2 / 4))
    assert found.deciles[8] == 1
    assert describe(CASES[1:], compared=1).compared == 1
    assert describe(CASES[1:], compared=1).leaks is None
    assert gives_answer_away(Case("3", CASES[0].turns, "What do I like?", ("cars",)))
    assert gives_answer_away(Case("3", CASES[0].turns, "Is it so?", ("yes",))) is None
    json.dumps(found.to_json())
    with pytest.raises(CorpusError, match="no dialog"):
        describe([], compared=1)


def test_spread_and_distinct() -> None:
    assert spread([4, 1, 3, 2]).median == 2.5
    assert spread(list(range(100))).p95 == 95
    assert spread([]).largest == 0
    assert distinct(["a"], 2) == 0


def test_dropped_dialogs_and_empty_turns_are_left_out() -> None:
    make = lambda verdict: Dialog("d", "q", "Q?", alternating(["One?", "", "Two?"]), MAKER, verdict=verdict)  # noqa: E731
    cases = generated([make("keep"), make("drop"), make(None)])
    assert [len(case.turns) for case in cases] == [2, 2]


def test_the_numbers_of_human_dialogs() -> None:
    """Section 10.1 of the specification: 1,633 turns with context of InfoCQR's sample."""
    rows = json.loads(corpus("qrecc/infocqr_dev-sampled2k-modified.json").read_text())
    cases = []
    for row in rows:
        texts = [*row["NewContext"], row["Question"]]
        if len(texts) > 1:
            turns = tuple(turn for turn in alternating(texts) if turn.text.strip())
            cases.append(Case(f"{row['Conversation_no']}_{row['Turn_no']}", turns, row["Truth_rewrite"]))
    found = describe(cases, compared=1000)
    assert found.dialogs == 1633
    assert found.deciles == pytest.approx(HUMAN_DECILES, abs=0.0051)
    assert (round(100 * found.pronouns, 1), round(100 * found.query_pronouns, 1)) == (64.9, 24.2)
    assert (round(found.last.mean, 1), found.last.median) == (6.5, 6)
    assert (round(found.query.mean, 1), found.query.median) == (10.5, 10)
    assert (round(found.user.mean, 1), found.user.p95, found.user.largest) == (6.8, 11, 22)
    assert (round(found.assistant.mean, 1), found.assistant.p95, found.assistant.largest) == (18.4, 30, 37)
    assert (round(found.whole.mean), found.whole.p95, found.whole.largest) == (94, 200, 356)
