"""What operators do to the simulated system changes it, rightly or harmfully, and is measured."""

from __future__ import annotations

import pytest

from dos.kit.clock import SECOND
from dos.kit.errors import ConfigError
from dos.model.change import ChangeKind
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.actions import Action, ActionKind
from dos.simulate.engine import WATCHED_SECONDS
from dos.simulate.faults import FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.upkeep import START_SECONDS
from dos.simulate.world import Call, SimulatedService, World
from dos.simulate.worlds import shop
from tests.unit.simulate.runs import MONDAY_NOON, Run, usual

STEP = 5.0
LONG = 3600.0
"""Of a fault that does not end by itself while a test looks on."""


def broken(fault: FaultType, target: str, severity: float = 0.8, *, lead: float = 60.0) -> Run:
    """A minute of calm, and `lead` seconds of a fault that goes on."""
    run = Run(step=STEP).play(12)
    run.simulation.inject(usual(fault, target, severity=severity, duration=LONG))
    return run.play(round(lead / STEP))


def watch(run: Run) -> Run:
    """Until what comes of an action has been measured in full."""
    run.play(round(WATCHED_SECONDS / STEP))
    assert run.performed.watched == WATCHED_SECONDS
    return run


# --- what helps -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "target", "action"),
    [
        (FaultType.DEPLOY_REGRESSION, "catalog-service", ActionKind.ROLLBACK),
        (FaultType.DEPLOY_REGRESSION, "cart-service", ActionKind.ROLLBACK),
        (FaultType.CONFIG_CHANGE, "payment-service", ActionKind.ROLLBACK),
        (FaultType.CONFIG_CHANGE, "shop-db", ActionKind.ROLLBACK),
        (FaultType.FEATURE_FLAG, "frontend", ActionKind.FLAG_OFF),
        (FaultType.FEATURE_FLAG, "checkout-service", ActionKind.FLAG_OFF),
        (FaultType.CPU_SPIKE, "payment-service", ActionKind.RESTART),
        (FaultType.ERROR_RATE, "user-service", ActionKind.RESTART),
        (FaultType.LOCK_CONTENTION, "shop-db", ActionKind.RESTART),
        (FaultType.LOCK_CONTENTION, "catalog-db", ActionKind.FAILOVER),
        (FaultType.DEPENDENCY_OUTAGE, "cart-service", ActionKind.RESTART),
        (FaultType.DEPENDENCY_OUTAGE, "catalog-db", ActionKind.FAILOVER),
    ],
)
def test_a_cure_takes_the_cause_away(fault: FaultType, target: str, action: ActionKind) -> None:
    run = watch(broken(fault, target, 0.95).act(action, target))
    assert run.performed.cured == (run.simulation.truths[0].id,)
    assert run.performed.helped is True
    truth = run.simulation.truths[0]
    assert truth.mitigated_at == run.performed.at
    assert truth.end is not None
    assert run.simulation.running == ()
    calm = Run(step=STEP).play(len(run.values))
    for service in (target, "api-gateway"):
        for metric in ("latency_p95", "error_rate", "cpu_usage"):
            after, wanted = (one.series(service, metric)[-12:].mean() for one in (run, calm))
            assert after == pytest.approx(wanted, rel=0.1, abs=0.01), (service, metric)


def test_failover_frees_a_full_disk_while_what_fills_it_goes_on_elsewhere() -> None:
    run = broken(FaultType.DISK_FULL, "shop-db", 0.9, lead=1500)
    assert run.series("shop-db", "disk_usage")[-1] == pytest.approx(1.0, abs=0.01)
    failing = run.series("checkout-service", "error_rate")[-6:].mean()
    watch(run.act(ActionKind.FAILOVER, "shop-db"))
    assert run.performed.helped is True
    assert run.series("shop-db", "disk_usage")[-1] < 0.6
    assert run.series("checkout-service", "error_rate")[-12:].mean() < 0.1 * failing


