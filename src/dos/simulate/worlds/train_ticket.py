"""A world shaped like Train Ticket, the booking system of Fudan University for research.

Services and calls are those of its version 1.0 (github.com/FudanSELab/train-ticket, Apache 2.0;
Zhou et al., Fault Analysis and Debugging of Microservice Systems, IEEE TSE 47, 2021), deployed with
a MySQL for each service that stores anything. Who calls whom follows the sources. How often follows
from the code where it always calls, and is our estimate where it depends on what a passenger
wants; times, replicas and loads are ours, and so are the autoscalers.

Its calls are HTTP through Spring's RestTemplate as it comes: no timeouts, no retries, no breakers,
and any failure is the caller's too. Only the confirmation by mail and the delivery of food go
through RabbitMQ.
"""

from __future__ import annotations

from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.world import Autoscaler, Call, SimulatedService, World
from dos.simulate.worlds.edges import call

NO_TIMEOUT = 20.0
"""Seconds until a user's browser gives up, where the software itself would wait for ever."""
UI, GATEWAY, QUEUE, MAIL = "ts-ui-dashboard", "ts-gateway-service", "rabbitmq", "smtp"
_VERSION = "1.0.0"
_QUIET = 0.0001
"""Errors of a good day, for reasons of a service's own."""

_TIMES: dict[str, float] = {
    "admin-basic-info": 6, "admin-order": 6, "admin-route": 6, "admin-travel": 8, "admin-user": 5,
    "assurance": 4, "auth": 12, "avatar": 30, "basic": 5, "cancel": 8, "config": 2, "consign": 4,
    "consign-price": 2, "contacts": 3, "delivery": 6, "execute": 5, "food": 6, "food-delivery": 5,
    "inside-payment": 7, "news": 2, "notification": 12, "order": 5, "order-other": 5, "payment": 4,
    "preserve": 15, "preserve-other": 15, "price": 2, "rebook": 14, "route": 3, "route-plan": 20,
    "seat": 4, "security": 4, "station": 2, "station-food": 3, "ticket-office": 3, "train": 2,
    "train-food": 3, "travel": 12, "travel-plan": 20, "travel2": 12, "user": 4,
    "verification-code": 3, "voucher": 6, "wait-order": 6,
}  # fmt: skip
"""Milliseconds of own work for a request of each `ts-…-service` behind the gateway."""
_STORING = (
    "assurance", "auth", "config", "consign", "consign-price", "contacts", "delivery", "food",
    "food-delivery", "inside-payment", "notification", "order", "order-other", "payment", "price",
    "route", "security", "station", "station-food", "ticket-office", "train", "train-food",
    "travel", "travel2", "user", "voucher", "wait-order",
)  # fmt: skip
"""Services with a `ts-…-mysql` of their own."""
_WRITES = {
    "assurance": 1.0, "consign": 1.2, "delivery": 1.0, "food-delivery": 1.0, "inside-payment": 1.6,
    "notification": 1.0, "payment": 1.0, "wait-order": 1.3,
}  # fmt: skip
"""Queries for a request of those that mostly write; the others mostly read, once or a bit more."""
_READS = {"order": 1.3, "order-other": 1.3, "food": 0.6, "user": 1.1, "travel": 1.1, "travel2": 1.1}
_SCALED = {
    "order": Autoscaler(at_least=3, at_most=8, target=0.6),
    "seat": Autoscaler(at_least=3, at_most=8, target=0.6),
    "station": Autoscaler(at_least=3, at_most=6, target=0.65),
    "travel": Autoscaler(at_least=3, at_most=10, target=0.6),
}
_ROUTED = {
    "admin-basic-info": 0.006, "admin-order": 0.006, "admin-route": 0.004, "admin-travel": 0.004,
    "admin-user": 0.004, "assurance": 0.03, "auth": 0.05, "avatar": 0.01, "cancel": 0.012,
    "config": 0.004, "consign": 0.02, "contacts": 0.05, "execute": 0.025, "food": 0.04,
    "food-delivery": 0.01, "inside-payment": 0.035, "news": 0.02, "order": 0.1, "order-other": 0.05,
    "payment": 0.004, "preserve": 0.04, "preserve-other": 0.012, "price": 0.004, "rebook": 0.01,
    "route": 0.02, "route-plan": 0.008, "security": 0.004, "station": 0.08,
    "station-food": 0.004, "ticket-office": 0.01, "train": 0.03, "train-food": 0.004,
    "travel": 0.14, "travel-plan": 0.03, "travel2": 0.05, "user": 0.03, "verification-code": 0.05,
    "voucher": 0.012, "wait-order": 0.008,
}  # fmt: skip
"""Calls for a request that the gateway gets: the routes of its table."""
_BOOKING = {
    "security": 1.0, "contacts": 1.0, "basic": 1.0, "seat": 1.0, "station": 0.5, "user": 1.0,
    "assurance": 0.5, "food": 0.4, "consign": 0.3,
}  # fmt: skip
_SEARCH = {"basic": 1.0, "seat": 2.0, "route": 0.6, "train": 0.6}
_CALLED: dict[str, dict[str, float]] = {
    "admin-basic-info": {
        "config": 0.2, "contacts": 0.2, "price": 0.2, "station": 0.3, "train": 0.2,
    },
    "admin-order": {"order": 0.7, "order-other": 0.7},
    "admin-route": {"route": 1.0, "station": 0.7},
    "admin-travel": {
        "route": 0.5, "station": 0.5, "train": 0.5, "travel": 0.5, "travel2": 0.5,
    },
    "admin-user": {"user": 1.0},
    "auth": {"verification-code": 0.9},
    "basic": {"price": 1.0, "route": 1.0, "station": 1.0, "train": 1.0},
    "cancel": {
        "inside-payment": 0.6, "notification": 0.7, "order": 0.9, "order-other": 0.4, "user": 0.7,
    },
    "consign": {"consign-price": 1.0},
    "execute": {"order": 0.8, "order-other": 0.5},
    "food": {"station": 0.3, "station-food": 1.0, "train-food": 1.0, "travel": 0.7},
    "food-delivery": {"station-food": 1.0},
    "inside-payment": {"order": 0.8, "order-other": 0.4, "payment": 0.8},
    "order": {"station": 0.3},
    "order-other": {"station": 0.3},
    "preserve": {**_BOOKING, "travel": 1.0, "order": 1.0},
    "preserve-other": {**_BOOKING, "travel2": 1.0, "order-other": 1.0},
    "rebook": {
        "inside-payment": 0.5, "order": 1.0, "order-other": 0.4, "route": 0.5, "seat": 0.8,
        "train": 0.5, "travel": 0.6, "travel2": 0.3,
    },
    "route-plan": {"route": 1.0, "travel": 1.0, "travel2": 1.0},
    "seat": {"config": 0.6, "order": 0.7, "order-other": 0.3},
    "security": {"order": 1.0, "order-other": 1.0},
    "travel": _SEARCH,
    "travel-plan": {"route-plan": 0.5, "seat": 2.0, "train": 1.0, "travel": 0.6, "travel2": 0.6},
    "travel2": _SEARCH,
    "user": {"auth": 0.2},
    "voucher": {"order": 0.7, "order-other": 0.3},
    "wait-order": {"preserve": 0.5},
}  # fmt: skip
"""Calls of the services among each other for a request."""
_MAILS, _MEALS = {"preserve": 1.0, "preserve-other": 1.0}, {"food": 0.25}
"""Messages for a request: into the queues `email` and `food_delivery` of RabbitMQ."""


