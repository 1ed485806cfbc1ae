"""Every published form of conversations with rewrites, small ones made here and the real files' counts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from q2d.corpora import corpus

from ttft.errors import ConfigError, CorpusError, TtftError
from ttft.q2d.conversations import FORMS, load_examples, without_overlap
from ttft.q2d.reading import LONGEST_TEXT
from ttft.q2d.records import Example, alternating

COMPLETION = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": " Who built X? "}}]}
QRECC = {"Question": "who built it?", "Conversation_no": 7, "Turn_no": 2, "Conversation_source": "quac"}
TRUTH = {"Truth_rewrite": "who built the mill?", "Truth_answer": "Ann"}
CONTEXT = ["Is there a mill?", "There is."]

RECORDS: dict[str, list[dict[str, Any]]] = {
    "qrecc": [QRECC | {"Context": CONTEXT, "Rewrite": "who built the mill?", "Answer": "Ann"}],
    "infocqr": [QRECC | TRUTH | {"NewContext": CONTEXT, "GPT_rewrite": "mill builder", "Editor_rewrite": COMPLETION}],
    "scai": [
        TRUTH | {"Conversation_no": 7, "Turn_no": 2, "Question": "who built it?"},
        {"Conversation_no": 7, "Turn_no": 1, "Truth_rewrite": CONTEXT[0], "Truth_answer": CONTEXT[1]},
    ],
    "adaqr": [
        {
            "conversation": "Q: Is there a mill? A: There is.",
            "question": "who built it?",
            "label": "who built the mill?",
        }
    ],
    "canard": [
        {
            "History": ["Mills", "Water mills", *CONTEXT], "QuAC_dialog_id": "C_1", "Question": "who built it?",
            "Question_no": 2, "Rewrite": "who built the mill?",
        }
    ],
    "llm4cs": [
        {
            "conv_id": 31,
            "turns": [
                {"turn_id": 1, "question": CONTEXT[0], "response": CONTEXT[1], "manual_rewrite": CONTEXT[0]},
                {"turn_id": 2, "question": "who built it?", "response": "", "manual_rewrite": "who built the mill?"},
            ],
        }
    ],
    "cast": [
        {
            "number": "132-1",
            "turn": [
                {"number": "1-1", "utterance": CONTEXT[0], "manual_rewritten_utterance": CONTEXT[0],
                 "response": CONTEXT[1], "provenance": ["D1"]},
                {"number": "1-3", "utterance": "who built it?", "manual_rewritten_utterance": "who built the mill?"},
            ],
        }
    ],
    "alexa-cqr": [
        {
            "dialogue": [
                {"turn": "driver", "data": {"utterance": CONTEXT[0]}},
                {"turn": "assistant", "data": {"utterance": CONTEXT[1]}},
                {"turn": "driver", "data": {"utterance": "who built it?"}},
                {"turn": "assistant", "data": {"utterance": "Ann"},
                 "reformulation": {"reformulated_utt": "who built the mill?"}},
            ],
            "scenario": {"uuid": "u1"},
        }
    ],
    "own": [
        {
            "id": "d1", "target": "who built the mill?",
            "turns": [
                {"role": "user", "text": CONTEXT[0]}, {"role": "assistant", "text": CONTEXT[1]},
                {"role": "user", "text": "who built it?"},
            ],
        }
    ],
    "chat": [
        {
            "query": "who built the mill?",
            "messages": [
                {"role": "user", "content": CONTEXT[0]}, {"role": "assistant", "content": CONTEXT[1]},
                {"role": "user", "content": "who built it?"},
            ],
        }
    ],
}  # fmt: skip


def write(path: Path, records: Any, lines: bool = False) -> Path:
    text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("lines", [False, True], ids=["json", "jsonl"])
@pytest.mark.parametrize("form", RECORDS)
def test_every_form_gives_the_same_dialog(tmp_path, form: str, lines: bool) -> None:
    path = write(tmp_path / "file.json", RECORDS[form], lines)
    (deep,) = (one for one in load_examples(path) if one.depth == 2)
    assert deep.turns == alternating([*CONTEXT, "who built it?"])
    assert deep.target == "who built the mill?"
    assert load_examples(path, form) == load_examples(path)


def test_what_a_form_knows_besides(tmp_path) -> None:
    (one,) = load_examples(write(tmp_path / "a.json", RECORDS["infocqr"]))
    assert one.rewrites == {"gpt": "mill builder", "editor": "Who built X?"}
    assert (one.id, one.conversation, one.source, one.answers) == ("7_2", "7", "quac", ("Ann",))
    (one,) = load_examples(write(tmp_path / "b.json", RECORDS["canard"]))
    assert (one.id, one.conversation, one.source) == ("C_1_2", "C_1", "quac")


def test_cast_2019_has_its_rewrites_beside_the_topics(tmp_path) -> None:
    turns = [{"number": 1, "raw_utterance": "Is there a mill?"}, {"number": 2, "raw_utterance": "Who built it?"}]
    path = write(tmp_path / "2019_train_topics_v1.0.json", [{"number": 3, "turn": turns, "title": "mills"}])
    with pytest.raises(CorpusError, match="no turn of it has a human rewrite"):
        load_examples(path)
    (tmp_path / "2019_train_topic_sample_resolved.tsv").write_bytes(b"3_2\tWho built the mill?\r\n")
    (one,) = load_examples(path)
    assert (one.id, one.target, one.depth) == ("3_2", "Who built the mill?", 2)
    assert [turn.role for turn in one.turns] == ["user", "user"]
    assert [one.target for one in load_examples(path, rewritten_only=False)] == ["", "Who built the mill?"]


def test_cast_2021_answers_with_passages(tmp_path) -> None:
    turns = [
        {"number": 1, "raw_utterance": "Mill?", "manual_rewritten_utterance": "Mill?", "passage": "A mill."},
        {"number": 2, "raw_utterance": "Who?", "manual_rewritten_utterance": "Who built?",
         "automatic_rewritten_utterance": "Who made?", "passage": "Ann."},
    ]  # fmt: skip
    _, one = load_examples(write(tmp_path / "2021.json", [{"number": 106, "turn": turns}]))
    assert one.turns == alternating(["Mill?", "A mill.", "Who?"]) and one.rewrites == {"automatic": "Who made?"}


def test_mtrag_queries_and_tasks(tmp_path) -> None:
    text = "|user|: Is there a mill?\n|user|: Who built it?\nAnd when?"
    write(tmp_path / "x_questions.jsonl", [{"_id": "c<::>2", "text": text}, {"_id": "c<::>3", "text": text}], True)
    with pytest.raises(TtftError, match=r"x_rewrite\.jsonl is missing"):
        load_examples(tmp_path / "x_questions.jsonl")
    write(tmp_path / "x_rewrite.jsonl", [{"_id": "c<::>2", "text": "|user|: Who built the mill?"}], True)
    for name in ("x_questions.jsonl", "x_rewrite.jsonl"):
        (one,) = load_examples(tmp_path / name)
        assert [turn.text for turn in one.turns] == ["Is there a mill?", "Who built it?\nAnd when?"]
        assert (one.target, one.conversation, one.depth) == ("Who built the mill?", "c", 2)
    said = [
        {"speaker": "user", "text": "Mill?"},
        {"speaker": "agent", "text": "Yes"},
        {"speaker": "user", "text": "Who?"},
    ]
    task = {"task_id": "c<::>2", "conversation_id": "c", "input": said, "Collection": "clapnq"}
    path = write(tmp_path / "tasks.jsonl", [task])
    (one,) = load_examples(path, rewritten_only=False)
    assert one.turns == alternating(["Mill?", "Yes", "Who?"]) and (one.source, one.target) == ("clapnq", "")


def test_annotated_answers_of_scai(tmp_path) -> None:
    path = tmp_path / "batch1.csv"
    path.write_text(
        "id,question,gt,predicted,sas,model\n4_2,Who built the mill?,Ann,Bo,0.1,m\n"
        "4_2,Who built the mill?,Ann,Ann,1,n\n"
    )
    (one,) = load_examples(path)
    assert (one.id, one.conversation, one.target, one.answers) == ("4_2", "4", "Who built the mill?", ("Ann",))


def test_empty_turns(tmp_path) -> None:
    row = QRECC | {"Context": ["a?", "A", "b?", " "], "Rewrite": "who?"}
    path = write(tmp_path / "q.json", [row])
    texts = {mode: [t.text for t in load_examples(path, empty_turns=mode)[0].turns]
             for mode in ("drop turn", "keep", "drop exchange")}  # fmt: skip
    assert texts["drop turn"] == ["a?", "A", "b?", "who built it?"]
    assert texts["keep"] == ["a?", "A", "b?", " ", "who built it?"]
    assert texts["drop exchange"] == ["a?", "A", "who built it?"]


def test_ids_that_repeat_are_numbered(tmp_path) -> None:
    path = write(tmp_path / "q.json", RECORDS["qrecc"] * 2)
    assert [one.id for one in load_examples(path)] == ["7_2", "7_2#2"]


def own(*texts: str, target: str) -> Example:
    return Example("i", "c", alternating(texts), target)


def test_overlap_is_told_by_question_and_rewrite() -> None:
    rewrite = "Who built the old mill on the hill?"
    test = [own("x", "y", "Who built it?", target=rewrite), own("What?", target="What was it?")]
    train = [
        own("Who built it", target=rewrite.upper()),
        own("Who built that?", target=rewrite),
        own("What?", target="What was it?"),  # short: people agree in it
    ]
    assert without_overlap(train, test) == train[1:]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([{"foo": 1, "bar": 2}], "has no known form of conversations: it holds a record with the fields foo, bar"),
        (["a", "b"], "it holds a text"),
        ([], "is empty"),
        ([RECORDS["own"][0] | {"turns": []}], "the dialog has no turns"),
        ([{"turns": [{"role": "bot", "text": "x"}], "target": "t"}], "unknown role 'bot'"),
        ([{"turns": [{"role": "assistant", "text": "x"}], "target": "t"}], "does not end with a turn of the user"),
        ([{"turns": [{"role": "user", "text": " "}], "target": "t"}], "turn 1 of its dialog is empty"),
        ([{"turns": [{"role": "user", "text": "x" * 1_000_000}], "target": "t"}], f"more than {LONGEST_TEXT:,}"),
        ([QRECC | {"Context": "text", "Rewrite": "r"}], "record 1: Context: Input should be a valid"),
        ([QRECC | TRUTH | {"NewContext": [], "Editor_rewrite": {}}], "neither a text nor a chat.completion"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, value: Any, sentence: str) -> None:
    with pytest.raises(CorpusError) as error:
        load_examples(write(tmp_path / "file.json", value))
    assert sentence in error.value.message and "file.json" in error.value.message


def test_an_unknown_form_lists_the_forms(tmp_path) -> None:
    with pytest.raises(ConfigError) as error:
        load_examples(write(tmp_path / "f.json", RECORDS["own"]), "quac")
    assert all(name in error.value.hint for name in FORMS)


def test_other_scripts_survive(tmp_path) -> None:
    texts = ["ใครเป็นผู้สร้างโรงสี?", "آن", "متى كان ذلك؟"]
    turns = [{"role": turn.role, "text": turn.text} for turn in alternating(texts)]
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"turns": turns, "target": texts[0]}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert load_examples(path)[0].turns == alternating(texts)


@pytest.mark.parametrize(
    ("name", "turns", "conversations", "rewritten"),
    [
        ("qrecc/infocqr_dev-sampled2k-modified.json", 2000, 1257, 2000),
        ("qrecc/infocqr_dev-sampled2k_chatgpt_ICL_editor.jsonl", 2000, 1257, 2000),
        ("qrecc/adaqr_4k_sft_data_with_human_rewrite.jsonl", 4000, None, 4000),
        ("qrecc/adaqr_4k_sft_data_with_gpt_rewrite.jsonl", 3859, None, 3859),
        ("qrecc/scai_ground-truth_sample.json", 3, 3, 3),
        ("canard/dev.json", 3430, 490, 3430),
        ("cast/2019_evaluation_topics_v1.0.json", 479, 50, 479),
        ("cast/2019_train_topics_v1.0.json", 269, 30, 23),
        ("cast/2020_manual_evaluation_topics_v1.0.json", 216, 25, 216),
        ("cast/2020_automatic_evaluation_topics_v1.0.json", 216, 25, 0),
        ("cast/llm4cs_cast19_test.json", 479, 50, 479),
        ("cast/llm4cs_cast20_test.json", 216, 25, 216),
        ("mtrag/mtragun_reference_clapnq_cloud.jsonl", 273, None, 0),
        ("mtrag/mtrag_clapnq_questions.jsonl", 208, None, 208),
        ("mtrag/mtrag_cloud_rewrite.jsonl", 188, None, 188),
        ("alexa_cqr/cqr_kvret_dev_public.json", 470, 271, 206),
    ],
)
def test_the_counts_of_the_published_files(name: str, turns: int, conversations: int | None, rewritten: int) -> None:
    examples = load_examples(corpus(name), rewritten_only=False)
    assert len(examples) == turns == len({one.id for one in examples})
    assert conversations in (None, len({one.conversation for one in examples}))
    assert sum(bool(one.target) for one in examples) == rewritten


def test_the_qrecc_sample() -> None:
    path = corpus("qrecc/infocqr_dev-sampled2k_chatgpt_ICL_editor.jsonl")
    kept = [one for one in load_examples(path, empty_turns="keep") if one.depth > 1]
    assert len(kept) == 1633
    assert sum(not turn.text.strip() for one in kept for turn in one.turns) == 402
    assert Counter(one.source for one in load_examples(path)) == {"quac": 1561, "nq": 439}
    assert all(one.rewrites.keys() == {"gpt", "editor"} for one in kept)


def test_the_two_forms_of_cast_agree() -> None:
    plain, easy = (
        load_examples(corpus(f"cast/{name}.json")) for name in ("2019_evaluation_topics_v1.0", "llm4cs_cast19_test")
    )
    assert [(one.id, one.turns, one.target.strip()) for one in plain] == [
        (one.id, one.turns, one.target.strip()) for one in easy
    ]


def test_the_data_sets_overlap() -> None:
    canard, adaqr = (
        load_examples(corpus("canard/dev.json")),
        load_examples(corpus("qrecc/adaqr_4k_sft_data_with_human_rewrite.jsonl")),
    )
    removed = len(canard) - len(without_overlap(canard, adaqr))
    assert 30 <= removed <= 34
    assert len(without_overlap(adaqr, adaqr)) < len(adaqr)
