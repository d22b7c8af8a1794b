"""The unit of input: what the pipeline takes in one step, and what the intake log keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from dos.kit.clock import Millis
from dos.model.alert import Acknowledgement, Notification, PostedAlert
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.feedback import Feedback
from dos.model.graph import EdgeEvidence
from dos.model.logs import LogBatch
from dos.model.silence import Silence
from dos.model.telemetry import MetricBatch, Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Everything a source delivered at once, normalised and interned.

    An intake without content is a heartbeat: time passed and nothing came.
    """

    now: Millis
    """The clock when it was taken in: the `now` of every decision made from it."""
    source: str = ""
    history: bool = False
    """True for back-fill: the baseline learns from it, but nothing is decided on it."""
    series: tuple[Series, ...] = ()
    """Series seen for the first time, with the ids used in `metrics`."""
    metrics: MetricBatch = field(default_factory=MetricBatch.empty)
    entities: tuple[Entity, ...] = ()
    edges: tuple[EdgeEvidence, ...] = ()
    changes: tuple[Change, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    """What people said; an entry under a known id replaces it, to undo it."""
    logs: LogBatch | None = None
    """Log lines, if any came."""
    alerts: tuple[PostedAlert, ...] = ()
    """Alerts that another system raised or ended."""
    silences: tuple[Silence, ...] = ()
    """Silences as they are from now on; one under a known id replaces it."""
    acknowledgements: tuple[Acknowledgement, ...] = ()
    """Who is on which alert."""
    undelivered: tuple[Notification, ...] = ()
    """Notifications that did not reach their receiver in time."""
