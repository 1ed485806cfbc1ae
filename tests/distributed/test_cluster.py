"""Ray: workers fit the machines, each item is done once, and failures of workers come out as what they were."""

from __future__ import annotations

import os

import pytest

from ttft.distributed import cluster
from ttft.distributed.cluster import Workers, each, first_answer, fit, started, workers
from ttft.errors import ConfigError, TtftError

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


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    crew = Workers(1, 1, 0, 0, str(tmp_path), str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"does not see .*none"):
        crew.settle()


class Late:
    """A Ray that gives up waiting for its own processes the first `failures` times."""

    def __init__(
        self, failures: int, message: str = "The current node timed out during startup. This could ..."
    ) -> None:
        self.failures, self.message, self.started, self.stopped = failures, message, 0, 0

    def init(self, **options: object) -> None:
        self.started += 1
        if self.started <= self.failures:
            raise Exception(self.message)

    def shutdown(self) -> None:
        self.stopped += 1


def test_ray_that_starts_late_is_started_again():
    late = Late(failures=2)
    cluster._start(late, None, 1)
    assert (late.started, late.stopped) == (3, 2)
    with pytest.raises(TtftError, match="did not start on this machine in 4 attempts"):
        cluster._start(Late(failures=9), None, 1)
    with pytest.raises(Exception, match="something else"):
        cluster._start(Late(failures=1, message="something else"), None, 1)


# ---- on Ray --------------------------------------------------------------------------------------------------------


def test_each_item_is_done_once_and_errors_come_as_they_were(ray):
    class Doubler:
        def double(self, x):
            if x == 7:
                raise ConfigError("seven", "another")
            if x == 8:
                raise RuntimeError("a bug")
            return 2 * x

    actors = [ray.remote(Doubler).remote() for _ in range(2)]
    start_one = lambda actor, x: actor.double.remote(x)  # noqa: E731
    assert sorted(each(ray, actors, range(7), start_one)) == [0, 2, 4, 6, 8, 10, 12]
    with pytest.raises(ConfigError, match="seven") as caught, started():
        list(each(ray, actors, [7], start_one))
    assert caught.value.hint == "another" and type(caught.value) is ConfigError
    with pytest.raises(RuntimeError, match="a bug"), started():
        list(each(ray, actors, [8], start_one))


def test_a_worker_that_dies_again_and_again_is_an_error_for_people(ray):
    def die():
        os._exit(1)

    with pytest.raises(TtftError, match="a Ray worker died"), started():
        ray.get(ray.remote(die).options(max_retries=0).remote())


def test_workers_work_where_the_driver_is(ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def where(crew):
        crew.settle()
        import torch

        return os.getcwd(), torch.get_num_threads()

    with workers(count=2, device="cpu", folder=tmp_path) as crew:
        assert (crew.count, crew.threads, crew.gpus, crew.folder) == (2, 1, 0, str(tmp_path))
        reference = ray.remote(where).options(**crew.resources).remote(crew)
        assert first_answer(ray, reference) == (str(tmp_path), 1)


def test_waiting_long_is_noted(ray):
    def slow():
        import time

        time.sleep(0.3)
        return 5

    notes = []
    assert first_answer(ray, ray.remote(slow).remote(), patience=0.05, on_note=notes.append) == 5
    assert notes == ["waiting for Ray to start a worker"]


def test_ray_is_left_running_only_where_it_ran(ray):
    with started():
        pass
    assert ray.is_initialized()


def test_a_cluster_that_is_not_there(ray):
    with pytest.raises(ConfigError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        cluster._start(ray, "127.0.0.1:1", 1)
