"""The daily shape, and the bounds of what a detector may answer."""

from __future__ import annotations

import numpy as np
import pytest

from dos.detect.engine import DetectConfig
from dos.detect.thresholds import ThresholdConfig
from dos.kit.clock import DAY, HOUR, MINUTE
from dos.kit.plugins import load
from dos.model.telemetry import Float64Array
from tests.unit.detect.watch import LATENCY, MONDAY, TRAFFIC, Watch, noisy

STEP = 5.0 * 60
"""Seconds; 12 samples an hour."""
PER_DAY = 288


def day_of_traffic(seed: int, *, rise: float = 120.0) -> Float64Array:
    """`[time]` a day from midnight on: 40 at night, `rise` more at noon."""
    hour = (np.arange(PER_DAY) + 1) / 12
    shape: Float64Array = 40 + rise * (1 - np.cos(hour / 24 * 2 * np.pi)) / 2
    values: Float64Array = shape * noisy(1.0, PER_DAY, seed=seed, share=0.01)
    return values


def deviations(watch: Watch, values: Float64Array) -> Float64Array:
    """`[time]` |z| of each sample on its way in."""
    out = []
    for value in values:
        watch.feed([value])
        engine = watch.host.states[0].engine
        z = (value - float(engine["expected"][0])) / float(engine["sigma"][0])
        out.append(abs(z))
    known: Float64Array = np.nan_to_num(np.array(out))
    return known


def test_the_second_day_surprises_less_than_the_first() -> None:
    watch = Watch(TRAFFIC, step=STEP)
    first, second, third = (deviations(watch, day_of_traffic(seed)) for seed in (1, 2, 3))
    assert second.mean() < 0.7 * first.mean()
    assert third.mean() < 0.7 * first.mean()
    assert not any(one.started for one in watch.found[1:])


def test_weekends_have_a_shape_of_their_own() -> None:
    watch = Watch(TRAFFIC, step=STEP)
    for day in range(14):
        watch.feed(day_of_traffic(day, rise=120.0 if day % 7 < 5 else 20.0))
    shape = np.asarray(watch.host.states[0].detector["shape"])[0]
    workday, weekend = np.ptp(shape[:24]), np.ptp(shape[24:])
    assert workday == pytest.approx(120, rel=0.25)
    assert weekend < workday / 3


def test_an_hour_with_fewer_than_three_samples_is_not_kept() -> None:
    watch = Watch(TRAFFIC, step=40 * 60)
    watch.feed([100.0] * 40)
    assert not np.asarray(watch.host.states[0].detector["visits"]).any()


def test_the_shape_moves_the_level_over_a_gap() -> None:
    known, fresh = Watch(TRAFFIC, step=STEP), Watch(TRAFFIC, step=STEP)
    for seed in range(3):
        known.feed(day_of_traffic(seed))
    for watch, at in ((known, MONDAY + 3 * DAY), (fresh, MONDAY)):
        watch.now = at
        watch.feed(day_of_traffic(9)[: PER_DAY // 4])  # until 06:00
        watch.now += 5 * HOUR  # nothing is heard until 11:00
    value = day_of_traffic(10)[PER_DAY // 4 + 60]
    known.feed([value])
    assert known.readings.score[0] < 0.2
    fresh.feed([value])
    assert np.isnan(fresh.readings.score[0]), "no jump: nobody knows what was to be expected"
    fresh.feed(np.full(15, value))
    assert fresh.readings.score[0] < 0.2


def test_an_outlier_moves_the_level_by_a_bounded_amount() -> None:
    modest, wild = Watch(TRAFFIC), Watch(TRAFFIC)
    for watch, outlier in ((modest, 200.0), (wild, 1e9)):
        watch.feed(noisy(100.0, 240, seed=2))
        watch.feed([outlier])
    assert modest.host.states[0].detector["level"][0] == wild.host.states[0].detector["level"][0]


def test_a_steady_series_does_not_alarm_at_its_first_wiggle() -> None:
    watch = Watch(LATENCY, TRAFFIC)
    watch.feed([[0.2, 100.0]] * 240)
    assert watch.feed([[0.21, 104.0]] * 20) == []


@pytest.mark.parametrize("half_life", [5, 60])
def test_the_half_life_is_what_it_says(half_life: int) -> None:
    config = DetectConfig(
        parameters={"level_half_life": half_life, "clip": 20.0},
        abnormal_weight=1.0,
        threshold=ThresholdConfig(minimum=100.0),
    )
    watch = Watch(TRAFFIC, config=config, step=1)
    watch.feed([100.0] * 1000, history=True)
    watch.feed([104.0] * half_life)
    assert watch.host.states[0].detector["level"][0] == pytest.approx(102.0, rel=1e-6)


def test_parameters_outside_their_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="warm_up"):
        load("dos.detect.detectors", "seasonal_ewma").config(warm_up=1)


def test_weekdays_are_told_from_weekends_in_utc() -> None:
    watch = Watch(TRAFFIC, step=5 * MINUTE / 1000)
    watch.now = MONDAY + 4 * DAY + 22 * HOUR - 1  # Friday
    watch.feed(np.full(4 * 12 + 1, 100.0))  # until two o'clock on Saturday
    visits = np.asarray(watch.host.states[0].detector["visits"])[0]
    assert np.flatnonzero(visits).tolist() == [22, 23, 24, 25]
