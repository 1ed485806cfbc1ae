"""From texts to an answer in three calls, with the embedded model and with one from a GGUF file."""

from __future__ import annotations

import json
import math

import pytest
from finetuning.models import tiny_gguf
from small import sentences

import ttft


@pytest.fixture(params=["embedded", "gguf"])
def model(request, tmp_path, monkeypatch) -> str:
    if request.param == "embedded":
        return "embedded"
    pytest.importorskip("gguf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return str(tiny_gguf(tmp_path / "models"))


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(6):
        (folder / f"page-{number}.md").write_text(f"# Keys {number}\n\n{sentences(3, number)}")
    return folder


def test_the_three_calls(model, docs, tmp_path, encoder_folder, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    ttft.build_index("docs/", "runs/docs", embedder=str(encoder_folder), dtype="float32")
    tuner = ttft.Tuner("runs/docs", model=model, n=3, dtype="float32")
    answer = tuner.generate("To rotate the keys, ", max_new_tokens=8)
    assert isinstance(answer.text, str) and str(answer) == answer.text
    result = tuner.score(sentences(2, 100))
    assert result.percent_of_base == pytest.approx(100 * result.final_bpb / result.base_bpb)
    assert result.base_bpb == pytest.approx(result.base_nats / (math.log(2) * result.bytes)) and result.steps_taken == 3
    choice = tuner.select("To rotate the keys, ")
    assert len(choice.texts) == 3 and choice.sources[0].startswith("page-") and choice.stopped_because == "n"
    with tuner.tuned("To rotate the keys, ") as tuned:
        assert tuned.generate(tuner.tokenizer("keys", return_tensors="pt").input_ids, max_new_tokens=2).shape[0] == 1
    results = [r.to_json() for r in tuner.score_many([sentences(1, seed) for seed in range(3)])]
    assert len(results) == 3 and all(json.dumps(r) for r in results)
    assert capfd.readouterr() == ("", "")


def test_the_command_takes_the_same_model(model, docs, tmp_path, encoder_folder, run_ttft, capsys):
    index = ttft.build_index([sentences(3, i) for i in range(6)], tmp_path / "i", embedder=str(encoder_folder))
    text = sentences(2, 100)
    mine = ttft.Tuner(index, model=model, n=2, dtype="float32").score(text)
    given = ["finetune-eval", tmp_path / "i", "--prompt", text, "-n", 2, "--model", model, "--dtype", "float32"]
    assert run_ttft(*given, "--out", tmp_path / "r") == 0
    (line,) = (tmp_path / "r" / "results.jsonl").read_text().splitlines()
    recorded = json.loads(line)
    assert (mine.nats, mine.ids, mine.steps) == (recorded["nats"], recorded["ids"], recorded["steps"])
