"""ttft select and ttft finetune-eval through the command line: records, resume, refusals, and kills."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import pytest
from small import sentences
from test_index import kill_when, start

from ttft.evaluation import bits_per_byte, split_prompt
from ttft.finetuning.model import load_causal_lm
from ttft.state import read_lines
from ttft.vector_index.manifest import read_manifest, write_manifest


def arguments(index, prompts, out, model, *more):
    return [
        "finetune-eval", index, "--prompts", prompts, "--out", out, "--model", model, "-n", 4, "-k", 30,
        "--dtype", "float32", "--lr", 1e-3, *more,
    ]  # fmt: skip


def content(folder) -> list[dict]:
    """The results without their timings."""
    return [{k: v for k, v in r.items() if k != "seconds"} for r in read_lines(folder / "results.jsonl")]


def assert_same(ours: list[dict], expected: list[dict]) -> None:
    """The same records in the same order. With LoRA a prompt's last bits may tell who was beside it, no more."""
    floats = ("nats", "losses")
    for a, b in zip(ours, expected, strict=True):
        assert {k: v for k, v in a.items() if k not in floats} == {k: v for k, v in b.items() if k not in floats}
        for key in floats:
            assert a[key] == pytest.approx(b[key], rel=1e-5)


def test_results_hold_what_the_library_computes(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys):
    assert run_ttft(*arguments(index_folder, prompts_file, tmp_path / "r", lm_folder)) == 0
    assert "4 prompts (4 new)" in capsys.readouterr().out
    results, prompts = content(tmp_path / "r"), [json.loads(x) for x in prompts_file.read_text().splitlines()]
    model, tokenizer = load_causal_lm(str(lm_folder))
    for result, prompt in zip(results, prompts, strict=True):
        base = bits_per_byte(model, tokenizer, [prompt["text"]])[0]
        assert result["prompt_id"] == prompt["id"] and result["subset"] == prompt["meta"]["pile_set_name"]
        assert result["steps"] == [0, 1, 2, 4] and len(result["nats"]) == 4 and len(result["losses"]) == 4
        assert (result["bytes"], result["tokens"]) == (base.bytes, base.tokens)
        assert result["nats"][0] == pytest.approx(base.nats, rel=1e-6) and result["nats"][-1] < base.nats
        assert result["kept"] == "tuned" and len(result["ids"]) == 4 and len(result["sigma"]) == 5
    selections = read_lines(tmp_path / "r" / "selections.jsonl")
    assert [s["ids"] for s in selections] == [r["ids"] for r in results]
    assert {"embed", "search", "select"} == set(selections[0]["seconds"])
    starts = json.loads((tmp_path / "r" / "provenance.json").read_text())["starts"]
    assert starts[0]["records_written"] == 4 and starts[0]["versions"]["torch"] and starts[0]["host"]["cores"]


def test_suffix_scores_only_the_suffix(tmp_path, run_ttft, index_folder, prompts_file, lm_folder):
    assert run_ttft(*arguments(index_folder, prompts_file, tmp_path / "r", lm_folder, "--score", "suffix")) == 0
    model, tokenizer = load_causal_lm(str(lm_folder))
    for result, line in zip(content(tmp_path / "r"), prompts_file.read_text().splitlines(), strict=True):
        prefix, suffix = split_prompt(json.loads(line)["text"])
        expected = bits_per_byte(model, tokenizer, [suffix], prefixes=[prefix])[0]
        assert result["bytes"] == len(suffix.encode())
        assert result["nats"][0] == pytest.approx(expected.nats, rel=1e-6)


def test_select_chooses_what_finetune_eval_trains_on(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys):
    assert run_ttft(*arguments(index_folder, prompts_file, tmp_path / "r", lm_folder)) == 0
    capsys.readouterr()
    assert run_ttft("select", index_folder, "-p", prompts_file, "-n", 4, "-k", 30, "--dtype", "float32") == 0
    lines = [json.loads(x) for x in capsys.readouterr().out.splitlines()]
    assert [x["ids"] for x in lines] == [r["ids"] for r in content(tmp_path / "r")]
    assert all(len(x["texts"]) == len(x["sources"]) == 4 for x in lines)
    assert run_ttft("select", index_folder, "--prompt", sentences(1, 5), "--no-texts", "-n", 2) == 0
    assert "texts" not in json.loads(capsys.readouterr().out)