def test_scaling_helps_against_a_surge() -> None:
    run = broken(FaultType.TRAFFIC_SURGE, "api-gateway", 0.65)
    assert run.series("catalog-service", "cpu_usage")[-4:].mean() > 0.9
    watch(run.act(ActionKind.SCALE, "catalog-service", replicas=8))
    assert run.performed.helped is True
    assert run.performed.cured == ()
    assert run.series("catalog-service", "cpu_usage")[-12:].mean() < 0.7
    assert run.series("api-gateway", "error_rate")[-12:].mean() < 0.02


@pytest.mark.parametrize(
    ("fault", "target", "scaled", "replicas"),
    [
        (FaultType.CASCADING_FAILURE, "cart-service", "cart-service", 6),
        (FaultType.CACHE_STAMPEDE, "redis-cache", "catalog-db", 4),
        (FaultType.RETRY_STORM, "shop-db", "shop-db", 6),
    ],
)
def test_scaling_helps_what_is_saturated(
    fault: FaultType, target: str, scaled: str, replicas: int
) -> None:
    run = watch(broken(fault, target).act(ActionKind.SCALE, scaled, replicas))
    assert run.performed.helped is True
    assert run.performed.cured == ()
    assert run.series("api-gateway", "error_rate")[-12:].mean() < 0.02


def test_new_replicas_take_a_while_to_start() -> None:
    run = broken(FaultType.TRAFFIC_SURGE, "api-gateway", 0.65)
    run.act(ActionKind.SCALE, "catalog-service", replicas=8)
    run.play(round(START_SECONDS / STEP) + 6)
    cpu = run.series("catalog-service", "cpu_usage")[24:]
    starting = round(START_SECONDS / STEP) - 1
    assert cpu[:starting].mean() > 0.9
    assert cpu[starting + 3 :].mean() < 0.6


def test_scaling_helps_against_a_regression_for_what_it_costs_only() -> None:
    run = broken(FaultType.DEPLOY_REGRESSION, "catalog-service", 0.95)
    watch(run.act(ActionKind.SCALE, "catalog-service", replicas=9))
    assert run.performed.helped is True
    # It still runs the version that fails some requests by itself.
    assert run.series("catalog-service", "error_rate")[-12:].mean() == pytest.approx(0.114, rel=0.1)
    assert len(run.simulation.running) == 1


def test_a_restart_helps_against_a_leak_until_the_memory_is_full_again() -> None:
    left, restarted = (Run(step=STEP).play(12) for _ in range(2))
    for run in (left, restarted):
        # Full after 310 seconds.
        leak = usual(FaultType.MEMORY_LEAK, "cart-service", severity=0.95, duration=900.0)
        run.simulation.inject(leak)
        run.play(round(260 / STEP))
    watch(restarted.act(ActionKind.RESTART, "cart-service"))
    left.play(round(WATCHED_SECONDS / STEP))
    assert left.series("cart-service", "restarts")[-1] == 1
    assert restarted.series("cart-service", "restarts")[-1] == 0
    assert restarted.performed.helped is True
    assert restarted.performed.cured == ()
    memory = restarted.series("cart-service", "memory_usage")
    after = round((60 + 260 + 30) / STEP)
    assert memory[after] < 0.6 < memory[after - 10]
    assert memory[-1] > memory[after] + 0.1
    restarted.play(round(200 / STEP))
    assert restarted.series("cart-service", "restarts")[-1] == 1


