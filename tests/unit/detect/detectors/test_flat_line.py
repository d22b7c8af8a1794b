"""A series that moved and is stuck is found; constants, idle nights and rare errors are not."""

from __future__ import annotations

import numpy as np

from dos.detect.engine import DetectConfig
from dos.testing.detectors import deviations
from tests.unit.detect.watch import TRAFFIC, Watch


def test_a_stuck_value_is_found_after_some_twenty_samples() -> None:
    for seed in range(10):
        values = np.random.default_rng(seed).normal(20.0, 1.0, 500)
        values[400:] = values[399]
        z = deviations("flat_line", values)
        assert z[:402].max() < 6
        assert 10 < np.argmax(z[400:] > 6) < 30


def test_healthy_series_never_reach_the_threshold() -> None:
    rng = np.random.default_rng(1)
    values = np.round(rng.normal(20.0, 1.0, (2000, 40)), 1)  # measured in tenths: repeats happen
    assert (deviations("flat_line", values) > 6).mean() < 1e-4


def test_a_constant_is_no_anomaly() -> None:
    assert deviations("flat_line", np.full(1000, 3.0)).max() == 0.0


def test_errors_that_are_zero_most_of_the_time_are_none() -> None:
    rng = np.random.default_rng(2)
    values = np.where(rng.random((3000, 20)) < 0.03, rng.random((3000, 20)), 0.0)
    assert (deviations("flat_line", values) > 6).mean() < 1e-3


def test_idle_nights_are_known_after_some_days() -> None:
    rng = np.random.default_rng(3)
    day = np.where(np.arange(288) < 84, 0.0, 1.0)
    values = np.tile(day, 12) * rng.normal(50.0, 5.0, 12 * 288)
    z = deviations("flat_line", values[84:])  # from the first morning on
    assert z[:288].max() > 6
    assert z[9 * 288 :].max() < 6


def test_a_value_that_jumps_back_and_forth_is_not_stuck() -> None:
    values = np.random.default_rng(4).normal(20.0, 1.0, 500)
    values[400:] = np.where(np.arange(100) % 2, 5.0, 6.0)
    assert deviations("flat_line", values).max() < 6


def test_it_is_an_anomaly_for_an_engine_that_learns_how_far_samples_stray() -> None:
    """What grows slowly would take the threshold along."""
    rng = np.random.default_rng(5)
    watch = Watch(TRAFFIC, config=DetectConfig(detector="flat_line"))
    watch.feed(rng.normal(100.0, 5.0, 400))
    found = watch.feed(np.full(40, 100.0))
    assert [one.started for one in found][:1] == [True]
