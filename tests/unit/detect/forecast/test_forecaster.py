"""Stories of what fills up, and of what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.detect.forecast.base import ForecastConfig, LimitRule
from dos.detect.forecast.forecaster import Forecaster
from dos.kit.clock import DAY, HOUR, MINUTE, SECOND, Millis
from dos.kit.errors import CorruptDataError
from dos.model.forecast import ForecastKind, ForecastReason, ForecastState
from dos.model.telemetry import MetricBatch
from tests.unit.detect.forecast.watching import START, batch, noise, play, series_of, watching

WARNING, CRITICAL, OVER = ForecastState.WARNING, ForecastState.CRITICAL, ForecastState.OVER


def test_a_filling_disk_is_told_once_becomes_critical_and_is_relieved() -> None:
    forecaster = watching("disk_usage")
    hours = np.arange(0, 60, 1 / 60)
    shares = 0.4 + 0.01 * hours + noise(len(hours), 0.0005)  # full after 60 hours
    told = play(forecaster, shares[: 58 * 60])
    assert [one.state for one in told] == [WARNING, CRITICAL]
    warning, critical = told
    assert warning.id == critical.id
    assert warning.kind is ForecastKind.DISK
    full = START + 60 * HOUR
    assert warning.earliest is not None
    assert warning.latest is not None
    assert warning.earliest <= full <= warning.latest
    assert 20 * HOUR < full - warning.at < 30 * HOUR
    assert full - critical.at < 5 * HOUR
    assert warning.growth == pytest.approx(0.01 / 3600, rel=0.05)
    assert "full in" in warning.title
    assert "1.0" in warning.evidence
    assert "an hour" in warning.evidence

    later = START + 58 * HOUR
    (over,) = play(forecaster, np.full(60, 0.3), start=later)
    assert (over.state, over.reason, over.id) == (OVER, ForecastReason.RELIEVED, warning.id)
    assert over.ended_at is not None
    assert 5 * MINUTE <= over.ended_at - later <= 8 * MINUTE
    assert forecaster.alarms == set()
    assert play(forecaster, np.full(600, 0.3), start=later + HOUR) == []


def test_a_leak_of_minutes_is_told_within_a_minute_or_two() -> None:
    forecaster = watching("memory_usage")
    assert play(forecaster, 0.5 + noise(720, 0.001), step=5.0) == []
    begin = START + HOUR
    seconds = np.arange(0, 240, 5.0)
    told = play(forecaster, 0.5 + 0.5 * seconds / 240.0, step=5.0, start=begin)
    assert told[0].state is CRITICAL
    assert told[0].at - begin < 100 * SECOND
    assert told[0].exhausted_at == pytest.approx(begin + 240 * SECOND, abs=30 * SECOND)


def test_what_reached_its_limit_stays_an_alarm_and_says_so() -> None:
    forecaster = watching("disk_usage")
    play(forecaster, np.full(300, 0.2))
    play(forecaster, np.linspace(0.2, 1.0, 120), start=START + 5 * HOUR)
    play(forecaster, np.full(60, 1.0), start=START + 7 * HOUR)
    (now,) = forecaster.current(Millis(START + 8 * HOUR))
    assert (now.state, now.reason) == (CRITICAL, ForecastReason.EXHAUSTED)
    assert now.exhausted_at == START + 8 * HOUR


def test_a_series_that_falls_silent_ends_its_alarm_and_says_why() -> None:
    forecaster = watching("disk_usage")
    play(forecaster, np.full(300, 0.2))
    told = play(forecaster, np.linspace(0.2, 0.8, 120), start=START + 5 * HOUR)
    assert told[-1].state in {WARNING, CRITICAL}
    ended = [
        one
        for minute in range(60)
        for one in forecaster.tick(Millis(START + 7 * HOUR + minute * MINUTE))
    ]
    assert [(one.state, one.reason) for one in ended] == [(OVER, ForecastReason.SILENT)]


@pytest.mark.parametrize("metric", ["memory_usage", "disk_usage"])
def test_the_cycle_of_the_day_is_learned_and_tells_nothing(metric: str) -> None:
    forecaster = watching(metric)
    hours = np.arange(0, 6 * 24, 1 / 30)
    wave = 0.5 + 0.2 * np.sin(2 * np.pi * hours / 24) + noise(len(hours), 0.003)
    told = play(forecaster, wave, step=120.0)
    assert [one for one in told if one.at > START + 3 * DAY and one.state is not OVER] == []


def test_rotated_logs_warmed_caches_and_deployments_tell_nothing() -> None:
    minutes = np.arange(0, 3 * 1440)
    rotated = 0.3 + 0.2 * ((minutes / 360) % 1)
    warmed = 0.3 + 0.5 * (1 - np.exp(-((minutes + 300) % 700) / 40))
    forecaster = watching("disk_usage", "memory_usage")
    assert play(forecaster, rotated) == []
    told = play(forecaster, warmed, series=1)
    assert [one for one in told if one.at > START + DAY] == []


def test_a_limit_that_is_raised_rescales_what_was_seen() -> None:
    forecaster = watching("volume_used_bytes", "volume_capacity_bytes", unit="bytes")
    size, grown = 100e9, 8e9 / 3600
    told = []
    for minute in range(40 * 60):
        now = Millis(START + minute * MINUTE)
        raised = minute >= 30 * 60
        values = [20e9 + grown * minute * 60 * 0.3, 2 * size if raised else size]
        forecaster.take(batch([now, now], values, np.array([0, 1], np.int32)))
        told += forecaster.tick(now)
    assert [(one.state, one.reason) for one in told] == [
        (WARNING, ForecastReason.RUNS_OUT),
        (CRITICAL, ForecastReason.RUNS_OUT),
        (OVER, ForecastReason.RELIEVED),
    ]
    over = told[-1]
    assert (over.limit, over.used) == (2 * size, pytest.approx(0.46, abs=0.01))
    assert over.at - (START + 30 * HOUR) <= 6 * MINUTE


def test_certificates_are_told_two_weeks_and_three_days_ahead() -> None:
    forecaster = watching("probe_ssl_earliest_cert_expiry", unit="seconds")
    expires = START / SECOND + 20 * 86_400
    told = play(forecaster, np.full(21 * 24, expires), step=3600.0)
    assert [one.state for one in told] == [WARNING, CRITICAL]
    assert [round((expires * SECOND - one.at) / DAY) for one in told] == [14, 3]
    assert told[0].earliest == told[0].latest == told[0].exhausted_at == expires * SECOND
    (expired,) = forecaster.current(Millis(START + 21 * DAY))
    assert expired.reason is ForecastReason.EXHAUSTED
    renewed = np.full(3, expires + 90 * 86_400)
    (over,) = play(forecaster, renewed, step=3600.0, start=START + 21 * DAY)
    assert (over.state, over.reason) == (OVER, ForecastReason.RELIEVED)


def test_a_certificate_may_count_down_instead() -> None:
    forecaster = watching("certificate_expires_in_seconds", unit="seconds")
    (told,) = play(forecaster, [10 * 86_400.0])
    assert told.exhausted_at == START + 10 * DAY


def test_a_rule_of_the_user_makes_anything_a_quota() -> None:
    config = ForecastConfig(limits=(LimitRule(metric="seats", limit=500.0),))
    forecaster = watching("seats", unit="", config=config)
    play(forecaster, np.full(300, 100.0))
    told = play(forecaster, np.linspace(100, 400, 300), start=START + 5 * HOUR)
    assert told[0].kind is ForecastKind.QUOTA
    assert told[0].limit == 500.0


def test_what_is_switched_off_says_nothing() -> None:
    forecaster = watching("disk_usage", config=ForecastConfig(enabled=False))
    assert len(forecaster) == 0
    assert play(forecaster, np.linspace(0.1, 1.0, 600)) == []
    assert forecaster.current(START) == []


def test_two_points_and_constants_are_not_enough() -> None:
    forecaster = watching("disk_usage", "memory_usage")
    assert play(forecaster, [0.1, 0.9]) == []
    assert play(forecaster, np.full(500, 0.99), series=1) == []
    assert forecaster.current(Millis(START + DAY)) == []


WILD = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, -1.0, 5e-324, -1e308, 1e308, 0.5]),
)
LEAP = st.sampled_from([1, 1000, 5000, 60_000, DAY, 3650 * DAY, -MINUTE, -2 * HOUR, -3650 * DAY])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(LEAP, WILD, WILD), min_size=1, max_size=60), st.data())
def test_whatever_comes_everything_told_is_finite_and_a_restart_changes_no_byte(
    steps: list[tuple[int, float, float]], data: st.DataObject
) -> None:
    metrics = ("disk_usage", "memory_used_bytes", "memory_max_bytes", "cert_expiry_seconds")
    known = series_of(*metrics, unit="")
    whole, halved = Forecaster(), Forecaster()
    whole.register(known)
    halved.register(known)
    cut = data.draw(st.integers(0, len(steps) - 1))
    now = int(START)
    for place, (leap, value, limit) in enumerate(steps):
        now = max(now + leap, 1)
        taken = batch([now] * 4, [value, value, limit, value], np.arange(4, dtype=np.int32))
        for one in (whole, halved):
            one.take(taken)
        assert whole.tick(Millis(now)) == halved.tick(Millis(now))
        for told in whole.current(Millis(now)):
            assert np.isfinite([told.used, told.coverage, told.window]).all()
            assert told.earliest is None or told.exhausted_at is None or (
                told.earliest <= told.exhausted_at
            )  # fmt: skip
        if place == cut:
            again = Forecaster()
            again.load(halved.dump(), known)
            halved = again
    assert whole.dump() == halved.dump()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_a_block_leaves_the_same_state_as_its_samples_one_by_one(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    count = 400
    ids = rng.integers(0, 3, count).astype(np.int32)
    times = START + np.cumsum(rng.integers(0, 40_000, count))
    values = np.where(ids == 2, rng.choice([50.0, 100.0], count), rng.uniform(0.0, 60.0, count))
    single, block = (
        watching("volume_used_bytes", "volume_available_bytes", "volume_size_bytes", unit="bytes")
        for _ in range(2)
    )
    for i in range(count):
        single.take(batch(times[i : i + 1], values[i : i + 1], ids[i : i + 1]))
    for first in range(0, count, size):
        part = slice(first, first + size)
        shuffled = rng.permutation(len(ids[part]))
        block.take(
            MetricBatch(
                series_id=ids[part][shuffled],
                timestamp=times[part][shuffled],
                value=values[part][shuffled],
            )
        ) if len(np.unique(times)) == count else block.take(
            batch(times[part], values[part], ids[part])
        )
    assert single.dump() == block.dump()
    assert single.tick(Millis(int(times[-1]))) == block.tick(Millis(int(times[-1])))
    assert single.dump() == block.dump()


def test_limits_are_found_whatever_comes_first() -> None:
    known = series_of("volume_capacity_bytes", "volume_used_bytes", unit="bytes")
    forecaster = Forecaster()
    for one in known:
        forecaster.register([one])
    assert len(forecaster) == 1
    ids = np.array([1, 0], np.int32)
    for minute in range(400):
        now = START + minute * MINUTE
        forecaster.take(batch([now, now], [2e9 + max(0, minute - 200) * 2e7, 1e10], ids))
        forecaster.tick(Millis(now))
    (one,) = forecaster.current(Millis(START + 400 * MINUTE))
    assert (one.limit, one.used) == (1e10, pytest.approx(0.598, abs=0.001))


def test_a_state_of_other_series_or_another_version_is_refused() -> None:
    forecaster = watching("disk_usage")
    state = forecaster.dump()
    other = Forecaster()
    with pytest.raises(CorruptDataError, match="of 1 series, not 2"):
        other.load(state, series_of("disk_usage", "memory_usage"))
    with pytest.raises(CorruptDataError, match="another version"):
        other.load(b"", series_of("disk_usage"))
    with pytest.raises(CorruptDataError):
        other.load(state[:-5], series_of("disk_usage"))
