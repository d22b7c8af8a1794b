"""What the API needs of the application; `dos.app` provides it.

All methods are called on the event loop of the API, but for `analyze`, which is called in a
worker thread because it may compute for seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from dos.alerting.decision import Decision
from dos.alerting.desk import Seen
from dos.alerting.oncall import Shift
from dos.alerting.routing import Routing
from dos.api.simulation import Simulators
from dos.ingest.base import Delivery, SourceStatus
from dos.ingest.endpoint import Endpoint
from dos.kit.clock import Clock, Millis
from dos.kit.secret import Secret
from dos.model.alert import LabelPairs
from dos.model.anomaly import Anomaly
from dos.model.candidate import ModelsStatus
from dos.model.drift import DriftReading
from dos.model.forecast import Forecast
from dos.model.graph import EdgeEvidence, GraphSnapshot
from dos.model.ids import AlertId, EntityId, SeriesId
from dos.model.impact import Impact
from dos.model.overview import ServiceStatus
from dos.model.registry import SeriesRegistry
from dos.model.rootcause import RootCause
from dos.model.silence import Silence
from dos.model.telemetry import SampleFrame
from dos.storage.base import Store, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of DOS itself: the pipeline, the store, the outbox, …"""

    name: str
    ok: bool
    detail: str = ""
    """What is wrong and what to do about it, as a sentence; may be empty when ok."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether DOS can do its work.

    A failing source does not make it unready (the rest goes on): that is `SourceStatus`'s to say.
    """

    ok: bool
    """False only when the pipeline or the store cannot work."""
    components: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """Recorded telemetry that somebody wants analysed, apart from the live system."""

    frame: SampleFrame
    """Its `series` are in the order in which they were posted; samples sorted by time."""
    edges: tuple[EdgeEvidence, ...] = ()
    """Who calls whom; without any, the ranker has only the series to go by."""
    trouble_began_at: Millis | None = None
    """What comes before is the normal to compare with; None: to be found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What a case shows."""

    anomalies: tuple[Anomaly, ...]
    """`series_id` is the position in the case's `frame.series`; most deviating first."""
    root_cause: RootCause | None
    """None when nothing is abnormal, so that nothing has a cause."""
    impact: Impact | None = None
    """None when nothing is abnormal, so that nobody is affected."""


class AlertDesk(Protocol):
    """Alerts that fire, silences and routes, as Alertmanager's API shows them."""

    @property
    def routing(self) -> Routing:
        """By which routes alerts go."""
        ...

    def fires(self, alert_id: AlertId) -> bool:
        """Whether an alert with this id fires."""
        ...

    def alerts(self) -> Sequence[Seen]:
        """What fires now, oldest first."""
        ...

    def groups(self) -> Sequence[tuple[str, LabelPairs, Sequence[Seen]]]:
        """Receiver, labels and alerts of each group."""
        ...

    def explain(self, alert_id: AlertId) -> Sequence[Decision]:
        """Who was told about an alert and who was not, and why; oldest first.

        Empty for one that is unknown or ended long ago.
        """
        ...

    def on_call(self) -> Sequence[tuple[str, Sequence[Shift]]]:
        """Each schedule with the shifts of those who are on call now."""
        ...

    def shifts(self, name: str, start: Millis, end: Millis) -> Sequence[Shift]:
        """The whole shifts of a schedule that lie between two times, at least in part.

        Raises:
            KeyError: There is no schedule of that name.
        """
        ...

    def silences(self) -> Sequence[Silence]:
        """All of them, also those that ended lately."""
        ...

    def plan_silence(self, wanted: Silence) -> tuple[Silence, ...]:
        """What is to be delivered for it; the one that holds from then on comes last.

        Raises:
            ValueError: It would be over already.
            KeyError: There is none with its id.
        """
        ...

    def plan_end(self, silence_id: str) -> Silence:
        """What is to be delivered to end one.

        Raises:
            ValueError: It is over already.
            KeyError: There is none with this id.
        """
        ...


class Backend(Protocol):
    """The running application, seen from its HTTP side."""

    @property
    def store(self) -> Store:
        """Decisions and what follows from them."""
        ...

    @property
    def clock(self) -> Clock:
        """The application's clock (virtual in a simulation)."""
        ...

    @property
    def version(self) -> str:
        """Version of DOS."""
        ...

    @property
    def started_at(self) -> Millis:
        """When the application started, on its clock."""
        ...

    @property
    def registry(self) -> SeriesRegistry:
        """The live series registry; the API only reads it."""
        ...

    @property
    def write_token(self) -> Secret | None:
        """Bearer token that requests which change state must carry; None: none configured."""
        ...

    @property
    def simulators(self) -> Simulators | None:
        """The simulations among the sources; None where there are none."""
        ...

    def sources(self) -> Sequence[SourceStatus]:
        """Every configured source."""
        ...

    def ready(self) -> Readiness:
        """Whether DOS can do its work now."""
        ...

    def services(self) -> Sequence[ServiceStatus]:
        """Every known entity now, sorted by id."""
        ...

    def service(self, entity: EntityId) -> ServiceStatus | None:
        """One entity now, or None when it was never seen."""
        ...

    def forecasts(self) -> Sequence[Forecast]:
        """What runs out, as of now: all that grows towards a limit, soonest first."""
        ...

    def drift(self) -> Sequence[DriftReading]:
        """Whether what was learned still fits, by group of series."""
        ...

    def models(self) -> ModelsStatus:
        """What decides, what runs beside it, and the candidates."""
        ...

    def graph(self) -> GraphSnapshot:
        """The dependency graph now; for the past there is `store.graph(at)`."""
        ...

    def samples(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """Samples in `[start, end]`, clipped to what is kept."""
        ...

    @property
    def desk(self) -> AlertDesk:
        """Alerts that fire, silences and routes."""
        ...

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What sources that are pushed to want served, by path."""
        ...

    def offer(self, delivery: Delivery) -> bool:
        """Hand telemetry to the pipeline; False when its queue is full (nothing was taken)."""
        ...

    async def submit(self, delivery: Delivery) -> bool:
        """Hand a delivery to the pipeline and wait until no crash can lose it.

        Returns:
            False if there is no room or it took too long: it may be lost and is to be sent again.
        """
        ...

    async def reply(self, receiver: str, headers: Mapping[str, str], body: bytes) -> int | None:
        """A receiver's channel calls back: what is acknowledged there is acknowledged here.

        Args:
            receiver: Its name.
            headers: Of the request, names in lower case.
            body: As it came.

        Returns:
            How many alerts were acknowledged; None if there is no room now.

        Raises:
            KeyError: There is no such receiver, or its kind has no webhook.
            PermissionError: It is not signed as configured.
            ValueError: It cannot be understood.
        """
        ...

    def analyze(self, case: Case) -> Analysis:
        """Find the anomalies of a case and rank their causes. Changes nothing; thread-safe.

        Raises:
            PermanentError: The case cannot be analysed; the message says why.
        """
        ...

    def metrics_text(self) -> bytes:
        """DOS' own metrics in the Prometheus text format 0.0.4."""
        ...

    async def wait_for_event(self, after: int) -> None:
        """Return once the store has an event with a sequence number beyond `after`."""
        ...


OpenBackend = Callable[[], AbstractAsyncContextManager[Backend]]
"""Starts the application on entering and stops it on leaving."""
