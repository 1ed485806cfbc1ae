"""A query model in use: what it writes, what passes it by, and what happens when it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from small import byte_tokenizer

from ttft.errors import ConfigError, MissingArtifact
from ttft.q2d.records import Turn, alternating
from ttft.q2d.rewriter import Output, Rewriter, load_rewriter

sys.path.insert(0, str(Path(__file__).parent))
from query_models import QUERY, TALKS, query_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return query_model(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def rewriter(trained):
    return load_rewriter(trained, device="cpu", dtype="float32")


def scripted(rewriter, outputs: dict[str, list[str]], no_search: bool = True) -> Rewriter:
    """The same rewriter with given outputs, by the words that the last turn contains."""

    class Scripted(Rewriter):
        def _generated(self, prompts, n):
            texts = [self.tokenizer.decode(prompt) for prompt in prompts]
            some = [next((o for word, o in outputs.items() if word in text), ["?"]) for text in texts]
            if any("crash" in output for output in some):
                raise RuntimeError("out of luck\nand more")
            return [[Output(text, not text.endswith("...")) for text in one[: max(1, 2 * n)]] for one in some]

    form = type(rewriter.form)(**{**rewriter.form.__dict__, "no_search": no_search})
    return Scripted(rewriter.model, rewriter.tokenizer, form, 16)


def talk(last: str) -> tuple[Turn, ...]:
    return alternating(["tell me of the river", "it has a stone", last])


def test_a_trained_adapter_writes_its_query(rewriter) -> None:
    one, two, first = rewriter.rewrite([*TALKS, alternating(["river  stone\n"])])
    assert (one.queries, one.how, one.search, one.note) == ((QUERY,), "model", True, "")
    assert two.queries == (QUERY,)
    assert (first.queries, first.how) == (("river  stone\n",), "unchanged")


def test_nothing_is_generated_after_the_first_line(tmp_path) -> None:
    folder = query_model(tmp_path, f"{QUERY}\n and more of it")
    (made,) = load_rewriter(folder, device="cpu", dtype="float32").rewrite(TALKS[:1], n=2)
    assert made.queries[0] == QUERY and made.how == "model"
    rewriter = load_rewriter(folder, device="cpu", dtype="float32")
    output = rewriter._generated([rewriter._ids(TALKS[0])], 1)[0][0]
    assert output == Output(f" {QUERY}\n", True)


def test_several_queries_are_distinct_and_begin_with_the_greedy_one(rewriter) -> None:
    (made,) = rewriter.rewrite(TALKS[:1], n=3)
    assert made.queries[0] == QUERY and len(set(made.queries)) == len(made.queries) <= 3
    assert rewriter.rewrite(TALKS[:1], n=3) == [made]


def test_a_batch_of_all_lengths_gives_what_each_dialog_gives_alone(rewriter) -> None:
    dialogs = [*TALKS, alternating(["river " * 40, "stone " * 40, "more?"]), *TALKS]
    assert rewriter.rewrite(dialogs) == [rewriter.rewrite([dialog])[0] for dialog in dialogs]


def test_a_dialog_without_history_never_reaches_the_model(rewriter) -> None:
    never = scripted(rewriter, {"": ["crash"]})
    for text in (" who?\n", "สวัสดี", "x" * 2_000_000, "NONE"):
        (made,) = never.rewrite([(Turn("user", text),)])
        assert made.queries == (text,) and made.how == "unchanged"


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("", "it is empty"),
        ("crash", "the model failed: RuntimeError: out of luck;"),
        ("paper silver", "no content word"),
        ("river " * 90, "too long"),
        ("river stone river stone river stone river stone", "repeats itself"),
        ("กขคง", "thai script"),
        ("river ...", "does not end within 16 tokens"),
    ],
)
def test_on_any_failure_the_last_turn_is_the_query_and_it_is_said(rewriter, output: str, why: str) -> None:
    broken = scripted(rewriter, {"which": [output], "good": ["river"]})
    bad, good = broken.rewrite([talk("which  one?"), talk("a good one?")])
    assert (bad.queries, bad.search, bad.how) == (("which  one?",), True, "last turn") and why in bad.note
    assert (good.queries, good.how, good.note) == (("river",), "model", "")


def test_none_is_no_search_only_for_models_that_learned_it(rewriter) -> None:
    thanks = talk("thanks!")
    (made,) = scripted(rewriter, {"thanks": ["NONE", "river"]}).rewrite([thanks], n=2)
    assert (made.queries, made.query, made.search, made.how) == ((), None, False, "no search")
    (made,) = scripted(rewriter, {"thanks": ["river", "NONE"]}).rewrite([thanks], n=2)
    assert made.queries == ("river",)
    (made,) = scripted(rewriter, {"thanks": ["NONE"]}, no_search=False).rewrite([thanks])
    assert made.queries == ("thanks!",) and made.how == "last turn"


def test_ten_thousand_words_keep_the_last_turn(rewriter) -> None:
    turns = alternating(["river " * 5000, "stone " * 5000, "which one is the last?"])
    from ttft.q2d.rewriter import _tail
    from ttft.q2d.text import model_turns

    read = rewriter.tokenizer.decode(rewriter._ids(_tail(model_turns(turns))))
    assert read.endswith("stone ...\nUser: which one is the last?\nQuery:")
    assert rewriter.rewrite([turns])[0].search


def test_a_megabyte_is_cut_before_it_is_tokenised(rewriter) -> None:
    seen = []

    class Watching:
        def __getattr__(self, name):
            return getattr(rewriter.tokenizer, name)

        def __call__(self, text, **options):
            seen.append(len(text))
            return rewriter.tokenizer(text, **options)

    slow = Rewriter(rewriter.model, Watching(), rewriter.form, 16)
    end = " and the river?"
    (made,) = slow.rewrite([alternating(["stone", "yes", "ab " * 340_000 + end])])
    assert max(seen) < 50_000
    assert made.queries[0].endswith(end) or made.how == "model"


def test_baselines_need_no_model() -> None:
    turns = talk("  which one? ")
    made = {name: load_rewriter(name).rewrite([turns])[0] for name in ("last-turn", "user-turns", "history")}
    assert made["last-turn"].queries == ("  which one? ",) and made["last-turn"].how == "last turn"
    assert made["user-turns"].queries == ("tell me of the river which one?",)
    assert made["history"].queries == ("tell me of the river it has a stone which one?",)
    for name in made:
        assert load_rewriter(name).rewrite([turns[:1]])[0].how == "unchanged"


def test_a_plain_model_by_name(lm_folder, tmp_path) -> None:
    from small import tiny_gpt2

    tiny_gpt2(context=512).save_pretrained(tmp_path / "lm")
    byte_tokenizer().save_pretrained(tmp_path / "lm")
    (made,) = load_rewriter(tmp_path / "lm", dtype="float32").rewrite([talk("which?")])
    assert made.how == "last turn" and made.queries == ("which?",)
    with pytest.raises(ConfigError, match="no room for a dialog"):
        load_rewriter(lm_folder)


def test_a_seq2seq_model(tmp_path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    from ttft.q2d.model_input import QueryFormat

    config = T5Config(
        vocab_size=257, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=0,
        decoder_start_token_id=0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    QueryFormat("seq2seq", "t5", max_target_tokens=8).save(tmp_path)
    made = load_rewriter(tmp_path, dtype="float32").rewrite([talk("which?"), *TALKS], n=2)
    assert all(one.search and one.queries for one in made)


def test_what_is_not_there_or_no_dialog(trained, rewriter, tmp_path) -> None:
    with pytest.raises(MissingArtifact) as caught:
        load_rewriter(str(tmp_path / "none"))
    assert "ttft q2d train" in caught.value.hint and "user-turns" in caught.value.hint
    (tmp_path / "q2d.json").write_bytes((trained / "q2d.json").read_bytes())
    with pytest.raises(MissingArtifact, match="no adapter_model"):
        load_rewriter(tmp_path)
    for wrong in ([()], [alternating(["a", "b"])]):
        with pytest.raises(ConfigError, match="dialog 0"):
            rewriter.rewrite(wrong)
