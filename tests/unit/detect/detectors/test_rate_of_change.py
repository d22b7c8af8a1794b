"""Ramps that are steeper than usual are found while they last, at any spacing of samples."""

from __future__ import annotations

import numpy as np
import pytest

from dos.kit.clock import SECOND
from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, SeriesSpec
from dos.testing.detectors import ROOM, Stream, deviations


def noise(count: int, seed: int) -> Float64Array:
    return np.random.default_rng(seed).normal(500.0, 1.0, count)


@pytest.mark.parametrize("slope", [-4.0, 4.0])
def test_a_steep_ramp_is_found_while_it_climbs(slope: float) -> None:
    for seed in range(10):
        values = noise(400, seed)
        values[300:330] += slope * np.arange(30)
        values[330:] += slope * 30
        z = np.sign(slope) * deviations("rate_of_change", values)
        assert np.abs(z[:300]).max() < 6
        assert z[300:330].max() > 6
        assert np.abs(z[340:]).max() < 6


def test_healthy_series_hardly_ever_reach_the_threshold() -> None:
    values = np.column_stack([noise(1500, seed) for seed in range(40)])
    assert (np.abs(deviations("rate_of_change", values)) > 6).mean() < 1e-4


def test_a_steady_climb_is_usual() -> None:
    values = noise(600, 1) + 10.0 * np.arange(600)
    assert np.abs(deviations("rate_of_change", values)).max() < 6


def test_what_counts_is_the_rate_and_not_the_step() -> None:
    """Twice the time between samples, twice the step: the same rate."""
    plugin = load(ROOM, "rate_of_change")
    spec = SeriesSpec(entity=EntityId("a"), metric="m")
    stream = Stream(plugin.build(plugin.config(points=2)), [spec])
    rng = np.random.default_rng(2)
    value, worst = 0.0, 0.0
    for count in range(400):
        passed = 60 if count % 3 else 120
        value += passed * rng.normal(0.0, 0.05) - 0.05 * value
        scored = stream.feed(value, passed=passed * SECOND)
        worst = max(worst, abs(scored.deviation[0]) if scored.ready[0] else 0.0)
    assert worst < 6
    assert stream.feed(value + 60.0, passed=60 * SECOND).deviation[0] > 6


def test_the_band_is_where_the_slope_would_be_usual() -> None:
    plugin = load(ROOM, "rate_of_change")
    stream = Stream(plugin.build(plugin.config()), [SeriesSpec(entity=EntityId("a"), metric="m")])
    for value in noise(300, 3):
        stream.feed(value)
    scored = stream.feed(560.0)
    assert scored.expected[0] == pytest.approx(500.0, abs=3.0)
    z = (560.0 - scored.expected[0]) / scored.sigma[0]
    assert scored.deviation[0] == pytest.approx(z, rel=1e-6)


def test_a_second_sample_of_one_time_is_not_judged_as_a_jump() -> None:
    plugin = load(ROOM, "rate_of_change")
    stream = Stream(plugin.build(plugin.config()), [SeriesSpec(entity=EntityId("a"), metric="m")])
    for value in noise(100, 4):
        stream.feed(value)
    assert not stream.feed(900.0, passed=0).ready[0]
    assert not stream.feed(900.0, passed=-60 * SECOND).ready[0]
