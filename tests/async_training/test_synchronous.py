"""Synchronous and local training against torch's optimizers on the mean gradient."""

from __future__ import annotations

import pytest
import torch
from async_training.problems import Drive, K, master, quadratic, random_order, round_robin, start

from ttft.async_training import Inner
from ttft.async_training.local_sgd import AsyncDiLoCo, DiLoCo
from ttft.async_training.synchronous import Ssgd, SyncAdamW


def torch_rounds(optimizer: type[torch.optim.Optimizer], workers: int, rounds: int, **options) -> torch.Tensor:
    """The parameters after some steps of a torch optimizer on the mean of the workers' gradients."""
    gradient, theta = quadratic(), torch.nn.Parameter(start())
    steps = optimizer([theta], **options)
    for number in range(rounds):
        gradients = [gradient(theta.detach(), worker, number)[0] for worker in range(workers)]
        theta.grad = torch.stack(gradients).mean(0)
        steps.step()
    return theta.detach()


@pytest.mark.parametrize("workers", [1, 3])
def test_ssgd_is_torch_sgd_on_the_mean(workers: int) -> None:
    drive = Drive(Ssgd(start(), 0.05, weight_decay=0.01), quadratic(), workers)
    drive.run(round_robin(workers, 50))
    expected = torch_rounds(
        torch.optim.SGD, workers, 50, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01
    )  # fmt: skip
    assert drive.master.updates == 50 and torch.allclose(drive.master.theta, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("workers", [1, 3])
def test_adamw_is_torch_adamw_on_the_mean(workers: int) -> None:
    drive = Drive(SyncAdamW(start(), 0.05, weight_decay=0.01), quadratic(), workers)
    drive.run(round_robin(workers, 50))
    expected = torch_rounds(torch.optim.AdamW, workers, 50, lr=0.05, weight_decay=0.01)
    assert torch.allclose(drive.master.theta, expected, rtol=0, atol=1e-12)


def test_one_inner_sgd_step_and_outer_sgd_is_synchronous_sgd() -> None:
    local = Drive(DiLoCo(start(), 1.0, inner=Inner(0.05, 1, "sgd"), momentum=0.0), quadratic(), 4)
    plain = Drive(Ssgd(start(), 0.05, momentum=0.0), quadratic(), 4)
    for drive in (local, plain):
        drive.run(round_robin(4, 50))
    assert torch.allclose(local.master.theta, plain.master.theta, rtol=0, atol=1e-12)


def test_inner_steps_are_torch_adamw_and_its_state_lasts_over_rounds() -> None:
    """One worker and outer SGD(1.0): the rounds join to one run of AdamW."""
    drive = Drive(DiLoCo(start(), 1.0, inner=Inner(0.02, 5), momentum=0.0), quadratic(), 1)
    drive.run([0] * 10)
    expected = torch_rounds(torch.optim.AdamW, 1, 50, lr=0.02, weight_decay=0.0)
    assert torch.allclose(drive.master.theta, expected, rtol=0, atol=1e-12)


def test_asynchronous_differences_without_momentum_are_asgd() -> None:
    local = Drive(AsyncDiLoCo(start(), 1.0, inner=Inner(0.08, 1, "sgd"), momentum=0.0, every=4), quadratic(), 4)
    plain = Drive(master("asgd", lr=0.02), quadratic(), 4)
    order = random_order(4, 200)
    for drive in (local, plain):
        drive.run(order)
    assert torch.allclose(torch.stack(local.views), torch.stack(plain.views), rtol=0, atol=1e-12)


def test_the_delayed_momentum_takes_up_every_difference_once() -> None:
    kept = AsyncDiLoCo(start(), 0.5, inner=Inner(0.1), momentum=0.9, every=2)
    kept.join(0)
    one = torch.ones(K, dtype=torch.float64)
    m = torch.zeros_like(one)
    theta = start()
    for n, size in enumerate((1.0, 3.0, 2.0, 4.0)):
        kept.view(0)
        kept.receive(0, size * one)
        if n % 2:
            m = 0.9 * m + (2.0 if n == 1 else 3.0) * one
            theta = theta - 0.5 * 0.9 * m
        theta = theta - 0.5 * size / 2 * one
        assert torch.allclose(kept.theta, theta)


def test_the_result_of_a_round_does_not_depend_on_the_order_of_arrivals() -> None:
    ends = []
    for order in ([0, 1, 2], [2, 0, 1]):
        drive = Drive(master("ssgd", dtype=torch.float32), quadratic(dtype=torch.float32), 3)
        for _ in range(20):
            drive.run(order)
        ends.append(drive.master.theta)
    assert torch.equal(*ends)


def test_workers_that_come_and_go_do_not_hold_up_a_round() -> None:
    drive = Drive(master("ssgd"), quadratic(), 3)
    drive.run([0, 1])
    assert drive.master.updates == 0 and drive.master.idle() == []
    drive.master.forget(2)  # the round of the other two is complete
    drive.hand_out()
    assert drive.master.updates == 1
    drive.run([0])
    drive.join(7)  # takes part in the round under way
    drive.run([1])
    assert drive.master.updates == 1
    drive.run([7])
    assert drive.master.updates == 2
    drive.run([0])
    drive.master.forget(0)  # and takes its gradient along
    drive.hand_out()
    drive.run([1, 7])
    assert drive.master.updates == 3 and 0 not in drive.master.state.pending
