"""ttft adapt: one adapter for an index, resumable, in PEFT's format, on simulated and on real workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ttft.async_training.masters import MASTERS
from ttft.async_training.trainer import AsyncTrainer
from ttft.config.adapt import METHODS
from ttft.state import read_lines

SMALL = (
    "--updates", 12, "--every", 4, "--batch", 2, "--held-out", 6, "--rank", 4, "--dtype", "float32", "--seed", 3,
    "--lr", 0.01,
)  # fmt: skip
SIMULATED = ("--cluster", "simulated", "--workers", 3)


@pytest.fixture
def adapt(run_ttft, index_folder, lm_folder):
    """adapt(out, *options) -> exit code."""

    def run(out: Path, *more: object) -> int:
        return run_ttft("adapt", index_folder, "--out", out, "--model", lm_folder, *SMALL, *more)

    return run


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_the_names_of_the_methods():
    assert tuple(MASTERS) == METHODS


def test_it_trains_and_says_so(adapt, tmp_path, capsys):
    assert adapt(tmp_path / "run", *SIMULATED) == 0
    said = capsys.readouterr().out
    validation = read_lines(tmp_path / "run" / "validation.jsonl")
    assert [one["updates"] for one in validation] == [0, 4, 8, 12]
    assert validation[-1]["nats"] < validation[0]["nats"]
    assert "12 updates, held-out BPB" in said and "--start-from" in said
    steps = read_lines(tmp_path / "run" / "arrivals.jsonl")
    assert [step["update"] for step in steps] == list(range(12)) and steps[0]["lag"] == 0
    assert {step["worker"] for step in steps} == {0, 1, 2}
    assert all(step["raw_gap"] is not None for step in steps)


def test_peft_reads_the_adapter(adapt, tmp_path, lm_folder, index_folder):
    """The model with the adapter scores the held-out documents as the last line of the validation says."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ttft.evaluation import bits_per_byte
    from ttft.records import Validation
    from ttft.state import read_records
    from ttft.tuner.adapt_texts import training_texts

    folder = tmp_path / "run"
    assert adapt(folder, *SIMULATED) == 0
    last = read_records(folder / "validation.jsonl", Validation)[-1]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(lm_folder) and config["r"] == 4
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(lm_folder), folder)
    held_out = training_texts(index_folder, held_out=6, seed=3)[1]
    scores = bits_per_byte(model, AutoTokenizer.from_pretrained(lm_folder), held_out)
    assert sum(one.nats for one in scores) == pytest.approx(last.nats, rel=1e-5)
    assert sum(one.bytes for one in scores) == last.bytes


def test_prompts_start_from_it(adapt, run_ttft, tmp_path, index_folder, lm_folder, prompts_file):
    assert adapt(tmp_path / "run", *SIMULATED) == 0
    given = ["finetune-eval", index_folder, "-p", prompts_file, "--model", lm_folder, "-n", 1, "--dtype", "float32"]
    assert run_ttft(*given, "--out", tmp_path / "base") == 0
    assert run_ttft(*given, "--out", tmp_path / "from", "--start-from", tmp_path / "run") == 0
    base, start = (
        sum(result["nats"][0] for result in read_lines(tmp_path / name / "results.jsonl")) for name in ("base", "from")
    )
    assert start < base


