"""Whom a fault can reach, on paper and in the simulation."""

from __future__ import annotations

import pytest

from dos.model.ids import EntityId
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.reach import below, hit, reach
from dos.simulate.scenario import eligible
from dos.simulate.world import World
from dos.simulate.worlds import shop, world
from tests.unit.simulate.runs import MONDAY_NOON


def names(found: tuple[EntityId, ...]) -> list[str]:
    return [str(one) for one in found]


def test_trouble_goes_up_to_the_users() -> None:
    there = shop()
    found = reach(there, FaultType.ERROR_RATE, EntityId("payment-service"))
    assert names(found) == ["payment-service", "checkout-service", "frontend", "api-gateway"]


def test_more_work_goes_down() -> None:
    there = shop()
    assert len(reach(there, FaultType.TRAFFIC_SURGE, EntityId("api-gateway"))) == 12
    flag = reach(there, FaultType.FEATURE_FLAG, EntityId("catalog-service"))
    assert {"catalog-service", "catalog-db", "redis-cache", "frontend"} <= set(flag)
    stampede = reach(there, FaultType.CACHE_STAMPEDE, EntityId("redis-cache"))
    assert "catalog-db" in stampede
    assert "order-queue" not in stampede


def test_machines_hit_what_runs_there() -> None:
    there = world("online-boutique")
    node = there.nodes[0]
    placed = there.placement()
    assert set(hit(there, node.id)) == {name for name, on in placed.items() if node.id in on}
    assert set(hit(there, node.id)) <= set(hit(there, EntityId(node.zone)))
    assert hit(there, EntityId("nobody")) == ()


def test_a_wrong_metric_reaches_nobody_else() -> None:
    target = EntityId("payment-service")
    assert reach(shop(), FaultType.METRIC_CORRUPTION, target) == (target,)


def affected(there: World, fault: FaultType, target: EntityId) -> set[EntityId]:
    simulation = Simulation(there, seed=1, step_seconds=15.0, start=MONDAY_NOON)
    simulation.inject(
        Fault(type=fault, target=target, severity=0.95, duration=240.0, ramp=0.0, recovery=0.0)
    )
    simulation.ticks(20)
    return set(simulation.truths[0].affected)


@pytest.mark.parametrize("fault", list(FaultType))
def test_nobody_else_is_affected(fault: FaultType) -> None:
    there = world("generated", services=40, seed=3)
    target = eligible(there, fault)[-1]
    reached = reach(there, fault, target)
    assert affected(there, fault, target) <= set(below(there, reached))
