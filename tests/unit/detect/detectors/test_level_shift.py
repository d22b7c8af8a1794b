"""Level shifts are found within the recent window; spikes, slopes and days are none."""

from __future__ import annotations

import numpy as np
import pytest

from dos.kit.clock import HOUR, MINUTE
from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from dos.testing.detectors import ROOM, Stream, deviations

PLAIN = SeriesSpec(entity=EntityId("checkout"), metric="anything")


def noise(count: int, seed: int, spread: float = 2.0) -> Float64Array:
    return np.random.default_rng(seed).normal(100.0, spread, count)


@pytest.mark.parametrize("size", [-15.0, 15.0])
def test_a_shift_is_found_when_it_fills_half_the_recent_window(size: float) -> None:
    found = []
    for seed in range(20):
        values = noise(400, seed)
        values[300:] += size
        z = np.sign(size) * deviations("level_shift", values)
        assert z[:303].max() < 6
        found.append(int(np.argmax(z[300:] > 6)))
    assert np.median(found) <= 5
    assert max(found) <= 8


def test_healthy_series_hardly_ever_reach_the_threshold() -> None:
    values = np.column_stack([noise(1500, seed) for seed in range(40)])
    z = np.abs(deviations("level_shift", values))
    assert (z > 6).mean() < 1e-4


def test_neither_spikes_nor_dropouts_count() -> None:
    values = noise(600, 1)
    values[200::40] += 80.0
    values[220:222] = 0.0
    assert np.abs(deviations("level_shift", values)).max() < 6


def test_the_slopes_of_days_that_are_known_do_not_count() -> None:
    day = 288
    hours = np.arange(6 * day) / day
    values = 100 + 60 * np.sin(2 * np.pi * hours) + noise(len(hours), 3) - 100
    z = np.abs(deviations("level_shift", values, step=300))
    assert (z[2 * day :] > 6).mean() < 0.002


def test_the_level_before_an_incident_is_remembered_until_it_is_over() -> None:
    values = noise(600, 4)
    values[300:500] += 30.0
    z = deviations("level_shift", values)
    assert z[306:500].min() > 6
    assert np.abs(z[510:]).max() < 6


def test_after_a_long_gap_the_series_begins_anew() -> None:
    plugin = load(ROOM, "level_shift")
    stream = Stream(plugin.build(plugin.config()), [PLAIN])
    for value in noise(200, 5):
        stream.feed(value)
    scored = stream.feed(200.0, passed=9 * HOUR)
    assert not scored.ready[0]
    for value in noise(100, 6) + 100:
        scored = stream.feed(value, passed=MINUTE)
        assert not scored.ready[0] or abs(scored.deviation[0]) < 6


def test_the_band_is_in_the_unit_of_the_series() -> None:
    spec = SeriesSpec(
        entity=EntityId("checkout"), metric="latency", role=Role.LATENCY, unit="seconds"
    )
    plugin = load(ROOM, "level_shift")
    stream = Stream(plugin.build(plugin.config()), [spec])
    rng = np.random.default_rng(7)
    for _ in range(200):
        scored = stream.feed(0.2 * np.exp(0.05 * rng.standard_normal()))
    row = np.zeros(1, np.int32)
    unit = stream.detector.to_unit(stream.columns, row, scored.expected)
    assert unit[0] == pytest.approx(0.2, rel=0.05)
