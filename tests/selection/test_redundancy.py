"""Redundancy of a choice: counted by hand."""

from __future__ import annotations

import numpy as np

from ttft.selection.redundancy import pool_redundancy, redundancy


def test_repeats_copies_and_near_copies_are_told_apart():
    a, b = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    near = np.array([1.0, 0.2, 0.0])  # cosine 0.98 to a
    far = np.array([1.0, -0.5, 0.0])  # cosine 0.89 to a
    chosen = np.stack([a, b, a, 2 * a, near, far])
    found = redundancy(chosen, [4, 7, 4, 9, 5, 6])  # row 4 taken twice, row 9 is a longer copy of it
    assert (found.repeats, found.copies, found.near) == (1, 1, 1)
    assert found.to_json() == {"mean_cosine": found.mean_cosine, "repeats": 1, "copies": 1, "near": 1}


def test_mean_cosine_is_over_all_pairs():
    rng = np.random.default_rng(0)
    chosen = rng.normal(size=(7, 5))
    unit = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(7) for j in range(i)]
    assert np.isclose(redundancy(chosen, range(7)).mean_cosine, np.mean(pairs))


def test_nothing_or_one_pick_is_not_redundant():
    for chosen in (np.zeros((0, 3)), np.ones((1, 3))):
        found = redundancy(chosen, range(len(chosen)))
        assert (found.mean_cosine, found.repeats, found.copies, found.near) == (0.0, 0, 0, 0)
    assert redundancy(np.zeros((2, 3)), [0, 1]).copies == 0  # zero vectors are like nothing


def test_a_pool_counts_its_copies_and_near_copies():
    near = np.array([1.0, 0.2]) / np.linalg.norm([1.0, 0.2])
    pool = np.stack([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], near]).astype(np.float32)
    assert pool_redundancy(pool) == {"rows": 4, "copies": 1, "near": 1}
    assert pool_redundancy(pool[:0]) == {"rows": 0, "copies": 0, "near": 0}
