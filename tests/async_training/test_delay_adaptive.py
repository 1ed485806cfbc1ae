"""The delay-adaptive method for convex problems: bounds and invariances."""

from __future__ import annotations

import math

import pytest
import torch
from async_training.problems import Drive, K, quadratic, random_order, round_robin, start

from ttft.async_training import Ball, Box
from ttft.async_training.delay_adaptive import DelayAdaptive

RADIUS = 3.0


def drift_ratios(order: list[int], workers: int, noise: float) -> list[float]:
    drive = Drive(DelayAdaptive(start(), within=RADIUS), quadratic(noise=noise), workers)
    drive.run(order)
    xs, d = drive.views, 2 * RADIUS
    one = [float((xs[t] - xs[t - 1]).norm()) * (t + 2) / (2 * d) for t in range(1, len(xs))]
    far = [
        float((xs[t - 1] - xs[t - 1 - lag]).norm()) * (t - lag + 2) / (2 * d * lag)
        for lag in (1, 5, 20)
        for t in range(lag + 1, len(xs) + 1)
    ]
    return one + far


@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_the_query_points_drift_less_and_less(noise: float) -> None:
    for workers in (1, 9):
        assert max(drift_ratios(random_order(workers, 400), workers, noise)) <= 1


@pytest.mark.parametrize("within", [Ball(0.5), Box(0.2)])
def test_all_points_are_in_the_set(within) -> None:
    kept = DelayAdaptive(start(), within=within)
    drive = Drive(kept, quadratic(noise=10.0), 7)
    for worker in random_order(7, 300):
        drive.arrive(worker)
        for point in (kept.theta, kept.state.w, drive.views[-1]):
            offset = point - start()
            size = float(offset.norm()) if isinstance(within, Ball) else float(offset.abs().max())
            assert size <= within.radius * (1 + 1e-12)


def test_without_delay_the_anytime_bound_holds() -> None:
    """f(x_T) - f* <= sum a_t <g_t, w_t - x*> / A_T <= sqrt(2) D sqrt(S) / A_T, for exact gradients; here x* = 0."""
    kept = DelayAdaptive(start(), within=8.0, scale=1.0)
    drive = Drive(kept, quadratic(noise=0.0), 1)
    linear = 0.0
    for t in range(1, 1001):
        w, x = kept.state.w.clone(), drive.held[0]
        g, loss = drive.gradient(x, 0, 0)
        linear += t * float(g @ w)
        if t in (10, 100, 1000):
            squares = kept.state.squares + (t * float(g.norm())) ** 2
            bound = math.sqrt(2) * 16 * math.sqrt(squares) / kept.state.total
            assert loss <= linear / kept.state.total + 1e-12 <= bound
        drive.arrive(0)


def test_the_incremental_average_is_the_weighted_mean() -> None:
    kept = DelayAdaptive(start(), within=RADIUS)
    drive, ws = Drive(kept, quadratic(), 1), [start()]
    for n in range(1, 200):
        drive.arrive(0)
        ws.append(kept.state.w.clone())
        weights = torch.arange(1, n + 2, dtype=torch.float64)
        mean = (torch.stack(ws) * weights[:, None]).sum(0) / weights.sum()
        assert torch.allclose(kept.theta, mean, rtol=0, atol=1e-12)


def test_the_scale_of_the_loss_does_not_matter() -> None:
    views = []
    for scale in (1.0, 37.0):
        gradient = quadratic()
        drive = Drive(
            DelayAdaptive(start(), within=RADIUS), lambda th, w, n, s=scale, g=gradient: (s * g(th, w, n)[0], 0.0), 6
        )
        drive.run(round_robin(6, 50))
        views.append(torch.stack(drive.views))
    assert torch.allclose(*views, rtol=0, atol=1e-13)


def test_the_weight_is_that_of_the_query() -> None:
    kept = DelayAdaptive(start(), within=100.0, scale=1.0)
    drive = Drive(kept, quadratic(), 3)  # queries 1, 2, 3
    drive.run([0, 0, 0])  # queries 4, 5, 6
    g = torch.ones(K, dtype=torch.float64)
    before, squares = kept.state.w.clone(), kept.state.squares
    kept.receive(1, g)  # of query 2
    squares += 4 * K
    assert kept.state.squares == pytest.approx(squares)
    assert torch.allclose(before - kept.state.w, 200 / math.sqrt(2 * squares) * 2 * g)


def test_a_zero_gradient_moves_nothing() -> None:
    kept = DelayAdaptive(start(), within=1.0)
    Drive(kept, lambda theta, worker, number: (torch.zeros_like(theta), 0.0), 2).run([0, 1, 0])
    assert torch.equal(kept.theta, start()) and bool(torch.isfinite(kept.state.w).all())


def test_projection_onto_a_box_and_a_ball() -> None:
    w, center = torch.tensor([3.0, 0.5]), torch.zeros(2)
    Box(1.0).project(w, center)
    assert w.tolist() == [1.0, 0.5]
    w = torch.tensor([3.0, 4.0])
    Ball(1.0).project(w, center)
    assert w.tolist() == pytest.approx([0.6, 0.8])
    assert Box(1.0).diameter(9) == 6 and Ball(1.0).diameter(9) == 2
