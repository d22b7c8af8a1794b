"""What the API answers: thin pydantic models over the nouns of `dos.model`.

Field names are the model's; only times, labels and non-finite numbers change their form (see
`dos.api.wire`). Build one with `X.model_validate(noun)`, or `X.of(...)` where it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from pydantic import Field

from dos.api.forecast_schema import ForecastOut
from dos.api.impact_schema import ImpactOut
from dos.api.wire import Labels, Number, Time, Wire
from dos.ingest.base import SourceHealth, SourceStatus
from dos.kit.clock import SECOND, Millis
from dos.kit.retry import CircuitState
from dos.model.anomaly import Direction
from dos.model.change import ChangeKind
from dos.model.entity import EntityKind
from dos.model.feedback import FeedbackKind
from dos.model.graph import EdgeKind, GraphSnapshot
from dos.model.ids import (
    AnomalyId,
    ChangeId,
    EntityId,
    FeedbackId,
    IncidentId,
    SeriesId,
)
from dos.model.impact import Severity
from dos.model.incident import Incident, IncidentReason, IncidentState
from dos.model.overview import Health, SeriesReading, ServiceStatus
from dos.model.rootcause import EvidenceKind, FaultKind, Stance
from dos.model.telemetry import MetricKind, Role, Series


class EntityOut(Wire):
    """A node of the dependency graph."""

    id: EntityId
    kind: EntityKind
    name: str
    namespace: str
    attributes: Labels


class EdgeOut(Wire):
    """`caller` depends on `callee`."""

    caller: EntityId
    callee: EntityId
    kind: EdgeKind
    sources: tuple[str, ...]
    confidence: Number
    first_seen: Time
    last_seen: Time


class GraphOut(Wire):
    """The dependency graph at one time."""

    version: int = Field(description="Grows with every change of the set of entities or edges.")
    at: Time
    entities: tuple[EntityOut, ...]
    edges: tuple[EdgeOut, ...]
    entry_points: tuple[EntityId, ...] = Field(description="Where users come in.")

    @staticmethod
    def of(graph: GraphSnapshot) -> GraphOut:
        """`graph` with its entry points."""
        return GraphOut(
            version=graph.version,
            at=graph.at,
            entities=tuple(EntityOut.model_validate(entity) for entity in graph.entities),
            edges=tuple(EdgeOut.model_validate(edge) for edge in graph.edges),
            entry_points=tuple(graph.entry_points()),
        )


class SeriesOut(Wire):
    """A series; after normalisation every one is a gauge."""

    id: SeriesId
    entity: EntityId
    metric: str
    labels: Labels
    role: Role
    unit: str = Field(description="Base unit: `seconds`, `bytes`, `ratio`, `1/s`, or empty.")
    kind: MetricKind

    @staticmethod
    def of(series: Series) -> SeriesOut:
        """`series` with its id."""
        spec = {one.name: getattr(series.spec, one.name) for one in fields(series.spec)}
        return SeriesOut.model_validate({"id": series.id, **spec})


class ReadingOut(Wire):
    """The newest value of a series beside what was expected."""

    series_id: SeriesId
    metric: str
    labels: Labels
    role: Role
    unit: str
    at: Time
    value: Number
    expected: Number = Field(description="Null while the baseline is still warming up.")
    lower: Number
    upper: Number
    score: Number = Field(description="Anomaly score, 0 to 1.")
    abnormal: bool
    detectors: tuple[str, ...] = Field(
        default=(),
        description="Detectors that watch it; first the one that says most of the newest sample.",
    )


def _urgency(reading: SeriesReading) -> tuple[bool, float]:
    return reading.abnormal, reading.score or 0.0


class ServiceSummary(Wire):
    """One entity now, with its worst reading of each role."""

    id: EntityId
    kind: EntityKind
    health: Health
    last_sample_at: Time | None
    series: int = Field(description="How many series it has.")
    abnormal: int = Field(description="How many of them are abnormal now.")
    signals: dict[Role, ReadingOut] = Field(
        description="The most abnormal reading of each role it reports."
    )
    incidents: tuple[IncidentId, ...] = Field(description="Open incidents it is part of.")

    @staticmethod
    def of(status: ServiceStatus) -> ServiceSummary:
        """The gist of `status`."""
        worst: dict[Role, SeriesReading] = {}
        for reading in status.readings:
            known = worst.get(reading.role)
            if known is None or _urgency(reading) > _urgency(known):
                worst[reading.role] = reading
        return ServiceSummary(
            id=status.entity.id,
            kind=status.entity.kind,
            health=status.health,
            last_sample_at=status.last_sample_at,
            series=len(status.readings),
            abnormal=sum(reading.abnormal for reading in status.readings),
            signals={
                role: ReadingOut.model_validate(worst[role]) for role in Role if role in worst
            },
            incidents=status.incidents,
        )


class ServiceOut(Wire):
    """One entity now, in full."""

    entity: EntityOut
    health: Health
    last_sample_at: Time | None
    readings: tuple[ReadingOut, ...]
    incidents: tuple[IncidentId, ...]
    callers: tuple[EntityId, ...]
    callees: tuple[EntityId, ...]


class AnomalyOut(Wire):
    """A stretch of abnormal behaviour of one series."""

    id: AnomalyId
    series_id: SeriesId
    entity: EntityId
    metric: str
    role: Role
    started_at: Time = Field(description="Time of the first abnormal sample.")
    decided_at: Time
    ended_at: Time | None
    direction: Direction
    deviation: Number = Field(description="Distance from the expected value in robust sigmas.")
    score: Number
    observed: Number
    expected: Number
    lower: Number
    upper: Number
    detector: str = Field(description="The detector that said most.")
    rarity: Number = Field(
        default=None,
        description="Estimated share of healthy samples that are at least as strange, 0 to 1.",
    )
    detail: str = Field(default="", description="What was seen in log lines, in words.")


class EvidenceOut(Wire):
    """One observation for or against a hypothesis."""

    stance: Stance
    kind: EvidenceKind
    text: str
    weight: Number
    entity: EntityId
    metric: str | None
    start: Time
    end: Time


class HypothesisOut(Wire):
    """`entity` caused it, with this probability."""

    entity: EntityId
    metric: str | None
    probability: Number
    score: Number
    evidence: tuple[EvidenceOut, ...]
    kind: FaultKind | None = Field(default=None, description="What probably is wrong with it.")


class RootCauseOut(Wire):
    """A ranking; the probabilities of the hypotheses and `unknown` sum to 1."""

    ranked: tuple[HypothesisOut, ...]
    unknown: Number = Field(description="Probability that the cause is none of these.")
    method: str
    at: Time
    onset: Time
    coverage: Number | None = Field(
        default=None, description="How often the cause is among `likely`, on held-out simulations."
    )
    likely: tuple[EntityId, ...] = Field(
        default=(), description="The smallest set of entities that holds the cause that often."
    )


class ProbableCause(Wire):
    """The most probable hypothesis, when there is one the ranker stands by."""

    entity: EntityId
    metric: str | None
    probability: Number


class IncidentSummary(Wire):
    """An incident in a list."""

    id: IncidentId
    state: IncidentState
    reason: IncidentReason = Field(description="Why it last changed.")
    title: str
    severity: Severity | None
    probable_cause: ProbableCause | None = Field(description="Null while the ranker abstains.")
    entities: tuple[EntityId, ...]
    began_at: Time
    opened_at: Time
    updated_at: Time
    resolved_at: Time | None

    @staticmethod
    def of(incident: Incident) -> IncidentSummary:
        """The gist of `incident`."""
        top = incident.root_cause.top if incident.root_cause else None
        return IncidentSummary(
            id=incident.id,
            state=incident.state,
            reason=incident.reason,
            title=incident.title,
            severity=incident.impact.severity if incident.impact else None,
            probable_cause=ProbableCause.model_validate(top) if top else None,
            entities=incident.entities,
            began_at=incident.began_at,
            opened_at=incident.opened_at,
            updated_at=incident.updated_at,
            resolved_at=incident.resolved_at,
        )


class IncidentOut(Wire):
    """An incident in full, with its causes, their evidence, and its impact."""

    id: IncidentId
    state: IncidentState
    reason: IncidentReason
    title: str
    began_at: Time
    opened_at: Time
    updated_at: Time
    resolved_at: Time | None
    entities: tuple[EntityId, ...] = Field(description="Abnormal at any time, by onset.")
    anomalies: tuple[AnomalyId, ...]
    root_cause: RootCauseOut | None
    impact: ImpactOut | None
    merged_into: IncidentId | None


class IncidentDetail(IncidentOut):
    """An incident, with what is about to run out in it."""

    forecasts: tuple[ForecastOut, ...] = Field(
        default=(), description="What its entities run out of now; empty once it is over."
    )


class ChangeOut(Wire):
    """Something people or machines did to the watched system."""

    id: ChangeId
    at: Time
    kind: ChangeKind
    entity: EntityId | None
    summary: str
    source: str


class SignalOut(Wire):
    """A series that was abnormal in what feedback is about."""

    entity: EntityId
    metric: str
    labels: Labels
    strength: Number = Field(description="Distance from normal over its threshold, at its worst.")


class FeedbackOut(Wire):
    """One thing that somebody said about decisions, as it stands now."""

    id: FeedbackId
    kind: FeedbackKind
    author: str
    given_at: Time
    note: str
    entities: tuple[str, ...] = Field(description="Ids; of maintenance also patterns (`shop/*`).")
    start: Time
    end: Time
    incident_id: IncidentId | None
    anomaly_id: AnomalyId | None
    signals: tuple[SignalOut, ...]
    undone_at: Time | None
    undone_by: str
    undone_note: str


class SourceOut(Wire):
    """A source of telemetry and how it is doing."""

    name: str
    type: str
    health: SourceHealth
    circuit: CircuitState
    last_delivery_at: Time | None
    last_sample_at: Time | None
    sample_age_seconds: Number = Field(description="Age of the newest sample now.")
    deliveries: int
    samples: int
    failures: int = Field(description="Failures since the last success.")
    error: str | None
    problems: tuple[str, ...] = Field(
        description="Parts that fail while the source as a whole works."
    )
    retry_at: Time | None

    @staticmethod
    def of(status: SourceStatus, now: Millis) -> SourceOut:
        """`status` as of `now`."""
        newest = status.last_sample_at
        age = None if newest is None else max(0, now - newest) / SECOND
        known = {one.name: getattr(status, one.name) for one in fields(status)}
        return SourceOut.model_validate({**known, "sample_age_seconds": age})


def incident_summaries(incidents: Sequence[Incident]) -> list[IncidentSummary]:
    """The gist of each."""
    return [IncidentSummary.of(incident) for incident in incidents]
