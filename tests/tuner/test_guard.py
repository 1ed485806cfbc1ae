"""How much of an update to keep, by the nats of known text under each scale."""

from __future__ import annotations

import math
import random

import pytest

from ttft.tuner.guard import GUARD, MIX, choose_scale


def test_the_cheapest_scale_wins_and_ties_go_to_the_smaller():
    assert choose_scale({0.0: 10.0, 1.0: 9.0}) == 1.0 and choose_scale({0.0: 10.0, 1.0: 11.0}) == 0.0
    assert choose_scale({0.0: 10.0, 1.0: 10.0}) == 0.0
    assert choose_scale({0.0: 10.0, 0.5: 9.0, 1.0: 9.0}) == 0.5


def test_a_margin_asks_for_more():
    nats = {0.0: 100.0, 0.5: 98.0, 1.0: 99.0}
    assert choose_scale(nats, 0.01) == 0.5 and choose_scale(nats, 0.02) == 0.0 and choose_scale(nats, 0.5) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_never_chosen(bad):
    assert choose_scale({0.0: 10.0, 0.5: bad, 1.0: 9.0}) == 1.0
    assert choose_scale({0.0: 10.0, 1.0: bad}) == 0.0


def test_never_worse_on_the_known_text_than_the_base_or_the_update():
    rng = random.Random(0)
    for scales in (GUARD, MIX):
        for _ in range(100):
            nats = {scale: rng.uniform(90, 110) for scale in scales}
            assert nats[choose_scale(nats)] == min(nats.values())
