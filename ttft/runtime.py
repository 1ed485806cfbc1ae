"""The machine and how it is used: device, compute dtype, threads, memory, seed, timers that synchronise the device."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ttft.errors import ConfigError


def setup(seed: int, threads: int | None = None) -> None:
    """Seed torch and set the number of OpenMP threads of torch and faiss. Called once, at the start of a command.

    Each library brings its own OpenMP and by default uses every core, so that they compete. numpy's matrix products are
    small here and get one thread: if another process holds the second core, waiting for it costs more than it saves.
    Code that gains from several threads asks for them (`thread_pool`).
    """
    import torch

    torch.manual_seed(seed)
    # runs are reproducible to the last bit: cuBLAS needs this variable before it starts, other kernels torch's switch
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
    """Number of processor cores this process may use."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit numpy's matrix products to one core each. The limit is process-wide; the last user to leave lifts it."""
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
    """A pool of `threads` threads (default: all cores) whose matrix products use one core each.

    Otherwise BLAS would split every product in every thread over all cores again.
    """
    with one_blas_thread(), ThreadPoolExecutor(threads or cores()) as pool:
        yield pool


class _Blas:
    """Counts the users of `one_blas_thread`: the only state of this module that outlives a call."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.limit: Any = None

    @functools.cached_property
    def controller(self) -> Any:
        import threadpoolctl

        return threadpoolctl.ThreadpoolController()  # scans all loaded libraries: some milliseconds, once


_blas = _Blas()


def keep_freed_memory() -> None:
    """Make the C library keep large freed blocks for the next step or batch.

    By default glibc returns every large block to the system and requests it again, zeroed page by page: on a CPU this
    takes a quarter of the time of a training step and an eighth of the time of embedding. Process-wide; no effect
    without glibc.
    """
    trim_threshold, mmap_threshold, most = -1, -3, (1 << 31) - 1
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for size in (1 << 30, 32 << 20):  # older versions refuse the first
            if library.mallopt(mmap_threshold, size):
                break
        library.mallopt(trim_threshold, most)


def free_memory(device: str) -> int:
    """Free memory of the device in bytes as reported by the system; 4 GiB if it is not reported."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 4 << 30


def quiet_libraries() -> None:
    """Keep notices and progress bars of transformers and datasets off the terminal; errors are still shown."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for words in (".*is_gradient_checkpointing.* is deprecated", "fan_in_fan_out is set to False but"):  # of peft
        warnings.filterwarnings("ignore", message=words)


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence notices and progress bars of transformers in a block, and restore the caller's settings afterwards."""
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
    """'auto' -> cuda if available, else cpu; any other name is checked. Raises ConfigError."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = name.split(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"unknown device {name!r}", "devices: auto, cpu, cuda, cuda:0, mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: this installation of torch finds no CUDA device", "use --device cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device {name!r}: this installation of torch finds no Apple GPU", "use --device cpu")
    return name


def has_bf16(device: str) -> bool:
    """Whether the hardware supports bf16 matrix products (emulated ones are slower than fp32)."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def pick_dtype(name: str, device: str) -> Any:
    """'auto' -> torch.bfloat16 if the hardware supports it, else torch.float32; or the dtype of that name.

    Raises ConfigError for an unknown name.
    """
    import torch

    if name == "auto":
        return torch.bfloat16 if has_bf16(device) else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:
        raise ConfigError(f"unknown dtype {name!r}", "dtypes: auto, " + ", ".join(known))
    return known[name]


def autocast(device_type: str, dtype: Any) -> contextlib.AbstractContextManager:
    """A context that computes in `dtype` (bf16); a null context for None and float32."""
    import torch

    return contextlib.nullcontext() if dtype in (None, torch.float32) else torch.autocast(device_type, dtype)


def synchronize(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


class Timer:
    """Seconds by stage; the device is synchronised before and after, so that its work counts for the right stage."""

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
