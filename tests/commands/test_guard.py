"""finetune-eval --guard and --mix: the base where the update hurts the prefix, and an account of it in the report."""

from __future__ import annotations

import pytest
from commands.test_finetune_eval import arguments, content

from ttft.evaluation import bits_per_byte, split_prompt
from ttft.finetuning.model import load_causal_lm

SUFFIX = ("--score", "suffix")


@pytest.fixture
def guarded(tmp_path, run_ttft, index_folder, prompts_file, lm_folder):
    def run(name: str, *more) -> dict:
        assert run_ttft(*arguments(index_folder, prompts_file, tmp_path / name, lm_folder, *SUFFIX, *more)) == 0
        return {r["prompt_id"]: r for r in content(tmp_path / name)}

    return run


@pytest.mark.parametrize("method", ["lora", "full"])
def test_an_update_that_helps_the_prefix_is_kept_and_one_that_does_not_help_enough_is_not(guarded, method):
    """A rate of 1e-3 helps every prefix: the same nats as without a guard. None is helped by nine tenths."""
    more = ("--method", method)
    plain, kept = guarded("plain", *more), guarded("kept", *more, "--guard", "--set", "guard_margin=0")
    asking = guarded("asking", *more, "--guard", "--set", "guard_margin=0.9")
    for key, result in kept.items():
        assert result["kept"] == "tuned" and result["guard"]["scale"] == 1.0
        assert result["nats"] == pytest.approx(plain[key]["nats"], rel=1e-5)
        assert result["guard"]["known"]["1.0"] < result["guard"]["known"]["0.0"]
        assert asking[key]["kept"] == "base" and asking[key]["guard"]["scale"] == 0.0
        assert asking[key]["guard"]["tuned_nats"] == pytest.approx(plain[key]["nats"][-1], rel=1e-5)


def test_an_update_that_hurts_is_not_kept(guarded):
    """No model survives a rate of 1 for all of its weights."""
    harm = guarded("harm", "--method", "full", "--lr", 1.0, "--guard").values()
    assert all(r["kept"] == "base" and (r["failed"] or r["guard"]["scale"] == 0.0) for r in harm)


def test_what_is_known_is_the_prefix_under_the_base(guarded, prompts_file, lm_folder):
    import json

    model, tokenizer = load_causal_lm(str(lm_folder))
    results = guarded("whole", "--guard", "--set", "guard_part=1"), guarded("half", "--guard")
    for line in prompts_file.read_text().splitlines():
        prompt = json.loads(line)
        prefix, _ = split_prompt(prompt["text"], 0.5)
        before, last = split_prompt(prefix, 0.5)
        whole = bits_per_byte(model, tokenizer, [prefix])[0].nats
        half = bits_per_byte(model, tokenizer, [last], prefixes=[before])[0].nats
        for result, expected in zip(results, (whole, half), strict=True):
            assert result[prompt["id"]]["guard"]["known"]["0.0"] == pytest.approx(expected, abs=1e-3)


def test_mix_takes_the_scale_that_is_best_for_the_prefix(guarded):
    for result in guarded("mix", "--mix", "--lr", 3e-2, "--set", "guard_margin=0").values():
        guard = result["guard"]
        assert list(guard["known"]) == ["0.0", "0.25", "0.5", "0.75", "1.0"]
        assert guard["known"][str(guard["scale"])] == min(guard["known"].values())
        if guard["scale"] == 1.0:
            assert result["nats"][-1] == guard["tuned_nats"]


def test_the_report_gives_an_account(tmp_path, guarded, run_ttft, capsys):
    guarded("harm", "--guard", "--lr", 0.3)
    capsys.readouterr()
    assert run_ttft("report", tmp_path / "harm", "--out", tmp_path / "r.html") == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if "the guard judged" in x)
    assert "judged 4 prompts and kept the base on" in line and "made worse by more than 1%" in line


def test_a_guard_needs_known_text(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys):
    command = arguments(index_folder, prompts_file, tmp_path / "r", lm_folder)
    assert run_ttft(*command, "--guard") == 2
    assert "--score suffix" in capsys.readouterr().err
    assert run_ttft(*command, *SUFFIX, "--guard", "--mix") == 2
    assert run_ttft(*command, *SUFFIX, "--guard", "--method", "in-context") == 2
    assert not (tmp_path / "r").exists()
