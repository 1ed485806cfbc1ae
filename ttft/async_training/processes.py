"""A cluster of worker processes on this machine that share memory with the master.

Each worker has two vectors in shared memory: the view that it was sent, written by the master only while the worker has
none, and its payload, written by the worker only while it holds a view. So each vector has one writer at a time, whose
turn a message of some bytes passes on: nobody takes a lock, nobody waits for another worker, and 2 N k numbers are all
that is shared.

A worker that dies is replaced by a new process under the same number. The master forgets what it kept for the old one;
the new one goes on in the stream of batches after the last gradient that arrived. A worker that stands still holds up
nobody, unless the method is synchronous.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import torch
from torch import Tensor

from ttft import runtime
from ttft.async_training.checks import positive, whole
from ttft.async_training.cluster import Arrived, Event, Joined, Left
from ttft.async_training.flat_state import Flat, flatten, restore
from ttft.async_training.master import Gradient
from ttft.async_training.worker_side import WorkerSide
from ttft.errors import TtftError
from ttft.progress import OnNote, ignore

DEATHS = 3  # in a row, of one worker, without a gradient in between
PATIENCE = 5.0  # seconds that a worker gets to end by itself


@dataclass
class Worker:
    """A process, the master's end of its pipe, the memory shared with it, and when it was sent its view."""

    process: Any
    pipe: Any
    memory: SharedMemory | None = None
    ready: bool = False


@dataclass
class Counts:
    """seconds: of earlier runs that this one resumes; numbers: worker -> gradients that have arrived."""

    seconds: float = 0.0
    numbers: dict[int, int] = field(default_factory=dict)


