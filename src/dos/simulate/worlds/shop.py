"""An e-commerce shop: the world that demonstrations and most tests play in."""

from __future__ import annotations

from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.world import SimulatedService, World
from dos.simulate.worlds.edges import call

_SERVICES = (
    SimulatedService(
        name="api-gateway", kind=EntityKind.GATEWAY, replicas=3, cpu=0.3, service_time=0.003
    ),
    SimulatedService(name="frontend", replicas=4, cpu=0.35, service_time=0.012, memory=0.5),
    SimulatedService(name="user-service", cpu=0.3, service_time=0.008),
    SimulatedService(name="catalog-service", replicas=3, cpu=0.4, service_time=0.01),
    SimulatedService(name="cart-service", cpu=0.3, service_time=0.007),
    SimulatedService(name="checkout-service", cpu=0.35, service_time=0.03),
    SimulatedService(name="payment-service", cpu=0.35, service_time=0.05, memory=0.4),
    SimulatedService(name="notification-service", cpu=0.3, service_time=0.04, error_rate=0.003),
    SimulatedService(
        name="redis-cache",
        kind=EntityKind.CACHE,
        replicas=1,
        cpu=0.2,
        service_time=0.0008,
        memory=0.6,
        error_rate=0.0001,
    ),
    SimulatedService(
        name="catalog-db",
        kind=EntityKind.DATABASE,
        replicas=1,
        cpu=0.35,
        service_time=0.004,
        memory=0.7,
        disk=0.55,
        dispersion=1.0,
        error_rate=0.0002,
    ),
    SimulatedService(
        name="shop-db",
        kind=EntityKind.DATABASE,
        replicas=2,
        cpu=0.35,
        service_time=0.005,
        memory=0.7,
        disk=0.55,
        dispersion=1.0,
        error_rate=0.0002,
    ),
    SimulatedService(
        name="order-queue",
        kind=EntityKind.QUEUE,
        replicas=1,
        cpu=0.15,
        service_time=0.002,
        memory=0.35,
        disk=0.3,
        error_rate=0.0001,
    ),
)
_CALLS = (
    call("api-gateway", "frontend", 0.7, timeout=5.0, retries=0),
    call("api-gateway", "user-service", 0.2, timeout=2.0),
    call("api-gateway", "catalog-service", 0.3, timeout=2.0),
    call("frontend", "catalog-service", 1.2, timeout=2.0),
    call("frontend", "cart-service", 0.5, timeout=1.5),
    call("frontend", "user-service", 0.4, timeout=1.5, criticality=0.6),
    call("frontend", "checkout-service", 0.12, timeout=4.0, retries=0),
    call("checkout-service", "cart-service", 1.0, timeout=1.5),
    call("checkout-service", "payment-service", 1.0, timeout=3.0),
    call("checkout-service", "shop-db", 2.0, kind=EdgeKind.WRITE, timeout=1.0, retries=2),
    call("checkout-service", "order-queue", 1.0, kind=EdgeKind.MESSAGE, criticality=0.5),
    call("payment-service", "shop-db", 1.5, kind=EdgeKind.WRITE, timeout=1.0, retries=2),
    call("user-service", "redis-cache", 0.9, kind=EdgeKind.READ, timeout=0.5, criticality=0.2),
    call("user-service", "shop-db", 0.4, kind=EdgeKind.READ, timeout=1.0, retries=2),
    call("cart-service", "redis-cache", 1.5, kind=EdgeKind.WRITE, timeout=0.5),
    call("catalog-service", "redis-cache", 0.8, kind=EdgeKind.READ, timeout=0.5, criticality=0.2),
    call("catalog-service", "catalog-db", 0.5, kind=EdgeKind.READ, timeout=1.0, retries=2),
    call("order-queue", "notification-service", 1.0, kind=EdgeKind.MESSAGE),
)


def shop() -> World:
    """An e-commerce shop of 12: gateway, frontend, six services, cache, two databases, queue."""
    return World(
        name="shop",
        services=_SERVICES,
        calls=_CALLS,
        entries={EntityId("api-gateway"): 240.0},
    )
