"""What goes into a demonstration run and what comes out: options, the live view, the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from dos.ingest.base import SourceStatus
from dos.kit.clock import Millis
from dos.model.ids import EntityId, IncidentId
from dos.model.incident import Incident
from dos.model.overview import ServiceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What to play."""

    duration: float | None = None
    """Simulated seconds after the warm-up; None: until interrupted."""
    seed: int = 7
    speed: float = 1.0
    """Simulated seconds per second of real time; 0: as fast as the machine can."""
    world: str = "shop"
    """Name of a built-in world of the simulator."""
    api: bool = True
    """Whether the HTTP API is served meanwhile."""
    host: str = "127.0.0.1"
    port: int = 8000
    data_dir: Path | None = None
    """Where to keep the run; None: a temporary directory, removed at the end."""
    record: Path | None = None
    """Directory to record the input into, for `dos replay`."""
    webhook: str | None = None
    """URL that alerts are also posted to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthNote:
    """An injected fault, and whether DOS has found it, for the view."""

    fault: str
    """As people call it: `CPU spike`."""
    target: EntityId
    started_at: Millis
    ended_at: Millis | None = None
    """None while it lasts."""
    found_after: float | None = None
    """Seconds from start to the opened incident; None while unseen."""


class NoticeKind(StrEnum):
    """What a notice is about."""

    FIRING = "firing"
    RESOLVED = "resolved"
    FAILED = "failed"
    """A notification could not be delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One line about an alert or its delivery."""

    at: Millis
    kind: NoticeKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewState:
    """Everything the terminal shows at one time."""

    now: Millis
    services: Sequence[ServiceStatus]
    incidents: Sequence[Incident]
    """Open ones, and those resolved a short while ago; newest first."""
    notices: Sequence[Notice] = ()
    """Newest last."""
    sources: Sequence[SourceStatus] = ()
    truths: Sequence[TruthNote] = ()
    """Newest last."""
    samples: int = 0
    """Samples taken in since the start."""
    samples_per_second: float = 0.0
    """Of real time."""
    progress: float | None = None
    """0 to 1; None when the run has no end."""
    remaining: float | None = None
    """Simulated seconds to go; None when the run has no end."""
    phase: str = ""
    """What is going on, as a word or two: `learning the baseline`, `watching`."""
    address: str = ""
    """Where the API listens; empty when it does not."""


class DemoView(Protocol):
    """Shows a run while it goes on."""

    def update(self, state: ViewState) -> None:
        """Show `state`. Called from the event loop, a few times a second at most; quick."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCause:
    """One line of a ranking."""

    entity: EntityId
    metric: str | None
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The incident that DOS opened for an injected fault."""

    incident: IncidentId
    opened_at: Millis
    resolved_at: Millis | None
    delay: float
    """Seconds from the fault's start to the opened incident."""
    ranked: tuple[RankedCause, ...]
    """Most probable first."""
    unknown: float
    """Probability given to a cause outside the ranking."""
    correct_rank: int | None
    """Place of the true target in the ranking, from 1; None when it is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFault:
    """The truth about one fault, and what DOS made of it."""

    fault: str
    target: EntityId
    start: Millis
    end: Millis | None
    """None when the run ended before the fault did."""
    detection: Detection | None
    """None: missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCount:
    """What one receiver was told."""

    receiver: str
    fired: int
    """Alerts it was told of; updates of one alert count once."""
    resolved: int
    """Alerts it was told to be over."""
    failed: int = 0
    """Notifications that were given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What a run did, beside the truth."""

    seed: int
    world: str
    duration: float
    """Simulated seconds, without the warm-up."""
    faults: tuple[InjectedFault, ...]
    false_incidents: tuple[IncidentId, ...]
    """Incidents that match no fault."""
    alerts: tuple[AlertCount, ...]
    samples: int
    ticks: int
    wall_seconds: float

    @property
    def detected(self) -> int:
        """How many faults were found."""
        return sum(fault.detection is not None for fault in self.faults)

    @property
    def first_ranked(self) -> int:
        """How many faults were found with the true target ranked first."""
        return sum(fault.detection is not None and fault.detection.correct_rank == 1
                   for fault in self.faults)  # fmt: skip

    def to_json(self) -> bytes:
        """The report as indented JSON."""
        return DEMO_REPORT.dump_json(self, indent=2)


DEMO_REPORT: TypeAdapter[DemoReport] = TypeAdapter(DemoReport)
