"""ttft generate through the command line: PEFT's tokens, beside the base's, streamed or as JSON lines."""

from __future__ import annotations

import json

import pytest
import torch
from small import sentences
from test_save_adapters import peft_model

from ttft.finetuning.model import load_causal_lm
from ttft.tuner.generation import Answering

PROMPT = "river stone cloud"
LONG = sentences(3, 1000)


@pytest.fixture
def said(run_ttft, index_folder, lm_folder, capsys):
    """said(*options): what generate prints with the tiny model, (standard output, standard error)."""

    def run(*more, code=0):
        shared = ["--model", lm_folder, "-n", 4, "-k", 30, "--dtype", "float32", "--lr", 1e-2, "--vocabulary", "lora"]
        capsys.readouterr()
        assert run_ttft("generate", index_folder, *shared, "--max-new-tokens", 24, *more) == code
        return capsys.readouterr()

    return run


def expected(model, tokenizer, prompt: str, kept: int | None = None) -> str:
    ids = [tokenizer.bos_token_id, *tokenizer(prompt)["input_ids"]][-(kept or 1000) :]
    with torch.no_grad():
        made = model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=24, do_sample=False
        )
    return tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True, clean_up_tokenization_spaces=False)


def tuned_by_finetune_eval(folder, run_ttft, index_folder, lm_folder, prompt: str):
    """The adapter that the same prompt gets in finetune-eval, in PEFT."""
    command = ["finetune-eval", index_folder, "--prompt", prompt, "--out", folder / "r", "--model", lm_folder, "-n", 4]
    more = ["-k", 30, "--dtype", "float32", "--lr", 1e-2, "--vocabulary", "lora", "--save-adapters", folder / "a"]
    assert run_ttft(*command, *more) == 0
    return peft_model(str(lm_folder), folder / "a" / "prompt")


@pytest.mark.parametrize(("prompt", "kept"), [(PROMPT, None), (LONG, 64 - 24)], ids=["short", "too long"])
def test_the_answer_is_that_of_peft(tmp_path, run_ttft, index_folder, lm_folder, said, prompt, kept):
    model, tokenizer = tuned_by_finetune_eval(tmp_path, run_ttft, index_folder, lm_folder, prompt)
    tuned, base = (expected(m, tokenizer, prompt, kept) for m in (model, load_causal_lm(str(lm_folder))[0]))
    assert tuned and tuned != base
    printed = said("--prompt", prompt)
    assert printed.out == tuned + "\n"
    assert (f"the last {kept}" in printed.err) == (kept is not None)
    assert said("--prompt", prompt, "--compare").out == f"=== base\n{base}\n=== tuned\n{tuned}\n"
    record = json.loads(said("--prompt", prompt, "--compare", "--json").out)
    assert (record["prompt_id"], record["text"], record["base"]) == ("prompt", tuned, base)
    assert len(record["ids"]) == 4 and {"select", "train", "base", "tuned"} <= set(record["seconds"])


def test_several_prompts_under_their_ids(said, prompts_file):
    records = [json.loads(line) for line in said("--prompts", prompts_file, "--json").out.splitlines()]
    assert [r["prompt_id"] for r in records] == ["p0", "p1", "p2", "p3"] and "base" not in records[0]
    assert said("--prompts", prompts_file).out == "".join(f"=== {r['prompt_id']}\n{r['text']}\n" for r in records)
    both = said("--prompts", prompts_file, "--max-prompts", 2, "--compare").out.splitlines()
    headings = [line for line in both if line.startswith("=== ")]
    assert headings == ["=== p0: base", "=== p0: tuned", "=== p1: base", "=== p1: tuned"]
    alone = said("--prompts", prompts_file, "--json", "--set", "slots=1").out.splitlines()
    assert [json.loads(line)["text"] for line in alone] == [r["text"] for r in records]


def test_draws_belong_to_the_seed(said):
    options = ("--prompt", PROMPT, "--do-sample", "--temperature", 1.5, "--top-k", 0, "--top-p", 0.95)
    first, again, other = (said(*options, "--seed", seed).out for seed in (3, 3, 4))
    assert first == again != other
    assert said("--prompt", PROMPT, "--repetition-penalty", 5.0).out != said("--prompt", PROMPT).out


def test_no_steps_is_the_base_and_full_fine_tuning_answers_too(said, lm_folder):
    model, tokenizer = load_causal_lm(str(lm_folder))
    base = expected(model, tokenizer, PROMPT)
    assert said("--prompt", PROMPT, "-n", 0).out == base + "\n"
    full = ("--prompt", PROMPT, "--json", "--compare", "--set", "method=full", "--vocabulary", "off", "--lr", 1e-3)
    record = json.loads(said(*full).out)
    assert record["base"] == base != record["text"]


def test_a_prompt_whose_training_fails_has_no_answer(said):
    printed = said("--prompt", PROMPT, "--json", "--lr", 1e30)
    record = json.loads(printed.out)
    assert record["text"] is None and "the loss of step" in record["failed"]
    assert "prompt failed and has no answer" in printed.err
    assert said("--prompt", PROMPT, "--lr", 1e30).out == ""


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (("--temperature", 0.7), "temperature has no effect without sampling"),
        (("--max-new-tokens", 64), "leaves no room for a prompt in the context window"),
        (("--max-new-tokens", 32, "--set", "max_length=32"), "max_new_tokens must be below max_length (32)"),
        (("--do-sample", "--top-p", 1.5), "top_p: "),
        (("--repetition-penalty", 0), "repetition_penalty: "),
    ],
)
def test_options_that_do_not_fit(said, more, part):
    printed = said("--prompt", PROMPT, *more, code=2)
    assert part in printed.err and printed.out == ""


def test_an_interruption_ends_it_after_what_was_printed(said, prompts_file, monkeypatch):
    answer = Answering._answer

    def stopped_at_the_second(self, trace, *more):
        if trace.key == "p1":
            raise KeyboardInterrupt
        return answer(self, trace, *more)

    monkeypatch.setattr(Answering, "_answer", stopped_at_the_second)
    printed = said("--prompts", prompts_file, "--json", code=130)
    assert [json.loads(line)["prompt_id"] for line in printed.out.splitlines()] == ["p0"]
    assert "interrupted" in printed.err
