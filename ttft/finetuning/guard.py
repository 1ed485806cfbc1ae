"""First, do no harm: how much of an update to keep, by what it does to text that is known.

An update made of retrieved texts helps most prompts and harms some. In suffix scoring the prefix is known: its
likelihood under the tuned model, against that under the base, is evidence for what the update will do to the suffix.
`--guard` weighs two candidates, all of the update (scale 1) and none (scale 0); `--mix` also tries parts of the update
(scales between them). Ours, not a paper's; PonderTTT (arXiv 2601.00894) gates updates by a loss in a like way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

GUARD = (0.0, 1.0)
MIX = (0.0, 0.25, 0.5, 0.75, 1.0)


def choose_scale(nats: Mapping[float, float], margin: float = 0.0) -> float:
    """The scale whose known text costs fewest nats; 0 unless that is less than (1 - margin) of the base's nats.

    nats    by scale, of the same known text; 0 must be among them. Of equals the smaller scale is taken
    margin  share of the base's nats that the update must save. Nats that are not finite are never chosen
    """
    finite = {scale: value for scale, value in nats.items() if math.isfinite(value)}
    best = min(sorted(finite), key=finite.__getitem__, default=0.0)
    return best if finite.get(best, math.inf) < (1.0 - margin) * nats[0.0] else 0.0
