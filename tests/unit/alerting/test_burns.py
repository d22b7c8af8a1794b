"""Alerts on error budgets: by themselves, and in the pipeline."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest

from dos.alerting.burns import NAME, BurnAlerts
from dos.app import state, wiring
from dos.app.pipeline import Pipeline
from dos.bus.base import Entry
from dos.kit.errors import CorruptDataError
from dos.model.alert import Notification
from dos.model.events import NotificationQueued
from dos.model.ids import EntityId
from dos.model.impact import Burn, SloKind, SloStatus
from tests.unit.alerting.builders import at
from tests.unit.app import played

FAST = Burn(long=3600.0, short=300.0, limit=14.4, rate=20.0, rate_now=15.0, covered=1.0)
SLOW = Burn(long=259_200.0, short=21_600.0, limit=1.0, rate=1.5, rate_now=2.0, covered=1.0)
SEVERITIES = {(3600.0, 300.0): "critical", (259_200.0, 21_600.0): "warning"}


def budget(*burns: Burn, burned: float | None = 0.25, name: str = "pay") -> SloStatus:
    return SloStatus(
        name=name,
        entity=EntityId("payment"),
        kind=SloKind.AVAILABILITY,
        objective=0.999,
        window=2_592_000.0,
        burns=burns,
        burned=burned,
        exhausted_in=7200.0,
    )


def test_both_windows_have_to_burn() -> None:
    made = BurnAlerts(SEVERITIES)
    calm = replace(FAST, rate_now=14.3)
    assert made.step([budget(calm, replace(SLOW, rate=None))], at(0)) == []
    (alert,) = made.step([budget(FAST, calm)], at(60))
    assert dict(alert.labels) == {
        "alertname": NAME,
        "service": "payment",
        "severity": "critical",
        "slo": "pay",
    }
    assert dict(alert.annotations) == {
        "summary": "pay: error budget burns 20 times too fast",
        "description": "The error budget burns 20 times as fast as the objective of 0.999 allows "
        "over 1h and 5m; 75% of it is left, for 2h.",
    }
    assert (alert.starts_at, alert.ends_at) == (at(60), None)
    (again,) = made.step([budget(FAST)], at(120))
    assert (again.fingerprint, again.starts_at) == (alert.fingerprint, at(60))
    (ended,) = made.step([budget(calm)], at(180))
    assert (ended.fingerprint, ended.ends_at) == (alert.fingerprint, at(180))
    assert made.step([budget(calm)], at(240)) == []


def test_fast_and_slow_are_two_alerts_of_their_severities() -> None:
    made = BurnAlerts(SEVERITIES)
    begun = made.step([budget(FAST, SLOW), budget(SLOW, name="other")], at(0))
    said = [(dict(one.labels)["slo"], dict(one.labels)["severity"]) for one in begun]
    assert said == [("pay", "critical"), ("pay", "warning"), ("other", "warning")]
    ended = made.step([budget(SLOW)], at(60))
    gone = [(dict(one.labels)["slo"], dict(one.labels)["severity"]) for one in ended if one.ends_at]
    assert gone == [("pay", "critical"), ("other", "warning")]


def test_an_empty_severity_is_no_alert() -> None:
    made = BurnAlerts({**SEVERITIES, (3600.0, 300.0): ""})
    assert made.step([budget(FAST)], at(0)) == []
    assert BurnAlerts({(1.0, 1.0): ""}).is_empty
    assert not BurnAlerts({}).is_due(at(0))


def test_budgets_are_looked_at_each_minute() -> None:
    made = BurnAlerts(SEVERITIES)
    assert made.is_due(at(0))
    made.step([], at(0))
    assert not made.is_due(at(59))
    assert made.is_due(at(60))


def test_it_goes_on_after_a_restart() -> None:
    made = BurnAlerts(SEVERITIES)
    (begun,) = made.step([budget(FAST)], at(0))
    again = BurnAlerts(SEVERITIES)
    again.load(made.dump())
    (ended,) = again.step([], at(60))
    assert (ended.fingerprint, ended.starts_at, ended.ends_at) == (begun.fingerprint, at(0), at(60))
    with pytest.raises(CorruptDataError, match="budgets"):
        again.load(b"x")


def shop(**alerting: object) -> Pipeline:
    """Every tenth request at the gateway fails for 80 s; more than its objective allows."""
    rates = [{"long": "10m", "short": "1m", "rate": 2.0}]
    slo = {"entity": "api-gateway", "objective": 0.998, "window": "1h"}
    chosen = played.settings(impact={"slos": [slo], "burn_rates": rates}, alerting=alerting)
    return wiring.build_pipeline(chosen, wiring.open_history(chosen, None), played.RECEIVERS)


@lru_cache(maxsize=1)
def longer() -> tuple[Entry, ...]:
    """Long enough for the end to be told, five minutes after the beginning."""
    return played.normalised(played.deliveries(660))


def told(made: Pipeline) -> list[Notification]:
    return [
        one.event.notification
        for step in played.run(made, longer())
        for one in step.events
        if isinstance(one.event, NotificationQueued)
        and dict(one.event.notification.alert.labels).get("alertname") == NAME
        and one.event.notification.receiver == "pager"
    ]


def test_an_error_budget_that_burns_is_told_and_told_to_be_over() -> None:
    firing, over = told(shop(inhibit_dependents=1.01))
    assert (firing.state.value, over.state.value) == ("firing", "resolved")
    assert 200 < (firing.alert.starts_at - played.START) / 1000 <= 280
    said = dict(firing.alert.annotations)["summary"]
    assert said.startswith("api-gateway availability: error budget burns ")


def test_it_is_quiet_where_an_incident_that_was_told_explains_it() -> None:
    assert told(shop()) == []


def test_a_restart_in_between_changes_nothing() -> None:
    whole = list(played.run(shop(), played.intakes()))
    half, first = len(whole) - 30, shop()
    before = list(played.run(first, played.intakes()[:half]))
    second = shop()
    state.load(second, state.dump(first))
    assert second.parts.burns.dump() == first.parts.burns.dump()
    assert before == whole[:half]
