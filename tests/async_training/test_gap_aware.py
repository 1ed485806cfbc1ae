"""Gap-Aware: the penalty, and what it does to its base."""

from __future__ import annotations

import pytest
import torch
from async_training.problems import Drive, master, quadratic, random_order, round_robin, start

from ttft.async_training.baselines import Asgd, MultiAsgd, NagAsgd
from ttft.async_training.dana import DanaZero
from ttft.async_training.delay_compensation import LagDivision
from ttft.async_training.gap_aware import GapAware, GapPenalty, share_left
from ttft.async_training.momentum import Stale

ONES = torch.ones(4, dtype=torch.float64)


def penalty(*args) -> torch.Tensor:
    return 1 / share_left(*args)


@pytest.mark.parametrize("base", ["sgd", "adam"])
@pytest.mark.parametrize("kind", [Asgd, NagAsgd, MultiAsgd, DanaZero])
def test_without_a_gap_it_is_its_base_bit_for_bit(kind, base: str) -> None:
    ends = []
    for correction in (None, GapPenalty()):
        drive = Drive(kind(start(), 0.02, base=base, correction=correction), quadratic(), 1)
        drive.run([0] * 200)
        ends.append(torch.stack(drive.views))
    assert torch.equal(*ends)


def test_without_momentum_and_one_worker_it_is_sgd() -> None:
    ga, sgd = (
        Drive(GapAware(start(), 0.02, momentum=0.0), quadratic(), 1),
        Drive(master("asgd", lr=0.02), quadratic(), 1),
    )
    ga.run([0] * 100)
    sgd.run([0] * 100)
    assert torch.equal(torch.stack(ga.views), torch.stack(sgd.views))


def test_the_penalty_shrinks_gradients_and_keeps_signs() -> None:
    generator = torch.Generator().manual_seed(0)
    gap, q, g = (torch.randn(1000, generator=generator, dtype=torch.float64) for _ in range(3))
    p = penalty(gap.clone(), q.square(), 0.5, 0.1, 1e-8)
    assert bool((p >= 1).all()) and bool(((g / p).abs() <= g.abs()).all()) and torch.equal((g / p).sign(), g.sign())


def test_the_penalty_is_linear_in_the_gap() -> None:
    gap, q = torch.tensor([0.3, -0.1, 0.0, 2.0], dtype=torch.float64), ONES * 4
    one, three = penalty(gap.clone(), q, 1.0, 0.1, 1e-8), penalty(3 * gap, q, 1.0, 0.1, 1e-8)
    assert torch.allclose(three - 1, 3 * (one - 1)) and one[2] == 1


def test_after_a_drop_of_the_rate_stale_gradients_count_for_more() -> None:
    gap, q = ONES * 0.5, ONES
    assert torch.allclose(penalty(gap / 10, q, 1.0, 0.1, 1e-8) - 1, (penalty(gap.clone(), q, 1.0, 0.1, 1e-8) - 1) / 10)
    state = GapPenalty().start(ONES)
    for lr in (0.01, 0.1, 0.001):
        GapPenalty().arrival(state, Stale(0, 0, lr, 0, 0.9, ONES))
    assert state.lr_max == 0.1


def test_the_first_arrival_has_no_scale_yet() -> None:
    for gap, expected in ((0.0, 1.0), (0.5, 0.0)):
        rule = GapPenalty()
        correct = rule.arrival(rule.start(ONES), Stale(0, 0, 0.1, 0, 0.9, ONES))
        g = correct(slice(None), ONES.clone(), gap * ONES, torch.zeros_like(ONES))
        assert torch.allclose(g, expected * ONES, atol=1e-6) and bool(torch.isfinite(g).all())


def test_the_scale_is_that_of_a_step() -> None:
    """With a constant momentum, |gap| = C is a penalty of 2 from the first arrival on, and for any rate inside v."""
    rule, lr = GapPenalty(), 0.25
    state = rule.start(ONES)
    state.masses[0], state.rates[0] = 1.9, 1.9 * lr
    v = 3.0 * lr * ONES
    for n in range(3):
        g = rule.arrival(state, Stale(0, 0, lr, 0, 0.9, ONES))(slice(None), ONES, lr * (3.0 + 1e-8) * ONES, v)
        assert torch.allclose(g, ONES / 2, rtol=1e-12, atol=0), n


def test_momentum_is_measured_in_gradients_across_a_drop_of_the_rate() -> None:
    """v / its mean rate stays that of the gradients when the rate falls tenfold, for a constant gradient."""
    rule, v, mass = GapPenalty(), torch.zeros_like(ONES), 0.0
    state = rule.start(ONES)
    for lr in [0.1] * 30 + [0.01] * 30:
        rule.arrival(state, Stale(0, 0, lr, 0, 0.9, ONES))
        v, mass = 0.9 * v + lr * 2 * ONES, 0.9 * mass + 1
        assert torch.allclose(v * state.masses[0] / state.rates[0], 2 * mass * ONES)


def test_it_looks_at_the_gap_and_staleness_awareness_at_the_lag() -> None:
    def factors(gap: float, lag: int) -> tuple[float, float]:
        stale = Stale(0, 0, 0.1, lag, 0.9, ONES)
        out = []
        for rule in (GapPenalty(), LagDivision()):
            correct = rule.arrival(rule.start(ONES), stale)
            out.append(float(correct(slice(None), ONES.clone(), gap * ONES, ONES.clone())[0]))
        return out[0], out[1]

    (small, lag4), (large, lag4_too), (small_too, lag9) = factors(0.01, 4), factors(0.1, 4), factors(0.01, 9)
    assert lag4 == lag4_too == 1 / 4 and lag9 == pytest.approx(1 / 9)
    assert small == small_too != large


@pytest.mark.parametrize("kind", [NagAsgd, DanaZero])
def test_with_an_endless_scale_it_is_its_base(kind) -> None:
    ends = []
    for correction in (None, GapPenalty(eps=1e300)):
        drive = Drive(kind(start(), 0.02, correction=correction), quadratic(), 6)
        drive.run(random_order(6, 200))
        ends.append(torch.stack(drive.views))
    assert torch.equal(*ends)


def test_it_tames_what_breaks_shared_momentum() -> None:
    ends = {}
    for name in ("nag-asgd", "multi-asgd", "dana", "ga", "dana-ga"):
        drive = Drive(master(name, lr=0.05), quadratic(noise=0.1), 16)
        drive.run(round_robin(16, 40))
        ends[name] = float(drive.master.theta.norm())
    assert ends["ga"] < 1 and ends["dana-ga"] < 1 < ends["dana"] < ends["multi-asgd"] < ends["nag-asgd"] / 1000
