"""How services are called in traces and logs: OpenTelemetry's semantic conventions.

Attribute names are those of the stable conventions for HTTP, databases and resources, and of
messaging as of 1.27 (https://opentelemetry.io/docs/specs/semconv/).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.simulate.fleet import Fleet
from dos.simulate.pods import Pod
from dos.simulate.propagation import Physics
from dos.simulate.world import SimulatedService

Attribute = str | int | float | bool
Attributes = tuple[tuple[str, Attribute], ...]
TRACED = frozenset({EntityKind.GATEWAY, EntityKind.SERVICE})
"""Who is instrumented; the others are seen through their callers only."""
_PORTS = {"postgresql": 5432, "mysql": 3306, "mongodb": 27017, "redis": 6379, "memcached": 11211}


class SpanKind(IntEnum):
    """As OTLP numbers them."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a span of a service or of a call is called."""

    name: str
    kind: SpanKind
    attributes: Attributes


def resource_of(fleet: Fleet, pod: Pod) -> Attributes:
    """What a pod says of itself with everything it sends."""
    workload, node = fleet.workloads[pod.service], fleet.physics.nodes[pod.node]
    controller = f"k8s.{workload.kind.lower()}.name"
    return (
        ("service.name", workload.service.name),
        ("service.namespace", workload.namespace),
        ("service.version", pod.version),
        ("service.instance.id", pod.uid),
        ("k8s.namespace.name", workload.namespace),
        ("k8s.pod.name", pod.name),
        ("k8s.pod.uid", pod.uid),
        ("k8s.container.name", workload.service.name),
        (controller, workload.service.name),
        ("k8s.node.name", node.name),
        ("host.name", node.name),
        ("cloud.availability_zone", node.zone),
    )


def served(physics: Physics, place: int) -> Operation:
    """The span of a service that handles a request or a message."""
    service = physics.services[place]
    if physics.consumer[place]:
        queue = _queue_before(physics, place)
        return Operation(
            name=f"process {queue.name}",
            kind=SpanKind.CONSUMER,
            attributes=(
                ("messaging.system", system_of(queue)),
                ("messaging.destination.name", queue.name),
                ("messaging.operation.name", "process"),
                ("messaging.operation.type", "process"),
            ),
        )
    method, route = _method(physics, place), route_of(service)
    return Operation(
        name=f"{method} {route}",
        kind=SpanKind.SERVER,
        attributes=(
            ("http.request.method", method),
            ("http.route", route),
            ("url.scheme", "http"),
            ("url.path", route),
            ("server.address", service.name),
        ),
    )


def called(physics: Physics, call: int) -> Operation:
    """The span of a caller that waits for a callee."""
    callee = physics.services[int(physics.callee[call])]
    edge = physics.calls[call].kind
    system = system_of(callee)
    if callee.kind is EntityKind.QUEUE:
        return Operation(
            name=f"send {callee.name}",
            kind=SpanKind.PRODUCER,
            attributes=(
                ("messaging.system", system),
                ("messaging.destination.name", callee.name),
                ("messaging.operation.name", "send"),
                ("messaging.operation.type", "send"),
                ("server.address", callee.name),
            ),
        )
    if callee.kind in {EntityKind.DATABASE, EntityKind.CACHE}:
        verb = _verb(callee, edge)
        return Operation(
            name=f"{verb} {callee.name}",
            kind=SpanKind.CLIENT,
            attributes=(
                ("db.system.name", system),
                ("db.namespace", callee.name),
                ("db.operation.name", verb),
                ("server.address", callee.name),
                ("server.port", _PORTS.get(system, 5432)),
            ),
        )
    method = "POST" if edge is EdgeKind.WRITE else _method(physics, int(physics.callee[call]))
    return Operation(
        name=method,
        kind=SpanKind.CLIENT,
        attributes=(
            ("http.request.method", method),
            ("url.full", f"http://{callee.name}{route_of(callee)}"),
            ("server.address", callee.name),
            ("server.port", 443 if callee.kind is EntityKind.EXTERNAL else 8080),
        ),
    )


def route_of(service: SimulatedService) -> str:
    """The path that a service is asked at."""
    name = service.name
    return f"/{name.removesuffix('-service').removesuffix('service') or name}"


def system_of(service: SimulatedService) -> str:
    """The product behind a datastore, as its name has it or as is usual; empty for others."""
    usual = {
        EntityKind.DATABASE: ("postgresql", ("mysql", "mongodb", "mongo", "cassandra")),
        EntityKind.CACHE: ("redis", ("memcached",)),
        EntityKind.QUEUE: ("kafka", ("rabbitmq", "nats", "pulsar")),
    }
    if service.kind not in usual:
        return ""
    system, others = usual[service.kind]
    found = next((one for one in others if one in service.name), system)
    return "mongodb" if found == "mongo" else found


def _method(physics: Physics, place: int) -> str:
    """What changes something is posted."""
    calls = physics.calls_from(physics.services[place].id)
    kinds = {physics.calls[call].kind for call in calls.tolist()}
    return "POST" if kinds & {EdgeKind.WRITE, EdgeKind.MESSAGE} else "GET"


def _verb(store: SimulatedService, edge: EdgeKind) -> str:
    reads = edge in {EdgeKind.READ, EdgeKind.CALL}
    if store.kind is EntityKind.CACHE:
        return "GET" if reads else "SET"
    if system_of(store) == "mongodb":
        return "find" if reads else "update"
    return "SELECT" if reads else "UPDATE"


def _queue_before(physics: Physics, place: int) -> SimulatedService:
    queues = physics.caller[(physics.callee == place) & physics.later]
    return physics.services[int(queues[0])]
