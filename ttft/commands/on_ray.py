"""Work on Ray: a Ray that is started and ended here, or a cluster's; workers that fit its machines; faults from there.

A worker that dies is started again, and what it was doing is done again, at most RETRIES times. Ray of one's own
listens on the loopback address only, says nothing on the terminal, and sends no usage statistics.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ttft import runtime
from ttft.commands.console import note
from ttft.config.backend import BackendFields
from ttft.errors import ConfigError, MissingArtifact, TtftError

Item = TypeVar("Item")

RETRIES = 3
ENDURING = {"max_restarts": -1, "max_task_retries": RETRIES}
"""Options of an actor that is started again when it dies; the work it had is done again."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a notice of what a later Ray will do
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else remarks of its core on ordinary events, past Python's logging
}


# ---- Ray -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(address: str | None, cpus: int) -> Iterator[Any]:
    """Ray, of one's own with so many CPUs, or the cluster at an address; ended however the body ends. Where Ray runs in
    this process already it is used, and left running. Faults of workers come out as the TtftError that they were.

    Raises MissingArtifact without the package, ConfigError when no cluster answers.
    """
    os.environ |= {name: os.environ.get(name, value) for name, value in QUIET.items()}
    try:
        import ray
    except ImportError:
        raise MissingArtifact("backend ray needs the package ray", "pip install 'ttft[ray]'") from None
    ours = not ray.is_initialized()
    try:
        if ours:
            _start(ray, address, cpus)
        with _faults(ray):
            yield ray
    finally:
        if ours:
            ray.shutdown()


def _start(ray: Any, address: str | None, cpus: int) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        own = {"num_cpus": cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        with _silent():
            ray.init(address="local", **own, **options)
        return
    try:
        if address != "auto":
            _knock(address)
        with _silent():
            ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        raise ConfigError(f"no Ray cluster at {address}: {first}", "start one: ray start --head") from None


def _knock(address: str) -> None:
    """Ray itself would try for minutes. Raises OSError or ValueError."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing on standard error, not even from C++: Ray's core says that it has been told to be quiet."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _faults(ray: Any) -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TtftError):
            raise error.cause from None
        raise
    except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
        raise TtftError(
            f"a worker of Ray died more than {RETRIES} times over the same work: {str(error).strip().splitlines()[0]}",
            "what is written is valid; see to the memory of the machines, and run the same command again",
        ) from error


# ---- workers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workers:
    """How many workers, what each has of its machine, and where it works."""

    count: int
    threads: int
    gpus: int
    seed: int
    place: str
    folder: str

    @property
    def resources(self) -> dict[str, int]:
        return {"num_cpus": self.threads, "num_gpus": self.gpus}

    def settle(self) -> None:
        """In a worker, before anything else: be where the command is, see its folder, and be set up as it is."""
        for needed in (self.place, self.folder):
            if not Path(needed).is_dir():
                raise ConfigError(
                    f"a worker on {socket.gethostname()} does not see {needed}",
                    "work on a file system that all machines share, under the same path",
                )
        os.chdir(self.place)
        runtime.quiet_libraries()
        runtime.setup(self.seed, self.threads)


@contextlib.contextmanager
def workers(config: BackendFields, *, device: str, seed: int, folder: Path) -> Iterator[Workers]:
    """Ray as the options ask for, and workers that fit it; `folder` is what they write to, and is there."""
    with started(config.ray_address, max(runtime.cores(), config.workers or 1)) as ray:
        machines = [
            (int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
            for node in ray.nodes()
            if node["Alive"]
        ]
        count, threads, gpus = fit(config.workers, machines, device)
        yield Workers(count, threads, gpus, seed, os.getcwd(), str(folder.absolute()))


def fit(asked: int | None, machines: list[tuple[int, int]], device: str) -> tuple[int, int, int]:
    """(workers, threads and GPUs of each) for machines of so many (CPUs, GPUs): the most threads with which all have
    room. Raises ConfigError when they have none."""
    gpus = sum(g for _, g in machines)
    if device == "cuda" and not gpus:
        raise ConfigError("device cuda: Ray sees no GPU", "use --device cpu")
    gpu = device == "cuda" or (device == "auto" and gpus > 0)
    rooms = [(c, g if gpu else c) for c, g in machines if c and (g or not gpu)]
    count = asked or (gpus if gpu else len(rooms))
    for threads in range(max((c for c, _ in rooms), default=0), 0, -1):
        if sum(min(c // threads, most) for c, most in rooms) >= count:
            return count, threads, int(gpu)
    room = sum(min(room) for room in rooms)
    raise ConfigError(
        f"--workers {count}: Ray has room for {room}", "a worker takes a " + ("GPU and a CPU" if gpu else "CPU")
    )


def each(ray: Any, actors: list[Any], items: Iterable[Item], start: Callable[[Any, Item], Any]) -> Iterator[Any]:
    """What `start(actor, item)` promises, for each item once, as they end; an actor has one at a time."""
    free, busy, queue = deque(actors), {}, iter(items)
    while True:
        while free and (item := next(queue, None)) is not None:
            actor = free.popleft()
            busy[start(actor, item)] = actor
        if not busy:
            return
        (done, *_), _ = ray.wait(list(busy), num_returns=1)
        value = ray.get(done)
        free.append(busy.pop(done))
        yield value


def first_answer(ray: Any, promise: Any, patience: float = 30) -> Any:
    """ray.get, which says so when nothing comes for long: a cluster may be busy with others' work."""
    if not ray.wait([promise], timeout=patience)[0]:
        note("waiting for Ray to start a worker")
    return ray.get(promise)
