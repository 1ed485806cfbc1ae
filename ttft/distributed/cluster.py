"""A Ray that is started and stopped here, or a cluster's; workers that fit its machines; their failures.

A worker that dies is started again, and what it was doing is done again, at most RETRIES times. A Ray of one's own
listens on the loopback address only, writes nothing to the terminal, and sends no usage statistics.
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
from ttft.errors import ConfigError, MissingArtifact, TtftError
from ttft.progress import OnNote, ignore

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
def started(address: str | None = None, cpus: int | None = None) -> Iterator[Any]:
    """Ray (the module): one of one's own with so many CPUs (default: all cores), or the cluster at an address ("auto"
    or host:port); stopped however the body ends. Where Ray runs in this process already it is used, and left running.
    A TtftError that a worker raised comes out of the body as it was.

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
            _start(ray, address, cpus or runtime.cores())
        with _worker_failures(ray):
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
def _worker_failures(ray: Any) -> Iterator[None]:
    """A TtftError that a worker raised, and a worker that dies again and again, are TtftErrors here; a bug in a worker
    keeps its traceback."""
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
    """How many workers there are to be, what each has of its machine, and where it works.

    place   the folder this process is in, from which relative paths are read
    folder  what the workers write to; "" for none
    """

    count: int
    threads: int
    gpus: int
    seed: int
    place: str
    folder: str = ""

    @property
    def resources(self) -> dict[str, int]:
        """Ray's options for a task or an actor that is one of the workers."""
        return {"num_cpus": self.threads, "num_gpus": self.gpus}

    def settle(self) -> None:
        """In a worker, before anything else: be where the driver is, see its folder, and be set up as it is.

        Raises ConfigError on a machine that does not see these folders.
        """
        for needed in filter(None, (self.place, self.folder)):
            if not Path(needed).is_dir():
                raise ConfigError(
                    f"a worker on {socket.gethostname()} does not see {needed}",
                    "work on a file system that all machines share, under the same path",
                )
        os.chdir(self.place)
        runtime.quiet_libraries()
        runtime.setup(self.seed, self.threads)


@contextlib.contextmanager
def workers(
    *, count: int | None = None, address: str | None = None, device: str = "auto", seed: int = 0,
    folder: Path | None = None,
) -> Iterator[Workers]:  # fmt: skip
    """Ray, as by `started`, and workers that fit its machines.

    count    default: one for each GPU, or where there is none one for each machine
    device   of the workers: "auto", "cpu" or "cuda"
    folder   what they write to; it must be there
    Raises what `started` and `fit` raise; a TtftError that a worker raised comes out of the body as it was.
    """
    with started(address, max(runtime.cores(), count or 1)) as ray:
        machines = [
            (int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
            for node in ray.nodes()
            if node["Alive"]
        ]
        placed, threads, gpus = fit(count, machines, device)
        yield Workers(placed, threads, gpus, seed, os.getcwd(), str(folder.absolute()) if folder else "")


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
    """The results of `start(actor, item)`, which gives a Ray reference, for each item once, in the order in which they
    end; an actor has one item at a time."""
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


def first_answer(ray: Any, reference: Any, patience: float = 30, on_note: OnNote = ignore) -> Any:
    """ray.get; after `patience` seconds without an answer it is noted: a cluster may be busy with others' work."""
    if not ray.wait([reference], timeout=patience)[0]:
        on_note("waiting for Ray to start a worker")
    return ray.get(reference)
