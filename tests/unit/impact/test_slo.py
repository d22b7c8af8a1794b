"""Error budgets: burn rates over several windows, what is left, and what is remembered."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dos.impact.base import ImpactConfig, Slo
from dos.impact.ledger import BUCKET, FINE, LATE, Ledger
from dos.impact.signals import Telemetry
from dos.impact.slo import Spent, joined, status_of
from dos.kit.clock import DAY, HOUR, MINUTE, SECOND, Millis
from dos.model.ids import EntityId
from dos.model.impact import SloKind
from tests.unit.impact.builders import ERRORS, P50, P95, RATE, after, telemetry

RATES = ImpactConfig().burn_rates
SLO = Slo(entity="web", objective=0.999)


def spent(hours: float, bad: float, until: int) -> Spent:
    """`hours` of a request per second, by minute, of which a share is bad."""
    count = round(hours * 60)
    ends = until - np.arange(count, dtype=np.int64)[::-1] * MINUTE
    seconds = np.full(count, 60.0)
    return Spent(ends=ends, seconds=seconds, requests=seconds.copy(), bad=seconds * bad)


def test_a_fast_burn_exceeds_both_windows_of_a_pair() -> None:
    """Ten minutes of 20 % failures at 99.9 %: 200 times the budget's pace while it lasts."""
    table = {RATE: 10.0, ERRORS: after(0.0, 0.2)}
    found = status_of(SLO, RATES, telemetry(table), None)
    hour, six, days = found.burns
    assert (hour.long, hour.short, hour.limit) == (3600.0, 300.0, 14.4)
    assert hour.rate_now == pytest.approx(200.0)
    assert hour.rate == pytest.approx(200.0 * 40 / 240, rel=0.01)
    assert hour.is_burning
    # An hour and ten minutes are known of six hours: the rest counts as good.
    assert six.covered == pytest.approx(4200 / 21600, rel=0.01)
    assert six.rate == pytest.approx(200.0 * 600 / 21600, rel=0.01)
    assert not six.is_burning
    assert days.rate == pytest.approx(200.0 * 600 / 259200, rel=0.01)
    assert found.limit == 14.4
    assert found.burned == pytest.approx(0.2 * 600 / (0.001 * 30 * 86400), rel=0.01)
    assert found.by_incident == pytest.approx(found.burned, rel=0.01)
    assert found.exhausted_in is not None
    assert found.exhausted_in == pytest.approx((1 - found.burned) * 30 * 86400 / 200, rel=0.01)


def test_what_is_over_burns_no_more() -> None:
    """The short window says that it goes on; without that nobody is told."""
    errors = np.full(280, 0.0)
    errors[150:200] = 0.2
    found = status_of(SLO, RATES, telemetry({RATE: 10.0, ERRORS: errors}), None)
    assert found.burns[0].rate is not None
    assert found.burns[0].rate > 14.4
    assert found.burns[0].rate_now == 0.0
    assert not found.burns[0].is_burning
    assert found.exhausted_in is None


def test_latency_counts_what_takes_longer_than_the_threshold() -> None:
    slow = Slo(entity="web", kind=SloKind.LATENCY, objective=0.9, threshold=0.3)
    found = status_of(
        slow, RATES, telemetry({RATE: 10.0, P50: after(0.1, 0.3), P95: after(0.3, 0.9)}), None
    )
    assert found.burns[0].rate_now == pytest.approx(5.0, rel=0.01)
    assert found.name == "web latency"


def test_what_was_spent_before_the_samples_counts() -> None:
    known = telemetry({RATE: 1.0, ERRORS: after(0.0, 0.2)})
    older = spent(80.0, 0.01, known.times[0])
    found = status_of(SLO, RATES, known, older)
    assert found.burns[2].covered == 1.0
    assert found.burns[2].rate == pytest.approx(10.0, rel=0.05)
    assert found.burns[2].is_burning
    assert found.burned == pytest.approx((80 * 36 + 120) / (0.001 * 30 * 86400), rel=0.02)
    assert status_of(SLO, RATES, known).burned == pytest.approx(120 / 2592, rel=0.02)


def test_pieces_known_twice_count_once() -> None:
    newer = spent(1.0, 0.5, 10 * HOUR)
    both = joined(spent(3.0, 0.1, 10 * HOUR), newer)
    assert both.requests.sum() == pytest.approx(3 * 3600)
    assert both.bad.sum() == pytest.approx(2 * 360 + 1800)
    assert joined(None, newer) is newer
    empty = spent(0.0, 0.0, 0)
    assert joined(empty, newer) is newer
    assert joined(newer, empty) is newer


