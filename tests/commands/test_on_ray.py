"""--backend ray: what it gives is what this process alone gives, whoever is killed, and nothing of Ray stays behind."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

import pytest
import test_finetune_eval
from small import embedder_facts
from test_finetune_eval import content
from test_index import start

from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.distributed.cluster import started
from ttft.distributed.evaluation import ray_evaluator
from ttft.errors import ConfigError
from ttft.state import read_lines
from ttft.tuner.scoring import Scoring
from ttft.vector_index.manifest import Manifest, Search

RAY = ("--backend", "ray", "--workers", 2)


@pytest.fixture(scope="session")
def package():
    return pytest.importorskip("ray", reason="ray is not installed (extra: ray)")


@pytest.fixture(scope="module")
def ray(package):
    """One Ray for the tests that kill nothing."""
    with started(None, 2) as running:
        yield running


# ---- without Ray ---------------------------------------------------------------------------------------------------


def test_options_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="use device cuda, not cuda:1"):
        FinetuneEvalConfig.build(flags={"index": "a", "out": "b", "backend": "ray", "device": "cuda:1"})


@pytest.mark.parametrize(
    ("complete", "search", "said"),
    [
        (False, Search(), "is not finished"),
        (True, Search("milvus", uri="milvus.db", collection="ttft"), "one process at a time"),
    ],
)
def test_an_index_that_workers_cannot_share_is_refused(tmp_path, complete, search, said):
    manifest = Manifest(embedder_facts(4), "float16", "count", search=search, complete=complete)
    options = {"index": "a", "device": "cpu", "seed": 0}
    with (
        pytest.raises(ConfigError, match=said),
        ray_evaluator(options, Scoring(), manifest, prompts=1, folder=tmp_path),
    ):
        pass


# ---- the same results ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--budget-steps", 6), ("--score", "suffix", "--mix"), ("--save-adapters",)])
def test_results_are_the_same(ray, tmp_path, run_ttft, index_folder, prompts_file, lm_folder, more, capsys):
    for name, engine in (("local", ()), ("ray", RAY)):
        place = (tmp_path / f"{name}-adapters",) if "--save-adapters" in more else ()
        command = test_finetune_eval.arguments(index_folder, prompts_file, tmp_path / name, lm_folder, *more, *place)
        assert run_ttft(*command, *engine) == 0
    assert_same_run(tmp_path / "ray", tmp_path / "local")
    if "--save-adapters" in more:
        saved = sorted(p.name for p in (tmp_path / "ray-adapters").iterdir() if p.is_dir())
        assert saved == ["p0", "p1", "p2", "p3"]
    before = (tmp_path / "ray" / "results.jsonl").read_bytes()
    capsys.readouterr()
    assert run_ttft(*command) == 0  # this process goes on where workers stopped
    assert "4 prompts (0 new)" in capsys.readouterr().out
    assert (tmp_path / "ray" / "results.jsonl").read_bytes() == before


def assert_same_run(ours, expected) -> None:
    """The same records, one for each prompt, in whatever order they ended."""
    by_prompt = [sorted(content(folder), key=lambda r: r["prompt_id"]) for folder in (ours, expected)]
    for guards in zip(*([r.pop("guard") for r in records] for records in by_prompt), strict=True):
        for key in guards[0].keys() | guards[1].keys():
            assert guards[0][key] == pytest.approx(guards[1][key], rel=1e-5)
    test_finetune_eval.assert_same(*by_prompt)
    picks = [sorted((s["prompt_id"], s["ids"]) for s in read_lines(f / "selections.jsonl")) for f in (ours, expected)]
    assert picks[0] == picks[1]


# ---- kills ---------------------------------------------------------------------------------------------------------


def descendants(process, name: str = "") -> list:
    """The living processes below this one whose command line begins with `name`."""
    import psutil

    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE and " ".join(child.cmdline()).startswith(name):
                    found.append(child)
    return found


def wait_for(happened, process, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, "ended before it could be disturbed"
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.02)


def assert_gone(processes, seconds: float = 120) -> None:
    import psutil

    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not alive


@pytest.mark.slow
def test_a_run_outlives_interruptions_and_its_workers(
    package, tmp_path, run_ttft, index_folder, prompts_file, lm_folder
):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    more = ("-n", 60, "--set", "max_length=64", "--set", "slots=2")
    assert run_ttft(*test_finetune_eval.arguments(index_folder, prompts_file, undisturbed, lm_folder, *more)) == 0
    command = test_finetune_eval.arguments(index_folder, prompts_file, killed, lm_folder, *more, *RAY)

    driver = start(command, tmp_path / "log")
    wait_for(lambda: content(killed), driver)
    below = descendants(driver)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(600) == 130, (tmp_path / "log").read_text()
    assert "interrupted" in (tmp_path / "log").read_text()
    assert_gone(below)
    assert 1 <= len(content(killed)) < 4

    driver = start(command, tmp_path / "log")
    wait_for(lambda: descendants(driver, "ray::Worker.score"), driver)
    descendants(driver, "ray::Worker.score")[0].kill()
    assert driver.wait(600) == 0, (tmp_path / "log").read_text()
    assert_same_run(killed, undisturbed)