class Processes:
    """workers processes, each with its share of the cores. Use as a context manager: leaving it ends them.

    slow     worker -> factor: it takes so many times as long for a gradient (for measurements)
    on_note  told of every worker that is replaced
    The gradient and what `side` makes must be picklable. Raises ConfigError for no workers.
    """

    keeps_views = False

    def __init__(
        self, workers: int, *, slow: Mapping[int, float] | None = None, seed: int = 0, on_note: OnNote = ignore
    ) -> None:
        whole("workers", workers)
        for factor in (slow or {}).values():
            positive("slow", factor)
        self.count, self.slow, self.seed, self.on_note = workers, dict(slow or {}), seed, on_note
        self.state = Counts()
        self.live: dict[int, Worker] = {}
        self.deaths: dict[int, int] = {}
        self._gone: list[int] = []
        self._turn = 0
        self._began = 0.0

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- the cluster -----------------------------------------------------------------------------------------------

    def start(self, gradient: Gradient, side: Callable[[], WorkerSide]) -> None:
        self.gradient, self.side = gradient, side
        for worker in range(self.count):
            self._spawn(worker)

    def workers(self) -> list[int]:
        return sorted(worker for worker, there in self.live.items() if there.ready)

    @property
    def clock(self) -> float:
        """Seconds since the first worker joined, those before a restart included."""
        return self.state.seconds + (time.monotonic() - self._began if self._began else 0.0)

    def send(self, worker: int, theta: Tensor, lr: float) -> None:
        there = self.live[worker]
        if there.memory is None:
            there.memory = SharedMemory(create=True, size=2 * theta.numel() * theta.element_size())
        vectors(there.memory, theta.dtype)[0].copy_(theta)
        message = (there.memory.name, str(theta.dtype).removeprefix("torch."), lr, self.state.numbers.get(worker, 0))
        try:
            there.pipe.send(message)
        except OSError:  # it has died: `wait` will find out
            return

    def wait(self) -> Event:
        """The next event. Raises TtftError for what a worker raised, and for one that dies again and again."""
        while True:
            if self._gone:
                worker = self._gone.pop(0)
                self._spawn(worker)
                return Left(worker, self.clock)
            pipes = {there.pipe: worker for worker, there in self.live.items()}
            ready = [pipes[pipe] for pipe in connection.wait(list(pipes))]  # type: ignore[index]
            worker = min(ready, key=lambda one: (one - self._turn) % self.count)
            self._turn = worker + 1  # everybody's turn comes
            if (event := self._hear(worker)) is not None:
                return event

    def _hear(self, worker: int) -> Event | None:
        there = self.live[worker]
        try:
            kind, loss, size, dtype = there.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return None
        if kind == "ready":
            there.ready = True
            self._began = self._began or time.monotonic()
            return Joined(worker, self.clock)
        if kind == "failed":
            raise loss if isinstance(loss, TtftError) else RuntimeError(f"worker {worker} failed:\n{loss}")
        assert there.memory is not None
        payload = vectors(there.memory, getattr(torch, dtype))[1].clone()
        number = self.state.numbers.get(worker, 0)
        self.state.numbers[worker] = number + size
        self.deaths.pop(worker, None)
        return Arrived(worker, self.clock, payload, loss, number)

    def _bury(self, worker: int) -> None:
        there = self.live.pop(worker)
        there.process.join(PATIENCE)
        code = there.process.exitcode
        self._release(there)
        self.deaths[worker] = self.deaths.get(worker, 0) + 1
        if self.deaths[worker] > DEATHS:
            raise TtftError(
                f"worker {worker} died {self.deaths[worker]} times without a gradient (exit code {code})",
                "it may need more memory than there is: give fewer workers or a smaller batch",
            )
        self.on_note(f"worker {worker} died (exit code {code}) and is replaced")
        self._gone.append(worker)

    def _spawn(self, worker: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        threads = max(1, runtime.cores() // self.count)
        arguments = (theirs, self.gradient, self.side(), worker, self.slow.get(worker, 1.0), self.seed, threads)
        process = context.Process(target=work, args=arguments, daemon=True, name=f"ttft worker {worker}")
        process.start()
        theirs.close()  # so that the pipe ends when the worker does
        self.live[worker] = Worker(process, ours)

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for there in self.live.values():
            there.pipe.close()
            there.process.kill()
        for there in self.live.values():
            there.process.join(PATIENCE)
            self._release(there)
        self.live.clear()

    def _release(self, there: Worker) -> None:
        there.pipe.close()
        if there.memory is not None:
            there.memory.close()
            there.memory.unlink()

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def state_dict(self) -> Flat:
        return flatten(Counts(self.clock, self.state.numbers))

    def load_state_dict(self, flat: Flat) -> None:
        restore(self.state, flat)

    def settings(self) -> dict:
        return {"cluster": "local"}


# ---- in the worker's process ---------------------------------------------------------------------------------------


def work(pipe: Any, gradient: Gradient, side: WorkerSide, worker: int, slow: float, seed: int, threads: int) -> None:
    """The life of a worker: until its master is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the master's process decides what an interruption means
    runtime.quiet_libraries()
    runtime.setup(seed, threads)
    runtime.keep_freed_memory()
    memories: dict[str, SharedMemory] = {}
    try:
        prepare(gradient)
        pipe.send(("ready", 0.0, 0, ""))
        while True:
            name, dtype, lr, number = pipe.recv()
            if name not in memories:
                memories[name] = SharedMemory(name)
            view, payload = vectors(memories[name], getattr(torch, dtype))
            begin = time.monotonic()
            made, loss, size = computed(gradient, side, view.clone(), lr, worker, number)
            payload.copy_(made)
            time.sleep((slow - 1) * (time.monotonic() - begin) if slow > 1 else 0.0)
            pipe.send(("payload", loss, size, dtype))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # noqa: BLE001 - reported to the master, which raises it
        pipe.send(("failed", error if isinstance(error, TtftError) else _told(error), 0, ""))


def vectors(memory: SharedMemory, dtype: torch.dtype) -> Tensor:
    """(2, k) the view and the payload in memory of 2 k numbers. While these are held, the memory cannot be closed."""
    return torch.frombuffer(memory.buf, dtype=dtype).view(2, -1)


def prepare(gradient: Gradient) -> None:
    """Load what the gradient needs, if it has something to load: a worker joins when it can work at once."""
    if load := getattr(gradient, "prepare", None):
        load()


def computed(
    gradient: Gradient, side: WorkerSide, theta: Tensor, lr: float, worker: int, first: int
) -> tuple[Tensor, float, int]:
    """Payload (k,), loss and number of gradients of one view. first: gradients that this worker computed before."""
    count = 0

    def at(theta: Tensor) -> tuple[Tensor, float]:
        nonlocal count
        count += 1
        return gradient(theta, worker, first + count - 1)

    payload, loss = side.work(theta, lr, at)
    return payload, loss, count


def _told(error: Exception) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
