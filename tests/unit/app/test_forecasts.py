"""A leak from its first seconds to the alert, through the whole pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from dos.app import state
from dos.bus.base import Entry
from dos.kit.clock import SECOND, Millis
from dos.model.alert import AlertState
from dos.model.events import AlertChanged, Decisions, ForecastChanged, NotificationQueued
from dos.model.forecast import Forecast, ForecastKind, ForecastReason, ForecastState
from dos.model.ids import EntityId
from dos.model.intake import Intake
from tests.unit.app import played
from tests.unit.app.played import START

TARGET = EntityId("catalog-service")
LEAK = {
    "at": 30,
    "fault": "memory_leak",
    "target": TARGET,
    "duration": 200,
    "severity": 0.7,
    "ramp": 5,
    "recovery": 5,
}


@lru_cache(maxsize=1)
def leaking() -> tuple[Entry, ...]:
    """The shop with a leak, and then quarter of an hour of peace."""
    return played.normalised(played.deliveries(1200, scenario=[LEAK]))


@lru_cache(maxsize=1)
def decided() -> tuple[Decisions, ...]:
    """What the pipeline decides on it."""
    return tuple(played.run(played.pipeline(), leaking()))


def forecasts_of(decisions: Sequence[Decisions]) -> list[Forecast]:
    """The forecasts among the decisions."""
    return [
        one.event.forecast
        for step in decisions
        for one in step.events
        if isinstance(one.event, ForecastChanged)
    ]


def test_a_leak_is_forecast_before_the_memory_is_full_and_its_alert_ends() -> None:
    told = forecasts_of(decided())
    assert {one.entity for one in told} == {TARGET}
    assert {one.kind for one in told} == {ForecastKind.MEMORY}
    first, last = told[0], told[-1]
    assert first.state is ForecastState.CRITICAL
    assert 30 * SECOND < first.at - START < 120 * SECOND
    assert first.exhausted_at is not None
    assert first.exhausted_at > first.at
    assert last.state is ForecastState.OVER
    assert last.reason is ForecastReason.RELIEVED

    about = [
        one.event
        for step in decided()
        for one in step.events
        if isinstance(one.event, AlertChanged | NotificationQueued)
    ]
    alerts = [
        one.alert if isinstance(one, AlertChanged) else one.notification.alert for one in about
    ]
    mine = [one for one in alerts if dict(one.labels)["alertname"] == "DosForecast"]
    assert {dict(one.labels)["forecast"] for one in mine} == {one.id for one in told}
    assert mine[-1].state is AlertState.RESOLVED
    queued = [one.notification for one in about if isinstance(one, NotificationQueued)]
    pairs = [
        (one.receiver, one.alert.state)
        for one in queued
        if dict(one.alert.labels)["alertname"] == "DosForecast"
    ]
    for receiver in ("pager", "chat"):
        assert pairs.count((receiver, AlertState.FIRING)) == len({one.id for one in told})
        assert pairs.count((receiver, AlertState.RESOLVED)) == len({one.id for one in told})


def test_a_restart_in_the_middle_of_an_alarm_changes_no_byte() -> None:
    entries = leaking()
    alarm = next(
        place
        for place, step in enumerate(decided())
        if any(isinstance(one.event, ForecastChanged) for one in step.events)
    )
    first, second = played.pipeline(), played.pipeline()
    before = played.run(first, entries[: alarm + 1])
    second.parts.history.append(entries[0].intake.metrics)
    state.load(second, state.dump(first))
    assert state.dump(second) == state.dump(first)
    ids = [one.id for one in second.parts.forecaster.current(second.now) if one.alarmed_at]
    assert ids == [one.id for one in forecasts_of(before)]


def test_an_alert_whose_forecast_is_lost_is_resolved() -> None:
    one, entries = played.pipeline(), leaking()
    alarm = next(
        place
        for place, step in enumerate(decided())
        if any(isinstance(event.event, ForecastChanged) for event in step.events)
    )
    played.run(one, entries[: alarm + 1])
    assert one.parts.book.foretells
    one.parts.forecaster.reset(one.parts.registry.since(0))
    events = one.step(Intake(now=Millis(one.now + SECOND)), one.offset + 1).events
    over = [event.event.alert for event in events if isinstance(event.event, AlertChanged)]
    assert [alert.state for alert in over] == [AlertState.RESOLVED]
    assert not one.parts.book.foretells


def test_a_checkpoint_without_forecasts_is_taken_and_the_trends_are_seen_anew() -> None:
    one, other = played.pipeline(), played.pipeline()
    played.run(one, leaking()[:20])
    sections = state._unpack(state.dump(one))
    del sections["forecasts"]
    state.load(other, state._pack(sections))
    assert len(other.parts.forecaster) == len(one.parts.forecaster) > 0
    assert other.parts.forecaster.current(other.now) == []
