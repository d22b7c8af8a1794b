from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from dos.detect.columns import Columns
from dos.detect.forecast import scales, trend
from dos.detect.forecast.scales import FINEST, POINTS, SCALES, STEP_RATIO, Past, past_of
from dos.detect.forecast.trend import SIZES, Trends, Verdict, trends_of
from tests.unit.detect.forecast.watching import START, noise

MINUTE = 60.0


def seen(
    shares: npt.NDArray[np.float64], step: float = MINUTE, z: float = 1.2816
) -> tuple[Past, Trends]:
    """The trends of one series with these shares of its limit."""
    columns = Columns({**scales.LAYOUT, **trend.LAYOUT})
    columns.grow(1)
    past = past_of(columns)
    past.limit[0] = 1.0
    count = len(shares)
    times = START + np.round(np.arange(count) * step * 1000).astype(np.int64)
    scales.take(past, np.zeros(count, np.int32), times, shares, np.zeros(count, np.bool_))
    trends = trends_of(columns)
    trend.judge(past, trends, z)
    return past, trends


def verdicts(trends: Trends) -> set[Verdict]:
    """What the scales say."""
    return {Verdict(int(one)) for one in trends.verdict[0]}


def ring(past: Past, scale: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Times and lowest shares of a scale, oldest first."""
    kept = int(past.kept[0, scale])
    at = scale * POINTS + (past.head[0, scale] - kept + np.arange(kept)) % POINTS
    return past.time[0, at], past.low[0, at]


def test_buckets_keep_the_lowest_and_the_highest_share_of_each_scale() -> None:
    shares = 0.5 + 0.001 * np.array([5, 4, 6, 4.5, 5, 5.5, 3, 5, 5])
    past, _ = seen(shares, step=5.0)
    times, lows = ring(past, 1)  # 20 s: four samples each, the third bucket is still open
    assert lows.tolist() == pytest.approx([0.504, 0.503])
    assert (times - START / 1000).tolist() == [5.0, 30.0]
    assert past.high[0, POINTS : POINTS + 2].tolist() == pytest.approx([0.506, 0.5055])
    assert past.usual[0] == 5.0


def test_the_slope_is_that_of_theil_and_sen() -> None:
    shares = 0.3 + 0.01 * np.arange(60) + noise(60, 0.002)
    shares[50] += 0.2  # an outlier that least squares would follow
    past, trends = seen(shares)
    scale = 1  # 20 s buckets: each sample is one
    times, lows = ring(past, scale)
    points = int(trends.points[0, scale])
    slope, _, low, high = stats.theilslopes(lows[-points:], times[-points:], alpha=0.95)
    assert trends.verdict[0, scale] == Verdict.TREND
    assert trends.slope[0, scale] == pytest.approx(slope, rel=1e-5)
    assert low < trends.slope[0, scale] < high
    assert slope == pytest.approx(0.01 / MINUTE, rel=0.1)


def test_the_interval_is_right_about_a_line_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for coverage, z in ((0.8, 1.2816), (0.5, 0.6745)):
        held = 0
        for _ in range(60):
            rate = 0.0075
            shares = 0.3 + rate * np.arange(70) + 0.004 * rng.standard_normal(70)
            _, trends = seen(shares, z=z)
            end = START / 1000 + 0.7 / rate * MINUTE
            held += int(trends.early[0, 1] <= end <= trends.late[0, 1])
        assert held / 60 >= coverage - 0.15
        widths.append(float(trends.late[0, 1] - trends.early[0, 1]))
    assert widths[0] > widths[1] > 0


def test_a_change_of_the_trend_cuts_the_window() -> None:
    slow, fast = 0.0005, 0.02
    shares = np.concatenate([0.2 + slow * np.arange(40), 0.22 + fast * np.arange(1, 13)])
    _, trends = seen(shares + noise(52, 0.0003))
    assert trends.points[0, 1] < 24
    assert trends.slope[0, 1] * MINUTE == pytest.approx(fast, rel=0.1)


def test_a_leak_shows_below_the_saw_of_the_garbage_collector() -> None:
    minutes = np.arange(0, 480, 0.5)
    saw = 0.1 * ((minutes / 7.0) % 1.0)
    leak = 0.3 + 0.001 * minutes
    _, trends = seen(leak + saw, step=30.0)
    told = np.flatnonzero(trends.verdict[0] == Verdict.TREND)
    assert told[0] == 3  # buckets of 5 min 20 s; finer ones see the teeth only
    assert trends.slope[0, 3] * MINUTE == pytest.approx(0.001, rel=0.15)
    touched = START / 1000 + 600.0 * MINUTE  # when the tips of the teeth reach 1
    assert trends.end[0, 3] == pytest.approx(touched, abs=60.0 * MINUTE)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (np.full(200, 0.5), {Verdict.FLAT}),
        (0.5 + noise(200, 0.05), {Verdict.FLAT, Verdict.TOO_FAR}),
        (np.where(np.arange(24) < 12, 0.3, 0.6), {Verdict.FLAT, Verdict.STEP}),
        (0.3 + 0.4 * (1 - np.exp(-np.arange(30) / 8.0)), {Verdict.LEVELS_OFF}),
        (0.3 + 0.0002 * np.arange(200), {Verdict.TOO_FAR}),
        (np.full(5, 0.5), {Verdict.TOO_FEW}),
    ],
)
def test_what_is_no_trend_is_called_by_its_name(
    shares: npt.NDArray[np.float64], expected: set[Verdict]
) -> None:
    _, trends = seen(shares)
    assert Verdict.TREND not in verdicts(trends)
    assert verdicts(trends) & expected


def test_a_ramp_as_fast_and_as_high_as_before_is_usual() -> None:
    tooth = 0.2 + 0.01 * np.arange(50)  # 20 % to 69 %, then rotated
    _, first = seen(np.concatenate([np.full(120, 0.2), tooth[:40]]))
    assert Verdict.TREND in verdicts(first)
    _, third = seen(np.concatenate([np.full(120, 0.2), tooth, tooth, tooth[:40]]))
    assert Verdict.TREND not in verdicts(third)
    assert Verdict.USUAL in verdicts(third)
    beyond = np.concatenate([tooth, 0.7 + 0.01 * np.arange(12)])
    _, higher = seen(np.concatenate([np.full(120, 0.2), tooth, tooth, beyond]))
    assert Verdict.TREND in verdicts(higher)


def test_a_ramp_much_faster_than_those_before_is_not_usual() -> None:
    tooth = 0.2 + 0.01 * np.arange(50)
    quick = 0.2 + 0.03 * np.arange(15)
    _, trends = seen(np.concatenate([np.full(120, 0.2), tooth, tooth, quick]))
    assert Verdict.TREND in verdicts(trends)


def test_a_series_that_grew_all_its_life_is_not_believed_far_ahead() -> None:
    grows = 0.2 + 0.01 * np.arange(20)
    _, newborn = seen(grows)
    assert verdicts(newborn) <= {Verdict.TOO_FEW, Verdict.TOO_FAR}
    _, known = seen(np.concatenate([np.full(200, 0.2), grows]))
    assert Verdict.TREND in verdicts(known)


def test_scales_are_as_wide_as_they_are_said_to_be() -> None:
    reach = FINEST * STEP_RATIO ** (SCALES - 1) * POINTS / 3_600_000
    assert 30 < reach < 40  # hours
    assert max(SIZES) == POINTS
