"""Ray, started here or on an existing cluster; workers sized to fit its machines; and their failures.

A worker that dies is restarted and its task repeated, at most RETRIES times. A Ray started here listens on the loopback
address only, writes nothing to the terminal, and sends no usage statistics.
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
from ttft.errors import ConfigError, MissingArtifact, TtftError, install_hint
from ttft.progress import OnNote, ignore

Item = TypeVar("Item")

RETRIES = 3
STARTS = 4
ENDURING = {"max_restarts": -1, "max_task_retries": RETRIES}
"""Options of an actor that is restarted when it dies; its task is repeated."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or it prints a notice about a future change
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # or its core prints messages on ordinary events, bypassing Python's logging
}


# ---- Ray -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(address: str | None = None, cpus: int | None = None) -> Iterator[Any]:
    """Ray (the module), connected to the cluster at `address` ("auto" or host:port) or else started here with `cpus`
    CPUs (default: all cores), and stopped when the block ends. If this process uses Ray already, that is used and left
    running. A TtftError raised by a worker is raised from the block unchanged.

    Raises MissingArtifact if ray is not installed, ConfigError if no cluster answers.
    """
    os.environ |= {name: os.environ.get(name, value) for name, value in QUIET.items()}
    try:
        import ray
    except ImportError:
        raise MissingArtifact("backend ray needs the package ray", install_hint("ray")) from None
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
        _start_here(ray, address="local", **own, **options)
        return
    try:
        if address != "auto":
            _knock(address)
        with _silent():
            ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        raise ConfigError(f"no Ray cluster at {address}: {first}", "start one with: ray start --head") from None


def _start_here(ray: Any, **options: Any) -> None:
    """ray.init, again where it gave up: Ray waits 30 s for its processes, too short for the first start from a slow
    disk. Raises TtftError after STARTS times."""
    for _ in range(STARTS):
        try:
            with _silent():
                ray.init(**options)
            return
        except Exception as error:  # of no class of its own
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    raise TtftError(
        f"Ray did not start on this machine in {STARTS} attempts of 30 s", "wait until the machine is less busy"
    )


def _knock(address: str) -> None:
    """Check that something listens there; Ray itself would keep trying for minutes. Raises OSError or ValueError."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Discard standard error, including that of C++ code: Ray's core announces that its logging is turned off."""
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
    """Worker failures become TtftErrors: one that a worker raised is raised here unchanged, and a worker that keeps
    dying raises a new one. A bug in a worker keeps its traceback."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TtftError):
            raise error.cause from None
        raise
    except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
        raise TtftError(
            f"a Ray worker died more than {RETRIES} times on the same task: {str(error).strip().splitlines()[0]}",
            "the files written so far are valid; check that the machines have enough memory, then run the same command "
            "again to resume",
        ) from error


# ---- workers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workers:
    """Number of workers, the resources of each, and where they work.

    place   working directory of the driver process, to which relative paths refer
    folder  the folder that the workers write to; "" for none
    """

    count: int
    threads: int
    gpus: int
    seed: int
    place: str
    folder: str = ""

    @property
    def resources(self) -> dict[str, int]:
        """Ray's resource options for a task or actor that is one of the workers."""
        return {"num_cpus": self.threads, "num_gpus": self.gpus}

    def settle(self) -> None:
        """In a worker, before anything else: change to the driver's working directory and set up the process.

        Raises ConfigError on a machine on which these folders do not exist.
        """
        for needed in filter(None, (self.place, self.folder)):
            if not Path(needed).is_dir():
                raise ConfigError(
                    f"a worker on {socket.gethostname()} does not see {needed}",
                    "use a file system that all machines mount at the same path",
                )
        os.chdir(self.place)
        runtime.quiet_libraries()
        runtime.setup(self.seed, self.threads)


@contextlib.contextmanager
def workers(
    *, count: int | None = None, address: str | None = None, device: str = "auto", seed: int = 0,
    folder: Path | None = None,
) -> Iterator[Workers]:  # fmt: skip
    """Ray (see `started`), and workers that fit its machines.

    count    number of workers; default: one per GPU, or one per machine if there are no GPUs
    device   of the workers: "auto", "cpu" or "cuda"
    folder   the folder that they write to, which must exist
    Raises what `started` and `fit` raise; a TtftError raised by a worker is raised from the block unchanged.
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
    """(number of workers, threads of each, GPUs of each) for `machines` with (CPUs, GPUs): as many threads as possible
    with room for all workers. Raises ConfigError if there is no room for them."""
    gpus = sum(g for _, g in machines)
    if device == "cuda" and not gpus:
        raise ConfigError("device cuda: Ray finds no GPU", "use --device cpu")
    gpu = device == "cuda" or (device == "auto" and gpus > 0)
    rooms = [(c, g if gpu else c) for c, g in machines if c and (g or not gpu)]
    count = asked or (gpus if gpu else len(rooms))
    for threads in range(max((c for c, _ in rooms), default=0), 0, -1):
        if sum(min(c // threads, most) for c, most in rooms) >= count:
            return count, threads, int(gpu)
    room = sum(min(room) for room in rooms)
    raise ConfigError(
        f"--workers {count}: Ray has room for {room}", "each worker needs a " + ("GPU and a CPU" if gpu else "CPU")
    )


def each(ray: Any, actors: list[Any], items: Iterable[Item], start: Callable[[Any, Item], Any]) -> Iterator[Any]:
    """Call `start(actor, item)`, which returns a Ray reference, once for each item, one item per actor at a time, and
    yield the results as they are finished."""
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
    """ray.get, with a note to the user if it takes more than `patience` seconds: the cluster may be busy."""
    if not ray.wait([reference], timeout=patience)[0]:
        on_note("waiting for Ray to start a worker")
    return ray.get(reference)
