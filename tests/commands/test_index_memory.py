"""Indexing a stream ten times as long takes no more memory."""

from __future__ import annotations

import json
import os
import sys

import pytest
from small import sentences
from test_index import arguments


def peak_mib(command: list) -> float:
    """Largest resident memory of `ttft` run as a process of its own."""
    child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-m", "ttft", *map(str, command)])
    _, status, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_maxrss / 1024


@pytest.mark.slow
@pytest.mark.parametrize("dedup", ["count", "off"])
def test_memory_is_flat_however_long_the_corpus(tmp_path, encoder_folder, dedup):
    peaks = {}
    for pieces in (5_000, 50_000):
        corpus = tmp_path / f"{pieces}.jsonl"
        with open(corpus, "w") as out:
            for i in range(pieces // 5):
                out.write(json.dumps({"text": sentences(50, i)}) + "\n")
        command = arguments(corpus, tmp_path / str(pieces), encoder_folder, "--dedup", dedup)
        command[command.index("--piece-chars") + 1] = 700
        command[command.index("--shard-rows") + 1] = 1024
        peaks[pieces] = peak_mib(command)
    print(peaks)
    assert peaks[50_000] < 1.1 * peaks[5_000]
