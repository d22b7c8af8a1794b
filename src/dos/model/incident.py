"""Incidents: anomalies that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.ids import AnomalyId, EntityId, IncidentId
from dos.model.impact import Impact
from dos.model.rootcause import RootCause


class IncidentState(StrEnum):
    """Where an incident is in its life."""

    OPEN = "open"
    RESOLVED = "resolved"


class IncidentReason(StrEnum):
    """Why an incident changed."""

    CORROBORATED = "corroborated"
    """Enough abnormal series, or one strong golden signal: opened."""
    GREW = "grew"
    """Further entities became abnormal: updated."""
    REASSESSED = "reassessed"
    """Cause or impact were computed anew: updated."""
    RECOVERED = "recovered"
    """Everything was normal for long enough: resolved."""
    MERGED = "merged"
    """Became part of another incident: resolved."""
    STALE = "stale"
    """The abnormal series stopped reporting for long: resolved, without proof of recovery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident as of its last change."""

    id: IncidentId
    state: IncidentState
    reason: IncidentReason
    """Why it last changed."""
    began_at: Millis
    """First abnormal sample."""
    opened_at: Millis
    """When DOS decided that this is an incident."""
    updated_at: Millis
    resolved_at: Millis | None = None
    title: str
    entities: tuple[EntityId, ...]
    """Abnormal at any time in its life, in order of onset."""
    anomalies: tuple[AnomalyId, ...]
    root_cause: RootCause | None = None
    impact: Impact | None = None
    merged_into: IncidentId | None = None
