"""Device, dtype and timers."""

from __future__ import annotations

import pytest
import torch

from ttft.errors import ConfigError
from ttft.runtime import Timer, has_bf16, host_facts, pick_device, pick_dtype, setup


def test_devices_are_checked():
    assert pick_device("cpu") == "cpu" and pick_device("auto") in ("cpu", "cuda")
    with pytest.raises(ConfigError, match="gpu"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA"):
            pick_device("cuda:0")


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_dtype_follows_the_hardware(monkeypatch, avx512, amx):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert has_bf16("cpu") == (avx512 or amx)
    assert pick_dtype("auto", "cpu") == (torch.bfloat16 if avx512 or amx else torch.float32)
    assert pick_dtype("float32", "cpu") == torch.float32 and pick_dtype("bfloat16", "cpu") == torch.bfloat16


def test_the_timer_adds_up_by_stage(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("ttft.runtime.time.perf_counter", lambda: now[0])
    timer = Timer("cpu")
    for seconds in (0.25, 0.5):
        with timer("train"):
            now[0] += seconds
        now[0] += 4  # between stages: nobody's
    with pytest.raises(ZeroDivisionError), timer("evaluate"):
        now[0] += 2
        _ = 1 / 0
    assert timer.seconds == {"train": 0.75, "evaluate": 2.0}


def test_setup_seeds_torch():
    setup(5)
    one = torch.rand(3)
    setup(5)
    assert torch.equal(one, torch.rand(3)) and host_facts("cpu")["threads"] == torch.get_num_threads()
