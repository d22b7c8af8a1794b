"""Fixed states of the world for the tests of the terminal view."""

from __future__ import annotations

from dataclasses import replace

from dos.app.demo_types import Notice, NoticeKind, TruthNote, ViewState
from dos.ingest.base import SourceHealth, SourceStatus
from dos.kit.clock import Millis, from_rfc3339
from dos.model.entity import Entity, EntityKind
from dos.model.ids import AnomalyId, EntityId, IncidentId, SeriesId
from dos.model.impact import Affected, Impact, Severity
from dos.model.incident import Incident, IncidentReason, IncidentState
from dos.model.overview import Health, SeriesReading, ServiceStatus
from dos.model.rootcause import Evidence, EvidenceKind, Hypothesis, RootCause, Stance
from dos.model.telemetry import Role

NOW = from_rfc3339("2026-11-23T14:32:07Z")


def at(seconds_ago: float) -> Millis:
    return Millis(NOW - round(seconds_ago * 1000))


def service(
    name: str,
    health: Health = Health.OK,
    *,
    rate: float = 120.0,
    errors: float = 0.002,
    p95: float = 0.085,
    cpu: float = 0.31,
    memory: float = 0.44,
    score: float | None = 0.08,
    abnormal: tuple[str, ...] = (),
) -> ServiceStatus:
    given = (
        ("request_rate", Role.TRAFFIC, "1/s", rate),
        ("error_rate", Role.ERRORS, "ratio", errors),
        ("latency_p50", Role.LATENCY, "seconds", p95 / 3),
        ("latency_p95", Role.LATENCY, "seconds", p95),
        ("cpu_usage", Role.SATURATION, "ratio", cpu),
        ("memory_usage", Role.SATURATION, "ratio", memory),
    )
    readings = tuple(
        SeriesReading(
            series_id=SeriesId(index),
            metric=metric,
            role=role,
            unit=unit,
            at=at(2),
            value=value,
            expected=value / 3 if metric in abnormal else value,
            lower=None,
            upper=None,
            score=score,
            abnormal=metric in abnormal,
        )
        for index, (metric, role, unit, value) in enumerate(given)
    )
    return ServiceStatus(
        entity=Entity(id=EntityId(name), kind=EntityKind.SERVICE),
        health=health,
        last_sample_at=at(2),
        readings=readings,
    )


def evidence(text: str, stance: Stance = Stance.FOR) -> Evidence:
    return Evidence(
        stance=stance,
        kind=EvidenceKind.DEVIATION,
        text=text,
        weight=1.0,
        entity=EntityId("payment"),
        start=at(60),
        end=at(0),
    )


def hypothesis(name: str, metric: str | None, share: float, *texts: Evidence) -> Hypothesis:
    return Hypothesis(
        entity=EntityId(name), metric=metric, probability=share, score=share * 10, evidence=texts
    )


CAUSE = RootCause(
    ranked=(
        hypothesis(
            "payment-service",
            "cpu_usage",
            0.78,
            evidence("cpu_usage rose 3.1× (31 % → 96 %) at 14:31:15, 15 s before frontend"),
            evidence("its own dependencies stayed normal: payment-db, fraud-check"),
            evidence("no change was reported in the 30 min before", Stance.AGAINST),
        ),
        hypothesis("checkout", "latency_p95", 0.11, evidence("latency_p95 rose 4.8× at 14:31:30")),
        hypothesis("frontend", "latency_p95", 0.05),
    ),
    unknown=0.06,
    method="statistical",
    at=at(5),
    onset=at(52),
)
IMPACT = Impact(
    severity=Severity.SEV2,
    score=0.42,
    affected=tuple(
        Affected(entity=EntityId(name), abnormal=abnormal, distance=distance, weight=1.0)
        for name, abnormal, distance in (
            ("payment-service", True, 0),
            ("checkout", True, 1),
            ("frontend", True, 2),
            ("api-gateway", False, 3),
        )
    ),
    entry_points=(EntityId("api-gateway"),),
    reasons=("an entry point is affected",),
)
OPEN = Incident(
    id=IncidentId("inc-3f9a2c1b7d04"),
    state=IncidentState.OPEN,
    reason=IncidentReason.REASSESSED,
    began_at=at(52),
    opened_at=at(40),
    updated_at=at(5),
    title="payment-service: cpu_usage, latency_p95 and 2 more",
    entities=(EntityId("payment-service"), EntityId("checkout"), EntityId("frontend")),
    anomalies=(AnomalyId("ano-1"),),
    root_cause=CAUSE,
    impact=IMPACT,
)
RESOLVED = replace(
    OPEN,
    id=IncidentId("inc-91bb02d6c4e8"),
    state=IncidentState.RESOLVED,
    reason=IncidentReason.RECOVERED,
    began_at=at(900),
    opened_at=at(880),
    updated_at=at(640),
    resolved_at=at(640),
    title="cart-cache: memory_usage",
)
SERVICES = (
    service("api-gateway", rate=412.0),
    service("frontend", Health.CRITICAL, rate=398.0, p95=0.91, score=0.81,
            abnormal=("latency_p95",)),
    service("cart", rate=61.2),
    service("cart-cache", p95=0.0007, errors=0.0),
    service("catalog", rate=1530.0),
    service("catalog-db", Health.UNKNOWN, score=None),
    service("checkout", Health.CRITICAL, p95=1.42, errors=0.021, score=0.88,
            abnormal=("latency_p95", "error_rate")),
    service("payment-service", Health.CRITICAL, cpu=0.96, p95=1.1, errors=0.034, score=0.97,
            abnormal=("cpu_usage", "latency_p95", "error_rate")),
    service("payment-db"),
    service("user", Health.WARNING, memory=0.83, score=0.62, abnormal=("memory_usage",)),
    service("orders-queue", rate=18.0),
    service("fraud-check", Health.IDLE, rate=0.0, errors=0.0, cpu=0.01),
)  # fmt: skip
CALM = ViewState(
    now=NOW,
    services=tuple(service(one.entity.id) for one in SERVICES),
    incidents=(),
    sources=(
        SourceStatus(name="simulator", type="simulator", health=SourceHealth.OK, samples=1440),
    ),
    samples=1440,
    samples_per_second=141.0,
    progress=0.2,
    remaining=96.0,
    phase="watching",
    address="http://127.0.0.1:8000",
)
BUSY = replace(
    CALM,
    services=SERVICES,
    incidents=(OPEN, RESOLVED),
    notices=(
        Notice(at=at(880), kind=NoticeKind.FIRING, text="console: SEV3 cart-cache: memory_usage"),
        Notice(at=at(640), kind=NoticeKind.RESOLVED, text="console: SEV3 cart-cache: memory_usage"),
        Notice(at=at(38), kind=NoticeKind.FIRING, text="console: SEV2 payment-service: cpu_usage"),
    ),
    sources=(
        *CALM.sources,
        SourceStatus(
            name="prometheus",
            type="prometheus",
            health=SourceHealth.RETRYING,
            failures=4,
            error="http://127.0.0.1:9090 refused the connection. Is Prometheus running there?",
            retry_at=at(-12),
        ),
    ),
    truths=(
        TruthNote(
            fault="CPU spike",
            target=EntityId("payment-service"),
            started_at=at(52),
            found_after=12.0,
        ),
    ),
    progress=0.62,
    remaining=46.0,
)
