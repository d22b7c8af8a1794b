"""A small shop in trouble, and a backend that serves it.

`cart-db` is slow, `cart` and `frontend` suffer. The store is the real one in memory, filled by
committing the events of the story; analysis is the simplest that computes something.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from dos.alerting.base import Receiver
from dos.alerting.book import AlertBook
from dos.alerting.desk import Desk
from dos.alerting.escalation import Escalation
from dos.alerting.fallback import Fallbacks
from dos.alerting.oncall import Schedule
from dos.alerting.oncall_config import ScheduleConfig
from dos.alerting.routing import default_routing
from dos.api.backend import Analysis, Case, Component, Readiness
from dos.api.simulation import Simulators
from dos.app.simulators import PlayedSimulators
from dos.app.standing import StandingAlerts
from dos.ingest.base import Delivery, SourceHealth, SourceStatus
from dos.ingest.endpoint import Endpoint
from dos.kit.clock import HOUR, MINUTE, SECOND, ManualClock, Millis, from_rfc3339
from dos.kit.retry import CircuitState
from dos.kit.secret import Secret
from dos.model import events
from dos.model.alert import Alert, AlertState, Notification
from dos.model.anomaly import Anomaly, Direction
from dos.model.candidate import (
    Candidate,
    ModelAction,
    ModelChange,
    ModelsStatus,
    ShadowPage,
    ShadowStatus,
)
from dos.model.change import Change, ChangeKind
from dos.model.drift import DriftReading, Fit
from dos.model.entity import Entity, EntityKind
from dos.model.events import Decisions, Event, Recorded
from dos.model.forecast import (
    Forecast,
    ForecastId,
    ForecastKind,
    ForecastReason,
    ForecastState,
)
from dos.model.graph import Edge, EdgeKind, GraphSnapshot
from dos.model.ids import AlertId, AnomalyId, ChangeId, EntityId, IncidentId, SeriesId
from dos.model.impact import Affected, Impact, Severity
from dos.model.incident import Incident, IncidentReason, IncidentState
from dos.model.overview import Health, SeriesReading, ServiceStatus
from dos.model.registry import SeriesRegistry
from dos.model.rootcause import Evidence, EvidenceKind, Hypothesis, RootCause, Stance
from dos.model.telemetry import Role, SeriesSpec
from dos.simulate.source import Config as SimulatorConfig
from dos.simulate.source import SimulatorSource
from dos.storage.base import Window
from dos.storage.memory import MemoryStore

NOON = from_rfc3339("2026-11-23T12:00:00Z")
STEP = 15 * SECOND
FRONTEND, CART, DB = (EntityId(name) for name in ("shop/frontend", "shop/cart", "cart-db"))


def at(minutes: float) -> Millis:
    """That many minutes after noon."""
    return Millis(NOON + round(minutes * MINUTE))


ENTITIES = (
    Entity(id=DB, kind=EntityKind.DATABASE, name="cart-db"),
    Entity(
        id=CART,
        kind=EntityKind.SERVICE,
        name="cart",
        namespace="shop",
        attributes=(("service.version", "1.4.2"),),
    ),
    Entity(id=FRONTEND, kind=EntityKind.GATEWAY, name="frontend", namespace="shop"),
)
EDGES = tuple(
    Edge(
        caller=caller,
        callee=callee,
        kind=kind,
        sources=("declared",),
        confidence=0.9,
        first_seen=at(-60),
        last_seen=at(0),
    )
    for caller, callee, kind in [(FRONTEND, CART, EdgeKind.CALL), (CART, DB, EdgeKind.READ)]
)
SPECS = [
    SeriesSpec(entity=entity, metric=metric, labels=labels, role=role, unit=unit)
    for entity in (FRONTEND, CART, DB)
    for metric, labels, role, unit in [
        ("requests", (), Role.TRAFFIC, "1/s"),
        ("latency_p95", (), Role.LATENCY, "seconds"),
        ("error_ratio", (("code", "500"),), Role.ERRORS, "ratio"),
    ]
]


FORECASTS = tuple(
    Forecast(
        id=ForecastId(f"fct-{number}"),
        series_id=SeriesId(number),
        entity=entity,
        metric="disk_usage",
        labels=(("volume", "data"),),
        kind=ForecastKind.DISK,
        state=state,
        reason=ForecastReason.RUNS_OUT,
        at=at(3),
        value=0.9,
        limit=1.0,
        unit="ratio",
        used=0.9,
        growth=1e-5,
        exhausted_at=at(3 + 170),
        earliest=at(3 + 150),
        latest=None if number else at(3 + 200),
        coverage=0.8,
        window=7200.0,
        points=24,
        alarmed_at=at(1) if state is ForecastState.CRITICAL else None,
        title=f"{entity}: disk full in 2h50m (disk_usage)",
    )
    for number, (entity, state) in enumerate(
        [(DB, ForecastState.CRITICAL), (CART, ForecastState.WATCHED)]
    )
)


def anomaly(number: int, entity: EntityId, minutes: float, **changed: object) -> Anomaly:
    """Latency of `entity` far above what it was."""
    made = Anomaly(
        id=AnomalyId(f"ano-{number}"),
        series_id=SeriesId(3 * number + 1),
        entity=entity,
        metric="latency_p95",
        role=Role.LATENCY,
        started_at=at(minutes - 0.5),
        decided_at=at(minutes),
        direction=Direction.ABOVE,
        deviation=float("inf") if number == 2 else 9.5,
        score=0.97,
        observed=1.9,
        expected=0.2,
        lower=0.1,
        upper=0.3,
        detector="robust",
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def incident(number: int, minutes: float, **changed: object) -> Incident:
    """The database is slow and its callers suffer."""
    evidence = Evidence(
        stance=Stance.FOR,
        kind=EvidenceKind.ONSET,
        text="cart-db became slow 30 s before cart.",
        weight=1.2,
        entity=DB,
        metric="latency_p95",
        start=at(minutes - 2),
        end=at(minutes),
    )
    cause = RootCause(
        ranked=(
            Hypothesis(
                entity=DB, metric="latency_p95", probability=0.7, score=2.1, evidence=(evidence,)
            ),
            Hypothesis(entity=CART, metric=None, probability=0.1, score=0.3),
        ),
        unknown=0.2,
        method="statistical",
        at=at(minutes),
        onset=at(minutes - 0.5),
    )
    impact = Impact(
        severity=Severity.SEV2,
        score=0.66,
        affected=tuple(
            Affected(entity=entity, abnormal=entity != FRONTEND, distance=distance, weight=1.0)
            for distance, entity in enumerate((DB, CART, FRONTEND))
        ),
        entry_points=(FRONTEND,),
        reasons=("1 of 1 entry points is affected",),
    )
    made = Incident(
        id=IncidentId(f"inc-{number}"),
        state=IncidentState.OPEN,
        reason=IncidentReason.CORROBORATED,
        began_at=at(minutes - 0.5),
        opened_at=at(minutes),
        updated_at=at(minutes),
        title="cart-db is slow",
        entities=(DB, CART),
        anomalies=(AnomalyId("ano-2"), AnomalyId("ano-1")),
        root_cause=cause,
        impact=impact,
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def alert(number: int, minutes: float, **changed: object) -> Alert:
    """Tells of incident `number`."""
    made = Alert(
        id=AlertId(f"alr-{number}"),
        fingerprint=f"{number:016x}",
        state=AlertState.FIRING,
        severity=Severity.SEV2,
        labels=(("alertname", "DosIncident"), ("service", "cart-db")),
        annotations=(("summary", "cart-db is slow"),),
        starts_at=at(minutes),
        updated_at=at(minutes),
        incident_id=IncidentId(f"inc-{number}"),
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def notification(number: int, told: Alert) -> Notification:
    """To the webhook."""
    return Notification(id=f"ntf-{number}", receiver="ops", alert=told, created_at=told.updated_at)


def story() -> list[tuple[float, Event]]:
    """What DOS decided, with minutes after noon: one incident that is over, one that is not."""
    deploy = Change(
        id=ChangeId("chg-1"),
        at=at(0),
        kind=ChangeKind.DEPLOY,
        entity=DB,
        summary="cart-db 15.4",
        source="push",
    )
    old = incident(1, -50, anomalies=(AnomalyId("ano-0"),), entities=(FRONTEND,))
    over = replace(
        old,
        state=IncidentState.RESOLVED,
        reason=IncidentReason.RECOVERED,
        resolved_at=at(-40),
        updated_at=at(-40),
    )
    first, second = alert(1, -50), alert(2, 2)
    ended = replace(first, state=AlertState.RESOLVED, ends_at=at(-40), updated_at=at(-40))
    return [
        (-60, events.TopologyChanged(version=1, entities=ENTITIES, edges=EDGES)),
        (-50, events.AnomalyStarted(anomaly=anomaly(0, FRONTEND, -50))),
        (-50, events.IncidentChanged(incident=old)),
        (-50, events.AlertChanged(alert=first)),
        (-50, events.NotificationQueued(notification=notification(1, first))),
        (-41, events.AnomalyEnded(anomaly=anomaly(0, FRONTEND, -50, ended_at=at(-41)))),
        (-40, events.IncidentChanged(incident=over)),
        (-40, events.AlertChanged(alert=ended)),
        (-40, events.NotificationQueued(notification=notification(2, ended))),
        (0, events.ChangeSeen(change=deploy)),
        (1, events.AnomalyStarted(anomaly=anomaly(2, DB, 1))),
        (1.5, events.AnomalyStarted(anomaly=anomaly(1, CART, 1.5))),
        (2, events.IncidentChanged(incident=incident(2, 2))),
        (2, events.AlertChanged(alert=second)),
        (2, events.NotificationQueued(notification=notification(3, second))),
    ]


def status(entity: Entity, registry: SeriesRegistry, **changed: object) -> ServiceStatus:
    """`entity` with a reading of each of its series; the database's latency is abnormal."""
    readings = []
    for series_id in registry.of_entity(entity.id):
        spec = registry[series_id].spec
        abnormal = entity.id != FRONTEND and spec.role == Role.LATENCY
        readings.append(
            SeriesReading(
                series_id=series_id,
                metric=spec.metric,
                labels=spec.labels,
                role=spec.role,
                unit=spec.unit,
                at=at(3),
                value=1.9 if abnormal else 0.2,
                expected=0.2,
                lower=0.1,
                upper=float("nan") if spec.role == Role.TRAFFIC else 0.3,
                score=0.97 if abnormal else None,
                abnormal=abnormal,
            )
        )
    made = ServiceStatus(
        entity=entity,
        health=Health.OK if entity.id == FRONTEND else Health.CRITICAL,
        last_sample_at=at(3),
        readings=tuple(readings),
        incidents=() if entity.id == FRONTEND else (IncidentId("inc-2"),),
        callers=tuple(e.caller for e in EDGES if e.callee == entity.id),
        callees=tuple(e.callee for e in EDGES if e.caller == entity.id),
    )
    return replace(made, **changed)  # type: ignore[arg-type]


