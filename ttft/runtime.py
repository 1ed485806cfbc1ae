"""What the machine is and how it is used: device, compute dtype, threads, seed, timers that wait for the device."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ttft.errors import ConfigError


def setup(seed: int, threads: int | None = None) -> None:
    """Seed torch and set one number of OpenMP threads for torch and faiss alike, once, at the start of a command.

    Both libraries bring their own OpenMP; left alone each takes every core and they fight over them. numpy's products
    are small here and get one thread: where another process has the second core, waiting for it costs more than all
    the rest. What is worth several threads asks for them (`thread_pool`).
    """
    import torch

    torch.manual_seed(seed)
    # the same run twice gives the same bits: cuBLAS must be told so before it starts, other kernels by torch's switch
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    count = threads or cores()
    torch.set_num_threads(count)
    _blas.controller.limit(limits=1, user_api="blas")
    with contextlib.suppress(ImportError):
        import faiss

        faiss.omp_set_num_threads(count)


def cores() -> int:
    """How many processor cores this process may use."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Matrix products of numpy inside take one core each. The limit holds for the process; the last user lifts it."""
    with _blas.lock:
        _blas.users += 1
        if _blas.users == 1:
            _blas.limit = _blas.controller.limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _blas.lock:
            _blas.users -= 1
            if _blas.users == 0:
                _blas.limit.restore_original_limits()


@contextlib.contextmanager
def thread_pool(threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """A pool of `threads` threads (default: all cores) whose matrix products take one core each.

    Left alone, every product in every thread would be cut up again by BLAS for all cores.
    """
    with one_blas_thread(), ThreadPoolExecutor(threads or cores()) as pool:
        yield pool


class _Blas:
    """Who needs one-threaded matrix products right now; the one thing of this module that outlives a call."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.limit: Any = None

    @functools.cached_property
    def controller(self) -> Any:
        import threadpoolctl

        return threadpoolctl.ThreadpoolController()  # looks through all loaded libraries: some milliseconds, once


_blas = _Blas()


def keep_freed_memory() -> None:
    """Have the C library keep large blocks that are freed, for the next step or batch to use again.

    Left alone glibc gives every large block back to the system and gets it anew, zeroed page by page: on a CPU a
    quarter of a training step's time, and an eighth of an embedding's. For the whole process; does nothing where there
    is no glibc.
    """
    trim_threshold, mmap_threshold, most = -1, -3, (1 << 31) - 1
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for size in (1 << 30, 32 << 20):  # older versions refuse the first
            if library.mallopt(mmap_threshold, size):
                break
        library.mallopt(trim_threshold, most)


def free_memory(device: str) -> int:
    """Bytes that can still be had on the device, as the system says; 4 GiB where it does not say."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 4 << 30


def quiet_libraries() -> None:
    """Keep transformers' and datasets' notices off the terminal; errors still reach it."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Inside, transformers writes neither notices nor progress bars; afterwards it does as before."""
    from transformers import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def pick_device(name: str) -> str:
    """'auto' -> cuda where there is one, else cpu; anything else is checked. Raises ConfigError."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = name.split(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"unknown device {name!r}", "devices: auto, cpu, cuda, cuda:0, mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r} asked for, but this torch sees no CUDA device", "use --device cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device {name!r} asked for, but this torch sees no Apple GPU", "use --device cpu")
    return name


def has_bf16(device: str) -> bool:
    """Whether bf16 matrix products run in hardware (elsewhere they are slower than fp32)."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def pick_dtype(name: str, device: str) -> Any:
    """'auto' -> torch.bfloat16 where the hardware has it, else torch.float32; or the dtype of that name.

    Raises ConfigError for another name.
    """
    import torch

    if name == "auto":
        return torch.bfloat16 if has_bf16(device) else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:
        raise ConfigError(f"unknown dtype {name!r}", "dtypes: auto, " + ", ".join(known))
    return known[name]


def autocast(device_type: str, dtype: Any) -> contextlib.AbstractContextManager:
    """A context that computes in `dtype` (bf16); nothing for None and float32."""
    import torch

    return contextlib.nullcontext() if dtype in (None, torch.float32) else torch.autocast(device_type, dtype)


def synchronize(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


class Timer:
    """Seconds by stage; the device's queue is drained before and after, so that its work falls into its own stage."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        synchronize(self.device)
        start = time.perf_counter()
        try:
            yield
        finally:
            synchronize(self.device)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def host_facts(device: str) -> dict:
    """Processor, memory, threads and device, for provenance.json."""
    import torch

    facts = {"processor": processor_name(), "threads": torch.get_num_threads(), "device": device}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
