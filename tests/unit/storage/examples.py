"""Values to store, with the keys that matter to a test and sensible rest."""

from __future__ import annotations

from dos.kit.clock import Millis
from dos.model.alert import Alert, AlertState, Notification
from dos.model.anomaly import Anomaly, Direction
from dos.model.change import Change, ChangeKind
from dos.model.entity import Entity, EntityKind
from dos.model.events import Decisions, Event, Recorded
from dos.model.feedback import Feedback, FeedbackKind, Signal
from dos.model.graph import Edge, EdgeKind
from dos.model.ids import AlertId, AnomalyId, ChangeId, EntityId, FeedbackId, IncidentId, SeriesId
from dos.model.impact import Affected, Impact, Severity
from dos.model.incident import Incident, IncidentReason, IncidentState
from dos.model.rootcause import Evidence, EvidenceKind, Hypothesis, RootCause, Stance
from dos.model.telemetry import Role


def step(seq: int, *events: Event, at: int | None = None, offset: int | None = None) -> Decisions:
    """Decisions whose first event is `seq`."""
    when = Millis(seq * 1000 if at is None else at)
    recorded = tuple(
        Recorded(seq=number, at=when, event=event) for number, event in enumerate(events, seq)
    )
    return Decisions(offset=seq * 10 if offset is None else offset, at=when, events=recorded)


def entity(name: str, kind: EntityKind = EntityKind.SERVICE) -> Entity:
    return Entity(id=EntityId(name), kind=kind, name=name, attributes=(("service.version", "1"),))


def edge(caller: str, callee: str, kind: EdgeKind = EdgeKind.CALL, seen: int = 0) -> Edge:
    return Edge(
        caller=EntityId(caller),
        callee=EntityId(callee),
        kind=kind,
        sources=("declared",),
        confidence=0.75,
        first_seen=Millis(seen),
        last_seen=Millis(seen),
    )


def anomaly(
    name: str, started: int, ended: int | None = None, entity_id: str = "checkout"
) -> Anomaly:
    return Anomaly(
        id=AnomalyId(name),
        series_id=SeriesId(3),
        entity=EntityId(entity_id),
        metric="latency_p95",
        role=Role.LATENCY,
        started_at=Millis(started),
        decided_at=Millis(started + 5),
        ended_at=None if ended is None else Millis(ended),
        direction=Direction.ABOVE,
        deviation=7.3,
        score=0.1 + 0.2,  # not a number that JSON writes short
        observed=1.5,
        expected=0.1,
        lower=0.05,
        upper=0.15,
        detector="robust",
    )


def incident(
    name: str, opened: int, resolved: int | None = None, entities: tuple[str, ...] = ("checkout",)
) -> Incident:
    over = resolved is not None
    return Incident(
        id=IncidentId(name),
        state=IncidentState.RESOLVED if over else IncidentState.OPEN,
        reason=IncidentReason.RECOVERED if over else IncidentReason.CORROBORATED,
        began_at=Millis(opened - 30),
        opened_at=Millis(opened),
        updated_at=Millis(resolved or opened),
        resolved_at=None if resolved is None else Millis(resolved),
        title="Latency of checkout",
        entities=tuple(EntityId(one) for one in entities),
        anomalies=(AnomalyId("ano-1"),),
        root_cause=_root_cause(opened),
        impact=Impact(
            severity=Severity.SEV2,
            score=0.25,
            affected=(
                Affected(entity=EntityId("checkout"), abnormal=True, distance=0, weight=1.0),
            ),
            entry_points=(EntityId("gateway"),),
            reasons=("25 % of the weight is affected",),
        ),
    )


def _root_cause(at: int) -> RootCause:
    evidence = Evidence(
        stance=Stance.FOR,
        kind=EvidenceKind.DEVIATION,
        text="latency_p95 is 7.3 sigmas above normal",
        weight=1.25,
        entity=EntityId("db"),
        metric="latency_p95",
        start=Millis(at - 30),
        end=Millis(at),
    )
    best = Hypothesis(
        entity=EntityId("db"), metric=None, probability=0.7, score=3.1, evidence=(evidence,)
    )
    return RootCause(
        ranked=(best,), unknown=0.3, method="graph", at=Millis(at), onset=Millis(at - 30)
    )


def alert(
    name: str, starts: int, ends: int | None = None, incident_id: str | None = "inc-1"
) -> Alert:
    return Alert(
        id=AlertId(name),
        fingerprint=f"fp-{name}",
        state=AlertState.FIRING if ends is None else AlertState.RESOLVED,
        severity=Severity.SEV2,
        labels=(("alertname", "Incident"), ("service", "checkout")),
        annotations=(("summary", "Checkout is slow — 数秒"),),
        starts_at=Millis(starts),
        ends_at=None if ends is None else Millis(ends),
        updated_at=Millis(ends or starts),
        incident_id=None if incident_id is None else IncidentId(incident_id),
    )


def notification(name: str, about: Alert, created: int = 0) -> Notification:
    return Notification(id=name, receiver="team", alert=about, created_at=Millis(created))


def change(name: str, at: int, entity_id: str | None = "checkout") -> Change:
    return Change(
        id=ChangeId(name),
        at=Millis(at),
        kind=ChangeKind.DEPLOY,
        entity=None if entity_id is None else EntityId(entity_id),
        summary="1.2.3",
        source="argocd",
    )


def feedback(
    name: str,
    given: int,
    start: int = 0,
    end: int = 100,
    kind: FeedbackKind = FeedbackKind.FALSE,
    undone: int | None = None,
) -> Feedback:
    return Feedback(
        id=FeedbackId(name),
        kind=kind,
        author="ann",
        given_at=Millis(given),
        note="a load test",
        entities=("checkout",),
        start=Millis(start),
        end=Millis(end),
        incident_id=IncidentId("inc-1"),
        signals=(
            Signal(
                entity=EntityId("checkout"),
                metric="latency_p95",
                labels=(("code", "500"),),
                strength=0.1 + 0.2,
            ),
        ),
        undone_at=None if undone is None else Millis(undone),
        undone_by="" if undone is None else "bob",
    )
