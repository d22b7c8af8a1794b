"""What each kind of fault looks like: at its target, at who depends on it, and elsewhere."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from dos.kit.clock import HOUR, Millis
from dos.model.change import ChangeKind
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.engine import Simulation
from dos.simulate.faults import FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.kinds.base import STATEFUL
from dos.simulate.kinds.monitoring import WAYS, garbled
from dos.simulate.kinds.network import MOST_LOSS
from dos.simulate.kinds.platform import MOST_SKEW
from dos.simulate.kinds.stores import BLIP_SECONDS
from dos.simulate.scenario import eligible
from dos.simulate.workload import Workload
from dos.simulate.world import World
from dos.simulate.worlds import generate, shop, sketch
from tests.unit.simulate.runs import MONDAY_NOON, SHOP, Run, beside, usual

STEP = 5.0
CALM, ON = slice(0, 24), slice(36, 60)
"""Two minutes of calm; and from one minute into a fault of three to its end."""
NODE_OR_ZONE = {FaultType.NOISY_NEIGHBOUR, FaultType.CLOCK_SKEW, FaultType.ZONE_OUTAGE}
REAL = [kind for kind in FaultType if not KINDS[kind].harmless]
HARMLESS = [kind for kind in FaultType if KINDS[kind].harmless]


def broken(fault: FaultType, target: str = "", severity: float = 0.8, **options: float) -> Run:
    """The shop with a fault of three minutes, and a minute after it."""
    run = Run(step=STEP).play(24)
    shape = {"duration": 180.0} | options
    run.simulation.inject(usual(fault, target or SHOP[fault].target, severity=severity, **shape))
    return run.play(48)


def ratio(run: Run, entity: str, metric: str, during: slice = ON) -> float:
    """Of the mean of a series to that of the calm part."""
    series = run.series(entity, metric)
    return float(series[during].mean() / series[CALM].mean())


def level(run: Run, entity: str, metric: str, during: slice = ON) -> float:
    return float(run.series(entity, metric)[during].mean())


# --- all kinds ------------------------------------------------------------------------------


def test_there_are_two_dozen_and_each_says_who_can_have_it() -> None:
    assert set(KINDS) == set(FaultType)
    assert len(REAL) == 21
    assert set(HARMLESS) == {
        FaultType.HARMLESS_DEPLOY,
        FaultType.PLANNED_SURGE,
        FaultType.BATCH_JOB,
    }
    world = shop()
    for kind in FaultType:
        assert SHOP[kind].target in eligible(world, kind), kind
        least, most = KINDS[kind].duration
        assert 0 < least < most
        assert len({kind.label for kind in FaultType}) == len(FaultType)


EXTERNAL, CACHE, QUEUE = EntityKind.EXTERNAL, EntityKind.CACHE, EntityKind.QUEUE
NEVER: dict[FaultType, set[EntityKind]] = {
    FaultType.CPU_SPIKE: {EXTERNAL},
    FaultType.MEMORY_LEAK: STATEFUL | {EXTERNAL},
    FaultType.PACKET_LOSS: {EXTERNAL},
    FaultType.CASCADING_FAILURE: {QUEUE},
    FaultType.DEPLOY_REGRESSION: STATEFUL | {EXTERNAL},
    FaultType.CONFIG_CHANGE: {EXTERNAL, CACHE, QUEUE},
    FaultType.FEATURE_FLAG: STATEFUL | {EXTERNAL, EntityKind.GATEWAY},
    FaultType.CERTIFICATE_EXPIRY: {QUEUE},
    FaultType.DNS_FAILURE: {QUEUE},
    FaultType.DEPENDENCY_OUTAGE: {QUEUE},
    FaultType.LOCK_CONTENTION: {EXTERNAL, CACHE, QUEUE, EntityKind.GATEWAY},
    FaultType.CACHE_STAMPEDE: set(EntityKind) - {CACHE},
    FaultType.RETRY_STORM: {EXTERNAL, CACHE, QUEUE, EntityKind.GATEWAY},
    FaultType.METRIC_CORRUPTION: {EXTERNAL},
    FaultType.HARMLESS_DEPLOY: STATEFUL | {EXTERNAL},
    FaultType.BATCH_JOB: {EXTERNAL, CACHE, QUEUE, EntityKind.GATEWAY},
}
"""Kinds of service that cannot have it."""
NEEDS_CALLERS = {
    FaultType.CASCADING_FAILURE,
    FaultType.CERTIFICATE_EXPIRY,
    FaultType.DNS_FAILURE,
    FaultType.DEPENDENCY_OUTAGE,
    FaultType.DISK_FULL,
    FaultType.CACHE_STAMPEDE,
    FaultType.RETRY_STORM,
}


@pytest.mark.parametrize("world", [shop(), sketch(), generate(60, seed=5)])
@pytest.mark.parametrize("kind", list(FaultType))
def test_only_what_can_have_it_is_a_target(kind: FaultType, world: World) -> None:
    targets = eligible(world, kind)
    assert len(set(targets)) == len(targets)
    kinds = {one.id: one.kind for one in world.services}
    assert not {kinds[one] for one in targets if one in kinds} & NEVER.get(kind, set())
    if kind in NEEDS_CALLERS:
        assert set(targets) <= {call.callee for call in world.calls}
    used = {node for nodes in world.placement().values() for node in nodes}
    exactly = {
        FaultType.NOISY_NEIGHBOUR: used,
        FaultType.CLOCK_SKEW: used,
        FaultType.ZONE_OUTAGE: set(world.zones),
        FaultType.TRAFFIC_SURGE: set(world.entries),
        FaultType.PLANNED_SURGE: set(world.entries),
        FaultType.NETWORK_LATENCY: set(kinds),
        FaultType.ERROR_RATE: set(kinds),
        FaultType.DISK_FULL: {one.id for one in world.services if one.disk > 0},
    }
    assert set(targets) == exactly.get(kind, set(targets))


@pytest.mark.parametrize("kind", REAL)
def test_a_real_one_is_seen_at_its_target_and_above(kind: FaultType) -> None:
    run = broken(kind, severity=0.9, duration=300.0)
    run.play(24)
    truth = run.simulation.truths[0]
    assert not truth.harmless
    assert truth.affected
    if kind not in NODE_OR_ZONE:
        assert truth.target in truth.causes
        # The target's own numbers move, but for those that callers alone can see.
        unreachable = {
            FaultType.CERTIFICATE_EXPIRY,
            FaultType.DNS_FAILURE,
            FaultType.DEPENDENCY_OUTAGE,
        }
        assert truth.target in truth.affected or kind in unreachable | {FaultType.CACHE_STAMPEDE}
    if kind is FaultType.METRIC_CORRUPTION:
        assert truth.affected == (truth.target,)
    else:
        assert truth.visible_at is not None
        assert SHOP[kind].dependent in truth.affected


@pytest.mark.parametrize("kind", list(FaultType))
def test_a_neighbour_that_shares_nothing_is_byte_for_byte_the_same(kind: FaultType) -> None:
    world = beside(shop(), shop())
    calm, hit = Run(world, step=STEP), Run(world, step=STEP)
    hit.simulation.inject(usual(kind, f"here-{SHOP[kind].target}", severity=1.0, duration=120.0))
    calm.play(36)
    hit.play(36)
    for entity in {spec.entity for spec in hit.simulation.series}:
        if entity.startswith("there-"):
            assert calm.of(entity).tobytes() == hit.of(entity).tobytes(), entity
    assert not any(name.startswith("there-") for name in hit.simulation.truths[0].affected)
    if kind is not FaultType.HARMLESS_DEPLOY:
        assert calm.values.tobytes() != hit.values.tobytes()


@pytest.mark.parametrize(
    "kind", [one for one in REAL if one not in {FaultType.METRIC_CORRUPTION, FaultType.ZONE_OUTAGE}]
)
def test_severity_is_a_scale(kind: FaultType) -> None:
    """What all services suffer together grows with it."""

    def suffering(severity: float) -> float:
        run = broken(kind, severity=severity, duration=400.0).play(30)
        calm = Run(step=STEP).play(len(run.values))
        places = [
            place
            for place, spec in enumerate(run.simulation.series)
            if spec.metric in {"error_rate", "latency_p95"}
        ]
        worse = np.log((run.values[24:, places] + 0.01) / (calm.values[24:, places] + 0.01))
        return float(np.abs(worse).sum())

    mild, middle, severe = (suffering(severity) for severity in (0.3, 0.6, 1.0))
    assert mild < middle < severe
    # A storm takes all there is even when it is a mild one.
    assert mild < (1.0 if kind is FaultType.RETRY_STORM else 0.8) * severe


# --- real ones, each by its signature -------------------------------------------------------


def test_packet_loss_makes_a_long_tail() -> None:
    run = broken(FaultType.PACKET_LOSS)
    assert level(run, "catalog-service", "retransmits") == pytest.approx(MOST_LOSS * 0.8, rel=0.2)
    assert level(run, "frontend", "retransmits") < 0.01
    assert ratio(run, "catalog-service", "latency_p95") > 10
    p99 = level(run, "catalog-service", "latency_p99") - level(
        run, "catalog-service", "latency_p50"
    )
    assert p99 > 0.5
    assert 0.01 < level(run, "catalog-service", "error_rate") < 0.15
    assert ratio(run, "frontend", "latency_p95") > 3
    assert ratio(run, "catalog-service", "cpu_usage") < 1.2


def test_a_regression_begins_with_a_deployment_and_costs_cpu() -> None:
    run = broken(FaultType.DEPLOY_REGRESSION, severity=0.7)
    (change,) = run.simulation.changes
    assert (change.kind, change.entity) == (ChangeKind.DEPLOY, "catalog-service")
    assert change.at == run.simulation.truths[0].start
    assert ratio(run, "catalog-service", "cpu_usage") > 1.8
    assert level(run, "catalog-service", "error_rate") > 0.05
    assert ratio(run, "frontend", "latency_p95") > 1.3
    assert level(run, "frontend", "error_rate") > 0.03
    assert ratio(run, "catalog-db", "cpu_usage") < 1.2


def test_a_pool_set_too_small_queues_while_the_cpu_idles() -> None:
    run = broken(FaultType.CONFIG_CHANGE)
    (change,) = run.simulation.changes
    assert (change.kind, change.entity) == (ChangeKind.CONFIG, "payment-service")
    assert ratio(run, "payment-service", "cpu_usage") < 0.8
    assert ratio(run, "payment-service", "latency_p50") > 5
    assert level(run, "payment-service", "queue_depth") > 3
    assert level(run, "payment-service", "error_rate") > 0.3
    assert level(run, "checkout-service", "error_rate") > 0.3


def test_a_flag_calls_more_and_the_store_pays() -> None:
    run = broken(FaultType.FEATURE_FLAG, severity=0.5)
    (change,) = run.simulation.changes
    assert (change.kind, change.entity) == (ChangeKind.FLAG, "catalog-service")
    assert ratio(run, "catalog-db", "request_rate") == pytest.approx(2.25, rel=0.05)
    assert ratio(run, "catalog-db", "cpu_usage") > 1.8
    assert ratio(run, "catalog-service", "cpu_usage") > 1.4
    assert ratio(run, "catalog-service", "request_rate") == pytest.approx(1, abs=0.05)
    assert ratio(run, "catalog-service", "latency_p95") > 1.5


@pytest.mark.parametrize(
    "kind", [FaultType.CERTIFICATE_EXPIRY, FaultType.DNS_FAILURE, FaultType.DEPENDENCY_OUTAGE]
)
def test_who_cannot_be_reached_is_idle_while_callers_fail(kind: FaultType) -> None:
    run = broken(kind, severity=0.9)
    target, caller = SHOP[kind].target, SHOP[kind].dependent
    assert ratio(run, target, "request_rate") < 0.4
    assert ratio(run, target, "cpu_usage") < 0.7
    assert level(run, target, "error_rate") < 0.02
    assert level(run, caller, "error_rate") > 0.1


def test_a_failing_lookup_takes_time_and_a_refused_connection_none() -> None:
    slow = broken(FaultType.DNS_FAILURE, "payment-service")
    quick = broken(FaultType.CERTIFICATE_EXPIRY, "payment-service")
    assert ratio(slow, "checkout-service", "latency_p50") > 3
    assert ratio(quick, "checkout-service", "latency_p50") < 1.1


def test_certificates_expire_from_one_second_to_the_next() -> None:
    run = broken(FaultType.CERTIFICATE_EXPIRY)
    failing = run.series("checkout-service", "error_rate")
    assert failing[23] < 0.05
    assert failing[24] > 0.5


def test_a_disk_fills_for_a_while_before_writes_fail() -> None:
    run = Run(step=STEP).play(24)
    run.simulation.inject(usual(FaultType.DISK_FULL, "shop-db", severity=0.8, duration=300.0))
    run.play(80)
    disk, failing = run.series("shop-db", "disk_usage"), run.series("shop-db", "error_rate")
    full = int(np.argmax(disk > 0.985))
    assert (full - 24) * STEP == pytest.approx(300 / 2.4, rel=0.2)
    assert np.diff(disk[26:full]).min() > 0
    assert failing[24 : full - 3].max() < 0.05
    assert failing[full + 4 : 84].mean() > 0.3
    assert run.series("checkout-service", "error_rate")[full + 4 : 84].mean() > 0.3
    # Cleaned up once the cause is gone.
    assert disk[-1] < 0.9
    assert failing[-1] < 0.05


def test_a_noisy_neighbour_slows_what_runs_on_its_node() -> None:
    run = broken(FaultType.NOISY_NEIGHBOUR, "shop-node-a1")
    assert level(run, "shop-node-a1", "cpu_usage") > 0.7
    assert ratio(run, "shop-node-b1", "cpu_usage") < 1.2
    # catalog-db has its only replica there, user-service none.
    assert ratio(run, "catalog-db", "latency_p95") > 4
    assert ratio(run, "user-service", "latency_p95") < 1.2
    # What is stolen is not accounted to the container.
    assert ratio(run, "catalog-db", "cpu_usage") == pytest.approx(1, abs=0.1)
    assert run.simulation.truths[0].causes == ("shop-node-a1",)


def test_a_lock_queues_with_an_idle_cpu_where_overload_burns_it() -> None:
    lock, overload = broken(FaultType.LOCK_CONTENTION), broken(FaultType.CASCADING_FAILURE)
    for run in (lock, overload):
        assert ratio(run, "shop-db", "latency_p95") > 10
        assert level(run, "shop-db", "queue_depth") > 15
        assert level(run, "checkout-service", "error_rate") > 0.3
        assert ratio(run, "checkout-service", "latency_p95") > 5
    assert ratio(lock, "shop-db", "cpu_usage") < 0.8
    assert level(overload, "shop-db", "cpu_usage") > 0.95


def test_a_stampede_falls_on_the_store_behind_the_cache() -> None:
    run = broken(FaultType.CACHE_STAMPEDE, severity=0.6)
    hits = run.series("redis-cache", "hit_ratio")
    assert hits[CALM].mean() == pytest.approx(0.92, abs=0.01)
    assert hits[ON].mean() == pytest.approx(1 - 0.08 * 2.8, abs=0.02)
    assert ratio(run, "catalog-db", "request_rate") > 2
    assert ratio(run, "catalog-db", "cpu_usage") > 2
    assert ratio(run, "catalog-db", "latency_p95") > 2
    # The cache itself is as quick as ever.
    assert ratio(run, "redis-cache", "latency_p95") == pytest.approx(1, abs=0.2)
    severe = broken(FaultType.CACHE_STAMPEDE, severity=0.95)
    assert level(severe, "catalog-service", "error_rate") > 0.3


@pytest.mark.parametrize("target", ["shop-db", "cart-service"])
@pytest.mark.parametrize("severity", [0.5, 0.7, 0.95])
def test_a_retry_storm_outlives_what_set_it_off(target: str, severity: float) -> None:
    storm = broken(FaultType.RETRY_STORM, target, severity, duration=180.0)
    after = slice(24 + round((BLIP_SECONDS + 60) / STEP), 24 + round(175 / STEP))
    assert ratio(storm, target, "request_rate", after) > 2.5
    assert level(storm, target, "cpu_usage", after) > 0.95
    assert level(storm, "frontend", "error_rate", after) > 0.15
    # The same blip in front of clients with a budget is over when it is over.
    blip = Run(step=STEP).play(24)
    blip.simulation.inject(
        usual(FaultType.ERROR_RATE, target, severity=1.0, duration=BLIP_SECONDS, recovery=0.0)
    )
    blip.play(48)
    assert level(blip, "frontend", "error_rate", after) < 0.02
    assert ratio(blip, target, "request_rate", after) < 1.1


def test_a_storm_ends_when_clients_get_their_budget_back() -> None:
    storm = broken(FaultType.RETRY_STORM, severity=0.95, duration=120.0).play(24)
    assert level(storm, "api-gateway", "error_rate", slice(-12, None)) < 0.02
    assert ratio(storm, "shop-db", "request_rate", slice(-12, None)) < 1.1


def test_a_dark_zone_hurts_most_until_load_balancers_notice() -> None:
    run = broken(FaultType.ZONE_OUTAGE, "zone-b", duration=300.0)
    assert run.series("shop-node-b1", "ready")[24:60].max() == 0
    assert run.series("shop-node-b1", "cpu_usage")[24:60].max() == 0
    assert run.series("shop-node-a1", "ready").min() == 1
    failing = run.series("frontend", "error_rate")
    assert failing[24:27].max() > 0.2
    assert failing[48:60].mean() < 0.1 * failing[24:27].max()
    (truth,) = run.simulation.truths
    assert truth.causes == ("zone-b", "shop-node-b1")


def test_a_store_whose_zone_is_dark_is_gone_until_it_is_back() -> None:
    run = broken(FaultType.ZONE_OUTAGE, "zone-a", duration=180.0, recovery=10.0).play(24)
    on = slice(30, 60)
    assert level(run, "catalog-db", "cpu_usage", on) < 0.01
    assert level(run, "catalog-service", "error_rate", on) > 0.3
    # Stateless replicas have been started elsewhere.
    assert level(run, "cart-service", "error_rate", slice(48, 60)) < 0.05
    assert level(run, "catalog-service", "error_rate", slice(-12, None)) < 0.02


def test_a_surge_is_more_than_the_system_is_made_for() -> None:
    run = broken(FaultType.TRAFFIC_SURGE)
    assert ratio(run, "api-gateway", "request_rate") == pytest.approx(3.4, rel=0.1)
    assert level(run, "catalog-service", "cpu_usage") > 0.9
    assert ratio(run, "api-gateway", "latency_p95") > 5
    assert level(run, "api-gateway", "error_rate") > 0.05
    mild = broken(FaultType.TRAFFIC_SURGE, severity=0.3)
    assert level(mild, "api-gateway", "error_rate") < 0.02
    assert ratio(mild, "catalog-service", "cpu_usage") > 1.7


def test_full_pools_settle() -> None:
    """What a saturated system lets in does not swing from tick to tick."""
    for kind in (FaultType.TRAFFIC_SURGE, FaultType.CACHE_STAMPEDE):
        for step in (5.0, 10.0, 15.0):
            run = Run(step=step).play(8)
            run.simulation.inject(usual(kind, SHOP[kind].target, severity=0.9, duration=600.0))
            run.play(round(600 / step))
            served = run.series("frontend", "request_rate")[-round(300 / step) :]
            assert served.std() < 0.1 * served.mean(), (kind, step)


def test_a_skewed_clock_is_refused_by_services_on_that_node() -> None:
    run = broken(FaultType.CLOCK_SKEW)
    assert level(run, "shop-node-c1", "clock_offset") == pytest.approx(MOST_SKEW * 0.8, rel=0.02)
    assert level(run, "shop-node-a1", "clock_offset") < 0.02
    assert level(run, "checkout-service", "error_rate") > 0.1
    assert level(run, "frontend", "error_rate") > 0.05
    # The cache runs there as well, and checks no tokens.
    assert level(run, "redis-cache", "error_rate") < 0.01
    assert ratio(run, "checkout-service", "latency_p95") < 1.5


@pytest.mark.parametrize("target", ["payment-service", "catalog-db", "frontend", "cart-service"])
def test_a_corrupted_metric_is_the_only_thing_that_is_wrong(target: str) -> None:
    calm, run = Run().play(5), Run().play(5)
    run.simulation.inject(usual(FaultType.METRIC_CORRUPTION, target, duration=60.0))
    metric, factor = garbled(run.simulation.running[0].id)
    assert (metric, factor) in WAYS
    run.play(10)
    calm.play(10)
    wrong, right = run.series(target, metric), calm.series(target, metric)
    assert (wrong[5:8] == right[5:8] * factor).all()
    assert (wrong[9:] == right[9:]).all()
    different = {
        (spec.entity, spec.metric)
        for place, spec in enumerate(run.simulation.series)
        if (run.values[:, place] != calm.values[:, place]).any()
    }
    assert different == {(target, metric)}


def test_every_way_of_corruption_comes_up() -> None:
    assert {garbled(str(number)) for number in range(100)} == set(WAYS)


# --- harmless ones --------------------------------------------------------------------------


@pytest.mark.parametrize("hour", [12, 19])
@pytest.mark.parametrize("kind", HARMLESS)
def test_nobody_suffers_from_a_harmless_one(kind: FaultType, hour: int) -> None:
    """Neither at noon nor at the daily peak, when everything has less to spare."""
    start = Millis(MONDAY_NOON + (hour - 12) * HOUR)
    for target in eligible(shop(), kind):
        calm, hit = (Simulation(shop(), seed=3, step_seconds=15.0, start=start) for _ in range(2))
        run = hit.inject(usual(kind, target, severity=0.95, duration=300.0))
        assert hit.truths[0].harmless
        slow = [i for i, spec in enumerate(hit.series) if spec.metric == "latency_p95"]
        fail = [i for i, spec in enumerate(hit.series) if spec.metric == "error_rate"]
        wanted, found = (one.ticks(36).value.reshape(36, -1) for one in (calm, hit))
        assert (found[:, fail].mean(axis=0) < wanted[:, fail].mean(axis=0) + 0.005).all(), target
        assert (found[:, slow].mean(axis=0) < 1.5 * wanted[:, slow].mean(axis=0)).all(), target
        assert hit.truths[0].id == run.id


def test_a_harmless_deployment_is_announced_like_any_other() -> None:
    harmless, harmful = (Run().play(1) for _ in range(2))
    harmless.has(FaultType.HARMLESS_DEPLOY)
    harmful.has(FaultType.DEPLOY_REGRESSION)
    told = [
        [(one.kind, one.entity, one.summary) for one in run.simulation.changes]
        for run in (harmless, harmful)
    ]
    assert told[0] == told[1]
    assert harmless.simulation.operations.version(EntityId("catalog-service")) == "1.0.1"


def test_a_planned_surge_is_announced_and_gentle() -> None:
    run = Run(step=STEP, workload=Workload(variation=0.0, bursts_per_day=0.0)).play(24)
    run.simulation.inject(usual(FaultType.PLANNED_SURGE, "api-gateway", duration=600.0))
    assert run.simulation.changes[0].summary == "Campaign begins at api-gateway, as planned"
    run.play(160)
    traffic = run.series("api-gateway", "request_rate")
    assert 1.15 < traffic[90:140].mean() / traffic[CALM].mean() < 1.5
    assert np.abs(np.diff(traffic[24:80])).max() < 0.15 * traffic[CALM].mean()


def test_a_batch_job_takes_cpu_that_nobody_needs() -> None:
    run = broken(FaultType.BATCH_JOB)
    assert ratio(run, "shop-db", "cpu_usage") > 1.7
    for entity in ("shop-db", "checkout-service"):
        assert ratio(run, entity, "latency_p95") == pytest.approx(1, abs=0.1)


# --- the page about them --------------------------------------------------------------------


def test_the_page_shows_every_kind() -> None:
    docs = Path(__file__).resolve().parents[3] / "docs"
    page = (docs / "simulation" / "incidents.md").read_text(encoding="utf-8")
    headings = {line[4:] for line in page.splitlines() if line.startswith("### ")}
    assert headings == {kind.label for kind in FaultType}
    for kind in FaultType:
        assert page.count(f"![{kind.label}](../images/incidents/{kind}.svg)") == 1
        plot = docs / "images" / "incidents" / f"{kind}.svg"
        assert plot.stat().st_size < 30_000
        drawn = ET.parse(plot)
        assert (drawn.findtext("{*}title") or "").startswith(f"{kind.label} of ")
        row = next(
            cells
            for line in page.splitlines()
            if line.startswith("|") and f"`{kind}`" in (cells := line.split("|"))[1]
        )
        about = KINDS[kind]
        assert row[3].strip() == f"{about.ramp:g} s"
        assert row[4].strip() == f"{about.recovery:g} s"
        for cure in about.cures:
            assert cure.value.replace("_", " ") in row[5], kind
