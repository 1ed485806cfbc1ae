"""One Ray with two CPUs for the tests in this folder that kill nothing."""

from __future__ import annotations

import pytest

from ttft.distributed.cluster import started


@pytest.fixture(scope="package")
def ray():
    pytest.importorskip("ray", reason="ray is not installed (extra: ray)")
    with started(None, 2) as running:
        yield running