@pytest.mark.parametrize("kills", [(3,), (5, 9)])
def test_a_killed_run_ends_as_the_undisturbed_one(adapt, tmp_path, monkeypatch, kills):
    class Killed(BaseException):
        pass

    assert adapt(tmp_path / "whole", *SIMULATED) == 0
    receive = AsyncTrainer._receive
    for kill in kills:

        def killed(self, event, kill=kill):
            if self.gradients == kill:
                raise Killed
            return receive(self, event)

        monkeypatch.setattr(AsyncTrainer, "_receive", killed)
        with pytest.raises(Killed):
            adapt(tmp_path / "part", *SIMULATED)
    monkeypatch.setattr(AsyncTrainer, "_receive", receive)
    assert adapt(tmp_path / "part", *SIMULATED) == 0
    assert weights(tmp_path / "part") == weights(tmp_path / "whole")
    for name in ("arrivals.jsonl", "validation.jsonl"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert adapt(tmp_path / "part", *SIMULATED) == 0  # again: nothing is left to do
    assert weights(tmp_path / "part") == weights(tmp_path / "whole")


@pytest.mark.parametrize("checkpoints", [0, 1])
def test_a_run_killed_between_its_logs_and_the_checkpoint(adapt, tmp_path, monkeypatch, checkpoints):
    """What the logs say beyond the checkpoint is removed, and written again."""

    class Killed(BaseException):
        pass

    assert adapt(tmp_path / "whole", *SIMULATED) == 0
    save, saved = AsyncTrainer.save, []

    def killed(self, folder):
        if len(saved) == checkpoints:
            raise Killed
        saved.append(save(self, folder))

    monkeypatch.setattr(AsyncTrainer, "save", killed)
    with pytest.raises(Killed):
        adapt(tmp_path / "part", *SIMULATED)
    assert len(read_lines(tmp_path / "part" / "arrivals.jsonl")) == 4 * (checkpoints + 1)
    monkeypatch.setattr(AsyncTrainer, "save", save)
    assert adapt(tmp_path / "part", *SIMULATED) == 0
    for name in ("arrivals.jsonl", "validation.jsonl"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert weights(tmp_path / "part") == weights(tmp_path / "whole")


def test_more_updates_are_another_run(adapt, tmp_path, capsys):
    assert adapt(tmp_path / "run", *SIMULATED) == 0
    assert adapt(tmp_path / "run", *SIMULATED, "--method", "asgd") == 2
    assert "method is 'dana', asked for 'asgd'" in capsys.readouterr().err


def test_real_processes_train_the_same_adapter(adapt, tmp_path):
    assert adapt(tmp_path / "run", "--workers", 2) == 0
    validation = read_lines(tmp_path / "run" / "validation.jsonl")
    assert validation[-1]["updates"] == 12 and validation[-1]["nats"] < validation[0]["nats"]
    steps = read_lines(tmp_path / "run" / "arrivals.jsonl")
    assert len(steps) == 12 and [step["gradients"] for step in steps] == list(range(1, 13))


def test_the_texts_of_a_run_and_of_a_subset(adapt, run_ttft, tmp_path, index_folder, lm_folder, prompts_file, capsys):
    from ttft.tuner.adapt_texts import training_texts

    run = tmp_path / "eval"
    given = ["-p", prompts_file, "--model", lm_folder, "-n", 3, "--dtype", "float32", "--out", run]
    assert run_ttft("finetune-eval", index_folder, *given) == 0
    rows = {row for one in read_lines(run / "selections.jsonl") for row in one["ids"]}
    texts, held_out = training_texts(index_folder, run=run)
    assert set(texts.rows.tolist()) == rows and held_out == []
    assert adapt(tmp_path / "out", *SIMULATED, "--texts-of", run, "--validation", prompts_file) == 0
    assert read_lines(tmp_path / "out" / "validation.jsonl")[0]["bytes"] == sum(
        len(json.loads(line)["text"].encode()) for line in prompts_file.open()
    )
    capsys.readouterr()
    assert adapt(tmp_path / "other", "--subset", "Githib") == 2
    assert "no subset 'Githib'" in capsys.readouterr().err


def test_no_document_is_on_both_sides(index_folder):
    from ttft.tuner.adapt_texts import training_texts
    from ttft.vector_index.shards import open_vector_index

    index = open_vector_index(index_folder)
    texts, held_out = training_texts(index_folder, held_out=7, seed=1)
    train = {index.documents([row])[0].source for row in texts.rows}
    apart = {d.source for d in index.documents(range(index.rows)) if d.text in held_out}
    assert len(held_out) >= 7 and not train & apart and len(texts) + len(held_out) == index.rows


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--lr", 0), ["lr", "greater than 0"]),
        (("--method", "danna"), ["danna", "dana"]),
        (("--workers", 5000), ["5,000 workers for", "use fewer workers"]),
        (("--rank", 5000), ["rank"]),
        (("--heterogeneous",), ["add --cluster simulated"]),
        (("--held-out", 100000), ["100000 texts to hold out"]),
        (("--held-out", 0), ["nothing to validate on"]),
        (("--batch", 5000), ["batch of 5000 documents"]),
        (("--method", "diloco", "--momentum", 1), ["momentum"]),
        (("--set", "inner_lr=0.1"), ["method dana has no inner_lr"]),
        (("--method", "delay-adaptive"), ["has no lr"]),
        (("--texts-of", "none"), ["none"]),
    ],
)
def test_wrong_input(adapt, tmp_path, capsys, more, parts):
    assert adapt(tmp_path / "run", *more) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert all(part in said for part in parts), said
    assert not (tmp_path / "run").exists()


def test_an_index_without_texts(run_ttft, tmp_path, index_folder, lm_folder, capsys):
    import shutil

    shutil.copytree(index_folder, tmp_path / "index")
    from ttft.vector_index.manifest import read_manifest, write_manifest

    manifest = read_manifest(tmp_path / "index")
    manifest.shards, manifest.rows, manifest.complete = [], 0, False
    manifest.search.segments, manifest.sources = [], []
    write_manifest(tmp_path / "index", manifest)
    assert run_ttft("adapt", tmp_path / "index", "--out", tmp_path / "run", "--model", lm_folder) == 2
    assert "ttft" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_report_of_two_runs(adapt, run_ttft, tmp_path, capsys):
    assert adapt(tmp_path / "a", *SIMULATED) == 0
    assert adapt(tmp_path / "b", *SIMULATED, "--method", "nag-asgd") == 0
    capsys.readouterr()
    assert run_ttft("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "r.html") == 0
    said = capsys.readouterr().out
    assert "dana, 3 workers" in said and "nag-asgd, 3 workers" in said
    page = (tmp_path / "r.html").read_text()
    for part in ("Held-out BPB by updates", "Training loss by simulated seconds", "Gap by updates", "worker 2"):
        assert part in page
    runs = json.loads((tmp_path / "r.json").read_text())["adapted"]
    assert [run["updates"] for run in runs] == [12, 12] and all(run["percent_of_base"] < 100 for run in runs)


def test_verify_finds_a_changed_line(adapt, run_ttft, tmp_path, capsys):
    assert adapt(tmp_path / "run", *SIMULATED) == 0
    assert run_ttft("report", "--verify", tmp_path / "run") == 0
    path = tmp_path / "run" / "arrivals.jsonl"
    path.write_text(path.read_text().replace('"lag": 2', '"lag": 3', 1))
    assert run_ttft("report", "--verify", tmp_path / "run") == 2
    assert "arrivals.jsonl" in capsys.readouterr().out