def test_again_does_only_what_is_missing(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys):
    command = arguments(index_folder, prompts_file, tmp_path / "r", lm_folder)
    assert run_ttft(*command) == 0
    before = (tmp_path / "r" / "results.jsonl").read_bytes()
    assert run_ttft(*command) == 0
    assert "4 prompts (0 new)" in capsys.readouterr().out
    assert (tmp_path / "r" / "results.jsonl").read_bytes() == before
    # half a line at the end, as a kill leaves it: that prompt, and only it, is done again
    (tmp_path / "r" / "results.jsonl").write_bytes(before[:-40])
    expected = content(tmp_path / "r")
    assert run_ttft(*command) == 0
    assert "4 prompts (1 new)" in capsys.readouterr().out
    assert content(tmp_path / "r")[:3] == expected
    lines = [json.loads(x) for x in before.splitlines()]
    once = [{k: v for k, v in x.items() if k not in ("seconds", "check")} for x in lines]
    assert_same(content(tmp_path / "r"), once)
    assert len(read_lines(tmp_path / "r" / "selections.jsonl")) == 4


def test_another_configuration_or_another_text_is_refused(
    tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys
):
    prompts = tmp_path / "prompts.jsonl"
    shutil.copy(prompts_file, prompts)
    assert run_ttft(*arguments(index_folder, prompts, tmp_path / "r", lm_folder)) == 0
    before = (tmp_path / "r" / "results.jsonl").read_bytes()
    for flag, value, key in (
        ("--lambda", 0.5, "lambda_"),
        ("--strategy", "nearest", "strategy"),
        ("--seed", 1, "seed"),
    ):
        capsys.readouterr()
        assert run_ttft(*arguments(index_folder, prompts, tmp_path / "r", lm_folder, flag, value)) == 2
        assert f"{key} is" in capsys.readouterr().err
    prompts.write_text(prompts.read_text().replace("river", "rover").replace("stone", "stove"))
    assert run_ttft(*arguments(index_folder, prompts, tmp_path / "r", lm_folder)) == 2
    assert "differs from the text that was scored" in capsys.readouterr().err
    assert (tmp_path / "r" / "results.jsonl").read_bytes() == before


def test_the_manifest_is_obeyed(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, encoder_folder, capsys):
    assert run_ttft("select", index_folder, "--prompt", "x", "--embedder", "minilm") == 2
    assert "embedder" in capsys.readouterr().err
    assert run_ttft("select", index_folder, "--prompt", "river", "--embedder", encoder_folder, "-n", 1) == 0
    copy = tmp_path / "copy"
    shutil.copytree(index_folder, copy)
    manifest = read_manifest(copy)
    write_manifest(copy, replace(manifest, embedder=replace(manifest.embedder, revision="sha256:0123456789abcdef")))
    capsys.readouterr()
    assert run_ttft(*arguments(copy, prompts_file, tmp_path / "r", lm_folder)) == 2
    assert "embedder revision" in capsys.readouterr().err and not (tmp_path / "r" / "results.jsonl").exists()


@pytest.mark.parametrize("more", [("--method", "full"), ("--method", "lora", "--vocabulary", "lora", "--rank", 2)])
def test_methods_and_the_adaptive_rule(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, more):
    command = arguments(index_folder, prompts_file, tmp_path / "r", lm_folder, "--alpha", 0.9, "--set", "n=12", *more)
    command[command.index("-n") + 1] = 12
    assert run_ttft(*command) == 0
    selections = {s["prompt_id"]: s for s in read_lines(tmp_path / "r" / "selections.jsonl")}
    assert len(content(tmp_path / "r")) == len(selections) == 4
    for result in content(tmp_path / "r"):  # in the order in which they end
        selection = selections[result["prompt_id"]]
        taken = len(selection["ids"])
        assert result["steps"][-1] == taken == len(result["losses"])
        assert (taken < 12) == (selection["stopped_because"] == "uncertainty")
    assert any(len(r["ids"]) < 12 for r in content(tmp_path / "r"))


