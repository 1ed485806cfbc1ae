"""Indexing on Ray: the index is the one this process alone writes, whoever is killed, and no process stays behind."""

from __future__ import annotations

import json
import sys

import pytest
import test_index
from small import write_corpus
from test_index import files_of, start
from test_on_ray import assert_gone, descendants, wait_for

from ttft import runtime
from ttft.config.index import IndexConfig
from ttft.corpus.problems import Problems
from ttft.distributed.indexing import RayWriter
from ttft.embedding import load_embedder
from ttft.errors import ConfigError, CorpusError, MissingArtifact
from ttft.indexing.build import build_index

RAY = ("--backend", "ray", "--workers", 2)
SMALL = {"piece_chars": 60, "shard_rows": 16, "dtype": "float32"}


@pytest.fixture(scope="session")
def package():
    return pytest.importorskip("ray", reason="ray is not installed (extra: ray)")


@pytest.fixture
def one_thread(monkeypatch):
    """This process with as many threads as each of two workers has."""
    monkeypatch.setattr(runtime, "cores", lambda: 1)


def test_options_that_do_not_go_together_are_refused(encoder_folder):
    with pytest.raises(ConfigError, match="workers and ray_address only apply to Ray; add --backend ray"):
        IndexConfig.build(flags={"source": "a", "out": "b", "workers": 2, "ray_address": "auto"})
    with pytest.raises(ConfigError, match="a writer loads its own encoder"):
        build_index(["a"], "b", embedder=load_embedder(str(encoder_folder)), writer=RayWriter())


def test_the_package_is_asked_for(tmp_path, run_ttft, corpus_file, encoder_folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_ttft(*test_index.arguments(corpus_file, tmp_path / "i", encoder_folder, *RAY)) == 2
    assert "pip install 'ttft[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "i" / "manifest.json").exists()
    with pytest.raises(MissingArtifact, match="package ray"), RayWriter() as writer:
        build_index(corpus_file, tmp_path / "j", embedder=str(encoder_folder), writer=writer)


@pytest.fixture
def corpus(tmp_path):
    """A file with repeats and a line that is no JSON."""
    path = write_corpus(tmp_path / "c.jsonl", documents=12)
    with open(path, "a") as out:
        out.write("no JSON\n" + path.read_text().splitlines()[0] + "\n")
    return path


@pytest.mark.parametrize("place", ["file", pytest.param("memory", marks=pytest.mark.slow)])
def test_an_index_is_the_same_to_the_byte(ray, tmp_path, corpus, encoder_folder, place, capsys):
    runtime.setup(0, 1)  # as many threads as each of two workers has
    source = corpus
    if place == "memory":
        source = [json.loads(line) for line in corpus.read_text().splitlines() if line.startswith("{")]
    options = SMALL | {"embedder": encoder_folder, "dedup": "exact", "precision": "float32"}
    seen, problems = [], Problems()
    build_index(source, tmp_path / "local", **options)
    with RayWriter(workers=2) as writer:
        index = build_index(
            source, tmp_path / "ray", **options, writer=writer, problems=problems, on_progress=seen.append
        )
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")
    assert problems.counts == ({"malformed JSON": 1} if place == "file" else {})
    embedded = [p.done for p in seen if p.stage == "embedding"]
    assert embedded == sorted(set(embedded)) and embedded[-1] == index.rows
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_what_a_worker_cannot_read_is_the_error_it_is_here(ray, tmp_path, corpus, encoder_folder):
    with pytest.raises(CorpusError, match=r"malformed JSON: c\.jsonl:13"), RayWriter(workers=2) as writer:
        build_index(corpus, tmp_path / "i", **SMALL, embedder=encoder_folder, strict=True, writer=writer)


@pytest.mark.slow
def test_the_command_makes_the_same(ray, one_thread, tmp_path, run_ttft, encoder_folder, capsys):
    corpus = write_corpus(tmp_path / "c.jsonl", documents=30)
    with open(corpus, "a") as out:
        out.write("no JSON\n")
    folders = tmp_path / "local", tmp_path / "ray"
    for folder, more in zip(folders, ((), RAY), strict=True):
        assert run_ttft(*test_index.arguments(corpus, folder, encoder_folder, *more)) == 0
        assert "1 x malformed JSON: c.jsonl:31" in capsys.readouterr().err
    assert files_of(folders[0]) == files_of(folders[1])
    assert run_ttft(*test_index.arguments(corpus, tmp_path / "strict", encoder_folder, "--strict", *RAY)) == 2
    assert "malformed JSON: c.jsonl:31" in capsys.readouterr().err


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
    assert_gone(below, 90)  # Ray's agents, which do no work of ours, look only now and then
    done = shards()

    driver = start(command, tmp_path / "log")
    wait_for(lambda: shards() > done + 3, driver)
    descendants(driver, "ray::MapWorker")[0].kill()
    assert driver.wait(120) == 0, (tmp_path / "log").read_text()
    assert files_of(killed) == files_of(undisturbed)
