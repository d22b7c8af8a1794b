"""One intake in, numbered decisions out: the same ones every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from structlog.testing import capture_logs

from dos.bus.base import Entry
from dos.kit.clock import HOUR, SECOND, Millis
from dos.model.alert import AlertState
from dos.model.change import Change, ChangeKind
from dos.model.events import (
    AlertChanged,
    AnomalyEnded,
    AnomalyStarted,
    ChangeSeen,
    Decisions,
    IncidentChanged,
    NotificationQueued,
)
from dos.model.ids import ChangeId, EntityId
from dos.model.incident import IncidentReason, IncidentState
from dos.model.intake import Intake
from dos.model.rootcause import Hypothesis, RootCause
from dos.rca.base import EntityScores
from dos.rca.case import Case
from tests.unit.app import played

LIVE = [entry for entry in played.intakes() if not entry.intake.history]


def test_two_pipelines_decide_the_same_to_the_byte() -> None:
    again = played.run(played.pipeline(), played.intakes())
    assert played.lines(again) == played.lines(played.uninterrupted())
    assert len(played.lines(again)) > 50


def test_events_are_numbered_without_gaps_and_carry_the_time_of_their_input() -> None:
    entries, decisions = played.intakes(), played.uninterrupted()
    events = [one for step in decisions for one in step.events]
    assert [one.seq for one in events] == list(range(1, len(events) + 1))
    for entry, step in zip(entries, decisions, strict=True):
        assert step.offset == entry.offset
        assert {one.at for one in step.events} <= {entry.intake.now}


def test_both_faults_are_found_with_their_root_and_told_once() -> None:
    decisions = played.uninterrupted()
    found = played.incidents_of(decisions)
    roots = [one.root_cause.top.entity for one in found if one.root_cause and one.root_cause.top]
    assert roots == ["payment-service", "catalog-db"]
    assert [one.reason for one in found] == [IncidentReason.RECOVERED] * 2
    sent = [
        event.event.notification
        for step in decisions
        for event in step.events
        if isinstance(event.event, NotificationQueued)
    ]
    for receiver in played.RECEIVERS:
        for incident in found:
            states = [
                one.alert.state
                for one in sent
                if one.receiver == receiver.name and one.alert.incident_id == incident.id
            ]
            assert states[0] is AlertState.FIRING
            assert states.count(AlertState.RESOLVED) == 1
            assert states[-1] is AlertState.RESOLVED


def test_every_anomaly_that_starts_ends() -> None:
    events = [one.event for step in played.uninterrupted() for one in step.events]
    started = [one.anomaly.id for one in events if isinstance(one, AnomalyStarted)]
    ended = [one.anomaly.id for one in events if isinstance(one, AnomalyEnded)]
    assert sorted(started) == sorted(ended)
    assert len(set(started)) == len(started)
    for one in (one.anomaly for one in events if isinstance(one, AnomalyEnded)):
        assert one.ended_at is not None
        assert one.started_at <= one.decided_at <= one.ended_at


def test_backfill_decides_nothing_but_topology() -> None:
    past = [
        step
        for entry, step in zip(played.intakes(), played.uninterrupted(), strict=True)
        if entry.intake.history
    ]
    assert past
    assert all(not step.events for step in past)


class _Broken:
    """A ranker with a bug."""

    def score(self, case: Case) -> EntityScores:
        raise NotImplementedError(f"rank fails before {case.start}")

    def rank(self, case: Case) -> RootCause:
        raise ZeroDivisionError(f"{len(case.series)} series")


def test_a_ranker_that_fails_keeps_nobody_from_being_alerted() -> None:
    broken = played.pipeline()
    broken.parts.diagnosis.ranker = _Broken()
    with capture_logs() as logs:
        decisions = played.run(broken, played.intakes())
    assert {line["event"] for line in logs} == {"ranker failed"}
    found = played.incidents_of(decisions)
    assert len(found) == 2
    for one in found:
        assert one.root_cause is not None
        assert (one.root_cause.top, one.root_cause.method) == (None, "failed")
        assert one.root_cause.unknown == 1.0
        assert one.impact is not None
        assert one.state is IncidentState.RESOLVED
    told: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for queued in [one.event for step in decisions for one in step.events]:
        if isinstance(queued, NotificationQueued):
            note = queued.notification
            key = (note.alert.fingerprint, note.receiver)
            told.setdefault(key, []).append((note.alert.state.value, note.alert.severity.value))
    assert len(told) == 2 * len(played.RECEIVERS)
    for messages in told.values():
        *firing, resolved = messages
        assert resolved[0] == "resolved"
        assert [state for state, _ in firing] == ["firing"] * len(firing)
        # Told again only because it became worse: sev1 is worse than sev2.
        severities = [severity for _, severity in firing]
        assert severities == sorted(set(severities), reverse=True)


def silence(entries: Sequence[Entry], after: float, until: float) -> list[Entry]:
    """The input with its samples left out between two times, heartbeats in their place."""
    start, end = (played.START + round(s * SECOND) for s in (after, until))
    return [
        replace(entry, intake=Intake(now=entry.intake.now, source="heartbeat"))
        if start < entry.intake.now <= end
        else entry
        for entry in entries
    ]


def changes(decisions: list[Decisions]) -> list[tuple[float, IncidentReason]]:
    return [
        ((one.at - played.START) / SECOND, one.event.incident.reason)
        for step in decisions
        for one in step.events
        if isinstance(one.event, IncidentChanged)
        and one.event.incident.reason is not IncidentReason.REASSESSED
    ]


def test_sources_that_fall_silent_leave_no_incident_open() -> None:
    one = played.pipeline()
    one.parts.stale_after = 60.0
    decisions = played.run(one, silence(played.intakes(), 60, 1e6))
    seen = changes(decisions)
    assert seen[0][1] is IncidentReason.CORROBORATED
    # 60 s after the last sample at 60 s the anomalies end, 15 s later the incident does.
    assert seen[-1] == (140.0, IncidentReason.STALE)
    assert [reason for _, reason in seen].count(IncidentReason.STALE) == 1
    last = [e.event.alert for s in decisions for e in s.events if isinstance(e.event, AlertChanged)]
    assert last[-1].state is AlertState.RESOLVED


def test_trouble_that_outlasts_the_silence_is_found_again() -> None:
    lasting = {**played.FAULTS[0], "duration": 400}
    entries = played.normalised(played.deliveries(scenario=[lasting]))
    one = played.pipeline()
    one.parts.stale_after = 60.0
    seen = changes(played.run(one, silence(entries, 100, 250)))
    reasons = [reason for _, reason in seen if reason is not IncidentReason.GREW]
    assert reasons == [
        IncidentReason.CORROBORATED,
        IncidentReason.STALE,
        IncidentReason.CORROBORATED,
    ]
    again = next(at for at, reason in seen[::-1] if reason is IncidentReason.CORROBORATED)
    assert 255 <= again <= 280


def test_changes_of_the_system_are_told_and_forgotten_after_a_day() -> None:
    one, offsets = played.pipeline(), count(1)

    def change(at: int) -> Change:
        return Change(
            id=ChangeId(f"chg-{at}"),
            at=Millis(at),
            kind=ChangeKind.DEPLOY,
            entity=EntityId("cart-service"),
        )

    start = played.START
    first = one.step(
        Intake(now=start, changes=(change(start - HOUR), change(start - 1))), next(offsets)
    )
    assert [type(event.event) for event in first.events] == [ChangeSeen, ChangeSeen]
    assert len(one.changes) == 2
    one.step(Intake(now=Millis(start + 23 * HOUR + 1)), next(offsets))
    assert [c.id for c in one.changes] == [f"chg-{start - 1}"]


def test_a_heartbeat_of_a_healthy_system_says_nothing() -> None:
    one = played.pipeline()
    assert one.step(Intake(now=played.START), 5) == Decisions(offset=5, at=played.START)


def test_the_newest_sample_of_each_series_is_known() -> None:
    one = played.pipeline()
    played.run(one, played.intakes())
    newest = played.START + played.LENGTH * SECOND
    assert len(one.last_sample) == len(one.parts.registry)
    assert np.all(one.last_sample == newest)
    assert one.now == newest


@pytest.mark.parametrize("at", [0, 40])
def test_series_that_contradict_the_registry_are_refused(at: int) -> None:
    one = played.pipeline()
    played.run(one, played.intakes()[: at + 2])
    first = next(entry.intake for entry in played.intakes() if entry.intake.series)
    wrong = replace(first.series[0], spec=first.series[1].spec)
    with pytest.raises(ValueError, match="already"):
        one.step(Intake(now=played.START, series=(wrong,)), 10**9)


class _Drifting:
    """A ranker that gets a little surer with every look."""

    def __init__(self) -> None:
        self.looks = 0

    def score(self, case: Case) -> EntityScores:
        return EntityScores(entities=case.entities(), score=np.zeros(len(case.entities())))

    def rank(self, case: Case) -> RootCause:
        self.looks += 1
        sure = 0.5 + 0.04 * min(self.looks, 10)
        first = Hypothesis(
            entity=EntityId("payment-service"), metric=None, probability=sure, score=1.0
        )
        return RootCause(
            ranked=(first,), unknown=1 - sure, method="drift", at=case.end, onset=case.start
        )


def test_small_changes_of_a_diagnosis_add_up_until_people_are_told() -> None:
    pipeline = played.pipeline()
    pipeline.parts.diagnosis.ranker = _Drifting()
    told = [
        one.event.incident.root_cause.ranked[0].probability
        for step in played.run(pipeline, played.intakes())
        for one in step.events
        if isinstance(one.event, IncidentChanged)
        and one.event.incident.reason is IncidentReason.REASSESSED
        and one.event.incident.root_cause
    ]
    assert told, "each look changes less than what is significant, all of them together more"
