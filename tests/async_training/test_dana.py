"""DANA and the baselines: the identities that define them."""

from __future__ import annotations

import pytest
import torch
from async_training.problems import WITH_MOMENTUM, Drive, K, master, quadratic, random_order, round_robin, start

from ttft.async_training import Schedule
from ttft.async_training.dana import DanaZero
from ttft.async_training.momentum import REFRESH

SCHEDULE = Schedule(0.05, warmup=20, workers=8, milestones=(60, 90))


def nag(steps: int, lr=lambda t: 0.05, gamma: float = 0.9) -> list[torch.Tensor]:
    """The views of Nesterov's method, the rate inside the momentum."""
    gradient, theta, v = quadratic(), start(), torch.zeros(K, dtype=torch.float64)
    views = []
    for t in range(steps):
        views.append(torch.sub(theta, v, alpha=gamma))
        g, _ = gradient(views[-1], 0, t)
        v = (gamma * v).add(g, alpha=lr(t))
        theta = theta - v
    return views


@pytest.mark.parametrize("name", WITH_MOMENTUM)
def test_one_worker_is_nesterov_bit_for_bit(name: str) -> None:
    drive = Drive(master(name, lr=SCHEDULE), quadratic(), 1)
    drive.run([0] * 300)
    for ours, reference in zip(drive.views, nag(300, SCHEDULE), strict=False):
        assert torch.equal(ours, reference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slim_with_one_worker_is_torch_sgd(dtype: torch.dtype) -> None:
    gradient = quadratic(dtype=dtype)
    drive = Drive(master("dana-slim", dtype=dtype, weight_decay=0.01), gradient, 1)
    theta = torch.nn.Parameter(start(dtype=dtype))
    sgd = torch.optim.SGD([theta], lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)
    for t in range(200):
        assert torch.allclose(drive.views[-1], theta.detach(), rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-5)
        theta.grad, _ = gradient(theta.detach(), 0, t)
        sgd.step()
        drive.arrive(0)


@pytest.mark.parametrize("lr", [0.02, SCHEDULE], ids=["constant", "schedule"])
@pytest.mark.parametrize("workers", [1, 4, 16])
def test_slim_is_zero_under_any_order_of_arrivals(workers: int, lr) -> None:
    for seed in range(3):
        order = random_order(workers, 400, seed)
        zero, slim = (
            Drive(master(name, lr=lr, weight_decay=1e-3), quadratic(), workers) for name in ("dana", "dana-slim")
        )
        zero.run(order)
        slim.run(order)
        assert max(float((a - b).abs().max()) for a, b in zip(zero.views, slim.views, strict=True)) < 1e-12


@pytest.mark.parametrize("workers", [2, 5, 16])
def test_with_turns_the_pre_gap_holds_no_momentum(workers: int) -> None:
    lr, zero = 0.02, master("dana", lr=0.02)
    drive = Drive(zero, quadratic(), workers)
    latest: dict[int, torch.Tensor] = {}
    for n, worker in enumerate(round_robin(workers, 8)):
        g, _ = drive.gradient(drive.held[worker], worker, drive.numbers[worker])
        if n >= 2 * workers:
            pre = zero.theta - 0.9 * zero.state.momenta[worker] - drive.held[worker]
            others = sum(latest[other] for other in range(workers) if other != worker)
            assert torch.allclose(pre, -lr * others, rtol=0, atol=1e-13)
        assert drive.arrive(worker).lag == (workers - 1 if n >= workers else worker)
        latest[worker] = g


def test_without_momentum_all_are_sgd() -> None:
    order = random_order(6, 300)
    views = {}
    for name in ["nag-asgd", "multi-asgd", "lwp", "dana", "dana-slim"]:
        drive = Drive(master(name, momentum=0.0), quadratic(), 6)
        drive.run(order)
        views[name] = torch.stack(drive.views)
    plain = Drive(master("asgd"), quadratic(), 6)
    plain.run(order)
    for name, seen in views.items():
        assert torch.allclose(seen, torch.stack(plain.views), rtol=0, atol=1e-13), name


@pytest.mark.parametrize(("name", "base"), [("dc-asgd", "nag-asgd"), ("dc-asgd-a", "nag-asgd"), ("dana-dc", "dana")])
def test_compensation_of_strength_zero_is_its_base(name: str, base: str) -> None:
    order = random_order(6, 200)
    drives = [Drive(master(name, lambda_=0.0), quadratic(), 6), Drive(master(base), quadratic(), 6)]
    for drive in drives:
        drive.run(order)
    assert torch.equal(*(torch.stack(drive.views) for drive in drives))


def test_multi_differs_from_dana_in_the_view_only() -> None:
    given = [torch.randn(K, dtype=torch.float64) for _ in range(50)]
    thetas, views = [], []
    for name in ("multi-asgd", "dana"):
        kept = master(name)
        drive = Drive(kept, quadratic(), 4)
        for g, worker in zip(given, random_order(4, 50), strict=True):
            kept.receive(worker, g)
            drive.hand_out()
        thetas.append(kept.theta)
        views.append(drive.views[-1])
    assert torch.equal(*thetas) and not torch.allclose(*views)


def test_gap_of_shared_momentum_under_a_constant_gradient() -> None:
    gaps = {}
    for name in ("asgd", "nag-asgd"):
        drive = Drive(master(name, gaps=True), lambda theta, worker, number: (torch.ones_like(theta), 0.0), 8)
        last = drive.run(round_robin(8, 60))[-1]
        gaps[name] = last.pre_gap
    assert gaps["asgd"] == pytest.approx(7 * 0.05)
    assert gaps["nag-asgd"] / gaps["asgd"] == pytest.approx(10, rel=0.01)


def test_gaps_are_what_they_say() -> None:
    kept = master("dana", gaps=True)
    drive = Drive(kept, quadratic(), 4)
    for worker in random_order(4, 60):
        sent, theta = drive.held[worker], kept.theta.clone()
        v = kept.state.momenta.get(worker, torch.zeros(K, dtype=torch.float64)).clone()
        got = drive.arrive(worker)
        assert got.raw_gap == pytest.approx(float((theta - sent).square().mean().sqrt()))
        assert got.pre_gap == pytest.approx(float((theta - 0.9 * v - sent).square().mean().sqrt()), abs=1e-15)


def test_the_sum_of_the_momenta_does_not_drift() -> None:
    kept = master("dana", dtype=torch.float32)
    drive = Drive(kept, quadratic(dtype=torch.float32), 5)
    drive.run(random_order(5, 3 * REFRESH - 1))
    exact = sum(v.double() for v in kept.state.momenta.values())
    assert torch.allclose(kept.state.total.double(), exact, rtol=0, atol=2e-5 * float(exact.abs().max()))
    drive.arrive(0)
    exact = sum(v.double() for v in kept.state.momenta.values())
    assert torch.allclose(kept.state.total.double(), exact, rtol=0, atol=1e-6 * float(exact.abs().max()))


def test_long_vectors_are_treated_in_blocks_and_give_the_same(monkeypatch) -> None:
    from ttft.async_training import master as module

    order, views = random_order(3, 40), []
    for size in (5, 1 << 16):
        monkeypatch.setattr(module, "BLOCK", size)
        drive = Drive(master("dana-ga", gaps=True), quadratic(), 3)
        gaps = [got.raw_gap for got in drive.run(order)]
        views.append((torch.stack(drive.views), gaps))
    assert torch.allclose(views[0][0], views[1][0], rtol=0, atol=1e-14)
    assert views[0][1] == pytest.approx(views[1][1])


def test_the_preconditioner_makes_the_step_independent_of_the_gradients_scale() -> None:
    ends = []
    for scale in (1.0, 1e4):
        gradient = quadratic()
        drive = Drive(
            master("dana", base="adam", lr=0.01), lambda th, w, n, s=scale, g=gradient: (s * g(th, w, n)[0], 0.0), 4
        )
        drive.run(random_order(4, 300))
        ends.append(drive.master.theta)
    assert torch.allclose(*ends, rtol=1e-4, atol=1e-6)


def test_decay_with_the_preconditioner_is_not_divided() -> None:
    kept = DanaZero(start(), 0.01, base="adam", weight_decay=0.1)
    drive = Drive(kept, lambda theta, worker, number: (torch.zeros_like(theta), 0.0), 1)
    drive.arrive(0)
    assert torch.allclose(kept.theta, start() * (1 - 0.01 * 0.1 * (1 - 0.9)))  # the momentum lets it in by and by
