"""Short runs of the simulator, for its tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.simulate.actions import Action, ActionKind, Performed
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.world import World
from dos.simulate.worlds import world

MONDAY_NOON = Millis(1_795_435_200_000)
"""2026-11-23T12:00:00Z."""


@dataclass(frozen=True, slots=True)
class Case:
    """Whom a fault hits in the shop, and who suffers with it."""

    target: str
    dependent: str


SHOP: dict[FaultType, Case] = {
    FaultType.CPU_SPIKE: Case("payment-service", "checkout-service"),
    FaultType.MEMORY_LEAK: Case("cart-service", "checkout-service"),
    FaultType.NETWORK_LATENCY: Case("payment-service", "checkout-service"),
    FaultType.PACKET_LOSS: Case("catalog-service", "frontend"),
    FaultType.ERROR_RATE: Case("payment-service", "checkout-service"),
    FaultType.CASCADING_FAILURE: Case("shop-db", "checkout-service"),
    FaultType.DEPLOY_REGRESSION: Case("catalog-service", "frontend"),
    FaultType.CONFIG_CHANGE: Case("payment-service", "checkout-service"),
    FaultType.FEATURE_FLAG: Case("catalog-service", "catalog-db"),
    FaultType.CERTIFICATE_EXPIRY: Case("payment-service", "checkout-service"),
    FaultType.DNS_FAILURE: Case("user-service", "frontend"),
    FaultType.DISK_FULL: Case("shop-db", "checkout-service"),
    FaultType.NOISY_NEIGHBOUR: Case("shop-node-c1", "checkout-service"),
    FaultType.LOCK_CONTENTION: Case("shop-db", "checkout-service"),
    FaultType.CACHE_STAMPEDE: Case("redis-cache", "catalog-db"),
    FaultType.RETRY_STORM: Case("shop-db", "checkout-service"),
    FaultType.DEPENDENCY_OUTAGE: Case("payment-service", "checkout-service"),
    FaultType.ZONE_OUTAGE: Case("zone-a", "catalog-service"),
    FaultType.TRAFFIC_SURGE: Case("api-gateway", "catalog-service"),
    FaultType.CLOCK_SKEW: Case("shop-node-c1", "checkout-service"),
    FaultType.METRIC_CORRUPTION: Case("payment-service", "checkout-service"),
    FaultType.HARMLESS_DEPLOY: Case("catalog-service", "frontend"),
    FaultType.PLANNED_SURGE: Case("api-gateway", "catalog-service"),
    FaultType.BATCH_JOB: Case("shop-db", "checkout-service"),
}
"""An example of each type."""


def usual(kind: FaultType, target: str, **options: float) -> Fault:
    """A fault with the ramp and the recovery that its type usually has, unless stated."""
    shape = {"ramp": KINDS[kind].ramp, "recovery": KINDS[kind].recovery} | options
    return Fault(type=kind, target=EntityId(target), **shape)


class Run:
    """A simulation and everything it has measured, as `[tick, series]`."""

    def __init__(
        self, there: World | str = "shop", *, seed: int = 1, step: float = 15.0, **options: Any
    ) -> None:
        built = world(there) if isinstance(there, str) else there
        self.simulation = Simulation(
            built, seed=seed, step_seconds=step, start=MONDAY_NOON, **options
        )
        self._column = {
            (spec.entity, spec.metric): place for place, spec in enumerate(self.simulation.series)
        }
        self.values: Float64Array = np.empty((0, len(self.simulation.series)))

    def play(self, ticks: int) -> Run:
        frame = self.simulation.ticks(ticks)
        block = frame.value.reshape(ticks, len(self.simulation.series))
        self.values = np.concatenate([self.values, block])
        return self

    def breaks(self, fault: FaultType, target: str, **options: float) -> Run:
        self.simulation.inject(Fault(type=fault, target=EntityId(target), **options))
        return self

    def has(self, fault: FaultType, **options: float) -> Run:
        """Break the shop with the example of `fault`."""
        self.simulation.inject(usual(fault, SHOP[fault].target, **options))
        return self

    def act(self, kind: ActionKind, target: str, replicas: int | None = None) -> Run:
        action = Action(kind=kind, target=EntityId(target), replicas=replicas)
        self.simulation.act(action)
        return self

    @property
    def performed(self) -> Performed:
        """The only action so far, with what came of it."""
        (performed,) = self.simulation.actions
        return performed

    def series(self, entity: str, metric: str) -> Float64Array:
        """`[tick]` values of one series."""
        column: Float64Array = self.values[:, self._column[EntityId(entity), metric]]
        return column

    def of(self, entity: str) -> Float64Array:
        """`[tick, series of the entity]`."""
        places = [place for (name, _), place in self._column.items() if name == entity]
        return self.values[:, places]


def renamed(world: World, prefix: str) -> World:
    """`world` with `prefix` before each name, in zones and on nodes of its own."""

    def name(old: EntityId) -> EntityId:
        return EntityId(prefix + old)

    nodes = tuple(
        replace(one, name=prefix + one.name, zone=prefix + one.zone) for one in world.nodes
    )
    return World(
        name=prefix + world.name,
        services=tuple(
            replace(
                one,
                name=prefix + one.name,
                zones=tuple(prefix + zone for zone in one.zones or world.zones),
            )
            for one in world.services
        ),
        calls=tuple(
            replace(call, caller=name(call.caller), callee=name(call.callee))
            for call in world.calls
        ),
        entries={name(entry): rate for entry, rate in world.entries.items()},
        nodes=nodes,
    )


def beside(here: World, there: World) -> World:
    """Both as one world: neither calls the other, and they share no machine."""
    here, there = renamed(here, "here-"), renamed(there, "there-")
    return World(
        name="two",
        services=here.services + there.services,
        calls=here.calls + there.calls,
        entries={**here.entries, **there.entries},
        nodes=here.nodes + there.nodes,
    )