def test_no_steps_is_the_base(tmp_path, run_ttft, index_folder, prompts_file, lm_folder):
    command = arguments(index_folder, prompts_file, tmp_path / "r", lm_folder)
    command[command.index("-n") + 1] = 0
    assert run_ttft(*command) == 0
    assert all(r["kept"] == "base" and r["steps"] == [0] and r["ids"] == [] for r in content(tmp_path / "r"))


@pytest.mark.parametrize("method", [("--method", "lora"), ("--method", "full")])
def test_killed_runs_end_as_the_undisturbed_one(method, tmp_path, run_ttft, index_folder, prompts_file, lm_folder):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    more = ("--set", "n=60", "--set", "max_length=64", "--set", "slots=2", *method)
    assert run_ttft(*arguments(index_folder, prompts_file, undisturbed, lm_folder, *more)) == 0
    kills = 0
    for wanted in (1, 2):

        def happened(wanted=wanted):
            path = killed / "selections.jsonl"
            return path.exists() and path.read_bytes().count(b"\n") > wanted

        kills += kill_when(
            start(arguments(index_folder, prompts_file, killed, lm_folder, *more), tmp_path / "log"), happened
        )
    assert kills >= 1 and len(content(killed)) < 4
    assert run_ttft(*arguments(index_folder, prompts_file, killed, lm_folder, *more)) == 0
    assert_same(content(killed), content(undisturbed))
    if "full" in method:
        assert content(killed) == content(undisturbed)  # to the last bit
    picks = [s["ids"] for s in read_lines(killed / "selections.jsonl")]
    assert picks == [s["ids"] for s in read_lines(undisturbed / "selections.jsonl")]


def test_a_model_that_is_not_there_and_a_prompt_too_short(
    tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys
):
    assert run_ttft(*arguments(index_folder, prompts_file, tmp_path / "r", "no/such-model")) == 2
    assert "no/such-model" in capsys.readouterr().err
    command = ["finetune-eval", index_folder, "--prompt", "x", "--out", tmp_path / "r", "--model", lm_folder]
    assert run_ttft(*command, "--score", "suffix") == 2
    assert "too short" in capsys.readouterr().err
    assert not (tmp_path / "r" / "config.yaml").exists()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_gradient_reuse(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, method, capsys):
    command = arguments(index_folder, prompts_file, tmp_path / "r", lm_folder, "--strategy", "nearest-failure")
    command += ["--method", method]
    assert run_ttft(*command, "--set", "reuse=2") == 0
    for result in content(tmp_path / "r"):
        first, second, third, fourth = result["losses"]
        assert first == second != third == fourth and len(set(result["ids"])) == 1
        assert len(set(result["nats"])) == len(result["nats"]) == 4 and result["adapter"]["reuse"] == 2
    assert run_ttft(*command) == 2
    assert "reuse is 2, asked for 1" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_that_blows_up_is_reported_and_kept_at_base(
    tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys, method
):
    """No float32 holds the weights after a step of this size; every prompt ends with the base's nats, and is named."""
    more = ("--method", method, "--lr", 1e38)
    assert run_ttft(*arguments(index_folder, prompts_file, tmp_path / "r", lm_folder, *more)) == 0
    output = capsys.readouterr()
    assert output.err.count("failed, so the base model answers") == 4 and "100.0% of base" in output.out
    for result in content(tmp_path / "r"):
        assert result["failed"] and result["kept"] == "base"
        assert all(math.isfinite(x) for x in (*result["nats"], *result["losses"]))
    assert run_ttft("report", tmp_path / "r", "--out", tmp_path / "r.html") == 0
    assert "the base model answers 4 of 4 prompts" in capsys.readouterr().out
