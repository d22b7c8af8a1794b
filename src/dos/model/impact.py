"""Who is affected and how badly."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.model.ids import EntityId


class Severity(StrEnum):
    """`sev1` is the worst."""

    SEV1 = "sev1"
    SEV2 = "sev2"
    SEV3 = "sev3"
    SEV4 = "sev4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """An entity that is affected or may become so."""

    entity: EntityId
    abnormal: bool
    """True: it shows anomalies itself; False: it depends on one that does."""
    distance: int
    """Calls between it and the probable root; 0 is the root itself."""
    weight: float
    """Business weight from the configuration, 1 by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """The blast radius of an incident and the severity that follows from it."""

    severity: Severity
    score: float
    """Share of the system's business weight that is affected, 0 to 1."""
    affected: tuple[Affected, ...]
    """Abnormal ones first, then by distance and name."""
    entry_points: tuple[EntityId, ...]
    """Affected entities where users come in."""
    reasons: tuple[str, ...]
    """Why this severity, as sentences with numbers."""