ROTA = Schedule(
    ScheduleConfig.model_validate(
        {"name": "primary", "layers": [{"people": ["pager", "chat"], "start": "2026-11-02T09:00"}]}
    ),
    ("pager", "chat"),
)
PROMETHEUS = SourceStatus(
    name="prom",
    type="prometheus",
    health=SourceHealth.OK,
    last_delivery_at=at(3),
    last_sample_at=at(2.75),
    deliveries=240,
    samples=2160,
)
BROKEN = SourceStatus(
    name="broken",
    type="prometheus",
    health=SourceHealth.RETRYING,
    circuit=CircuitState.OPEN,
    failures=7,
    error="http://prom:9090 refused the connection.",
    retry_at=at(3.5),
)


WELL = Readiness(ok=True, components=(Component(name="pipeline", ok=True),))


def simulated(*names: str) -> dict[str, SimulatorSource]:
    """Real simulations of the four services of the sketch, at noon, by the names of sources."""
    config = SimulatorConfig(world="sketch", step=1.0, start="2026-11-23T12:00:00Z")
    return {
        name: SimulatorSource(config, name=name, clock=ManualClock(NOON), rng=Random(0))
        for name in names
    }


@dataclass
class FakeBackend:
    """The shop, four minutes after noon."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=lambda: ManualClock(at(3)))
    registry: SeriesRegistry = field(default_factory=SeriesRegistry)
    write_token: Secret | None = None
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    readiness: Readiness = WELL
    simulators: Simulators | None = field(
        default_factory=lambda: PlayedSimulators(simulated("simulator"))
    )
    source_list: list[SourceStatus] = field(default_factory=lambda: [PROMETHEUS])
    statuses: list[ServiceStatus] = field(default_factory=list)
    room: int = 1_000_000
    """Deliveries that still find room in the queue."""
    version: str = "1.2.3"
    started_at: Millis = at(-120)

    def __post_init__(self) -> None:
        self.offered: list[Delivery] = []
        self.cases: list[Case] = []
        self.grown = asyncio.Event()
        self.posted = Desk(default_routing([Receiver(name="pager"), Receiver(name="chat")]))
        self.book = AlertBook(switch=self.posted)
        self.desk = StandingAlerts(
            self.posted,
            self.book,
            Escalation((), None, {ROTA.name: ROTA}),
            Fallbacks({}),
            self.clock,
            threading.Lock(),
        )

    async def fill(self) -> None:
        """Commit the story and describe the series."""
        for minutes, event in story():
            await self.commit(minutes, event)
        for spec in SPECS:
            self.registry.intern(spec)
        self.statuses = [status(entity, self.registry) for entity in ENTITIES]

    async def commit(self, minutes: float, event: Event) -> None:
        """One more decision."""
        seq = (await self.store.position()).seq + 1
        one = Recorded(seq=seq, at=at(minutes), event=event)
        await self.store.commit(Decisions(offset=seq, at=at(minutes), events=(one,)))
        self.grown.set()
        self.grown = asyncio.Event()

    def sources(self) -> Sequence[SourceStatus]:
        return self.source_list

    def ready(self) -> Readiness:
        return self.readiness

    def services(self) -> Sequence[ServiceStatus]:
        return self.statuses

    def service(self, entity: EntityId) -> ServiceStatus | None:
        return next((one for one in self.statuses if one.entity.id == entity), None)

    def forecasts(self) -> Sequence[Forecast]:
        return FORECASTS

    def drift(self) -> Sequence[DriftReading]:
        return [
            DriftReading(
                group="shop/latency",
                series=2,
                fit=Fit.GONE,
                stability=0.4,
                bias=float("nan"),
                outside=0.2,
                outside_before=0.01,
                reference_since=at(-120),
                hint="train again",
            )
        ]

    def models(self) -> ModelsStatus:
        page = ShadowPage(
            at=at(2),
            incident=IncidentId("inc-2"),
            title="cart-db is slow",
            entities=(DB,),
            by_shadow=True,
        )
        shadow = ShadowStatus(
            name="eager",
            since=at(-60),
            inputs=7,
            anomalies=3,
            live_anomalies=2,
            pages=(page,),
            only_shadow=1,
            only_live=0,
            both=0,
        )
        made = Candidate(name="eager", made_at=at(-90), origin="new.yaml", has_network=False)
        change = ModelChange(at=at(-60), by="ann", action=ModelAction.SHADOWED, name="eager")
        return ModelsStatus(
            live=None, running=None, shadow=shadow, candidates=(made,), log=(change,)
        )

    def graph(self) -> GraphSnapshot:
        return GraphSnapshot(version=1, at=at(3), entities=ENTITIES, edges=EDGES)

    def samples(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """A sine per series, kept for two hours, with a gap of a minute at noon."""
        first = max(-(-start // STEP) * STEP, self.clock.now() - 2 * HOUR)
        times = np.arange(first, min(end, self.clock.now()) + 1, STEP, dtype=np.int64)
        values = np.sin(times[:, None] / HOUR + np.array(series)).astype(np.float32)
        values[(times >= at(0)) & (times < at(1))] = np.nan
        return Window(times=times, values=values)

    async def submit(self, delivery: Delivery) -> bool:
        return self.offer(delivery)

    def offer(self, delivery: Delivery) -> bool:
        if len(self.offered) >= self.room:
            return False
        self.offered.append(delivery)
        self.posted.take(delivery.alerts, delivery.silences, self.clock.now())
        return True

    async def reply(self, receiver: str, headers: Mapping[str, str], body: bytes) -> int | None:
        if receiver != "pager":
            raise KeyError(receiver)
        if "x-signature" not in headers:
            msg = "the signature is missing or wrong"
            raise PermissionError(msg)
        if not body.startswith(b"{"):
            msg = "not an event"
            raise ValueError(msg)
        return 1 if self.room else None

    def analyze(self, case: Case) -> Analysis:
        """The series whose last value deviates most from its mean is the cause."""
        self.cases.append(case)
        frame = case.frame
        deviations = []
        for position in range(len(frame.series)):
            value = frame.value[frame.index == position]
            value = value[np.isfinite(value)]
            with np.errstate(over="ignore", invalid="ignore"):  # values as great as floats can be
                spread = float(value.std()) if len(value) else 0.0
                away = float(value[-1] - value.mean()) / spread if spread else 0.0
            deviations.append(away if np.isfinite(away) else 0.0)
        worst = int(np.argmax(np.abs(deviations)))
        if not deviations[worst]:
            return Analysis(anomalies=(), root_cause=None)
        spec = frame.series[worst]
        found = anomaly(worst, spec.entity, 1, series_id=SeriesId(worst), metric=spec.metric)
        ranked = (Hypothesis(entity=spec.entity, metric=spec.metric, probability=0.8, score=1.0),)
        cause = RootCause(
            ranked=ranked, unknown=0.2, method="fake", at=self.clock.now(), onset=at(0)
        )
        return Analysis(anomalies=(found,), root_cause=cause)

    def metrics_text(self) -> bytes:
        return b"# TYPE dos_steps_total counter\ndos_steps_total 42\n"

    async def wait_for_event(self, after: int) -> None:
        while (await self.store.position()).seq <= after:
            await self.grown.wait()


@asynccontextmanager
async def open_filled(write_token: Secret | None = None) -> AsyncIterator[FakeBackend]:
    """The shop, as `create_app` wants it."""
    backend = FakeBackend(write_token=write_token)
    await backend.fill()
    yield backend
