"""--backend ray: what it gives is what this process alone gives, whoever is killed, and nothing of Ray stays behind."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import suppress

import pytest
import test_finetune_eval
import test_index
from small import write_corpus
from test_finetune_eval import content
from test_index import files_of, start

from ttft import runtime
from ttft.commands.finetune_eval_ray import ray_run
from ttft.commands.on_ray import each, fit, started
from ttft.config.finetune_eval import FinetuneEvalConfig
from ttft.config.index import IndexConfig
from ttft.errors import ConfigError
from ttft.run_dir import read_lines

RAY = ("--backend", "ray", "--workers", 2)


@pytest.fixture(scope="session")
def package():
    return pytest.importorskip("ray", reason="ray is not installed (extra: ray)")


@pytest.fixture(scope="module")
def ray(package):
    """One Ray for the tests that kill nothing."""
    with started(None, 2) as running:
        yield running


@pytest.fixture
def one_thread(monkeypatch):
    """The local engine on as many threads as each of two workers has."""
    monkeypatch.setattr(runtime, "cores", lambda: 1)


# ---- without Ray ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "machines", "device", "expected"),
    [
        (None, [(8, 0)], "auto", (1, 8, 0)),
        (3, [(8, 0)], "auto", (3, 2, 0)),
        (None, [(8, 0), (8, 0)], "cpu", (2, 8, 0)),
        (3, [(6, 0), (6, 0)], "cpu", (3, 3, 0)),
        (None, [(16, 4), (8, 0)], "auto", (4, 4, 1)),
        (2, [(16, 4), (8, 0)], "cpu", (2, 8, 0)),
        (5, [(16, 4), (4, 1)], "cuda", (5, 4, 1)),
    ],
)
def test_workers_fit_the_machines(asked, machines, device, expected):
    assert fit(asked, machines, device) == expected


@pytest.mark.parametrize(
    ("asked", "machines", "device", "said"),
    [(9, [(8, 0)], "cpu", "room for 8"), (5, [(16, 4)], "auto", "room for 4"), (None, [(8, 0)], "cuda", "no GPU")],
)
def test_workers_that_do_not_fit_are_refused(asked, machines, device, said):
    with pytest.raises(ConfigError, match=said):
        fit(asked, machines, device)


def test_options_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="workers and ray_address belong to Ray; add --backend ray"):
        IndexConfig.build(flags={"source": "a", "out": "b", "workers": 2, "ray_address": "auto"})
    with pytest.raises(ConfigError, match="write device cuda, not cuda:1"):
        FinetuneEvalConfig.build(flags={"index": "a", "out": "b", "backend": "ray", "device": "cuda:1"})


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"complete": False, "search": {}}, "is not finished"),
        ({"complete": True, "search": {"uri": "milvus.db"}}, "one process at a time"),
    ],
)
def test_an_index_that_workers_cannot_share_is_refused(tmp_path, manifest, said):
    config = FinetuneEvalConfig.build(flags={"index": "a", "out": "b", "backend": "ray"})
    with pytest.raises(ConfigError, match=said), ray_run(config, tmp_path, [], manifest):
        pass


def test_the_package_is_asked_for(tmp_path, run_ttft, corpus_file, encoder_folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_ttft(*test_index.arguments(corpus_file, tmp_path / "i", encoder_folder, *RAY)) == 2
    assert "pip install 'ttft[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "i" / "manifest.json").exists()


def test_a_cluster_that_is_not_there(package, tmp_path, run_ttft, corpus_file, encoder_folder, capsys):
    where = ("--backend", "ray", "--ray-address", "127.0.0.1:1")
    assert run_ttft(*test_index.arguments(corpus_file, tmp_path / "i", encoder_folder, *where)) == 2
    assert "no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err


# ---- the same results ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_index_is_the_same_to_the_byte(ray, one_thread, tmp_path, run_ttft, encoder_folder, capsys):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=30)
    with open(corpus, "a") as out:
        out.write("no JSON\n" + corpus.read_text().splitlines()[0] + "\n")
    folders = tmp_path / "local", tmp_path / "ray"
    for folder, more in zip(folders, ((), RAY), strict=True):
        command = test_index.arguments(corpus, folder, encoder_folder, "--dedup", "exact", *more)
        assert run_ttft(*command, "--set", "precision=float32") == 0
        assert "1 x malformed JSON: c.jsonl:31" in capsys.readouterr().err
    assert files_of(folders[0]) == files_of(folders[1])
    assert run_ttft(*test_index.arguments(corpus, tmp_path / "strict", encoder_folder, "--strict", *RAY)) == 2
    assert "malformed JSON: c.jsonl:31" in capsys.readouterr().err


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


@pytest.mark.slow
def test_each_item_is_done_once_and_faults_come_as_they_were(ray):
    class Doubler:
        def double(self, x):
            if x == 7:
                raise ConfigError("seven", "another")
            return 2 * x

    workers = [ray.remote(Doubler).remote() for _ in range(2)]
    start_one = lambda worker, x: worker.double.remote(x)  # noqa: E731
    assert sorted(each(ray, workers, range(7), start_one)) == [0, 2, 4, 6, 8, 10, 12]
    with pytest.raises(ConfigError, match="seven") as caught, started(None, 2):
        list(each(ray, workers, [7], start_one))
    assert caught.value.hint == "another" and type(caught.value) is ConfigError


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
def test_an_index_outlives_its_driver_and_its_workers(package, one_thread, tmp_path, run_ttft, encoder_folder):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=400)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert run_ttft(*test_index.arguments(corpus, undisturbed, encoder_folder)) == 0
    command = test_index.arguments(corpus, killed, encoder_folder, *RAY)

    def shards() -> int:
        manifest = killed / "manifest.json"
        return len(json.loads(manifest.read_text())["shards"]) if manifest.exists() else 0

    driver = start(command, tmp_path / "log")
    wait_for(lambda: shards() > 3, driver)
    below = descendants(driver)
    assert any("raylet" in p.name() for p in below)
    driver.kill()
    driver.wait()
    assert_gone([p for p in below if "Agent" not in p.name()])
    assert_gone(below, 300)  # Ray's agents, which do no work of ours, look only now and then
    done = shards()

    driver = start(command, tmp_path / "log")
    wait_for(lambda: shards() > done + 3, driver)
    descendants(driver, "ray::MapWorker")[0].kill()
    assert driver.wait(600) == 0, (tmp_path / "log").read_text()
    assert files_of(killed) == files_of(undisturbed)


@pytest.mark.slow
def test_a_run_outlives_interruptions_and_its_workers(
    package, tmp_path, run_ttft, index_folder, prompts_file, lm_folder
):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    more = ("--set", "n=60", "--set", "max_length=64", "--set", "slots=2")
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
    wait_for(lambda: descendants(driver, "ray::Worker.finetune"), driver)
    descendants(driver, "ray::Worker.finetune")[0].kill()
    assert driver.wait(600) == 0, (tmp_path / "log").read_text()
    assert_same_run(killed, undisturbed)
