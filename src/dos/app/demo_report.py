"""What a demonstration run found, beside what was really wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from dos.app.demo_types import (
    AlertCount,
    DemoOptions,
    DemoReport,
    Detection,
    InjectedFault,
    RankedCause,
    TruthNote,
)
from dos.app.matching import causes_of, match
from dos.app.sentinel import Sentinel
from dos.kit.clock import SECOND, Millis
from dos.model.alert import AlertState
from dos.model.ids import IncidentId
from dos.model.incident import Incident, IncidentReason
from dos.simulate.engine import Truth

_MOST = 10_000


def truth_notes(
    truths: Sequence[Truth], incidents: Mapping[IncidentId, Incident]
) -> list[TruthNote]:
    """The truth for the live view: each fault, and after how long it was found."""
    matched = match(truths, incidents.values())
    return [
        TruthNote(
            fault=truth.fault.label,
            target=truth.target,
            started_at=truth.start,
            ended_at=truth.end,
            found_after=_delay(truth, matched[truth.id][0]) if matched[truth.id] else None,
        )
        for truth in truths
    ]


async def build_report(
    options: DemoOptions, sentinel: Sentinel, truths: Sequence[Truth], wall: float
) -> DemoReport:
    """The report over all that is in the store: also what a run before a restart did."""
    incidents = await sentinel.store.incidents(limit=_MOST)
    whole = [one for one in incidents if one.reason is not IncidentReason.MERGED]
    matched = match(truths, whole)
    about = {incident.id for found in matched.values() for incident in found}
    faults = tuple(
        InjectedFault(
            fault=truth.fault.label,
            target=truth.target,
            start=truth.start,
            end=truth.end,
            detection=_detection(truth, matched[truth.id][0]) if matched[truth.id] else None,
        )
        for truth in truths
    )
    duration = (sentinel.clock.now() - sentinel.started_at) / SECOND
    return DemoReport(
        seed=options.seed,
        world=options.world,
        duration=options.duration if options.duration is not None else duration,
        faults=faults,
        false_incidents=tuple(one.id for one in whole if one.id not in about),
        alerts=await _alerts(sentinel),
        samples=sentinel.runner.progress.samples,
        ticks=sentinel.runner.progress.intakes,
        wall_seconds=round(wall, 3),
    )


def _detection(truth: Truth, incident: Incident) -> Detection:
    cause = incident.root_cause
    ranked = cause.ranked if cause else ()
    names, causes = [hypothesis.entity for hypothesis in ranked], causes_of(truth)
    return Detection(
        incident=incident.id,
        opened_at=incident.opened_at,
        resolved_at=incident.resolved_at,
        delay=_delay(truth, incident),
        ranked=tuple(
            RankedCause(entity=one.entity, metric=one.metric, probability=one.probability)
            for one in ranked
        ),
        unknown=cause.unknown if cause else 1.0,
        correct_rank=next((place for place, one in enumerate(names, 1) if one in causes), None),
    )


def _delay(truth: Truth, incident: Incident) -> float:
    return Millis(incident.opened_at - truth.start) / SECOND


async def _alerts(sentinel: Sentinel) -> tuple[AlertCount, ...]:
    """Alerts that each receiver was told of, and those it was told to be over."""
    counts: dict[str, Counter[str]] = {}
    for alert in await sentinel.store.alerts(limit=_MOST):
        told: dict[str, set[str]] = {}
        for row in await sentinel.store.ledger(alert.id):
            receiver = row.notification.receiver
            if row.given_up_at is not None:
                counts.setdefault(receiver, Counter())["failed"] += 1
            elif row.sent_at is not None:
                told.setdefault(receiver, set()).add(row.notification.alert.state.value)
        for receiver, states in told.items():
            counts.setdefault(receiver, Counter()).update(states)
    return tuple(
        AlertCount(
            receiver=receiver,
            fired=count[AlertState.FIRING.value],
            resolved=count[AlertState.RESOLVED.value],
            failed=count["failed"],
        )
        for receiver, count in sorted(counts.items())
    )