@pytest.mark.parametrize("fault", [FaultType.NOISY_NEIGHBOUR, FaultType.CLOCK_SKEW])
def test_draining_a_bad_node_helps(fault: FaultType) -> None:
    run = broken(fault, "shop-node-a1", 0.95)
    watch(run.act(ActionKind.DRAIN, "shop-node-a1"))
    assert run.performed.helped is True
    calm = Run(step=STEP).play(len(run.values))
    for metric in ("error_rate", "latency_p95"):
        after, wanted = (one.series("frontend", metric)[-12:].mean() for one in (run, calm))
        assert after == pytest.approx(wanted, rel=0.1, abs=0.01)
    hosts = [e for e in run.simulation.edges() if e.kind is EdgeKind.HOST]
    assert hosts
    assert "shop-node-a1" not in {edge.callee for edge in hosts}
    # The neighbour and the clock stay as they are, with nobody left to suffer.
    assert len(run.simulation.running) == 1


def test_failover_brings_a_store_back_whose_zone_is_dark() -> None:
    run = broken(FaultType.ZONE_OUTAGE, "zone-a")
    assert run.series("catalog-service", "error_rate")[-4:].mean() > 0.3
    watch(run.act(ActionKind.FAILOVER, "catalog-db"))
    assert run.performed.helped is True
    assert run.series("catalog-service", "error_rate")[-12:].mean() < 0.02
    assert run.series("shop-node-a1", "ready")[-1] == 0


# --- what harms -----------------------------------------------------------------------------


def test_restarting_a_cache_under_load_harms() -> None:
    run = Run(step=STEP, seed=2).play(12).act(ActionKind.RESTART, "redis-cache")
    watch(run)
    assert run.performed.helped is False
    cold = run.series("redis-cache", "hit_ratio")[12:15].mean()
    assert cold < run.series("redis-cache", "hit_ratio")[:12].mean() - 0.15
    store = run.series("catalog-db", "request_rate")
    assert store[13:15].mean() > 1.5 * store[:12].mean()


def test_restarting_the_cache_makes_a_stampede_worse() -> None:
    run = broken(FaultType.CACHE_STAMPEDE, "redis-cache", 0.55)
    watch(run.act(ActionKind.RESTART, "redis-cache"))
    assert run.performed.helped is False


def test_restarting_the_only_replica_of_a_store_harms() -> None:
    run = watch(Run(step=STEP).play(12).act(ActionKind.RESTART, "catalog-db"))
    assert run.performed.helped is False
    assert run.series("catalog-service", "latency_p95")[12:15].max() > 1.3 * (
        run.series("catalog-service", "latency_p95")[:12].mean()
    )


@pytest.mark.parametrize(
    ("target", "replicas"), [("catalog-service", 1), ("frontend", 1), ("shop-db", 1)]
)
def test_scaling_down_what_is_needed_harms(target: str, replicas: int) -> None:
    run = watch(Run(step=STEP).play(12).act(ActionKind.SCALE, target, replicas=replicas))
    assert run.performed.helped is False
    cpu = run.series(target, "cpu_usage")
    assert cpu[20:].mean() > 1.5 * cpu[:12].mean()


def test_scaling_down_during_a_surge_harms() -> None:
    run = broken(FaultType.TRAFFIC_SURGE, "api-gateway", 0.5)
    watch(run.act(ActionKind.SCALE, "frontend", replicas=2))
    assert run.performed.helped is False


def test_more_clients_harm_a_store_that_is_the_bottleneck() -> None:
    """Replicas of the caller lift the lid off its callee."""
    run = broken(FaultType.LOCK_CONTENTION, "catalog-db", 0.9)
    watch(run.act(ActionKind.SCALE, "frontend", replicas=12))
    assert run.performed.helped is not True


def test_failing_over_a_healthy_busy_store_harms() -> None:
    run = Run(step=STEP).play(12)
    run.simulation.inject(usual(FaultType.FEATURE_FLAG, "catalog-service", severity=0.5))
    run.play(6)
    watch(run.act(ActionKind.FAILOVER, "catalog-db"))
    assert run.performed.helped is False


