"""Who has stopped reporting is found once; who reports seldom, or ends with its replica, is not."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from dos.detect.columns import Columns
from dos.kit.clock import HOUR, MINUTE, SECOND
from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.model.telemetry import SeriesSpec
from dos.testing.detectors import ROOM, Stream, deviations


def stream(count: int, step: float = 15.0, **keys: object) -> Stream:
    specs = [SeriesSpec(entity=EntityId(f"service-{i}"), metric="rps") for i in range(count)]
    plugin = load(ROOM, "missing_data")
    return Stream(plugin.build(plugin.config.model_validate(keys)), specs, step=step)


def overdue(one: Stream, later: int = 0) -> list[int]:
    found = one.detector.overdue(one.columns, one.now + later)  # type: ignore[attr-defined]
    return cast(list[int], found.row.tolist())


def test_a_series_that_stops_is_found_once_after_a_few_intervals() -> None:
    fleet = stream(3)
    for _ in range(100):
        fleet.feed([1.0, 1.0, 1.0])
        assert overdue(fleet) == []
    told = []
    for tick in range(100):
        fleet.feed([1.0, np.nan, 1.0])
        told += [(tick, row) for row in overdue(fleet)]
    assert len(told) == 1
    assert told[0][1] == 1
    assert 3 <= told[0][0] <= 7


def test_it_is_told_when_the_sample_was_to_be_expected() -> None:
    fleet = stream(2)
    for _ in range(100):
        fleet.feed([1.0, 1.0])
    last = fleet.now
    for _ in range(10):
        fleet.feed([1.0, np.nan])
    found = fleet.detector.overdue(fleet.columns, fleet.now)  # type: ignore[attr-defined]
    assert found.since[0] == pytest.approx(last + 15 * SECOND, abs=SECOND)
    assert found.deviation[0] > 6


def test_a_series_that_comes_back_can_be_told_again() -> None:
    fleet = stream(2)
    for _ in range(100):
        fleet.feed([1.0, 1.0])
    told = 0
    for _ in range(2):
        for _ in range(20):
            fleet.feed([1.0, np.nan])
            told += len(overdue(fleet))
        for _ in range(200):
            fleet.feed([1.0, 1.0])
            told += len(overdue(fleet))
    assert told == 2


def test_a_series_that_reports_seldom_is_not_overdue() -> None:
    fleet = stream(2)
    for tick in range(2000):
        fleet.feed([1.0, 1.0 if tick % 20 == 0 else np.nan])
        assert overdue(fleet) == []


def test_irregular_reports_widen_what_is_usual() -> None:
    rng = np.random.default_rng(1)
    fleet = stream(2)
    told = 0
    for _ in range(4000):
        fleet.feed([1.0, 1.0 if rng.random() < 0.4 else np.nan])
        told += len(overdue(fleet))
    assert told <= 1


def test_silence_of_everything_is_the_source_and_not_the_services() -> None:
    fleet = stream(3)
    for _ in range(100):
        fleet.feed([1.0] * 3)
    assert overdue(fleet, later=HOUR) == []


def test_many_at_once_are_the_source_too() -> None:
    fleet = stream(100)
    for _ in range(50):
        fleet.feed(np.ones(100))
    told: list[int] = []
    line = np.where(np.arange(100) < 40, np.nan, 1.0)
    for _ in range(60):
        fleet.feed(line)
        told += overdue(fleet)
    assert told == []


def test_replicas_may_come_and_go() -> None:
    specs = [
        SeriesSpec(entity=EntityId("a"), metric="cpu", labels=(("pod", f"a-{i}"),))
        for i in range(3)
    ]
    plugin = load(ROOM, "missing_data")
    fleet = Stream(plugin.build(plugin.config()), specs, step=15)
    for _ in range(100):
        fleet.feed([1.0] * 3)
    for _ in range(50):
        fleet.feed([1.0, 1.0, np.nan])
        assert overdue(fleet) == []


def test_a_late_sample_is_judged_by_its_wait() -> None:
    values = np.ones(300)
    values[200:206] = np.nan
    values[250:270] = np.nan
    z = deviations("missing_data", values)
    assert 6 < z[206] < z[270]
    assert np.delete(z, [206, 270]).max() < 1


def test_what_was_told_survives_a_restart() -> None:
    fleet = stream(2)
    for _ in range(100):
        fleet.feed([1.0, 1.0])
    for _ in range(10):
        fleet.feed([1.0, np.nan])
    assert overdue(fleet) == [1]
    fleet.columns = Columns.load(fleet.detector.layout(), fleet.columns.dump())
    fleet.now += MINUTE
    assert overdue(fleet) == []
