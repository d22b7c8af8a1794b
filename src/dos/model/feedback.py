"""Feedback: what people say about the decisions of DOS, and when not to decide.

A piece of feedback enters the pipeline like any other input, through the intake log, so a replay
of a run repeats its effect too. It is never changed: undoing it is a second entry under the same
id, with who, when and why, and both stay in the event log.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.ids import AnomalyId, EntityId, FeedbackId, IncidentId


class FeedbackKind(StrEnum):
    """What is said."""

    FALSE = "false"
    """Not an anomaly, or a false page: nothing was wrong."""
    CONFIRMED = "confirmed"
    """It was right: something was wrong."""
    MISSED = "missed"
    """Something was wrong then, and nobody was told."""
    MAINTENANCE = "maintenance"
    """Work is being done on these entities: no incident is opened on them meanwhile."""

    @property
    def is_label(self) -> bool:
        """Whether it says what was true; maintenance says only what is going on."""
        return self is not FeedbackKind.MAINTENANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A series that was abnormal in what the feedback is about.

    Named by what it measures and not by its id, so that the feedback holds for another run over
    the same system, where the series have other ids.
    """

    entity: EntityId
    metric: str
    labels: tuple[tuple[str, str], ...] = ()
    strength: float
    """Its distance from normal over its threshold, at its worst: 1 is just abnormal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One thing that somebody said, as it stands now."""

    id: FeedbackId
    kind: FeedbackKind
    author: str
    """Who said it."""
    given_at: Millis
    note: str = ""
    """Why."""
    entities: tuple[str, ...] = ()
    """What it is about: entity ids; of maintenance also patterns such as `shop/*`."""
    start: Millis
    end: Millis
    """The time it is about, `[start, end)`."""
    incident_id: IncidentId | None = None
    anomaly_id: AnomalyId | None = None
    signals: tuple[Signal, ...] = ()
    """The abnormal series of that incident or anomaly."""
    undone_at: Millis | None = None
    undone_by: str = ""
    undone_note: str = ""

    @property
    def holds(self) -> bool:
        """Whether it was not undone."""
        return self.undone_at is None

    def undone(self, *, at: Millis, by: str, note: str = "") -> Feedback:
        """The same, taken back."""
        return replace(self, undone_at=at, undone_by=by, undone_note=note)
