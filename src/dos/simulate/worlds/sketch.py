"""The smallest world: a gateway and three services."""

from __future__ import annotations

from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.world import SimulatedService, World
from dos.simulate.worlds.edges import call


def sketch() -> World:
    """The four services of the original sketch: gateway, user, order and payment."""
    service = SimulatedService
    return World(
        name="sketch",
        services=(
            service(
                name="api-gateway", kind=EntityKind.GATEWAY, replicas=3, cpu=0.3, service_time=0.004
            ),
            service(name="user-service", cpu=0.3, service_time=0.015),
            service(name="order-service", cpu=0.4, service_time=0.03),
            service(name="payment-service", cpu=0.35, service_time=0.06, memory=0.4),
        ),
        calls=(
            call("api-gateway", "user-service", 0.6, timeout=2.0),
            call("api-gateway", "order-service", 0.4, timeout=4.0),
            call("order-service", "payment-service", 0.8, timeout=2.0, retries=2),
        ),
        entries={EntityId("api-gateway"): 120.0},
    )
