"""Tuner: what the commands compute, to the last bit; the model as it was afterwards; plain errors; nothing printed."""

from __future__ import annotations

import json

import pytest
import torch
from small import sentences, spoilt

import ttft
from ttft.errors import ConfigError, CorpusError, MissingArtifact, TtftError
from ttft.evaluation import bits_per_byte, split_prompt
from ttft.finetuning.model import load_causal_lm
from ttft.progress import Progress
from ttft.records import Prompt
from ttft.state import read_lines
from ttft.tuner.guard import Guard
from ttft.vector_index.shards import open_vector_index

SETTINGS = {"n": 4, "k": 30, "dtype": "float32", "lr": 1e-2}
FLAGS = ["-n", 4, "-k", 30, "--dtype", "float32", "--lr", 1e-2]


@pytest.fixture(scope="module")
def prompts(prompts_file) -> list[Prompt]:
    records = [json.loads(line) for line in prompts_file.read_text().splitlines()]
    return [Prompt(r["id"], r["text"], r["meta"]["pile_set_name"]) for r in records]


@pytest.fixture(scope="module")
def tuner(index_folder, lm_folder) -> ttft.Tuner:
    return ttft.Tuner(index_folder, model=str(lm_folder), **SETTINGS)


@pytest.fixture
def run(tmp_path, run_ttft, index_folder, prompts_file, lm_folder):
    """run(*options): the records of finetune-eval, without seconds."""

    def call(*more) -> list[dict]:
        given = ["finetune-eval", index_folder, "-p", prompts_file, "-o", tmp_path / "r", "--model", lm_folder, *FLAGS]
        assert run_ttft(*given, *more) == 0
        return [without_seconds(r) for r in read_lines(tmp_path / "r" / "results.jsonl")]

    return call


def without_seconds(record: dict) -> dict:
    return {key: value for key, value in record.items() if key != "seconds"}


# ---- library = command ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "settings", "how"),
    [
        ([], {}, {}),
        (["--vocabulary", "lora", "--rank", 3, "--set", "warm_down=0.5"],
         {"vocabulary": "lora", "rank": 3, "warm_down": 0.5}, {}),
        (["--score", "suffix", "--mix"], {}, {"score": "suffix", "guard": Guard(mix=True)}),
        (["--method", "full", "--strategy", "nearest"], {"method": "full", "strategy": "nearest"}, {}),
        (["--method", "in-context", "--set", "score_at=[1,2]"], {"method": "in-context"}, {"score_at": [1, 2]}),
        (["--alpha", 0.5, "--lambda", 0.3, "--set", "reuse=2"], {"alpha": 0.5, "lambda_": 0.3, "reuse": 2}, {}),
    ],
    ids=["default", "vocabulary", "suffix", "full", "in-context", "adaptive"],
)  # fmt: skip
def test_score_many_gives_the_records_of_the_command(run, index_folder, lm_folder, prompts, flags, settings, how):
    tuner = ttft.Tuner(index_folder, model=str(lm_folder), **SETTINGS | settings)
    results = [without_seconds(r.to_json()) for r in tuner.score_many(prompts, **how)]
    assert json.loads(json.dumps(results)) == run(*flags)


def test_one_prompt_is_scored_as_the_command_does(tuner, run, prompts):
    result = tuner.score(prompts[0])
    (recorded,) = run("--max-prompts", 1)
    assert json.loads(json.dumps(without_seconds(result.to_json()))) == recorded
    assert result.percent_of_base == pytest.approx(100 * result.nats[-1] / result.nats[0]) and result.kept == "tuned"
    assert (result.base_nats, result.final_nats, result.steps_taken) == (result.nats[0], result.nats[-1], 4)
    assert result.final_bpb < result.base_bpb and result.seconds["train"] > 0


