"""Incidents and stores for the tests of alerting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from dos.kit.clock import SECOND, Millis
from dos.model.alert import Notification
from dos.model.events import Decisions, Event, NotificationQueued, Recorded
from dos.model.ids import EntityId, IncidentId
from dos.model.impact import Impact, Severity
from dos.model.incident import Incident, IncidentReason, IncidentState
from dos.model.rootcause import Evidence, EvidenceKind, Hypothesis, RootCause, Stance
from dos.storage.base import Store

START = Millis(1_780_000_000_000)
"""2026-05-28T20:26:40Z."""


def at(seconds: float) -> Millis:
    return Millis(START + round(seconds * SECOND))


def impact(severity: Severity) -> Impact:
    return Impact(
        severity=severity,
        score=0.4,
        affected=(),
        entry_points=(EntityId("frontend"),),
        reasons=("3 of 9 entities are abnormal: 40% of the business weight.",),
    )


def cause(entity: str, probability: float = 0.8) -> RootCause:
    evidence = Evidence(
        stance=Stance.FOR,
        kind=EvidenceKind.DEVIATION,
        text=f"{entity} latency_p95 rose 9 times.",
        weight=1.0,
        entity=EntityId(entity),
        start=START,
        end=at(60),
    )
    return RootCause(
        ranked=(
            Hypothesis(
                entity=EntityId(entity),
                metric="latency_p95",
                probability=probability,
                score=1.0,
                evidence=(evidence,),
            ),
        ),
        unknown=round(1 - probability, 6),
        method="test",
        at=START,
        onset=START,
    )


def incident(
    name: str = "inc-1", severity: Severity | None = Severity.SEV2, root: str | None = "payment"
) -> Incident:
    return Incident(
        id=IncidentId(name),
        state=IncidentState.OPEN,
        reason=IncidentReason.CORROBORATED,
        began_at=START,
        opened_at=at(15),
        updated_at=at(15),
        title="Latency in payment",
        entities=(EntityId("checkout"), EntityId("payment")),
        anomalies=(),
        root_cause=cause(root) if root else None,
        impact=impact(severity) if severity else None,
    )


def resolved(
    open_incident: Incident,
    when: Millis,
    reason: IncidentReason = IncidentReason.RECOVERED,
    into: str | None = None,
) -> Incident:
    return replace(
        open_incident,
        state=IncidentState.RESOLVED,
        reason=reason,
        resolved_at=when,
        updated_at=when,
        merged_into=IncidentId(into) if into else None,
    )


def notifications(events: Iterable[Event]) -> list[Notification]:
    return [event.notification for event in events if isinstance(event, NotificationQueued)]


async def commit(store: Store, events: Sequence[Event], now: Millis) -> None:
    position = await store.position()
    recorded = tuple(
        Recorded(seq=position.seq + index, at=now, event=event)
        for index, event in enumerate(events, start=1)
    )
    await store.commit(Decisions(offset=position.offset + 1, at=now, events=recorded))
