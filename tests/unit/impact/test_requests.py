"""Failed and slowed requests against what was usual, with an interval."""

from __future__ import annotations

import numpy as np
import pytest

from dos.impact.base import ImpactConfig
from dos.impact.requests import Totals, entry_impact, usual_share
from dos.impact.signals import Telemetry, requests_of
from dos.impact.slowness import share_above
from dos.kit.clock import MINUTE, SECOND, Millis
from dos.model.ids import EntityId
from dos.model.impact import EntryImpact
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from tests.unit.impact.builders import (
    BASELINE,
    ERRORS,
    P50,
    P95,
    P99,
    RATE,
    START,
    STEP,
    after,
    spec,
    telemetry,
)

WEB = EntityId("web")
PLAIN = ImpactConfig()
DURING = 40
RNG = np.random.default_rng(7)


def noisy(level: Float64Array, rate: float) -> Float64Array:
    """A ratio as it is counted of `rate` requests per second."""
    requests = rate * STEP
    return RNG.binomial(round(requests), level) / requests


def test_failed_requests_are_those_beyond_the_usual_share() -> None:
    errors = noisy(after(0.01, 0.21), 100.0)
    found = entry_impact(telemetry({RATE: 100.0, ERRORS: errors}), WEB, PLAIN)
    really = (errors[BASELINE:] * 100.0 * STEP).sum()
    wanted = really - DURING * 100.0 * STEP * 0.01
    assert found.requests == DURING * 100.0 * STEP
    assert found.failed is not None
    assert found.failed.low < wanted < found.failed.high
    assert found.failed.value == pytest.approx(wanted, rel=0.01)
    assert found.failed.high - found.failed.low < 0.02 * wanted
    assert found.failing is not None
    assert found.failing.low < 0.2 < found.failing.high


def test_health_has_an_interval_that_holds_zero() -> None:
    errors = noisy(np.full(BASELINE + DURING, 0.01), 100.0)
    found = entry_impact(telemetry({RATE: 100.0, ERRORS: errors}), WEB, PLAIN)
    assert found.failed is not None
    assert found.failed.low == 0.0
    assert 0.0 < found.failed.high < 0.01 * DURING * 100.0 * STEP


def test_the_interval_covers_what_it_says() -> None:
    """Of many healthy stretches the usual share lies within for about nine of ten."""
    inside = []
    for _ in range(300):
        share = RNG.binomial(1500, 0.01, BASELINE + 12) / 1500
        count = np.full(BASELINE, 1500.0)
        usual = usual_share(count, share[:BASELINE], 12)
        assert usual is not None
        inside.append(usual.low <= share[BASELINE:].mean() <= usual.high)
    assert 0.85 <= np.mean(inside) <= 0.97


def test_where_nothing_ever_failed_there_is_an_upper_end() -> None:
    usual = usual_share(np.full(100, 10.0), np.zeros(100), 20)
    assert usual is not None
    assert (usual.level, usual.low) == (0.0, 0.0)
    assert usual.high == pytest.approx(3 / 1000)


def test_a_start_that_was_told_late_misses_nothing() -> None:
    early = np.where(np.arange(BASELINE + DURING) < BASELINE - 4, 0.01, 0.21)
    found = entry_impact(telemetry({RATE: 100.0, ERRORS: noisy(early, 100.0)}), WEB, PLAIN)
    assert found.failed is not None
    wanted = (DURING + 4) * 100.0 * STEP * 0.2
    assert found.failed.value == pytest.approx(wanted, rel=0.03)


def test_earlier_incidents_are_not_usual() -> None:
    errors = after(0.0, 0.1)
    errors[20:80] = 0.5
    table = {RATE: 50.0, ERRORS: errors}
    plain = telemetry(table)
    past = ((Millis(20 * STEP * SECOND), Millis(80 * STEP * SECOND)),)
    told = Telemetry(
        times=plain.times,
        values=plain.values,
        series=plain.series,
        start=START,
        end=plain.end,
        past=past,
    )
    with_it, without = entry_impact(plain, WEB, PLAIN), entry_impact(told, WEB, PLAIN)
    assert with_it.failed is not None
    assert without.failed is not None
    assert with_it.failed.value == 0.0
    assert without.failed.value == pytest.approx(DURING * 50.0 * STEP * 0.1)


