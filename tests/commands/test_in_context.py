"""ttft finetune-eval --method in-context: the records, what is scored, resuming, and its place in a report."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from small import sentences
from test_finetune_eval import arguments, content

from ttft.evaluation import bits_per_byte, context_room, encode, score, split_prompt, token_ids
from ttft.finetuning.model import load_causal_lm
from ttft.state import read_lines
from ttft.tuner.in_context import contexts
from ttft.vector_index.shards import open_vector_index


@pytest.fixture(scope="module")
def short_prompts(tmp_path_factory):
    """Prompts that leave room in a window of 512 for two or three pieces of 200."""
    path = tmp_path_factory.mktemp("short") / "prompts.jsonl"
    records = [{"id": f"p{i}", "text": sentences(1, 1000 + i)} for i in range(3)]
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


@pytest.fixture(scope="module")
def wide_lm(tmp_path_factory):
    from small import byte_tokenizer, tiny_gpt2

    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2-512"
    tiny_gpt2(512).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def in_context(index, prompts, out, model, *more):
    return arguments(index, prompts, out, model, "--method", "in-context", *more)


@pytest.mark.parametrize("way", ["whole", "suffix"])
def test_results_hold_what_the_library_computes(way, tmp_path, run_ttft, index_folder, short_prompts, wide_lm, capsys):
    command = in_context(index_folder, short_prompts, tmp_path / "r", wide_lm, "--score", way)
    assert run_ttft(*command, "--set", "score_at=[1,2]") == 0
    assert "texts in context" in capsys.readouterr().out
    model, tokenizer = load_causal_lm(str(wide_lm))
    index, texts = open_vector_index(index_folder), [json.loads(x)["text"] for x in short_prompts.open()]
    selections = read_lines(tmp_path / "r" / "selections.jsonl")
    for result, selection, text in zip(content(tmp_path / "r"), selections, texts, strict=True):
        prefix, scored = split_prompt(text) if way == "suffix" else ("", text)
        base = bits_per_byte(model, tokenizer, [scored], prefixes=[prefix])[0]
        assert result["nats"][0] == base.nats and (result["bytes"], result["tokens"]) == (base.bytes, base.tokens)
        encoded = encode(tokenizer, scored, prefix)
        picks = [token_ids(tokenizer, d.text + "\n\n") for d in index.documents(selection["ids"])]
        made = contexts(picks, selection["cosines"], context_room(encoded, 512), [1, 2])
        assert result["steps"] == list(made) and 2 <= result["steps"][-1] < len(result["ids"]) == 4
        assert result["nats"] == [score(model, replace(encoded, context=c)).nats for c in made.values()]
        nearest = max(range(4), key=lambda i: selection["cosines"][i])
        assert made[result["steps"][-1]][-len(picks[nearest]) :] == picks[nearest]
        assert (result["kept"], result["losses"]) == ("tuned", [])
        assert result["adapter"] == {"method": "in-context"}


def test_a_text_longer_than_the_window_and_a_piece_that_does_not_fit(
    tmp_path, run_ttft, index_folder, prompts_file, lm_folder
):
    """Window 64, prompts of some 200 tokens, pieces of up to 200: the end of the nearest, in half of each window."""
    assert run_ttft(*in_context(index_folder, prompts_file, tmp_path / "r", lm_folder)) == 0
    model, tokenizer = load_causal_lm(str(lm_folder))
    index, texts = open_vector_index(index_folder), [json.loads(x)["text"] for x in prompts_file.open()]
    selections = read_lines(tmp_path / "r" / "selections.jsonl")
    for result, selection, text in zip(content(tmp_path / "r"), selections, texts, strict=True):
        picks = index.documents(selection["ids"])
        nearest = picks[max(range(4), key=lambda i: selection["cosines"][i])].text + "\n\n"
        encoded = replace(encode(tokenizer, text), context=token_ids(tokenizer, nearest)[-32:])
        assert result["steps"] == [0, 1] and len(nearest) > 32 and result["tokens"] == len(text)
        assert result["nats"] == [bits_per_byte(model, tokenizer, [text])[0].nats, score(model, encoded).nats]


def test_no_texts_is_the_base(tmp_path, run_ttft, index_folder, short_prompts, wide_lm):
    command = in_context(index_folder, short_prompts, tmp_path / "r", wide_lm)
    command[command.index("-n") + 1] = 0
    assert run_ttft(*command) == 0
    assert all(r["kept"] == "base" and r["steps"] == [0] for r in content(tmp_path / "r"))


def test_resumes_and_keeps_to_its_method(tmp_path, run_ttft, index_folder, short_prompts, wide_lm, capsys):
    command = in_context(index_folder, short_prompts, tmp_path / "r", wide_lm)
    assert run_ttft(*command) == 0
    expected, results = content(tmp_path / "r"), tmp_path / "r" / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-40])
    capsys.readouterr()
    assert run_ttft(*command) == 0
    assert "3 prompts (1 new)" in capsys.readouterr().out and content(tmp_path / "r") == expected
    assert run_ttft(*arguments(index_folder, short_prompts, tmp_path / "r", wide_lm)) == 2
    assert "method is 'in-context', asked for 'lora'" in capsys.readouterr().err


def test_stands_in_a_report_beside_a_trained_run(tmp_path, run_ttft, index_folder, short_prompts, wide_lm, capsys):
    assert run_ttft(*in_context(index_folder, short_prompts, tmp_path / "c", wide_lm)) == 0
    assert run_ttft(*arguments(index_folder, short_prompts, tmp_path / "l", wide_lm)) == 0
    capsys.readouterr()
    assert run_ttft("report", tmp_path / "c", tmp_path / "l", "--out", tmp_path / "page.html") == 0
    shown = capsys.readouterr().out
    rows = {
        line.split("|")[1].strip(): line.split("|")[6].strip() for line in shown.splitlines() if line.count("|") == 9
    }
    texts = [r["steps"][-1] for r in content(tmp_path / "c")]
    assert rows["SIFT"] == "4.0" and rows["in-context SIFT"] == f"{sum(texts) / 3:.1f}"
    assert "in-context SIFT: nothing is trained; its steps are the texts" in shown
    assert "in-context SIFT" in (tmp_path / "page.html").read_text()


def test_calibration_refuses_it(tmp_path, run_ttft, index_folder, short_prompts, wide_lm, capsys):
    assert run_ttft(*in_context(index_folder, short_prompts, tmp_path / "r", wide_lm)) == 0
    assert run_ttft("calibrate", tmp_path / "r", "--out", tmp_path / "policy.json") == 2
    assert "trained nothing" in capsys.readouterr().err
    command = ["calibrate", "--index", index_folder, "-p", short_prompts, "-o", tmp_path / "c"]
    assert run_ttft(*command, "--set", "finetune={method: in-context}") == 2
    assert "in-context takes no steps" in capsys.readouterr().err