def train_ticket() -> World:
    """46 services, 27 databases, a queue and a mail provider; calls up to eleven levels deep."""
    services = (
        *_doors(),
        *(_service(name) for name in _TIMES),
        *map(_database, _STORING),
        *_outer(),
    )
    calls = [_call(UI, GATEWAY, 0.6)]
    calls += [_call(GATEWAY, _id(name), times) for name, times in _ROUTED.items()]
    for caller, callees in _CALLED.items():
        calls += [_call(_id(caller), _id(callee), times) for callee, times in callees.items()]
    calls += [_query(name) for name in _STORING]
    return World(
        name="train-ticket",
        services=services,
        calls=(*calls, *_messages(services, calls)),
        entries={EntityId(UI): 150.0},
    )


def _id(name: str) -> str:
    return f"ts-{name}-service"


def _call(caller: str, callee: str, per_request: float, *, kind: EdgeKind = EdgeKind.CALL) -> Call:
    return call(
        caller, callee, per_request, kind=kind, timeout=NO_TIMEOUT, retries=0, breaker=False
    )


def _query(name: str) -> Call:
    """What a service asks of its database; Spring's connection pool waits five seconds."""
    writes = name in _WRITES
    return call(
        _id(name),
        f"ts-{name}-mysql",
        _WRITES[name] if writes else _READS.get(name, 1.0),
        kind=EdgeKind.WRITE if writes else EdgeKind.READ,
        timeout=5.0,
        retries=0,
        breaker=False,
    )


