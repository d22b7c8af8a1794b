"""The running application as the API sees it: implements `dos.api.backend.Backend`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dos.api.backend import Analysis, Case, Component, Readiness
from dos.app import overview
from dos.app.analyze import analyze
from dos.app.metrics import SelfMetrics
from dos.app.replies import take_reply
from dos.app.sentinel import Sentinel
from dos.app.simulators import PlayedSimulators, simulators_of
from dos.app.standing import StandingAlerts
from dos.ingest.base import Delivery, SourceStatus
from dos.ingest.endpoint import Endpoint
from dos.kit.clock import Clock, Millis
from dos.kit.secret import Secret
from dos.kit.version import __version__
from dos.model.candidate import ModelsStatus
from dos.model.drift import DriftReading
from dos.model.forecast import Forecast
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId, SeriesId
from dos.model.overview import ServiceStatus
from dos.model.registry import SeriesRegistry
from dos.storage.base import Store, Window

PUSH = "push"
"""Name under which pushed samples are counted."""


class SentinelBackend:
    """Reads from a `Sentinel`; writes only through its mailbox."""

    def __init__(self, sentinel: Sentinel) -> None:
        self._sentinel = sentinel
        self._metrics = SelfMetrics(sentinel)
        self._simulators = simulators_of(sentinel.sources)
        parts = sentinel.runner.pipeline.parts
        self._desk = StandingAlerts(
            parts.desk,
            parts.book,
            parts.escalation,
            parts.fallbacks,
            sentinel.clock,
            sentinel.runner.lock,
        )

    @property
    def store(self) -> Store:
        """Decisions and what follows from them."""
        return self._sentinel.store

    @property
    def clock(self) -> Clock:
        """The application's clock."""
        return self._sentinel.clock

    @property
    def version(self) -> str:
        """Version of DOS."""
        return __version__

    @property
    def started_at(self) -> Millis:
        """When the application started."""
        return self._sentinel.started_at

    @property
    def registry(self) -> SeriesRegistry:
        """The live series registry."""
        return self._sentinel.runner.pipeline.parts.registry

    @property
    def write_token(self) -> Secret | None:
        """Bearer token of requests that change state."""
        return self._sentinel.settings.server.token

    @property
    def simulators(self) -> PlayedSimulators | None:
        """The simulations among the sources."""
        return self._simulators

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Of all sources."""
        return self._sentinel.endpoints

    def sources(self) -> Sequence[SourceStatus]:
        """Every configured source."""
        return self._sentinel.source_statuses()

    def ready(self) -> Readiness:
        """Whether the pipeline, the store and the receivers work."""
        failure = self._sentinel.failure
        components = [Component(name="pipeline", ok=failure is None, detail=failure or "")]
        components += [
            Component(name=f"receiver:{one.name}", ok=one.error is None, detail=one.error or "")
            for one in self._sentinel.dispatcher.status()
        ]
        exchange = self._sentinel.exchange
        if exchange is not None:
            trouble = exchange.replicas.trouble
            components.append(Component(name="replicas", ok=trouble is None, detail=trouble or ""))
        return Readiness(ok=failure is None, components=tuple(components))

    def services(self) -> Sequence[ServiceStatus]:
        """Every known entity now."""
        sentinel = self._sentinel
        with sentinel.runner.lock:
            step = sentinel.history.resolution / 1000
            return overview.services(sentinel.runner.pipeline, sentinel.clock.now(), step)

    def service(self, entity: EntityId) -> ServiceStatus | None:
        """One entity now."""
        return next((one for one in self.services() if one.entity.id == entity), None)

    def forecasts(self) -> Sequence[Forecast]:
        """What runs out, as of now."""
        with self._sentinel.runner.lock:
            forecaster = self._sentinel.runner.pipeline.parts.forecaster
            return forecaster.current(self._sentinel.clock.now())

    def drift(self) -> Sequence[DriftReading]:
        """Whether what was learned still fits."""
        with self._sentinel.runner.lock:
            return self._sentinel.watchers.drift.readings()

    def models(self) -> ModelsStatus:
        """What decides, what runs beside it, and the candidates."""
        with self._sentinel.runner.lock:
            return self._sentinel.watchers.status()

    def graph(self) -> GraphSnapshot:
        """The dependency graph now."""
        with self._sentinel.runner.lock:
            topology = self._sentinel.runner.pipeline.parts.topology
            return topology.snapshot(self._sentinel.clock.now())

    def samples(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """Recent samples."""
        with self._sentinel.runner.lock:
            return self._sentinel.history.window(series, start, end)

    @property
    def desk(self) -> StandingAlerts:
        """Alerts that fire, silences and routes."""
        return self._desk

    def offer(self, delivery: Delivery) -> bool:
        """Into the mailbox, if there is room."""
        return self._sentinel.mailbox.offer((PUSH, delivery))

    async def submit(self, delivery: Delivery) -> bool:
        """Into the mailbox, and on into the intake log."""
        return await self._sentinel.submit(PUSH, delivery)

    async def reply(self, receiver: str, headers: Mapping[str, str], body: bytes) -> int | None:
        """What somebody said in a channel."""
        return await take_reply(self._sentinel, receiver, headers, body)

    def analyze(self, case: Case) -> Analysis:
        """Find anomalies and rank causes in posted telemetry."""
        return analyze(self._sentinel.settings, case)

    def metrics_text(self) -> bytes:
        """DOS' own metrics."""
        return self._metrics.render()

    async def wait_for_event(self, after: int) -> None:
        """Return once there is an event beyond `after`."""
        await self._sentinel.runner.wait_for_event(after)
