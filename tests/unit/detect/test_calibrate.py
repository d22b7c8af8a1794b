"""Claims about rarity can be checked."""

from __future__ import annotations

import numpy as np

from dos.detect.calibrate import reliability


def test_true_claims_are_inside_their_interval_and_false_ones_are_not() -> None:
    honest = np.random.default_rng(2).uniform(size=50_000)
    for one in reliability(honest, (0.1, 0.01, 0.001)):
        assert one.lower < one.claimed < one.upper
        assert one.samples == 50_000
    for one in reliability(honest**2, (0.1, 0.01)):
        assert one.lower > one.claimed, "said to be rarer than it is"


def test_nothing_said_is_nothing_checked() -> None:
    (one,) = reliability(np.full(5, np.nan), (0.1,))
    assert (one.samples, one.lower, one.upper) == (0, 0.0, 1.0)
    (none,) = reliability(np.ones(100), (0.01,))
    assert none.seen == 0.0 < none.upper < 0.05
