"""The lambda of a pool against the eigenvalues of its centred similarity matrix."""

from __future__ import annotations

import numpy as np
import pytest
from selection.pools import random_pool

from ttft.selection.noise import SMALLEST, spectral_lambda


def test_it_is_the_sum_of_the_centred_eigenvalues_over_the_size_of_the_pool():
    for seed in range(40):
        pool = random_pool(seed)[0]
        centre = np.eye(len(pool)) - 1 / len(pool)
        eigenvalues = np.linalg.eigvalsh(centre @ pool @ pool.T @ centre)
        assert spectral_lambda(pool) == pytest.approx(max(SMALLEST, eigenvalues.sum() / len(pool)), abs=1e-12)


def test_it_is_the_mean_square_distance_to_the_mean():
    assert spectral_lambda(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(0.5)
    assert spectral_lambda(np.array([[3.0, 4.0], [3.0, 0.0], [3.0, 2.0]])) == pytest.approx(8 / 3)


def test_a_pool_repeated_has_the_same_lambda():
    pool = random_pool(3)[0]
    assert spectral_lambda(np.vstack([pool] * 5)) == pytest.approx(spectral_lambda(pool), abs=1e-12)


def test_texts_that_are_alike_ask_for_a_smaller_lambda():
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=16), rng.normal(size=(50, 16))
    alike = [spectral_lambda(shared + share * own) for share in (1.0, 0.3, 0.1)]
    assert alike[0] > alike[1] > alike[2] > SMALLEST
    assert alike[1] == pytest.approx(0.09 * alike[0])


def test_copies_one_text_or_none_have_the_smallest():
    for pool in (np.zeros((0, 4)), np.ones((1, 4)), np.ones((7, 4)), np.zeros((7, 4))):
        assert spectral_lambda(pool) == SMALLEST
    x = np.random.default_rng(0).normal(size=384)
    for k in range(1, 40):
        assert spectral_lambda(np.repeat(x[None] / np.linalg.norm(x), k, axis=0)) == SMALLEST


def test_half_precision_is_computed_in_float64_and_left_as_it_is():
    pool = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float16)
    before = pool.copy()
    assert spectral_lambda(pool) == spectral_lambda(pool.astype(np.float64))
    assert isinstance(spectral_lambda(pool), float) and np.array_equal(pool, before)
