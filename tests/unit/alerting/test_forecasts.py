"""What people are told of things that run out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.decision import Reason
from dos.alerting.message import body, subject
from dos.kit.clock import Millis
from dos.model.alert import AlertState
from dos.model.events import AlertChanged
from dos.model.forecast import (
    Forecast,
    ForecastId,
    ForecastKind,
    ForecastReason,
    ForecastState,
)
from dos.model.ids import EntityId, SeriesId
from dos.model.impact import Severity
from tests.unit.alerting.builders import at, incident, notifications


def disk(**changed: object) -> Forecast:
    """A disk that is full in ten hours."""
    made = Forecast(
        id=ForecastId("fct-1"),
        series_id=SeriesId(7),
        entity=EntityId("orders-db"),
        metric="disk_usage",
        labels=(("severity", "theirs"), ("volume", "data")),
        kind=ForecastKind.DISK,
        state=ForecastState.WARNING,
        reason=ForecastReason.RUNS_OUT,
        at=at(0),
        value=0.8,
        limit=1.0,
        unit="ratio",
        used=0.8,
        growth=5.5e-6,
        exhausted_at=at(36_000),
        earliest=at(30_000),
        latest=at(45_000),
        coverage=0.8,
        window=36_000.0,
        points=24,
        alarmed_at=at(0),
        title="orders-db: disk full in 10h (disk_usage)",
        evidence="80.0% of the limit is used.",
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def over(seconds: float, reason: ForecastReason = ForecastReason.RELIEVED) -> Forecast:
    """The same, when its alarm ended."""
    return disk(state=ForecastState.OVER, reason=reason, at=at(seconds), ended_at=at(seconds))


def book_of(*names: str, **settings: object) -> AlertBook:
    receivers = [{"name": name} for name in names]
    return AlertBook(AlertingConfig.model_validate({"receivers": receivers, **settings}))


def test_a_forecast_is_an_alert_of_its_own_kind_for_working_hours() -> None:
    book = book_of("chat", external_url="https://dos.example.com")
    events = book.foresee(disk(), at(0))
    assert isinstance(events[0], AlertChanged)
    (told,) = notifications(events)
    labels = dict(told.alert.labels)
    assert told.alert.severity is Severity.SEV4
    assert told.alert.incident_id is None
    assert labels["alertname"] == "DosForecast"
    assert labels["forecast"] == "fct-1"
    assert (labels["service"], labels["metric"], labels["kind"]) == (
        "orders-db",
        "disk_usage",
        "disk",
    )
    assert labels["volume"] == "data"
    assert labels["severity"] == "sev4"
    assert subject(told.alert) == "[FIRING sev4] orders-db: disk full in 10h (disk_usage)"
    early, late = "2026-05-29T04:46:40.000Z", "2026-05-29T08:56:40.000Z"
    assert body(told.alert).splitlines() == [
        "Severity: sev4. 80.0% of the limit is used.",
        f"Expected: 2026-05-29T06:26:40.000Z (between {early} and {late}).",
        "Since: 2026-05-28T20:26:40.000Z.",
        "Forecast: https://dos.example.com/forecasts/fct-1",
    ]


def test_it_pages_when_it_becomes_critical_and_is_resolved_to_all_who_were_told() -> None:
    book = AlertBook(
        AlertingConfig(
            receivers=(
                Receiver(name="pager", min_severity=Severity.SEV2),
                Receiver(name="chat"),
            )
        )
    )
    assert [one.receiver for one in notifications(book.foresee(disk(), at(0)))] == ["chat"]
    critical = disk(state=ForecastState.CRITICAL, at=at(25_000))
    told = notifications(book.foresee(critical, at(25_000)))
    assert sorted(one.receiver for one in told) == ["chat", "pager"]
    assert {one.alert.severity for one in told} == {Severity.SEV2}
    assert [one.alert.id for one in told] == [told[0].alert.id] * 2
    ended = notifications(book.foresee(over(26_000), at(26_000)))
    assert sorted(one.receiver for one in ended) == ["chat", "pager"]
    alert = ended[0].alert
    assert (alert.state, alert.ends_at) == (AlertState.RESOLVED, at(26_000))
    assert "there is room again" in body(alert)
    assert alert.severity is Severity.SEV2
    assert list(book.firing) == []
    assert [one.reason for one in book.explain(alert.id)][-2:] == [Reason.TOLD_RESOLVED] * 2


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (ForecastReason.LEVELLED_OFF, "no longer heads"),
        (ForecastReason.SILENT, "stopped reporting"),
    ],
)
def test_the_end_says_why(reason: ForecastReason, text: str) -> None:
    book = book_of("chat")
    book.foresee(disk(), at(0))
    (told,) = notifications(book.foresee(over(60, reason), at(60)))
    assert text in body(told.alert)
    assert dict(told.alert.annotations)["duration"] == "1m"


def test_the_end_of_what_nobody_was_told_says_nothing() -> None:
    assert book_of("chat").foresee(over(60), at(60)) == []


def test_a_forecast_that_nobody_follows_any_more_is_resolved() -> None:
    book = book_of("chat")
    book.observe(incident(), at(0))
    book.foresee(disk(), at(0))
    assert book.foretells
    assert book.withdraw({"fct-1"}, at(30)) == []
    (told,) = notifications(book.withdraw(set(), at(60)))
    assert told.alert.state is AlertState.RESOLVED
    assert "is lost" in body(told.alert)
    assert not book.foretells
    assert len(book.firing) == 1  # the incident's


def test_a_forecast_survives_a_restart_and_the_loss_of_the_state() -> None:
    book = book_of("chat")
    told = notifications(book.foresee(disk(), at(0)))
    again = book_of("chat")
    again.load(book.dump())
    assert again.dump() == book.dump()
    assert again.foresee(disk(), at(30)) == []

    lost = book_of("chat")
    lost.adopt([told[0].alert], told)
    assert lost.foresee(disk(), at(30)) == []
    (resolved,) = notifications(lost.foresee(over(60), at(60)))
    assert resolved.alert.id == told[0].alert.id


def test_severities_are_those_of_the_configuration() -> None:
    book = book_of("chat", forecast_warning="sev3", forecast_critical="sev1")
    assert notifications(book.foresee(disk(), at(0)))[0].alert.severity is Severity.SEV3
    critical = disk(state=ForecastState.CRITICAL, at=Millis(at(60)))
    assert notifications(book.foresee(critical, at(60)))[0].alert.severity is Severity.SEV1