# --- what does not matter -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "target", "kind", "on"),
    [
        (FaultType.CPU_SPIKE, "payment-service", ActionKind.FLAG_OFF, "payment-service"),
        (FaultType.ERROR_RATE, "payment-service", ActionKind.RESTART, "user-service"),
        (FaultType.NETWORK_LATENCY, "payment-service", ActionKind.RESTART, "payment-service"),
        (FaultType.CERTIFICATE_EXPIRY, "payment-service", ActionKind.RESTART, "payment-service"),
        (FaultType.NOISY_NEIGHBOUR, "shop-node-b1", ActionKind.DRAIN, "shop-node-c1"),
    ],
)
def test_what_is_beside_the_point_neither_helps_nor_harms(
    fault: FaultType, target: str, kind: ActionKind, on: str
) -> None:
    run = watch(broken(fault, target, 0.7).act(kind, on))
    assert run.performed.cured == ()
    assert run.performed.helped is None
    assert len(run.simulation.running) == 1


def test_an_action_on_a_healthy_system_is_worth_nothing() -> None:
    run = watch(Run(step=STEP).play(12).act(ActionKind.SCALE, "frontend", replicas=6))
    assert run.performed.helped is None
    assert run.performed.pain == pytest.approx(run.performed.pain_without, abs=20)


# --- how it is measured ---------------------------------------------------------------------


def test_each_action_is_measured_by_itself() -> None:
    """A cure beside a blunder: neither takes the other's credit or blame."""
    run = broken(FaultType.ERROR_RATE, "user-service", 0.9)
    run.act(ActionKind.RESTART, "user-service")
    run.act(ActionKind.SCALE, "notification-service", replicas=1)
    run.act(ActionKind.RESTART, "redis-cache")
    run.play(round(WATCHED_SECONDS / STEP))
    cure, nothing, blunder = run.simulation.actions
    assert cure.helped is True
    assert nothing.helped is None
    assert blunder.helped is False


def test_what_breaks_later_is_not_the_action_s_fault() -> None:
    run = Run(step=STEP).play(12).act(ActionKind.SCALE, "frontend", replicas=5).play(6)
    run.simulation.inject(usual(FaultType.ERROR_RATE, "catalog-db", severity=0.9))
    run.play(round(WATCHED_SECONDS / STEP))
    assert run.performed.pain_without > 500
    assert run.performed.helped is None


def test_faults_that_end_by_themselves_end_without_the_action_too() -> None:
    run = broken(FaultType.ERROR_RATE, "catalog-db", 0.9)
    run.act(ActionKind.SCALE, "frontend", replicas=5)
    run.simulation.clear()
    run.play(round(WATCHED_SECONDS / STEP))
    assert run.performed.helped is None


def test_a_blunder_during_a_fault_is_not_blamed_on_the_fault() -> None:
    run = broken(FaultType.ERROR_RATE, "notification-service", 0.8, lead=30.0)
    run.act(ActionKind.SCALE, "catalog-service", replicas=1).play(20)
    (truth,) = run.simulation.truths
    assert run.series("catalog-service", "error_rate")[-5:].mean() > 0.05
    assert truth.affected == ("notification-service",)


def test_measuring_ends_after_a_while() -> None:
    run = watch(Run(step=STEP).play(4).act(ActionKind.RESTART, "frontend"))
    done = run.performed
    run.play(10)
    assert run.performed == done


def test_actions_are_in_the_list_of_changes() -> None:
    run = Run().play(2)
    for kind, target, replicas in (
        (ActionKind.SCALE, "frontend", 6),
        (ActionKind.RESTART, "cart-service", None),
        (ActionKind.FLAG_OFF, "cart-service", None),
        (ActionKind.FAILOVER, "shop-db", None),
        (ActionKind.DRAIN, "shop-node-b1", None),
    ):
        run.act(kind, target, replicas)
    told = [(c.kind, c.entity, c.summary, c.at) for c in run.simulation.changes]
    at = MONDAY_NOON + 30 * SECOND
    assert told == [
        (ChangeKind.SCALE, "frontend", "Scale frontend to 6", at),
        (ChangeKind.RESTART, "cart-service", "Restart cart-service", at),
        (ChangeKind.FLAG, "cart-service", "Disable flags of cart-service", at),
        (ChangeKind.OTHER, "shop-db", "Fail shop-db over to its standby", at),
        (ChangeKind.OTHER, "shop-node-b1", "Drain shop-node-b1", at),
    ]


