"""What came of a flight, as plain values: the truth, and what each contender made of it.

These cross the border between processes and end up in the JSON of the score card. Times are
seconds since the flight's first live sample; `None` says that it did not happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dos.evaluate.bench.flight import Flight
from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.simulate.faults import FaultType


class Contender(StrEnum):
    """Who is measured, all on the same samples."""

    PIPELINE = "pipeline"
    THRESHOLDS = "thresholds"
    """`cpu_usage > 0.8`, `error_rate > 0.1`."""
    THREE_SIGMA = "three_sigma"
    """Three standard deviations from the mean of the last hour."""

    @property
    def label(self) -> str:
        """As people say it."""
        return {
            Contender.PIPELINE: "DOS",
            Contender.THRESHOLDS: "fixed thresholds",
            Contender.THREE_SIGMA: "3-sigma",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Suspects of an incident at one time."""

    order: tuple[tuple[EntityId, float], ...] = ()
    """Entity and score, most suspect first."""
    probability: float | None = None
    """Given to the first; None where the contender gives none."""
    unknown: float | None = None
    """Given to a cause outside the ranking."""
    others: float = 0.0
    """Of that, given to entities that were not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An incident as a contender raised it; `dos.app.matching` matches these."""

    id: str
    opened_at: Millis
    resolved_at: Millis | None
    """None while open."""
    entities: tuple[EntityId, ...]
    told: Ranking
    """When it was opened."""
    last: Ranking
    """As of its last change."""
    paged: bool
    """Whether somebody was paged about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fault or a harmless event that was injected."""

    type: FaultType
    target: EntityId
    severity: float
    start: float
    end: float | None
    """None: still going on when the flight ended."""
    visible: float | None
    """When users or operators could first notice it; None where they never could."""
    alone: bool
    """Whether no other fault was going on at any time of it, grace included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A fault that an incident was opened about."""

    delay: float
    """Seconds from the fault's start to the incident."""
    place_told: int | None
    """Place of the best true cause in the ranking as first told, from 1, ties at their worst."""
    place: int | None
    """The same in the end."""
    resolved: float | None
    """Seconds from the fault's start until the incident was resolved."""
    duplicates: int
    """Further incidents about the same fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A fault that no incident was opened about."""

    absorbed: bool
    """Whether an incident about another fault that was open meanwhile held its cause: people
    looked at the right place, but were told of one trouble and not of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an incident about a fault said of its cause in the end, for calibration."""

    probability: float
    """Given to the first hypothesis."""
    right: bool
    """Whether that was a true cause."""
    unknown: float
    """Given to a cause outside the ranking."""
    unlisted: bool
    """Whether no true cause was among the hypotheses."""
    others: float = 0.0
    """Of `unknown`, given to entities that were not listed."""

    @property
    def named(self) -> bool:
        """Whether the first hypothesis was likelier than that it is nobody."""
        return self.probability > self.unknown - self.others


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseIncident:
    """An incident about nothing that anybody had to be told of."""

    at: float
    """When it was opened."""
    entities: tuple[EntityId, ...]
    """The first few."""
    paged: bool
    during: FaultType | None
    """The harmless event that brought it about, where its place and time say so."""
    charged: FaultType | None
    """The type whose precision it lowers: what began last before it and ended less than
    `judge.CHARGED` before it. None: nothing did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one contender made of a flight."""

    outcomes: tuple[Found | Missed, ...]
    """One for each fault of the flight, in order."""
    claims: tuple[Claim, ...]
    false: tuple[FalseIncident, ...]
    incidents: int
    """Raised in all."""
    pages: int
    """Incidents that somebody was paged about."""
    alerts: int
    """Alerts of any severity that fired; of a baseline, stretches of single series."""
    open_at_end: int
    """Incidents that were not resolved when the flight ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """Remediation actions that were performed; the simulator plays the world without each too."""

    right: int = 0
    """It removed the cause of a fault then running, or callers suffered clearly less for it, and
    not clearly more."""
    wrong: int = 0
    """Callers suffered clearly more for it."""
    useless: int = 0
    """Neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlightResult:
    """What came of a flight."""

    flight: Flight
    services: int
    seconds: float
    """Simulated, after the history."""
    samples: int
    faults: tuple[Event, ...]
    harmless: tuple[Event, ...]
    records: Mapping[Contender, Record]
    actions: Actions

    @property
    def service_weeks(self) -> float:
        """Services times simulated weeks."""
        return self.services * self.seconds / (7 * 86_400.0)
