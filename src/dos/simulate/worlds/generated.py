"""Worlds of any size from a seed: the graph of `growth` with work, traffic and habits.

Sizes are chosen as people choose them: capacity for the traffic that comes, timeouts well above
what a callee usually takes, autoscalers on some of what is busy, volumes for what stores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from dos.kit.errors import ConfigError
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.simulate.world import ZONES, Autoscaler, Call, SimulatedService, World
from dos.simulate.worlds.growth import Graph, grow

LEAST, MOST = 4, 10_000
"""Services of a generated world."""
USERS_PER_SERVICE = 30.0
"""Requests per second from outside, for each service of the world."""
LEAST_DEMAND = 1.0
"""Requests per second that reach every service on an average day."""
ERROR_BUDGET = 0.003
"""Ratio of users' requests that fail on a good day, about, wherever in the system."""
TIMEOUTS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds that people write down as a timeout."""
PATIENT = 20.0
"""Times the usual latency that a timeout is, at least."""
SCALED, SCALED_TARGET = 0.15, 0.6
"""Ratio of stateless services with an autoscaler, and the CPU ratio it aims at."""
_TIMES = {
    EntityKind.GATEWAY: 0.002,
    EntityKind.SERVICE: 0.006,
    EntityKind.DATABASE: 0.004,
    EntityKind.CACHE: 0.0008,
    EntityKind.QUEUE: 0.0015,
    EntityKind.EXTERNAL: 0.06,
}
"""Median seconds of own work for a request."""
_STATEFUL = frozenset({EntityKind.DATABASE, EntityKind.CACHE, EntityKind.QUEUE})
_LEAVES = frozenset({EntityKind.DATABASE, EntityKind.CACHE, EntityKind.EXTERNAL})


@dataclass(frozen=True, slots=True)
class _Traffic:
    """What flows along the graph on an average day."""

    order: list[int]
    """Places, callers first."""
    per_request: dict[tuple[int, int], float]
    demand: list[float]
    """Requests per second of each place."""
    entries: dict[int, float]
    """Of these from users."""


def generate(count: int, seed: int = 0) -> World:
    """A world of `count` services, the same for the same seed; see `growth` for its shape.

    Raises:
        ConfigError: `count` is less than 4 or more than 10,000.
    """
    if not LEAST <= count <= MOST:
        limit = f"at least {LEAST}" if count < LEAST else f"at most {MOST}"
        msg = f"A generated world needs {limit} services, not {count}."
        raise ConfigError(msg, remedy="Ask for as many, or use the world 'sketch'.")
    rng = Random(f"world/{count}/{seed}")  # noqa: S311  a simulation, not a secret
    graph = grow(count, rng)
    traffic = _traffic(graph, rng)
    services = _services(graph, traffic, rng)
    return World(
        name=f"generated-{count}",
        services=tuple(services),
        calls=tuple(_calls(graph, traffic, services, rng)),
        entries={services[place].id: rate for place, rate in traffic.entries.items()},
    )


def _traffic(graph: Graph, rng: Random) -> _Traffic:
    """Which calls are frequent and which are rare, and what load that makes."""
    places = graph.places
    order = sorted(range(len(places)), key=lambda place: (places[place].rank, place))
    gateways = [place for place in order if places[place].kind is EntityKind.GATEWAY]
    rate = USERS_PER_SERVICE * len(places) / len(gateways)
    entries = dict.fromkeys(gateways, rate)
    demand = [entries.get(place, 0.0) for place in range(len(places))]
    per_request: dict[tuple[int, int], float] = {}
    busiest: dict[int, int] = {}
    for caller in order:
        if demand[caller] < LEAST_DEMAND:
            above = busiest[caller]
            per_request[above, caller] += (LEAST_DEMAND - demand[caller]) / demand[above]
            demand[caller] = LEAST_DEMAND
        for callee, times in _shares(graph, caller, rng).items():
            per_request[caller, callee] = times
            demand[callee] += times * demand[caller]
            if demand[busiest.setdefault(callee, caller)] < demand[caller]:
                busiest[callee] = caller
    return _Traffic(order, per_request, demand, entries)


def _shares(graph: Graph, caller: int, rng: Random) -> dict[int, float]:
    """Calls of each callee for a request of `caller`: few are frequent, many are rare."""
    here = graph.places[caller]
    if here.kind is EntityKind.QUEUE:
        return dict.fromkeys(graph.callees[caller], 1.0)  # each listens to all there is
    services: dict[int, float] = {}
    leaves: dict[int, float] = {}
    times: dict[int, float] = {}
    for callee in graph.callees[caller]:
        kind = graph.places[callee].kind
        if kind is EntityKind.QUEUE:
            times[callee] = rng.uniform(0.05, 0.5)
        else:
            (leaves if kind in _LEAVES else services)[callee] = rng.lognormvariate(0.0, 1.2)
    # Who knows many calls more of them, but not all: requests differ.
    calls = rng.uniform(0.4, 1.1) * len(services) ** 0.6
    if here.kind is EntityKind.GATEWAY:
        calls = rng.uniform(1.0, 1.3)
    queries = rng.uniform(0.5, 1.5) * len(leaves) ** 0.6
    for drawn, total in ((services, calls), (leaves, queries)):
        whole = sum(drawn.values())
        times |= {callee: total * one / whole for callee, one in drawn.items()}
    return times


def _services(graph: Graph, traffic: _Traffic, rng: Random) -> list[SimulatedService]:
    places = graph.places
    visits = sum(traffic.demand) / sum(traffic.entries.values())
    errors = ERROR_BUDGET / visits
    spread = 0.8
    gateways = len(traffic.entries)
    services = []
    for number, place in enumerate(places):
        usual = rng.lognormvariate(math.log(errors) - spread**2 / 2, spread)
        # With three gateways or more, each keeps to a zone, so that traffic does not cross.
        pinned = place.kind is EntityKind.GATEWAY and gateways >= len(ZONES)
        services.append(
            _service(
                place.name,
                place.kind,
                min(0.005, 8.0 * usual if place.kind is EntityKind.EXTERNAL else usual),
                rng,
                zones=(ZONES[number % len(ZONES)],) if pinned else (),
            )
        )
    return services


def _service(
    name: str, kind: EntityKind, errors: float, rng: Random, *, zones: tuple[str, ...]
) -> SimulatedService:
    stateful = kind in _STATEFUL
    replicas = rng.choice([1, 2]) if stateful else rng.choice([2, 2, 3, 4])
    cpu = rng.uniform(0.1, 0.25) if kind is EntityKind.QUEUE else rng.uniform(0.2, 0.44)
    scales = None
    if kind is EntityKind.SERVICE and rng.random() < SCALED:
        replicas = rng.choice([3, 4, 5])
        cpu = rng.uniform(0.48, 0.54)
        scales = Autoscaler(at_least=replicas, at_most=3 * replicas, target=SCALED_TARGET)
    return SimulatedService(
        name=name,
        kind=kind,
        replicas=replicas,
        cpu=cpu,
        service_time=_TIMES[kind] * rng.lognormvariate(0.0, 0.5),
        dispersion=rng.uniform(0.5, 1.0),
        memory=rng.uniform(0.6, 0.75) if stateful else rng.uniform(0.3, 0.55),
        error_rate=errors,
        disk=_disk(kind, rng),
        autoscale=scales,
        zones=zones,
    )


def _disk(kind: EntityKind, rng: Random) -> float:
    if kind is EntityKind.DATABASE:
        return rng.uniform(0.3, 0.7)
    return rng.uniform(0.15, 0.4) if kind is EntityKind.QUEUE else 0.0


def _calls(
    graph: Graph, traffic: _Traffic, services: list[SimulatedService], rng: Random
) -> list[Call]:
    usual = [service.service_time for service in services]
    for caller in reversed(traffic.order):
        if services[caller].kind is not EntityKind.QUEUE:  # it does not wait for its workers
            for callee in graph.callees[caller]:
                usual[caller] += traffic.per_request[caller, callee] * usual[callee]
    return [
        _call(services[caller], services[callee], traffic.per_request[caller, callee],
              usual[callee], rng)
        for caller in traffic.order
        for callee in graph.callees[caller]
    ]  # fmt: skip


def _call(
    caller: SimulatedService,
    callee: SimulatedService,
    per_request: float,
    usual: float,
    rng: Random,
) -> Call:
    """How `caller` treats `callee`, which usually takes `usual` seconds."""
    if EntityKind.QUEUE in {caller.kind, callee.kind}:
        kind = EdgeKind.MESSAGE
    elif callee.kind in {EntityKind.DATABASE, EntityKind.CACHE}:
        kind = rng.choice([EdgeKind.READ, EdgeKind.READ, EdgeKind.WRITE])
    else:
        kind = EdgeKind.CALL
    enough = [seconds for seconds in TIMEOUTS if seconds >= PATIENT * usual]
    optional = {EntityKind.CACHE: 0.2, EntityKind.QUEUE: 0.5}
    return Call(
        caller=caller.id,
        callee=callee.id,
        kind=kind,
        per_request=per_request,
        timeout=rng.choice(enough[:2] or [TIMEOUTS[-1]]),
        retries=rng.choice([0, 1, 1, 2]),
        retry_budget=rng.choice([0.2, 1.0, 1.0]),
        criticality=optional.get(callee.kind) or rng.choice([1.0, 1.0, 0.5]),
        breaker=rng.random() < 0.7,
    )