def test_slow_is_beyond_the_usual_p95() -> None:
    """All percentiles double: of a lognormal with σ = 0.6 so many more are beyond."""
    sigma = 0.6
    levels = {P50: 0.0, P95: 1.6449, P99: 2.3263}
    table: dict[SeriesSpec, Float64Array | float] = {RATE: 100.0, ERRORS: 0.0}
    for one, z in levels.items():
        table[one] = after(0.1, 0.2) * np.exp(z * sigma)
    found = entry_impact(telemetry(table), WEB, PLAIN)
    assert found.slowed is not None
    more = share_above((0.5, 0.95), np.array([[0.2, 0.2 * np.exp(1.6449 * sigma)]]),
                       0.1 * np.exp(1.6449 * sigma))[0] - 0.05  # fmt: skip
    assert 0.25 < more < 0.35
    assert found.slowed.value == pytest.approx(DURING * 100.0 * STEP * more, rel=0.01)


def test_faster_answers_slow_nobody_down() -> None:
    table = {RATE: 100.0, P50: after(0.1, 0.05), P95: after(0.3, 0.15)}
    found = entry_impact(telemetry(table), WEB, PLAIN)
    assert found.slowed is not None
    assert (found.slowed.value, found.slowed.high) == (0.0, 0.0)
    assert found.failed is None
    assert found.unknown == ("web: no series says how many of its requests fail",)


def test_users_and_money_follow_the_weights() -> None:
    config = ImpactConfig(
        users_per_request={"web": 0.5},
        default_revenue_per_request=2.0,
        revenue_lost_when_slow=0.25,
    )
    table = {RATE: 10.0, ERRORS: after(0.0, 0.5), P50: after(0.1, 9.0), P95: after(0.3, 27.0)}
    found = entry_impact(telemetry(table), WEB, config)
    assert found.failed is not None
    assert found.slowed is not None
    assert found.users is not None
    assert found.revenue is not None
    both = found.failed.value + found.slowed.value
    assert found.users.value == pytest.approx(0.5 * both, rel=1e-5)
    worth = 2.0 * found.failed.value + 0.5 * found.slowed.value
    assert found.revenue.value == pytest.approx(worth, rel=1e-5)
    assert entry_impact(telemetry(table), WEB, PLAIN).users is None


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({}, "web: no series says how many requests there are"),
        ({RATE: np.nan}, "web: no series says how many requests there are"),
        ({ERRORS: 0.5}, "web: no series says how many requests there are"),
        ({RATE: after(5.0, np.nan), ERRORS: 0.0}, "web: it has had no sample since"),
        ({RATE: after(np.nan, 5.0), ERRORS: 0.5}, "web: too few samples before the incident"),
        ({RATE: 5.0, ERRORS: np.nan}, "web: no series has a percentile"),
    ],
)
def test_what_is_not_known_is_said(table: dict[SeriesSpec, Float64Array], why: str) -> None:
    found = entry_impact(telemetry(table), WEB, PLAIN)
    assert found.failed is None
    assert any(one.startswith(why) for one in found.unknown), found.unknown


def test_no_traffic_is_no_failure() -> None:
    found = entry_impact(telemetry({RATE: after(5.0, 0.0), ERRORS: 0.0}), WEB, PLAIN)
    assert found.requests == 0.0
    assert found.failed is not None
    assert found.failed.high == 0.0
    assert found.failing is None


def test_no_samples_at_all() -> None:
    assert entry_impact(None, WEB, PLAIN).unknown
    empty = telemetry({RATE: 1.0}, samples=0)
    assert entry_impact(empty, WEB, PLAIN).requests is None


def test_totals_leave_out_what_is_counted_elsewhere() -> None:
    found = entry_impact(telemetry({RATE: 10.0, ERRORS: after(0.0, 0.5)}), WEB, PLAIN)
    inner = EntryImpact(entity=EntityId("inner"), counted=False, failed=found.failed)
    totals = Totals.of([found, inner])
    assert totals.failed == found.failed
    assert totals.users is None
    assert Totals.of([]).failed is None


