"""Shapes of lag windows that hardly ever occur are found, also of usual values."""

from __future__ import annotations

import numpy as np

from dos.model.telemetry import Float64Array
from dos.testing.detectors import deviations


def saw(count: int, seed: int) -> Float64Array:
    values = np.tile([0.0, 1.0, 3.0, 1.0], count // 4)
    return values + np.random.default_rng(seed).normal(0.0, 0.1, len(values))


def test_usual_values_in_an_unusual_order_are_found() -> None:
    for seed in range(8):
        values = saw(1200, seed)
        values[1000:1004] += [3.0, 0.0, -3.0, 2.0]
        z = deviations("half_space_trees", values)
        assert z[1000:1008].max() > 6


def test_a_pattern_that_stops_is_found() -> None:
    values = saw(1200, 1)
    values[1000:] = 2.0
    assert deviations("half_space_trees", values)[1000:1020].max() > 6


def test_healthy_series_seldom_reach_the_threshold() -> None:
    rng = np.random.default_rng(2)
    values = np.column_stack(
        [*(saw(1600, seed) for seed in range(10)), *rng.normal(100.0, 2.0, (20, 1600))]
    )
    assert (deviations("half_space_trees", values) > 6).mean() < 3e-3


def test_a_new_pattern_becomes_usual_after_two_windows() -> None:
    values = saw(2000, 3)
    values[800:] = values[800:] * 0.5 + 4.0
    z = deviations("half_space_trees", values)
    assert z[800:820].max() > 3
    assert z[1900:].max() < 6


def test_the_seed_makes_the_forest() -> None:
    values = saw(600, 4)
    first = deviations("half_space_trees", values, seed=1)
    assert first.tobytes() == deviations("half_space_trees", values, seed=1).tobytes()
    assert first.tobytes() != deviations("half_space_trees", values, seed=2).tobytes()
