"""Device, dtype and timers."""

from __future__ import annotations

import time

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


def test_dtype_follows_the_hardware():
    assert pick_dtype("auto", "cpu") == (torch.bfloat16 if has_bf16("cpu") else torch.float32)
    assert pick_dtype("float32", "cpu") == torch.float32 and pick_dtype("bfloat16", "cpu") == torch.bfloat16


def test_the_timer_adds_up_by_stage():
    timer = Timer("cpu")
    for _ in range(2):
        with timer("train"):
            time.sleep(0.01)
    with timer("evaluate"):
        pass
    assert 0.02 <= timer.seconds["train"] < 1 and timer.seconds["evaluate"] < 0.01


def test_setup_seeds_torch():
    setup(5)
    one = torch.rand(3)
    setup(5)
    assert torch.equal(one, torch.rand(3)) and host_facts("cpu")["threads"] == torch.get_num_threads()
