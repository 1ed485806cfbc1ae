"""A run that was killed goes on exactly where its checkpoint was; and what checkpoints refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from async_training.problems import master, quadratic

from ttft.async_training import AsyncTrainer, Join, Leave, Simulated, Stall
from ttft.async_training.checkpoint import NAME, load_checkpoint, save_checkpoint
from ttft.async_training.masters import MASTERS
from ttft.errors import ConfigError, MissingArtifact

EVENTS = [Leave(6.3, 1), Stall(7.0, 2, 5.0), Join(9.0, 5), Join(14.0, 1)]
UPDATES, EVERY = 48, 4


class Killed(Exception):
    """In place of a signal."""


def trainer(name: str, **options) -> AsyncTrainer:
    given = {} if name.startswith(("diloco", "async-diloco")) else {"weight_decay": 1e-3}
    kept = master(name, dtype=torch.float32, gaps=True, **given, **options)
    return AsyncTrainer(
        quadratic(dtype=torch.float32), kept, Simulated(4, heterogeneous=True, seed=3, events=EVENTS)
    )  # fmt: skip


def killed_at(gradients: int, log: list):
    def on_arrival(arrival) -> None:
        if arrival.gradients > gradients:
            raise Killed
        log.append(arrival)

    return on_arrival


@pytest.mark.parametrize("name", MASTERS)
def test_a_killed_run_equals_the_undisturbed_one(name: str, tmp_path: Path) -> None:
    """Killed again and again, anywhere between two checkpoints."""
    undisturbed: list = []
    whole = trainer(name)
    end = whole.run(UPDATES, on_arrival=undisturbed.append).clone()
    log: list = []
    for kill in range(5, len(undisturbed), max(5, len(undisturbed) // 9)):
        part = trainer(name)
        with pytest.raises(Killed):
            part.run(UPDATES, on_arrival=killed_at(kill, log), checkpoint=tmp_path / "run", every=EVERY)
    last = trainer(name)
    assert torch.equal(last.run(UPDATES, on_arrival=log.append, checkpoint=tmp_path / "run", every=EVERY), end)
    by_number = {arrival.gradients: arrival for arrival in log}  # repeated arrivals are the same ones
    assert [by_number[n] for n in sorted(by_number)] == undisturbed
    mine, theirs = last.master.state_dict(), whole.master.state_dict()
    assert sorted(mine) == sorted(theirs)
    assert all(
        torch.equal(mine[key], theirs[key]) if isinstance(mine[key], torch.Tensor) else mine[key] == theirs[key]
        for key in mine
    )


@pytest.mark.parametrize("name", ["dana", "dana-slim", "async-diloco"])
def test_more_updates_later_equal_all_at_once(name: str, tmp_path: Path) -> None:
    part = trainer(name)
    part.run(13)
    part.run(20)
    trainer(name).run(13, checkpoint=tmp_path)
    resumed = trainer(name)
    resumed.run(20, checkpoint=tmp_path)
    assert torch.equal(part.master.theta, trainer(name).run(20)) and torch.equal(
        part.master.theta, resumed.master.theta
    )
    assert torch.equal(trainer(name).run(20, checkpoint=tmp_path), part.master.theta)  # nothing is left to do


def test_adam_preconditioner_and_corrections_resume(tmp_path: Path) -> None:
    end = trainer("dana-ga", base="adam").run(40).clone()
    trainer("dana-ga", base="adam").run(17, checkpoint=tmp_path)
    assert torch.equal(trainer("dana-ga", base="adam").run(40, checkpoint=tmp_path), end)


class Restarted(Simulated):
    """Like worker processes: a restart loses the views that are out and what the workers keep, but not their counts."""

    keeps_views = False

    def state_dict(self) -> dict:
        return {f"numbers/{worker}": number for worker, number in self.state.numbers.items()}

    def load_state_dict(self, flat: dict) -> None:
        self.state.numbers = {int(key.removeprefix("numbers/")): number for key, number in flat.items()}
        while self.state.incidents < len(self.incidents):  # all are there at once, whoever they were before
            self.wait()


@pytest.mark.parametrize("name", MASTERS)
def test_views_that_a_restart_loses_are_sent_anew(name: str, tmp_path: Path) -> None:
    gradient = quadratic(dtype=torch.float32, noise=0.1)
    seen: list = []
    for workers, updates in ((4, 20), (3, 40), (5, 60)):
        part = AsyncTrainer(gradient, master(name, dtype=torch.float32), Restarted(workers, seed=1))
        part._settings = dict  # type: ignore[method-assign]  # other times are other settings
        part.run(updates, on_arrival=seen.append, checkpoint=tmp_path)
    assert part.master.updates == 60 and part.master.members() == [0, 1, 2, 3, 4]
    numbers = [(a.worker, a.number) for a in seen]
    assert len(set(numbers)) == len(numbers)  # no batch is used twice
    assert {a.worker for a in seen[-30:]} == {0, 1, 2, 3, 4}


def test_one_checkpoint_is_kept(tmp_path: Path) -> None:
    trainer("dana").run(20, checkpoint=tmp_path, every=2)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kill_between_the_two_files_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch) -> None:
    save_checkpoint(tmp_path, {"a": torch.ones(2), "n": 1}, {})
    with monkeypatch.context() as patched, pytest.raises(Killed):

        def write_json(path: Path, value: dict) -> None:
            raise Killed

        patched.setattr("ttft.run_dir.write_json", write_json)
        save_checkpoint(tmp_path, {"a": torch.zeros(2), "n": 2}, {})
    flat = load_checkpoint(tmp_path, {})
    assert flat["n"] == 1 and flat["a"].tolist() == [1, 1]


def test_numbers_come_back_exactly(tmp_path: Path) -> None:
    flat = {"x": 0.1 + 0.2, "n": 3, "yes": True, "v": torch.randn(3, dtype=torch.float64), "w": torch.randn(2)}
    save_checkpoint(tmp_path, flat | {"again": flat["v"]}, {"lr": 1e-300})
    back = load_checkpoint(tmp_path, {"lr": 1e-300})
    assert (back["x"], back["n"], back["yes"]) == (flat["x"], 3, True)
    assert (
        torch.equal(back["v"], flat["v"]) and torch.equal(back["again"], flat["v"]) and back["w"].dtype == torch.float32
    )


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("dana", {"lr": 0.04}, "master.schedule.lr was 0.05 and is 0.04"),
        ("dana", {"momentum": 0.8}, "master.momentum was 0.9 and is 0.8"),
        ("dana-slim", {}, "master.method was 'DanaZero' and is 'DanaSlim'"),
    ],
)
def test_other_settings_are_refused(name: str, options: dict, what: str, tmp_path: Path) -> None:
    trainer("dana").run(3, checkpoint=tmp_path)
    with pytest.raises(ConfigError, match=what):
        trainer(name, **options).run(6, checkpoint=tmp_path)


@pytest.mark.parametrize("victim", [NAME, "tensors-*.safetensors"])
def test_damage_is_found(victim: str, tmp_path: Path) -> None:
    trainer("dana").run(3, checkpoint=tmp_path)
    (path,) = tmp_path.glob(victim)
    data = bytearray(path.read_bytes())
    where = data.index(b'"updates"' if victim != NAME else b'"gradients": 3') + 13 if victim == NAME else len(data) - 2
    data[where] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(MissingArtifact, match="damaged"):
        trainer("dana").run(6, checkpoint=tmp_path)
    path.unlink()
    if victim != NAME:
        with pytest.raises(MissingArtifact, match="is missing"):
            trainer("dana").run(6, checkpoint=tmp_path)


def test_settings_are_json() -> None:
    for name in MASTERS:
        settings = trainer(name)._settings()
        assert json.loads(json.dumps(settings))["master"]["method"] == MASTERS[name].__name__
