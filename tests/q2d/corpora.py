"""The shared data sets of q2d, wherever `shared/corpora/q2d` lies above this file."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDERS = [parent / "shared" / "corpora" / "q2d" for parent in Path(__file__).resolve().parents]
Q2D = next((folder for folder in FOLDERS if folder.is_dir()), None)


def corpus(name: str) -> Path:
    """The path of a file of shared/corpora/q2d; skips the test where it is not."""
    if Q2D is None or not (Q2D / name).exists():
        pytest.skip(f"shared/corpora/q2d/{name} is not in any folder above this checkout")
    return Q2D / name