def _messages(services: tuple[SimulatedService, ...], calls: list[Call]) -> list[Call]:
    """Into RabbitMQ and out of it: as many as go in, to those who listen to their queue."""
    sent = {**_MAILS, **_MEALS}
    into = [
        call(_id(name), QUEUE, times, kind=EdgeKind.MESSAGE, timeout=2.0, retries=0, breaker=False)
        for name, times in sent.items()
    ]
    so_far = World(
        name="", services=services, calls=(*calls, *into), entries={EntityId(UI): 1.0}
    ).demand()

    def rate(messages: dict[str, float]) -> float:
        return sum(so_far[EntityId(_id(name))] * times for name, times in messages.items())

    mails = rate(_MAILS) / rate(sent)
    out = {"notification": mails, "delivery": 1.0 - mails}
    return [
        *into,
        *(call(QUEUE, _id(name), share, kind=EdgeKind.MESSAGE) for name, share in out.items()),
        call(_id("notification"), MAIL, 1.0, timeout=10.0, retries=1, breaker=False),
    ]


def _doors() -> tuple[SimulatedService, SimulatedService]:
    """The web server with the pages, and the gateway before all other services."""
    return (
        SimulatedService(
            name=UI, kind=EntityKind.GATEWAY, cpu=0.2, service_time=0.002, memory=0.25,
            error_rate=_QUIET, version=_VERSION,
        ),
        SimulatedService(
            name=GATEWAY, kind=EntityKind.GATEWAY, replicas=3, cpu=0.35, service_time=0.004,
            memory=0.5, error_rate=_QUIET, version=_VERSION,
        ),
    )  # fmt: skip


def _service(name: str) -> SimulatedService:
    """A Spring Boot service; the busiest four scale."""
    scaled = _SCALED.get(name)
    return SimulatedService(
        name=_id(name),
        replicas=scaled.at_least if scaled else 2,
        cpu=0.5 if scaled else 0.34,
        service_time=_TIMES[name] / 1000.0,
        dispersion=0.9,
        memory=0.55,
        error_rate=_QUIET,
        version=_VERSION,
        autoscale=scaled,
    )


def _database(name: str) -> SimulatedService:
    return SimulatedService(
        name=f"ts-{name}-mysql",
        kind=EntityKind.DATABASE,
        replicas=1,
        cpu=0.3,
        service_time=0.003,
        dispersion=1.0,
        memory=0.65,
        error_rate=_QUIET / 2,
        version="5.7.44",
        disk=0.35,
    )


def _outer() -> tuple[SimulatedService, SimulatedService]:
    """What everybody shares, and what belongs to somebody else."""
    return (
        SimulatedService(
            name=QUEUE, kind=EntityKind.QUEUE, replicas=1, cpu=0.15, service_time=0.002,
            memory=0.4, error_rate=_QUIET / 2, version="3.13.0", disk=0.2,
        ),
        SimulatedService(
            name=MAIL, kind=EntityKind.EXTERNAL, replicas=2, cpu=0.3, service_time=0.12,
            dispersion=1.2, error_rate=0.003,
        ),
    )  # fmt: skip
