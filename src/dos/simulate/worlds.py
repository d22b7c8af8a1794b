"""The worlds that come with DOS, by name, and the generator."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from dos.kit.errors import ConfigError
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.world import Call, SimulatedService, World

GATEWAY, CACHE, QUEUE, DATABASE = (
    EntityKind.GATEWAY,
    EntityKind.CACHE,
    EntityKind.QUEUE,
    EntityKind.DATABASE,
)


def _call(
    caller: str,
    callee: str,
    per_request: float = 1.0,
    *,
    kind: EdgeKind = EdgeKind.CALL,
    timeout: float = 1.0,
    retries: int = 1,
    criticality: float = 1.0,
) -> Call:
    return Call(
        caller=EntityId(caller),
        callee=EntityId(callee),
        per_request=per_request,
        kind=kind,
        timeout=timeout,
        retries=retries,
        criticality=criticality,
    )


_SHOP_SERVICES = (
    SimulatedService(name="api-gateway", kind=GATEWAY, replicas=3, cpu=0.3, service_time=0.003),
    SimulatedService(name="frontend", replicas=4, cpu=0.35, service_time=0.012, memory=0.5),
    SimulatedService(name="user-service", cpu=0.3, service_time=0.008),
    SimulatedService(name="catalog-service", replicas=3, cpu=0.4, service_time=0.01),
    SimulatedService(name="cart-service", cpu=0.3, service_time=0.007),
    SimulatedService(name="checkout-service", cpu=0.35, service_time=0.03),
    SimulatedService(name="payment-service", cpu=0.35, service_time=0.05, memory=0.4),
    SimulatedService(name="notification-service", cpu=0.3, service_time=0.04, error_rate=0.003),
    SimulatedService(
        name="redis-cache",
        kind=CACHE,
        replicas=1,
        cpu=0.2,
        service_time=0.0008,
        memory=0.6,
        error_rate=0.0001,
    ),
    SimulatedService(
        name="catalog-db",
        kind=DATABASE,
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
        kind=DATABASE,
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
        kind=QUEUE,
        replicas=1,
        cpu=0.15,
        service_time=0.002,
        memory=0.35,
        disk=0.3,
        error_rate=0.0001,
    ),
)
_SHOP_CALLS = (
    _call("api-gateway", "frontend", 0.7, timeout=5.0, retries=0),
    _call("api-gateway", "user-service", 0.2, timeout=2.0),
    _call("api-gateway", "catalog-service", 0.3, timeout=2.0),
    _call("frontend", "catalog-service", 1.2, timeout=2.0),
    _call("frontend", "cart-service", 0.5, timeout=1.5),
    _call("frontend", "user-service", 0.4, timeout=1.5, criticality=0.6),
    _call("frontend", "checkout-service", 0.12, timeout=4.0, retries=0),
    _call("checkout-service", "cart-service", 1.0, timeout=1.5),
    _call("checkout-service", "payment-service", 1.0, timeout=3.0),
    _call("checkout-service", "shop-db", 2.0, kind=EdgeKind.WRITE, timeout=1.0, retries=2),
    _call("checkout-service", "order-queue", 1.0, kind=EdgeKind.MESSAGE, criticality=0.5),
    _call("payment-service", "shop-db", 1.5, kind=EdgeKind.WRITE, timeout=1.0, retries=2),
    _call("user-service", "redis-cache", 0.9, kind=EdgeKind.READ, timeout=0.5, criticality=0.2),
    _call("user-service", "shop-db", 0.4, kind=EdgeKind.READ, timeout=1.0, retries=2),
    _call("cart-service", "redis-cache", 1.5, kind=EdgeKind.WRITE, timeout=0.5),
    _call("catalog-service", "redis-cache", 0.8, kind=EdgeKind.READ, timeout=0.5, criticality=0.2),
    _call("catalog-service", "catalog-db", 0.5, kind=EdgeKind.READ, timeout=1.0, retries=2),
    _call("order-queue", "notification-service", 1.0, kind=EdgeKind.MESSAGE),
)


def shop() -> World:
    """An e-commerce shop of 12: gateway, frontend, six services, cache, two databases, queue."""
    return World(
        name="shop",
        services=_SHOP_SERVICES,
        calls=_SHOP_CALLS,
        entries={EntityId("api-gateway"): 240.0},
    )


def sketch() -> World:
    """The four services of the original sketch: gateway, user, order and payment."""
    service = SimulatedService
    return World(
        name="sketch",
        services=(
            service(name="api-gateway", kind=GATEWAY, replicas=3, cpu=0.3, service_time=0.004),
            service(name="user-service", cpu=0.3, service_time=0.015),
            service(name="order-service", cpu=0.4, service_time=0.03),
            service(name="payment-service", cpu=0.35, service_time=0.06, memory=0.4),
        ),
        calls=(
            _call("api-gateway", "user-service", 0.6, timeout=2.0),
            _call("api-gateway", "order-service", 0.4, timeout=4.0),
            _call("order-service", "payment-service", 0.8, timeout=2.0, retries=2),
        ),
        entries={EntityId("api-gateway"): 120.0},
    )


BUILT_IN: dict[str, Callable[[], World]] = {"shop": shop, "sketch": sketch}

_DOMAINS = (
    "account", "address", "auth", "basket", "billing", "booking", "campaign", "catalog",
    "comment", "coupon", "currency", "delivery", "document", "email", "feed", "fraud",
    "geo", "identity", "image", "inventory", "invoice", "ledger", "loyalty", "media",
    "menu", "message", "notice", "offer", "order", "partner", "payment", "pricing",
    "profile", "quote", "rating", "refund", "report", "review", "route", "search",
    "seat", "session", "shipping", "stock", "tax", "ticket", "user", "voucher",
)  # fmt: skip
_LAYER_SHARES = (0.0, 0.16, 0.30, 0.26, 0.28)
"""Gateways (set apart), edge services, business services, platform services, datastores."""


def generate(count: int, seed: int = 0) -> World:
    """A layered DAG of `count` services with heavy-tailed degrees.

    Callees are chosen by preferential attachment (Barabási and Albert, Science 286, 1999), which
    yields the few hubs that many services share and the many services with one or two callers
    that production call graphs show (Luo et al., Characterizing Microservice Dependency and
    Performance, SoCC 2021, sections 3 and 4).

    Raises:
        ConfigError: `count` is less than 4.
    """
    if count < 4:
        msg = f"A generated world needs at least 4 services, not {count}."
        raise ConfigError(msg, remedy="Ask for more, or use the world 'sketch'.")
    rng = Random(f"world/{count}/{seed}")  # noqa: S311  a simulation, not a secret
    layers = _layers(count, rng)
    urns = [list(layer) for layer in layers]
    calls: list[Call] = []
    for depth, layer in enumerate(layers[:-1]):
        for service in layer:
            calls += _calls_of(service, urns[depth + 1 :], rng)
        called = {call.callee for call in calls}
        for orphan in layers[depth + 1]:
            if orphan.id not in called:
                caller = rng.choice(layer)
                calls.append(_generated_call(caller, orphan, rng.uniform(0.1, 0.5), rng))
    return World(
        name=f"generated-{count}",
        services=tuple(service for layer in layers for service in layer),
        calls=tuple(calls),
        entries={gateway.id: 30.0 * count / len(layers[0]) for gateway in layers[0]},
    )


def _layers(count: int, rng: Random) -> list[list[SimulatedService]]:
    gateways = max(1, count // 100)
    sizes = [gateways] + [max(1, round((count - gateways) * share)) for share in _LAYER_SHARES[1:]]
    sizes[2] = max(1, sizes[2] + count - sum(sizes))
    while sum(sizes) > count:
        sizes[sizes.index(max(sizes))] -= 1
    number = 0
    layers: list[list[SimulatedService]] = []
    for depth, size in enumerate(sizes):
        layer = []
        for _ in range(size):
            domain, generation = _DOMAINS[number % len(_DOMAINS)], number // len(_DOMAINS)
            suffix = f"-{generation + 1}" if generation else ""
            layer.append(_generated_service(domain, suffix, depth, rng))
            number += 1
        if layer:
            layers.append(layer)
    return layers


def _generated_service(domain: str, suffix: str, depth: int, rng: Random) -> SimulatedService:
    if depth == 0:
        kind, role, mean = EntityKind.GATEWAY, "gateway", 0.002
    elif depth < len(_LAYER_SHARES) - 1:
        kind, role, mean = EntityKind.SERVICE, "service", 0.008
    else:
        kind, role, mean = rng.choices(
            [
                (EntityKind.DATABASE, "db", 0.004),
                (EntityKind.CACHE, "cache", 0.0008),
                (EntityKind.EXTERNAL, "api", 0.06),
            ],
            weights=[6, 3, 1],
        )[0]
    stateful = kind in {EntityKind.DATABASE, EntityKind.CACHE}
    return SimulatedService(
        name=f"{domain}-{role}{suffix}",
        kind=kind,
        replicas=rng.choice([1, 2]) if stateful else rng.choice([2, 2, 3, 4]),
        cpu=rng.uniform(0.2, 0.45),
        service_time=mean * rng.lognormvariate(0.0, 0.5),
        dispersion=rng.uniform(0.5, 1.0),
        memory=rng.uniform(0.6, 0.75) if stateful else rng.uniform(0.3, 0.55),
        error_rate=min(0.005, rng.lognormvariate(-7.2, 0.8)),
        disk=rng.uniform(0.3, 0.7) if kind is EntityKind.DATABASE else 0.0,
    )


def _calls_of(
    caller: SimulatedService, urns: list[list[SimulatedService]], rng: Random
) -> list[Call]:
    """Calls of one service: a heavy-tailed number of callees that share about 1.4 calls.

    `urns` hold, for each layer below, every service once and once more for each caller it has:
    a draw from an urn is preferential attachment in constant time.
    """
    fan_out = min(12, 1 + int(rng.paretovariate(1.4)))
    chosen: dict[EntityId, SimulatedService] = {}
    for _ in range(fan_out):
        urn = urns[0] if rng.random() < 0.7 else rng.choice(urns)
        callee = rng.choice(urn)
        if callee.id not in chosen:
            chosen[callee.id] = callee
            urn.append(callee)
    shares = [rng.uniform(0.3, 1.0) for _ in chosen]
    total = rng.uniform(0.9, 1.9) / sum(shares)
    return [
        _generated_call(caller, callee, share * total, rng)
        for callee, share in zip(chosen.values(), shares, strict=True)
    ]


def _generated_call(
    caller: SimulatedService, callee: SimulatedService, per_request: float, rng: Random
) -> Call:
    store = callee.kind in {EntityKind.DATABASE, EntityKind.CACHE}
    return Call(
        caller=caller.id,
        callee=callee.id,
        kind=rng.choice([EdgeKind.READ, EdgeKind.WRITE]) if store else EdgeKind.CALL,
        per_request=per_request,
        timeout=rng.choice([0.5, 1.0]) if store else rng.choice([1.0, 2.0, 3.0]),
        retries=rng.choice([0, 1, 1, 2]),
        criticality=0.2 if callee.kind is EntityKind.CACHE else rng.choice([1.0, 1.0, 0.5]),
    )


def world(name: str, *, services: int = 50, seed: int = 0) -> World:
    """The built-in world `name`, or a generated one for `generated` (`services`, `seed`).

    Raises:
        ConfigError: There is no such world.
    """
    if name == "generated":
        return generate(services, seed)
    if name not in BUILT_IN:
        msg = f"There is no world {name!r}."
        raise ConfigError(msg, remedy=f"Use one of: {', '.join([*BUILT_IN, 'generated'])}.")
    return BUILT_IN[name]()