def test_an_exhausted_budget_has_no_time_left() -> None:
    known = telemetry({RATE: 1.0, ERRORS: 1.0})
    quick = SLO.model_copy(update={"window": 3600.0})
    found = status_of(quick, RATES, known)
    assert found.burned is not None
    assert found.burned > 1.0
    assert found.exhausted_in == 0.0


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({}, "no series says how many requests web has"),
        ({RATE: 1.0}, "nothing says how many requests of web fail"),
        ({RATE: 1.0, ERRORS: np.nan}, "nothing says how many requests of web fail"),
        ({RATE: 0.0, ERRORS: 0.0}, "nothing says how many requests of web fail"),
    ],
)
def test_what_is_not_known_is_said(table: dict[object, float], why: str) -> None:
    found = status_of(SLO, RATES, telemetry(table), None)  # type: ignore[arg-type]
    assert (found.unknown, found.burned, found.limit) == (why, None, 0.0)
    assert status_of(SLO, RATES, None).unknown


@pytest.mark.parametrize(
    "wrong",
    [
        {"entity": "web", "objective": 1.0},
        {"entity": "web", "objective": 0.99, "kind": "latency"},
        {"entity": "web", "objective": 0.99, "threshold": "1s"},
        {"entity": "web", "objective": 0.99, "window": 0},
    ],
)
def test_a_wrong_objective_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Slo.model_validate(wrong)


def test_two_objectives_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two objectives"):
        ImpactConfig.model_validate({"slos": [{"entity": "web", "objective": 0.9}] * 2})


class Samples:
    """A request per second of which `bad` fail, once a minute, of which the last hours are kept."""

    def __init__(self, bad: float, kept: int = 2 * HOUR) -> None:
        self.bad, self.kept, self.now, self.asked = bad, kept, 0, 0

    def read(self, entity: EntityId, start: Millis, end: Millis) -> Telemetry | None:
        self.asked += 1
        first = max(start, self.now - self.kept, MINUTE)
        times = np.arange(-(-first // MINUTE) * MINUTE, end + 1, MINUTE, dtype=np.int64)
        values = np.stack([np.ones(len(times)), np.full(len(times), self.bad)], axis=1)
        return Telemetry(times=times, values=values, series=(RATE, ERRORS), start=end, end=end)


def kept(ledger: Ledger, samples: Samples, hours: float, every: int) -> Spent:
    until = samples.now + round(hours * HOUR)
    while samples.now < until:
        samples.now += every
        ledger.advance(Millis(samples.now), samples.read)
    return ledger.spent()["web availability"]


def test_the_ledger_remembers_what_the_samples_have_forgotten() -> None:
    ledger, samples = Ledger([SLO]), Samples(0.01)
    found = kept(ledger, samples, 100.0, 5 * MINUTE)
    end = int(found.ends[-1])
    assert end == (samples.now - LATE) // BUCKET * BUCKET
    # The very first minute has no minute before it.
    assert found.seconds.sum() == pytest.approx(end / SECOND, abs=60)
    assert found.bad.sum() == pytest.approx(0.01 * found.requests.sum())
    coarse = found.ends <= (end - FINE) // HOUR * HOUR
    assert coarse.any()
    assert (found.ends[coarse] % HOUR == 0).all()
    assert (found.seconds[coarse][1:] == 3600.0).all()


def test_the_ledger_is_the_same_however_often_it_is_asked_and_after_a_restart() -> None:
    ledgers = [Ledger([SLO]) for _ in range(3)]
    often = kept(ledgers[0], Samples(0.02), 90.0, 15 * SECOND * 4)
    rarely = kept(ledgers[1], Samples(0.02), 90.0, 30 * MINUTE)
    for one, other in zip(
        (often.ends, often.requests, often.bad),
        (rarely.ends, rarely.requests, rarely.bad),
        strict=True,
    ):
        assert (one == other).all()
    ledgers[2].load(ledgers[0].dump())
    assert ledgers[2].dump() == ledgers[0].dump()


def test_the_ledger_forgets_what_no_window_needs_and_objectives_that_are_gone() -> None:
    short = SLO.model_copy(update={"window": float(DAY / SECOND)})
    ledger, samples = Ledger([short]), Samples(0.0)
    found = kept(ledger, samples, 96.0, HOUR)
    assert samples.now - int(found.ends[0]) <= FINE + HOUR
    other = Ledger([Slo(entity="other", objective=0.9)])
    other.load(ledger.dump())
    assert other.spent() == {}
    other.advance(Millis(samples.now + HOUR), samples.read)
    assert list(other.spent()) == ["other availability"]


def test_a_ledger_without_objectives_reads_nothing() -> None:
    samples = Samples(0.0)
    ledger = Ledger([])
    ledger.advance(Millis(HOUR), samples.read)
    assert samples.asked == 0
    assert ledger.dump() == Ledger([]).dump()
