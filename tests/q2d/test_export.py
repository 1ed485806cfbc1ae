"""Splits share no question; every format gives the same rows; cards are safe to publish."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ttft.errors import ConfigError, CorpusError
from ttft.q2d.cards import dataset_card, licence_of, model_card
from ttft.q2d.export import export, rows_by_split
from ttft.q2d.records import Dialog, Generator, alternating
from ttft.q2d.splits import SHARES, split

FUNNEL = {"total": 3, "steps": [{"name": "leak", "dropped": 1, "only": 0, "left": 2}]}
MAKER = Generator("rules", "ab" * 32, 0, 0.0, 0)


def dialog(number: int, query: str, **rest) -> Dialog:
    turns = alternating([f"About {number}.", "Yes.", "And when?"])
    made = Dialog(f"d{number}", f"q{query}", query, turns, MAKER, source="musique", verdict="keep")
    return replace(made, **rest)


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_in_two_splits(seed: int) -> None:
    draw = random.Random(seed)
    keys = [{f"k{draw.randrange(60)}" for _ in range(draw.randrange(3))} for _ in range(120)]
    names = split(keys, seed=seed)
    where: dict[str, set[str]] = {}
    for own, name in zip(keys, names, strict=True):
        for key in own:
            where.setdefault(key, set()).add(name)
    assert all(len(found) == 1 for found in where.values())
    assert set(names) <= set(SHARES)
    order = list(range(120))
    draw.shuffle(order)
    keyed = [keys[i] or {f"alone {i}"} for i in order]
    again = split(keyed, seed=seed)
    assert [again[order.index(i)] for i in range(120) if keys[i]] == [
        split([keys[j] or {f"alone {j}"} for j in range(120)], seed=seed)[i] for i in range(120) if keys[i]
    ]


def test_shares() -> None:
    names = split([[str(i)] for i in range(1000)], {"a": 3, "b": 1}, seed=1)
    assert (names.count("a"), names.count("b")) == (750, 250)
    assert names != split([[str(i)] for i in range(1000)], {"a": 3, "b": 1}, seed=2)
    assert split([], seed=1) == []
    with pytest.raises(ConfigError):
        split([["a"]], {"a": 0.0})


def test_questions_are_split_by_their_words() -> None:
    dialogs = [dialog(i, f"Who was {'the ' * (i % 2)}number {i // 4}?") for i in range(80)]
    dialogs.append(dialog(99, "dropped?", verdict="drop"))
    rows = rows_by_split(dialogs, without=["WHO was number 3?"])
    assert sum(map(len, rows.values())) == 76
    by_question = {(row["target"].replace("the ", ""), name) for name, some in rows.items() for row in some}
    assert len(by_question) == 19
    with pytest.raises(CorpusError, match="no dialog"):
        rows_by_split(dialogs[-1:])


@pytest.mark.parametrize("form", ["jsonl", "parquet", "datasets"])
def test_formats_give_the_same_rows(tmp_path: Path, form) -> None:
    from datasets import load_dataset, load_from_disk

    rows = rows_by_split([dialog(i, f"When did {i} begin?") for i in range(20)])
    out = tmp_path / "out" / "set"
    files = export(rows, out, form, "# A card\n")
    assert (out / "README.md").read_text() == "# A card\n"
    if form == "datasets":
        found = load_from_disk(str(out))
    else:
        kind = "json" if form == "jsonl" else form
        paths = {path.stem: str(path) for path in files}
        found = load_dataset(kind, data_files=paths, cache_dir=str(tmp_path / "cache"))
    assert {name: list(some) for name, some in found.items()} == rows
    with pytest.raises(ConfigError, match="there already"):
        export(rows, out, form, "")


def test_the_card_of_a_data_set() -> None:
    evil = "---\nlicense: mit\n```\n# Title | cell <script>"
    dialogs = [
        dialog(1, evil, turns=alternating([evil])), dialog(2, "b?", verdict="drop", reasons=("leak", "length"))
    ]  # fmt: skip
    dialogs.append(dialog(3, "c?", source=f"hotpotqa {evil}"))
    card = dataset_card(
        dialogs, name="A set | of <mine>", funnel=FUNNEL, settings={"tau": 0.6},
        statistics={"last": {"mean": 1.23456}}, splits={"train": 2}, data_files="data/{split}.jsonl",
    )  # fmt: skip
    _, front, body = card.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["license"] == "other"
    assert facts["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train.jsonl"}]}
    ]  # fmt: skip
    assert facts["size_categories"] == ["n<1K"]
    for words in (
        "unverified",
        "share-alike",
        "CC BY 4.0",
        "last, mean | 1.235",
        "reasons: leak | 1",
        "tau | 0.6",
        "| leak | 1 | 0 | 2 |",
        "total | 3",
    ):
        assert words in body, words
    assert "\n# Title" not in body.replace("```\n# Title", "")
    assert "<script>" not in body.split("## Examples")[0]
    assert card == dataset_card(
        dialogs, name="A set | of <mine>", funnel=FUNNEL, settings={"tau": 0.6},
        statistics={"last": {"mean": 1.23456}}, splits={"train": 2}, data_files="data/{split}.jsonl",
    )  # fmt: skip


def test_cards_hold_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret")
    maker = replace(MAKER, model="https://me:sk-verysecret@host/v1?api_key=sk-verysecret&x=1")
    secret = {"api_key": "sk-verysecret", "llm": maker.model, "inner": {"Authorization": "sk-verysecret"}, "tokens": 7}
    for card in (
        dataset_card([dialog(1, "a?", generator=maker)], name="n", settings=secret),
        model_card({"base_model": "me/base"} | secret, name="n", results={"ROUGE-1 F": 0.5}),
    ):
        assert "sk-verysecret" not in card
        assert "tokens | 7" in card


def test_the_card_of_a_model() -> None:
    card = model_card({"base_model": "me/base", "no_search": True}, name="Model")
    assert yaml.safe_load(card.split("---\n")[1])["base_model"] == "me/base"
    assert "base_model" not in yaml.safe_load(model_card({"base_model": "/home/x/y"}, name="M").split("---\n")[1])


def test_licences() -> None:
    assert licence_of("qrecc/quac").spdx == "cc-by-sa-3.0"
    assert licence_of("musique_2hop").spdx == "cc-by-4.0"
    assert licence_of("broadcast list").spdx == licence_of("").spdx == "other"