def test_a_rollback_goes_back_one_version_and_never_before_the_first() -> None:
    run = Run().play(1)
    operations, payment = run.simulation.operations, EntityId("payment-service")
    run.has(FaultType.HARMLESS_DEPLOY).has(FaultType.HARMLESS_DEPLOY)
    catalog = EntityId("catalog-service")
    assert operations.version(catalog) == "1.0.2"
    for wanted in ("1.0.1", "1.0.0", "1.0.0"):
        run.act(ActionKind.ROLLBACK, catalog)
        assert operations.version(catalog) == wanted
        assert run.simulation.changes[-1].summary == f"Roll catalog-service back to {wanted}"
    assert operations.version(payment) == "1.0.0"


def test_only_the_action_that_fits_cures() -> None:
    world = shop()
    for kind, about in KINDS.items():
        assert not (about.harmless and about.cures), kind
        for target in about.targets(world)[:1]:
            for action in set(ActionKind) - about.cures - {ActionKind.SCALE, ActionKind.DRAIN}:
                if target in world.zones or target in {node.id for node in world.nodes}:
                    continue
                run = Run().play(1)
                run.simulation.inject(usual(kind, target))
                run.act(action, target)
                assert run.performed.cured == (), (kind, action)


# --- what is refused ------------------------------------------------------------------------


def third_party() -> World:
    here, there = EntityId("shop"), EntityId("bank")
    return World(
        name="two",
        services=(
            SimulatedService(name=here),
            SimulatedService(name=there, kind=EntityKind.EXTERNAL),
        ),
        calls=(Call(caller=here, callee=there),),
        entries={here: 50.0},
    )


@pytest.mark.parametrize(
    ("kind", "target", "replicas", "message"),
    [
        (ActionKind.RESTART, "nobody", None, "no service 'nobody'"),
        (ActionKind.DRAIN, "shop", None, "no node 'shop' to drain.*Use one of: "),
        (ActionKind.RESTART, "bank", None, "third party: nobody here can restart it"),
        (ActionKind.SCALE, "shop", None, "`replicas` is for `scale`, and needed there"),
        (ActionKind.RESTART, "shop", 3, "`replicas` is for `scale`, and needed there"),
        (ActionKind.SCALE, "shop", 0, "0 replicas are out of range"),
        (ActionKind.SCALE, "shop", 1001, "1001 replicas are out of range"),
    ],
)
def test_what_cannot_be_done_is_refused(
    kind: ActionKind, target: str, replicas: int | None, message: str
) -> None:
    run = Run(third_party()).play(1)
    with pytest.raises(ConfigError, match=message):
        run.act(kind, target, replicas)
    assert run.simulation.actions == ()
    assert run.simulation.changes == ()


def test_another_provider_can_be_failed_over_to() -> None:
    run = Run(third_party(), step=STEP).play(6)
    run.simulation.inject(usual(FaultType.DEPENDENCY_OUTAGE, "bank", severity=0.9, duration=LONG))
    run.play(6)
    watch(run.act(ActionKind.FAILOVER, "bank"))
    assert run.performed.helped is True
    assert run.series("shop", "error_rate")[-6:].mean() < 0.02


def test_an_action_says_what_was_done() -> None:
    action = Action(kind=ActionKind.SCALE, target=EntityId("frontend"), replicas=3)
    run = Run().play(2)
    performed = run.simulation.act(action)
    assert (performed.kind, performed.target, performed.at) == (
        ActionKind.SCALE, "frontend", MONDAY_NOON + 30 * SECOND,
    )  # fmt: skip
    assert performed.helped is None
