"""Whatever happens to incidents, and however often DOS restarts: told once, resolved once."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.book import AlertBook
from dos.kit.clock import SECOND, Millis
from dos.model.alert import Alert, AlertState, Notification
from dos.model.events import AlertChanged, Event, NotificationQueued
from dos.model.impact import Severity
from dos.model.incident import Incident, IncidentReason
from tests.unit.alerting.builders import START, cause, impact, incident, resolved

NAMES = ("inc-1", "inc-2", "inc-3")
RECEIVERS = tuple(
    Receiver(name=name, min_severity=severity)
    for name, severity in (
        ("all", Severity.SEV4),
        ("pager", Severity.SEV2),
        ("hook", Severity.SEV3),
    )
)
ENDINGS = (IncidentReason.RECOVERED, IncidentReason.STALE, IncidentReason.MERGED)


class Alerting(RuleBasedStateMachine):
    """Incidents open, change and end; the configuration changes; the state is lost or saved."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.receivers = RECEIVERS
        self.waits = (0.0, 0.0)
        self.book = AlertBook(self.config())
        self.open: dict[str, Incident] = {}
        self.alerts: dict[str, Alert] = {}
        self.sent: list[Notification] = []

    def config(self) -> AlertingConfig:
        group_wait, update_interval = self.waits
        return AlertingConfig(
            receivers=self.receivers, group_wait=group_wait, update_interval=update_interval
        )

    def keep(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, AlertChanged):
                self.alerts[event.alert.id] = event.alert
            elif isinstance(event, NotificationQueued):
                self.sent.append(event.notification)

    @rule(
        name=st.sampled_from(NAMES),
        severity=st.sampled_from([None, *Severity]),
        root=st.sampled_from([None, "payment", "db"]),
    )
    def change(self, name: str, severity: Severity | None, root: str | None) -> None:
        self.open[name] = replace(
            incident(name),
            impact=impact(severity) if severity else None,
            root_cause=cause(root) if root else None,
        )
        self.keep(self.book.observe(self.open[name], self.now))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), reason=st.sampled_from(ENDINGS))
    def end(self, data: st.DataObject, reason: IncidentReason) -> None:
        name = data.draw(st.sampled_from(sorted(self.open)))
        self.keep(self.book.observe(resolved(self.open.pop(name), self.now, reason), self.now))

    @rule(seconds=st.integers(0, 400))
    def wait(self, seconds: int) -> None:
        self.now = Millis(self.now + seconds * SECOND)
        self.keep(self.book.tick(self.now))

    @rule()
    def restart(self) -> None:
        data = self.book.dump()
        self.book = AlertBook(self.config())
        self.book.load(data)
        assert self.book.dump() == data

    @rule(
        receivers=st.sets(st.sampled_from(RECEIVERS)),
        waits=st.tuples(st.sampled_from([0.0, 60.0]), st.sampled_from([0.0, 300.0])),
    )
    def reconfigure(self, receivers: set[Receiver], waits: tuple[float, float]) -> None:
        self.receivers = tuple(sorted(receivers, key=lambda one: one.name))
        self.waits = waits
        self.restart()

    @rule()
    def lose_state(self) -> None:
        self.now = Millis(self.now + SECOND)  # a process needs time to start again
        self.book = AlertBook(self.config())
        self.book.adopt(self.alerts.values(), self.sent)

    @invariant()
    def ids_never_repeat(self) -> None:
        ids = [one.id for one in self.sent]
        assert len(ids) == len(set(ids))

    @invariant()
    def one_alert_fires_per_open_incident(self) -> None:
        firing = [one.incident_id for one in self.alerts.values() if one.ends_at is None]
        assert sorted(map(str, firing)) == sorted(self.open)
        assert sorted(str(one.incident_id) for one in self.book.firing) == sorted(self.open)

    @invariant()
    def who_was_told_is_told_the_end_exactly_once(self) -> None:
        told: dict[tuple[str, str], list[AlertState]] = {}
        for one in self.sent:
            told.setdefault((one.alert.id, one.receiver), []).append(one.alert.state)
        for (alert, _), states in told.items():
            over = self.alerts[alert].state is AlertState.RESOLVED
            assert states[0] is AlertState.FIRING
            assert states.count(AlertState.RESOLVED) == int(over)
            assert not over or states[-1] is AlertState.RESOLVED

    @invariant()
    def an_update_says_something_new(self) -> None:
        known: dict[tuple[str, str], list[Notification]] = {}
        for one in self.sent:
            known.setdefault((one.alert.id, one.receiver), []).append(one)
        for rows in known.values():
            for before, after in pairwise(rows):
                if after.alert.state is AlertState.FIRING:
                    assert "update" in dict(after.alert.annotations)
                    worse = after.alert.severity < before.alert.severity
                    causes = [dict(row.alert.annotations).get("cause") for row in (before, after)]
                    assert worse or causes[1] not in {None, causes[0]}

    def teardown(self) -> None:
        for name in sorted(self.open):
            self.end_all(name)
        self.one_alert_fires_per_open_incident()
        self.who_was_told_is_told_the_end_exactly_once()
        self.ids_never_repeat()

    def end_all(self, name: str) -> None:
        self.keep(self.book.observe(resolved(self.open.pop(name), self.now), self.now))


Alerting.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestAlerting = Alerting.TestCase