def test_select_is_the_command(tuner, run_ttft, index_folder, prompts, capsys):
    chosen = tuner.select(prompts[0].text)
    assert run_ttft("select", index_folder, "--prompt", prompts[0].text, *FLAGS[:6]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert without_seconds(chosen.to_json()) == without_seconds(printed)
    assert len(chosen.texts) == len(chosen.ids) == len(chosen.scores) == len(chosen.cosines) == len(chosen.sigma) - 1
    assert chosen.stopped_because == "n" and chosen.sources[0].startswith("corpus.jsonl:")


def test_generate_is_the_command(tuner, run_ttft, index_folder, lm_folder, capsys):
    prompt = "river stone cloud"
    answer = tuner.generate(prompt, compare=True, max_new_tokens=12)
    given = ["generate", index_folder, "--model", lm_folder, "--prompt", prompt, *FLAGS]
    assert run_ttft(*given, "--compare", "--json", "--max-new-tokens", 12) == 0
    printed = json.loads(capsys.readouterr().out)
    assert without_seconds(answer.to_json()) == without_seconds(printed)
    assert str(answer) == answer.text and answer.base is not None and answer.steps == 4


def test_the_defaults_are_those_of_the_commands(index_folder, run_ttft, tmp_path, capsys):
    """The embedded model, dtype auto: scores in float32, answers in the dtype of the steps."""
    text = "def quicksort(items):\n    return sorted(items)\n"
    tuner = ttft.Tuner(index_folder, n=2)
    assert run_ttft("finetune-eval", index_folder, "--prompt", text, "-o", tmp_path / "r", "-n", 2) == 0
    (recorded,) = read_lines(tmp_path / "r" / "results.jsonl")
    assert without_seconds(json.loads(json.dumps(tuner.score(text).to_json()))) == without_seconds(recorded)
    capsys.readouterr()
    assert run_ttft("generate", index_folder, "--prompt", text, "-n", 2, "--json", "--max-new-tokens", 16) == 0
    answer = tuner.generate(text, max_new_tokens=16)
    assert without_seconds(answer.to_json()) == without_seconds(json.loads(capsys.readouterr().out))


def test_sampling_depends_on_the_seed_and_leaves_the_random_state_alone(tuner):
    state = torch.random.get_rng_state()
    one, same, other = (
        tuner.generate("river", max_new_tokens=12, do_sample=True, temperature=2.0, seed=seed).text
        for seed in (1, 1, 2)
    )
    assert one == same != other and torch.equal(torch.random.get_rng_state(), state)


# ---- the model -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_loaded_model_is_tuned_inside_the_block_and_as_it_was_afterwards(index_folder, lm_folder, method):
    model, tokenizer = load_causal_lm(str(lm_folder))
    text = sentences(2, 7)
    before = bits_per_byte(model, tokenizer, [text])[0]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    tuner = ttft.Tuner(index_folder, model=model, tokenizer=tokenizer, method=method, **SETTINGS)
    scored = tuner.score(text)
    with tuner.tuned(text) as tuned:
        inside = bits_per_byte(tuned, tokenizer, [text])[0]
        assert tuned.generate(torch.tensor([[1, 2]]), max_new_tokens=2, do_sample=False).shape == (1, 4)
    assert inside.nats == scored.nats[-1] < scored.nats[0]
    assert bits_per_byte(model, tokenizer, [text])[0] == before
    assert bits_per_byte(tuner.model, tokenizer, [text])[0].nats == scored.nats[0]
    assert {*weights} == {*model.state_dict()}
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_what_goes_wrong_inside_the_block_leaves_the_model_as_it_was(tuner):
    before = tuner.score(sentences(1, 3))
    with pytest.raises(RuntimeError, match="mine"), tuner.tuned(sentences(1, 4)):
        raise RuntimeError("mine")
    assert without_seconds(tuner.score(sentences(1, 3)).to_json()) == without_seconds(before.to_json())


def test_only_one_call_at_a_time(tuner, prompts):
    results = tuner.score_many(prompts)
    next(results)
    with pytest.raises(TtftError, match="in the middle of score_many"):
        tuner.score(prompts[0])
    results.close()
    with tuner.tuned(prompts[0]), pytest.raises(TtftError, match="in the middle of tuned"):
        tuner.generate("river", max_new_tokens=4)
    assert tuner.score(prompts[0]).kept == "tuned"


def test_an_open_index_and_a_loaded_encoder_are_taken(index_folder, lm_folder, tuner, prompts):
    index = open_vector_index(index_folder)
    again = ttft.Tuner(index, model=str(lm_folder), embedder=tuner.selector.embedder, **SETTINGS)
    assert again.index is index and again.select(prompts[0]).ids == tuner.select(prompts[0]).ids


def test_selection_needs_no_language_model(index_folder):
    assert len(ttft.Tuner(index_folder, model="no-such-model", n=3).select("river stone").ids) == 3


# ---- prompts -------------------------------------------------------------------------------------------------------


def test_a_prefix_conditions_and_retrieves_and_is_not_scored(tuner, prompts):
    text = prompts[1].text
    prefix, suffix = split_prompt(text)
    cut, given = (
        tuner.score(prompts[1], score="suffix"),
        tuner.score(Prompt("p1", suffix, prompts[1].subset), prefix=prefix),
    )
    assert without_seconds(cut.to_json()) == without_seconds(given.to_json()) and cut.bytes == len(suffix.encode())


def test_prompts_of_all_kinds_and_from_a_generator(tuner, prompts):
    kinds = [
        prompts[0],
        prompts[1].text,
        {"id": "mine", "text": prompts[2].text, "subset": "s"},
        (sentences(1, 1), "stone"),
    ]
    listed = {r.prompt_id: r for r in tuner.score_many(kinds)}
    assert list(listed) == ["p0", "prompt-1", "mine", "prompt-3"] and listed["mine"].subset == "s"
    streamed = {r.prompt_id: r for r in tuner.score_many(p for p in kinds)}
    assert {k: r.nats for k, r in streamed.items()} == {k: pytest.approx(r.nats, rel=1e-5) for k, r in listed.items()}


def test_a_user_can_end_the_training_of_a_prompt(tuner, prompts):
    result = tuner.score(prompts[0], go_on=lambda key, losses: len(losses) < 2)
    assert result.steps_taken == 2 and len(result.losses) == 2


def test_progress_counts_steps(tuner, prompts):
    seen: list[Progress] = []
    list(tuner.score_many(prompts, on_progress=seen.append))
    assert [p.done for p in seen] == sorted(p.done for p in seen) and (seen[-1].done, seen[-1].total) == (16, 16)
    assert seen[0].unit == "steps" and seen[0].done == 1 and seen[-1].detail.startswith("4 of 4 prompts")
    adaptive: list[Progress] = []
    list(tuner.score_many(prompts, on_progress=adaptive.append, go_on=lambda key, losses: len(losses) < 3))
    assert (adaptive[-1].done, adaptive[-1].total) == (12, 12)


def test_nothing_is_printed(index_folder, lm_folder, prompts, capfd):
    tuner = ttft.Tuner(index_folder, model=str(lm_folder), **SETTINGS)
    list(tuner.score_many(prompts))
    tuner.generate("river", max_new_tokens=4)
    assert capfd.readouterr() == ("", "")


# ---- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"index": "nowhere"}, MissingArtifact, "nowhere is not an index"),
        ({"strategy": "best"}, ConfigError, "unknown strategy 'best'"),
        ({"alpha": 0.3, "strategy": "nearest"}, ConfigError, "stopping rules only apply to SIFT"),
        ({"policy": "no.json"}, MissingArtifact, "no such policy: no.json"),
        ({"embedder": "minilm"}, ConfigError, "asked for 'minilm'"),
        ({"model": 3}, ConfigError, "model: a int"),
        ({"tokenizer": object()}, ConfigError, "a tokenizer can only be given with a loaded model"),
        ({"device": "tpu"}, ConfigError, "unknown device 'tpu'"),
        ({"method": "lore"}, ConfigError, "unknown method 'lore'"),
        ({"dtype": "float8"}, ConfigError, "unknown dtype 'float8'"),
    ],
)
def test_what_does_not_go_together_is_said_at_once(index_folder, lm_folder, given, kind, message):
    with pytest.raises(kind, match=message):
        ttft.Tuner(**{"index": index_folder, "model": str(lm_folder)} | given)


