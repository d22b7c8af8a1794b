"""The watched system at a glance, as the API and the terminal show it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.entity import Entity
from dos.model.ids import EntityId, IncidentId, SeriesId
from dos.model.telemetry import Role


class Health(StrEnum):
    """Silence is never shown as health: no recent sample means unknown or idle."""

    OK = "ok"
    WARNING = "warning"
    """Abnormal, but in no incident, or only in what it is asked to do (less traffic, say)."""
    CRITICAL = "critical"
    """Part of an open incident, and abnormal in errors, latency, availability or saturation."""
    UNKNOWN = "unknown"
    """Samples stopped coming."""
    IDLE = "idle"
    """Reports, but no traffic reaches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReading:
    """The newest value of a series beside what was expected."""

    series_id: SeriesId
    metric: str
    labels: tuple[tuple[str, str], ...] = ()
    role: Role
    unit: str
    at: Millis
    """Time of the newest sample."""
    value: float
    expected: float | None
    lower: float | None
    upper: float | None
    """None while the baseline is still warming up."""
    score: float | None
    """Anomaly score 0 to 1."""
    abnormal: bool
    detectors: tuple[str, ...] = ()
    """Detectors that watch the series, the one that says most of the newest sample first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """One entity now."""

    entity: Entity
    health: Health
    last_sample_at: Millis | None
    readings: tuple[SeriesReading, ...]
    incidents: tuple[IncidentId, ...] = ()
    """Open incidents it is part of."""
    callers: tuple[EntityId, ...] = ()
    callees: tuple[EntityId, ...] = ()
