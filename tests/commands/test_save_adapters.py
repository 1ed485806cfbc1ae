"""ttft finetune-eval --save-adapters: PEFT scores each prompt as the run did; a resumed run has them all."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
from test_finetune_eval import arguments, content

from ttft.evaluation import bits_per_byte
from ttft.finetuning.export import CONFIG, WEIGHTS, adapter_folder
from ttft.finetuning.model import load_causal_lm
from ttft.tuner.scoring import Evaluator


def peft_model(base: str, folder: Path):
    peft = pytest.importorskip("peft")
    model, tokenizer = load_causal_lm(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(model, folder).eval(), tokenizer


def test_peft_gives_the_nats_of_the_results(tmp_path, run_ttft, index_folder, prompts_file, lm_folder):
    more = ("--save-adapters", tmp_path / "a", "--vocabulary", "lora", "--set", "lora_alpha=24")
    assert run_ttft(*arguments(index_folder, prompts_file, tmp_path / "r", lm_folder, *more)) == 0
    texts = {p["id"]: p["text"] for p in map(json.loads, prompts_file.read_text().splitlines())}
    assert {p.name for p in (tmp_path / "a").iterdir()} == {*texts, "config.yaml"}
    for result in content(tmp_path / "r"):
        folder = tmp_path / "a" / result["prompt_id"]
        assert json.loads((folder / CONFIG).read_text())["base_model_name_or_path"] == str(lm_folder)
        model, tokenizer = peft_model(str(lm_folder), folder)
        tuned = bits_per_byte(model, tokenizer, [texts[result["prompt_id"]]])[0]
        assert tuned.nats == pytest.approx(result["nats"][-1], rel=1e-6)
        assert tuned.nats < result["nats"][0]


def test_the_embedded_model_and_its_vocabulary(tmp_path, run_ttft, index_folder):
    text = "def quicksort(items):\n    return sorted(items)\n"
    command = ["finetune-eval", index_folder, "--prompt", text, "-o", tmp_path / "r", "-n", 2, "--dtype", "float32"]
    assert run_ttft(*command, "--save-adapters", tmp_path / "a") == 0
    model, tokenizer = peft_model("embedded", tmp_path / "a" / "prompt")
    (result,) = content(tmp_path / "r")
    assert bits_per_byte(model, tokenizer, [text])[0].nats == pytest.approx(result["nats"][-1], rel=1e-6)


def test_an_adapter_is_on_disk_before_its_result(
    tmp_path, run_ttft, index_folder, prompts_file, lm_folder, monkeypatch
):
    command = arguments(index_folder, prompts_file, tmp_path / "r", lm_folder, "--save-adapters", tmp_path / "a")
    save, saved = Evaluator._save_adapter, []

    def killed_at_the_third(self, trace):
        if len(saved) == 2:
            raise KeyboardInterrupt
        save(self, trace)
        saved.append(trace.key)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "_save_adapter", killed_at_the_third)
        assert run_ttft(*command) == 130
    assert [r["prompt_id"] for r in content(tmp_path / "r")] == saved
    times = {key: (tmp_path / "a" / key / WEIGHTS).stat().st_mtime_ns for key in saved}
    assert run_ttft(*command) == 0
    assert len(content(tmp_path / "r")) == 4 and all((tmp_path / "a" / f"p{i}" / CONFIG).exists() for i in range(4))
    assert times == {key: (tmp_path / "a" / key / WEIGHTS).stat().st_mtime_ns for key in saved}


def test_what_does_not_go_together_is_refused(tmp_path, run_ttft, index_folder, prompts_file, lm_folder, capsys):
    command = arguments(index_folder, prompts_file, tmp_path / "r", lm_folder)
    assert run_ttft(*command, "--save-adapters", tmp_path / "a", "--method", "full") == 2
    assert "save_adapters needs LoRA" in capsys.readouterr().err and not (tmp_path / "r").exists()
    assert run_ttft(*command) == 0
    assert run_ttft(*command, "--save-adapters", tmp_path / "a") == 2
    assert "no adapter in" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "r")
    assert run_ttft(*command, "--save-adapters", tmp_path / "a") == 0
    assert run_ttft(*arguments(index_folder, prompts_file, tmp_path / "other", lm_folder), "--rank", 2,
                    "--save-adapters", tmp_path / "a") == 2  # fmt: skip
    assert "rank is 16, asked for 2" in capsys.readouterr().err
    assert run_ttft(*command) == 0  # the results are the same ones with adapters and without


def test_any_prompt_id_is_one_folder_of_its_own():
    root, ids = Path("root"), ["p0", "a/b", "a_b", "..", ".", "config.yaml", "../x", "é", "x" * 300, "a b", "-rf"]
    folders = [adapter_folder(root, i) for i in ids]
    assert len(set(folders)) == len(ids) and folders[0] == root / "p0"
    for folder in folders:
        assert folder.parent == root and len(folder.name) <= 100 and folder.name not in ("..", ".", "config.yaml")


def test_no_two_ids_share_a_folder_even_where_case_is_ignored():
    root = Path("root")
    made = adapter_folder(root, "a/b").name
    ids = ["a/b", made, adapter_folder(root, made).name, "A", "a", "README", "readme", "ReadMe", "a_b", "A/B", "Ä", "ä"]
    names = [adapter_folder(root, i).name for i in ids]
    assert len({name.lower() for name in names}) == len(ids) and all(name == name.lower() for name in names)
    assert [adapter_folder(root, i).name for i in ("a", "readme", "a_b", "p-0")] == ["a", "readme", "a_b", "p-0"]