def test_a_model_that_is_not_there_is_said_when_it_is_needed(index_folder):
    with pytest.raises(MissingArtifact, match="cannot load the model 'no-such-model'"):
        ttft.Tuner(index_folder, model="no-such-model").load()


@pytest.mark.parametrize(
    ("prompt", "kind", "message"),
    [
        ("", ConfigError, "is empty"),
        (" \n", ConfigError, "is empty"),
        (7, ConfigError, "a int is not a prompt"),
        ({"words": "x"}, ConfigError, "a prompt has no text; its fields: 'words'"),
    ],
)
def test_what_is_no_prompt_is_refused(tuner, prompt, kind, message):
    with pytest.raises(kind, match=message):
        tuner.score(prompt)


def test_refusals_of_a_call(tuner, index_folder, lm_folder, prompts):
    with pytest.raises(CorpusError, match="too short to be cut"):
        tuner.score("x", score="suffix")
    with pytest.raises(ConfigError, match="two prompts have the id 'p0'"):
        list(tuner.score_many([prompts[0], prompts[0]]))
    with pytest.raises(ConfigError, match="max_new_tokens 64 leaves no room"):
        tuner.generate("river", max_new_tokens=64)
    with pytest.raises(ConfigError, match="a prompt has one answer"):
        tuner.generate("river", num_return_sequences=2)
    reading = ttft.Tuner(index_folder, model=str(lm_folder), method="in-context", n=2)
    with pytest.raises(ConfigError, match="trains nothing"), reading.tuned("river"):
        pass
    assert reading.generate("river", max_new_tokens=4).steps == 0


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_prompt_without_a_usable_vector_is_named(tuner, index_folder, lm_folder, value):
    broken = spoilt(tuner.selector.embedder, "copper", value)
    other = ttft.Tuner(index_folder, model=str(lm_folder), embedder=broken, **SETTINGS)
    with pytest.raises(TtftError, match=r"no usable vector .*: prompt mine"):
        other.select({"id": "mine", "text": "river copper"})


def test_training_that_fails_is_said(index_folder, lm_folder, prompts):
    wild = ttft.Tuner(index_folder, model=str(lm_folder), **SETTINGS | {"method": "full", "lr": 1e30})
    assert wild.score(prompts[0]).failed and wild.score(prompts[0]).percent_of_base == 100
    with pytest.raises(TtftError, match="has no answer: the loss of step"):
        wild.generate("river", max_new_tokens=4)
    with pytest.raises(TtftError, match="cannot be tuned"), wild.tuned("river"):
        pass
