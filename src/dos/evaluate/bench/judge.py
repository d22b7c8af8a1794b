"""What a contender's incidents are worth, given the truth. Pure functions over values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dos.app.matching import GRACE, causes_of, in_time, involved, match
from dos.evaluate.bench.outcome import (
    Claim,
    Event,
    FalseIncident,
    Found,
    Missed,
    Raised,
    Ranking,
    Record,
)
from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.simulate.engine import Truth
from dos.simulate.faults import FaultType

CHARGED = 600 * SECOND
"""A false incident up to this long after the end of the last event is charged to its type, ms."""
_ENTITIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a contender did besides raising incidents."""

    raised: Sequence[Raised]
    alerts: int


def events(truths: Sequence[Truth], start: Millis) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
    """Faults and harmless events, each in order; times relative to `start`."""
    faults = [truth for truth in truths if not truth.harmless]
    return (
        tuple(_event(one, faults, start) for one in faults),
        tuple(_event(one, faults, start) for one in truths if one.harmless),
    )


def judge(truths: Sequence[Truth], told: Told, start: Millis) -> Record:
    """What `told` is worth.

    Args:
        truths: Everything injected, harmless events included, in order of their start.
        told: Every incident that the contender raised, and how many alerts.
        start: Time zero of the record.
    """
    matched = match(truths, told.raised)
    faults = [truth for truth in truths if not truth.harmless]
    about = {incident.id for incidents in matched.values() for incident in incidents}
    return Record(
        outcomes=tuple(_outcome(fault, faults, matched) for fault in faults),
        claims=tuple(
            claim
            for fault in faults
            for incident in matched[fault.id]
            if (claim := _claim(fault, incident.last)) is not None
        ),
        false=tuple(
            _false(incident, truths, start)
            for incident in sorted(told.raised, key=lambda one: (one.opened_at, one.id))
            if incident.id not in about
        ),
        incidents=len(told.raised),
        pages=sum(incident.paged for incident in told.raised),
        alerts=told.alerts,
        open_at_end=sum(incident.resolved_at is None for incident in told.raised),
    )


def place_of(causes: Sequence[EntityId], ranking: Ranking) -> int | None:
    """Place of the best of `causes` from 1; None when none is ranked.

    What is no cause and has the same score stands before it, so that nobody gains by giving
    everything the same score; causes do not stand in each other's way.
    """
    scores = [score for entity, score in ranking.order if entity in causes]
    if not scores:
        return None
    best = max(scores)
    return 1 + sum(score >= best for entity, score in ranking.order if entity not in causes)


def _event(truth: Truth, faults: Sequence[Truth], start: Millis) -> Event:
    return Event(
        type=truth.fault,
        target=truth.target,
        severity=truth.severity,
        start=_seconds(truth.start, start),
        end=None if truth.end is None else _seconds(truth.end, start),
        visible=None if truth.visible_at is None else _seconds(truth.visible_at, start),
        alone=not any(_overlap(truth, other) for other in faults if other.id != truth.id),
    )


def _overlap(one: Truth, other: Truth) -> bool:
    """Whether the times in which incidents may be about them meet."""
    return _until(one) >= other.start and _until(other) >= one.start


def _until(truth: Truth) -> float:
    return float("inf") if truth.end is None else truth.end + GRACE


def _outcome(
    fault: Truth, faults: Sequence[Truth], matched: Mapping[str, Sequence[Raised]]
) -> Found | Missed:
    incidents = matched[fault.id]
    if not incidents:
        others = [one for other in faults for one in matched[other.id]]
        return Missed(absorbed=any(_holds(one, fault) for one in others))
    first, causes = incidents[0], causes_of(fault)
    resolved = first.resolved_at
    return Found(
        delay=_seconds(first.opened_at, fault.start),
        place_told=place_of(causes, first.told),
        place=place_of(causes, first.last),
        resolved=None if resolved is None else _seconds(resolved, fault.start),
        duplicates=len(incidents) - 1,
    )


def _holds(incident: Raised, fault: Truth) -> bool:
    """Whether `incident` was open at some time of `fault` and holds a cause of it."""
    over = float("inf") if incident.resolved_at is None else incident.resolved_at
    meanwhile = incident.opened_at <= _until(fault) and fault.start <= over
    return meanwhile and not set(incident.entities).isdisjoint(causes_of(fault))


def _claim(fault: Truth, ranking: Ranking) -> Claim | None:
    """What was said of the cause, where probabilities were given."""
    if ranking.unknown is None:
        return None
    causes = causes_of(fault)
    first = ranking.order[0][0] if ranking.order else None
    return Claim(
        probability=ranking.probability or 0.0,
        right=first in causes,
        unknown=ranking.unknown,
        unlisted=place_of(causes, ranking) is None,
        others=ranking.others,
    )


def _false(incident: Raised, truths: Sequence[Truth], start: Millis) -> FalseIncident:
    harmless = [
        truth
        for truth in truths
        if truth.harmless
        and in_time(truth, incident)
        and not involved(truth).isdisjoint(incident.entities)
    ]
    return FalseIncident(
        at=_seconds(incident.opened_at, start),
        entities=incident.entities[:_ENTITIES],
        paged=incident.paged,
        during=harmless[-1].fault if harmless else None,
        charged=harmless[-1].fault if harmless else _charged(incident, truths),
    )


def _charged(incident: Raised, truths: Sequence[Truth]) -> FaultType | None:
    before = [truth for truth in truths if truth.start <= incident.opened_at]
    if not before:
        return None
    last = max(before, key=lambda one: one.start)
    end = incident.opened_at if last.end is None else last.end
    return last.fault if incident.opened_at <= end + CHARGED else None


def _seconds(at: Millis, since: Millis) -> float:
    return (at - since) / SECOND