def test_parts_by_label_are_weighed_by_their_requests() -> None:
    table = {
        spec("request_rate", Role.TRAFFIC, "1/s", route="a"): 30.0,
        spec("request_rate", Role.TRAFFIC, "1/s", route="b"): 10.0,
        spec("error_ratio", Role.ERRORS, "ratio", route="a"): after(0.0, 0.1),
        spec("error_ratio", Role.ERRORS, "ratio", route="b"): after(0.0, 0.5),
    }
    here = requests_of(telemetry(table), WEB)
    assert here is not None
    assert here.rate[-1] == 40.0
    assert here.failing[-1] == pytest.approx((30 * 0.1 + 10 * 0.5) / 40)


def test_failures_per_second_become_a_share() -> None:
    table = {RATE: 20.0, spec("errors", Role.ERRORS, "1/s"): after(0.0, 5.0)}
    here = requests_of(telemetry(table), WEB)
    assert here is not None
    assert here.failing[-1] == 0.25


def test_the_series_of_all_requests_is_taken() -> None:
    table = {
        spec("container_request_rate", Role.TRAFFIC, "1/s", pod="x"): 3.0,
        spec("network_receive", Role.TRAFFIC, "1/s"): 9e6,
        RATE: 12.0,
        spec("retransmits", Role.ERRORS, "ratio"): 0.9,
        ERRORS: 0.25,
    }
    here = requests_of(telemetry(table), WEB)
    assert here is not None
    assert (here.rate[0], here.failing[0]) == (12.0, 0.25)


def test_long_gaps_are_not_counted() -> None:
    rate = np.full(BASELINE + DURING, 10.0)
    rate[BASELINE + 5 : BASELINE + 15] = np.nan
    found = entry_impact(telemetry({RATE: rate, ERRORS: after(0.0, 0.5)}), WEB, PLAIN)
    known = (DURING - 10 + 1) * STEP  # the sample after the gap stands for two steps
    assert found.requests == 10.0 * known


def test_a_value_is_held_between_samples_of_a_slower_series_but_not_for_ever() -> None:
    errors = np.full(BASELINE + DURING, np.nan)
    errors[::2] = 0.5
    errors[-10:] = np.nan
    here = requests_of(telemetry({RATE: 10.0, ERRORS: errors}), WEB)
    assert here is not None
    assert (here.failing[:-11] == 0.5).all()
    assert np.isnan(here.failing[-1])


def test_share_above_reads_percentiles_back() -> None:
    """At each percentile the share beyond it is what its name says."""
    levels = (0.5, 0.9, 0.99)
    latency = np.array([[0.1, 0.4, 2.0]])
    for level, threshold in zip(levels, latency[0], strict=True):
        assert share_above(levels, latency, threshold)[0] == pytest.approx(1 - level)
    shares = [share_above(levels, latency, 10.0**power)[0] for power in range(-4, 4)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.999
    assert shares[-1] < 1e-3


def test_share_above_takes_what_there_is() -> None:
    latency = np.array([[np.nan, 0.3], [0.1, np.nan], [np.nan, np.nan], [0.3, 0.1]])
    shares = share_above((0.5, 0.95), latency, 0.3)
    assert shares[0] == pytest.approx(0.05)
    assert 0.0 < shares[1] < 0.2
    assert np.isnan(shares[2])
    assert 0.04 < shares[3] < 0.51
    assert np.isnan(share_above((), np.empty((3, 0)), 0.3)).all()
    assert np.isnan(share_above((0.5,), latency[:, :1], 0.0)).all()


def test_a_wrong_window_is_refused() -> None:
    with pytest.raises(ValueError, match="values must be"):
        Telemetry(
            times=np.zeros(2, np.int64),
            values=np.zeros((2, 1)),
            series=(),
            start=START,
            end=START,
        )
    with pytest.raises(ValueError, match="ascending"):
        Telemetry(
            times=np.array([MINUTE, 0]),
            values=np.zeros((2, 0)),
            series=(),
            start=START,
            end=START,
        )
