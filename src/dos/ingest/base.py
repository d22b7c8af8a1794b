"""What a source is, and what it delivers to.

Lifecycle contract of a source:

* It is built once from its configuration, as `build(config, name=…, clock=…, rng=…)`, without
  any I/O but reading files that the configuration names.
* `run(sink)` does the work until it is cancelled or has nothing more to deliver. It must let
  `CancelledError` through and release what it holds.
* When the other side fails it raises `TransientError` (supervision waits and calls `run` again,
  on the same object: it goes on where it was) or `PermanentError` (supervision gives up and says
  so in the source's status).
* It never retries by itself, never reads the machine's clock, and holds nothing unbounded.
* When it works but has nothing to say it delivers an empty `Delivery`, a sign of life. What it
  could not collect while the rest worked it names in `Delivery.problems`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dos.kit.clock import Millis
from dos.kit.retry import CircuitState
from dos.model.alert import Acknowledgement, Notification, PostedAlert
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.feedback import Feedback
from dos.model.graph import EdgeEvidence
from dos.model.logs import LogBatch
from dos.model.silence import Silence
from dos.model.telemetry import SampleFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a source hands over at once; processed in one step of the pipeline."""

    frame: SampleFrame | None = None
    history: bool = False
    """True for back-fill of the past: learned from, never alerted on."""
    entities: tuple[Entity, ...] = ()
    edges: tuple[EdgeEvidence, ...] = ()
    changes: tuple[Change, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    """What people said about decisions; comes through the API."""
    logs: LogBatch | None = None
    """Log lines."""
    alerts: tuple[PostedAlert, ...] = ()
    """Alerts that another system raised or ended."""
    silences: tuple[Silence, ...] = ()
    """Silences as they are from now on; comes through the API."""
    acknowledgements: tuple[Acknowledgement, ...] = ()
    """Who is on which alert; comes through the API."""
    undelivered: tuple[Notification, ...] = ()
    """Notifications that did not reach their receiver in time; comes from delivery."""
    problems: tuple[str, ...] = ()
    """What the source could not collect this time although it works as a whole, one sentence
    each; they show in its status until the next delivery."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it for the pipeline: a sign of life only."""
        told = self.entities or self.edges or self.changes or self.feedback or self.logs
        return self.frame is None and not (
            told or self.alerts or self.silences or self.acknowledgements or self.undelivered
        )


class Sink(Protocol):
    """Where a source delivers to."""

    async def deliver(self, delivery: Delivery) -> None:
        """Hand over, waiting for room: for sources that pull."""
        ...

    def offer(self, delivery: Delivery) -> bool:
        """Hand over if there is room, else False: for sources that are pushed to."""
        ...

    async def submit(self, delivery: Delivery) -> bool:
        """Hand over and wait until it is in the intake log, where no crash loses it.

        Returns:
            False if there is no room or it took too long: the sender has to send it again.
        """
        ...


class Source(Protocol):
    """A source of telemetry; see the lifecycle contract above."""

    async def run(self, sink: Sink) -> None:
        """Deliver until cancelled or finished."""
        ...


class SourceHealth(StrEnum):
    """How a source is doing."""

    STARTING = "starting"
    OK = "ok"
    RETRYING = "retrying"
    """The last try failed; another follows."""
    FAILED = "failed"
    """Given up until the configuration changes."""
    FINISHED = "finished"
    """Delivered all it had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """A source's status as `/readyz`, the API and the terminal view show it."""

    name: str
    type: str
    health: SourceHealth = SourceHealth.STARTING
    circuit: CircuitState = CircuitState.CLOSED
    last_delivery_at: Millis | None = None
    """Clock time of the last delivery."""
    last_sample_at: Millis | None = None
    """Newest sample timestamp delivered."""
    deliveries: int = 0
    samples: int = 0
    failures: int = 0
    """Failures since the last success."""
    error: str | None = None
    """The last failure, as a sentence; None once it works again."""
    problems: tuple[str, ...] = ()
    """Parts that fail while the source as a whole works, one sentence each."""
    retry_at: Millis | None = None
    """When the next try is due."""
