from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from dos.kit.clock import HOUR, Millis
from dos.kit.errors import ConfigError
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.engine import Simulation
from dos.simulate.faults import FaultType
from dos.simulate.propagation import Physics
from dos.simulate.queueing import normal_cdf, wait_for_server
from dos.simulate.scenario import eligible
from dos.simulate.workload import Workload
from dos.simulate.world import Call, SimulatedService, World
from dos.simulate.worlds import BUILT_IN, generate, shop, world


def chain(*names: str, back: bool = False) -> World:
    pairs = list(pairwise(names))
    if back:
        pairs.append((names[-1], names[0]))
    return World(
        name="chain",
        services=tuple(SimulatedService(name=name) for name in names),
        calls=tuple(Call(caller=EntityId(a), callee=EntityId(b)) for a, b in pairs),
        entries={EntityId(names[0]): 10.0},
    )


def edges(*kinds: EdgeKind, kind: EntityKind = EntityKind.SERVICE) -> World:
    return World(
        name="edges",
        services=(SimulatedService(name="a", kind=kind), SimulatedService(name="b")),
        calls=tuple(Call(caller=EntityId("a"), callee=EntityId("b"), kind=kind) for kind in kinds),
        entries={EntityId("a"): 10.0},
    )


def bound(*zones: str) -> World:
    service = SimulatedService(name="a", replicas=4, zones=zones)
    return World(name="bound", services=(service,), calls=(), entries={EntityId("a"): 10.0})


def test_built_in_worlds_are_what_they_say() -> None:
    assert {name: len(build().services) for name, build in BUILT_IN.items()} == {
        "shop": 12,
        "sketch": 4,
        "online-boutique": 11,
        "train-ticket": 75,
    }
    kinds = Counter(service.kind for service in shop().services)
    assert kinds[EntityKind.DATABASE] == 2
    assert kinds[EntityKind.GATEWAY] == kinds[EntityKind.CACHE] == kinds[EntityKind.QUEUE] == 1


def test_demand_follows_the_calls() -> None:
    demand = shop().demand()
    assert demand[EntityId("frontend")] == pytest.approx(240 * 0.7)
    assert demand[EntityId("payment-service")] == pytest.approx(240 * 0.7 * 0.12)
    assert all(rate > 0 for rate in demand.values())


def test_capacity_makes_the_cpu_what_the_author_wanted() -> None:
    flat = Workload(day_amplitude=0.0, weekend=1.0, variation=0.0, bursts_per_day=0.0, holiday=1.0)
    simulation = Simulation(shop(), workload=flat)
    simulation.ticks(100)
    assert simulation.last is not None
    wanted = np.array([service.cpu for service in simulation.physics.services])
    assert simulation.last.flow.cpu == pytest.approx(0.03 + 0.97 * wanted, rel=0.1)


def callees(there: World, caller: str) -> dict[str, float]:
    return {call.callee: call.per_request for call in there.calls if call.caller == caller}


def test_online_boutique_has_the_calls_of_its_sources() -> None:
    there = world("online-boutique")
    assert set(callees(there, "checkoutservice")) == {
        "cartservice", "currencyservice", "emailservice", "paymentservice",
        "productcatalogservice", "shippingservice",
    }  # fmt: skip
    pages = callees(there, "frontend")
    assert set(pages) == {
        "adservice", "cartservice", "checkoutservice", "currencyservice", "productcatalogservice",
        "recommendationservice", "shippingservice",
    }  # fmt: skip
    # Of 28 requests of the load generator one is an order and 16 show an advertisement.
    assert pages["checkoutservice"] == pytest.approx(1 / 28)
    assert pages["adservice"] == pytest.approx(16 / 28)
    # The home page converts nine prices, so currencies are asked for more often than carts.
    assert pages["currencyservice"] == pytest.approx((3 * 10 + 13 * 2 + 6 * 4 + 1) / 28)
    assert callees(there, "cartservice")["redis-cart"] == pytest.approx(30 / 27)
    optional = {call.callee for call in there.calls if call.criticality == 0.0}
    assert optional == {"adservice", "recommendationservice", "emailservice"}


def test_train_ticket_has_the_services_of_its_sources() -> None:
    there = world("train-ticket")
    named = [one.name for one in there.services if one.name.startswith("ts-")]
    services = [name for name in named if not name.endswith("-mysql")]
    assert len(services) == 46
    assert sum(name.endswith("-mysql") for name in named) == 27
    # The widest are those that book; the deepest way leads from the pages to a database.
    fan_out = Counter(call.caller for call in there.calls if not call.callee.endswith("-mysql"))
    del fan_out[EntityId("ts-gateway-service")]
    assert {name for name, _ in fan_out.most_common(2)} == {
        "ts-preserve-service", "ts-preserve-other-service",
    }  # fmt: skip
    assert max(there.level(service.id) for service in there.services) == 9
    demand = there.demand()
    handed_on = callees(there, "rabbitmq")
    assert sum(handed_on.values()) == pytest.approx(1.0)
    mails = demand[EntityId("ts-preserve-service")] + demand[EntityId("ts-preserve-other-service")]
    assert handed_on["ts-notification-service"] == pytest.approx(
        mails / demand[EntityId("rabbitmq")]
    )


@pytest.mark.parametrize("count", [4, 5, 6, 8, 13, 30, 50, 500])
@pytest.mark.parametrize("seed", [3, 4])
def test_generated_worlds_are_connected_and_sized(count: int, seed: int) -> None:
    there = generate(count, seed)
    assert len(there.services) == count
    called = {call.callee for call in there.calls}
    assert {service.id for service in there.services} == called | set(there.entries)
    assert all(there.level(call.callee) > there.level(call.caller) for call in there.calls)
    assert min(there.demand().values()) > 0.999
    assert generate(count, seed) == there
    assert generate(count, seed + 1) != there


def test_generated_worlds_have_all_there_is() -> None:
    there = generate(400, seed=2)
    kind = {one.id: one.kind for one in there.services}
    assert set(kind.values()) == set(EntityKind) - {EntityKind.NODE, EntityKind.UNKNOWN}
    assert {call.kind for call in there.calls} == set(EdgeKind) - {EdgeKind.HOST}
    queues = {name for name, one in kind.items() if one is EntityKind.QUEUE}
    handed = {call.callee for call in there.calls if call.caller in queues}
    assert handed
    assert {call.caller for call in there.calls if call.callee in handed} <= queues
    # Gateways each in a zone of their own, scaled services, volumes where something is stored.
    gateways = [one for one in there.services if one.kind is EntityKind.GATEWAY]
    assert {one.zones for one in gateways} == {("zone-a",), ("zone-b",), ("zone-c",)}
    stateless = [one for one in there.services if one.kind is EntityKind.SERVICE]
    assert 0.08 < sum(one.autoscale is not None for one in stateless) / len(stateless) < 0.25
    for one in there.services:
        assert (one.disk > 0) == (one.kind in {EntityKind.DATABASE, EntityKind.QUEUE})
    for fault in FaultType:
        assert eligible(there, fault), fault


def test_generated_timeouts_leave_room() -> None:
    """A timeout is at least ten times what the callee usually takes, waiting and all."""
    physics = Physics(generate(300, seed=1), 15.0)
    assert (physics.timeout >= 10 * physics.nominal_latency[physics.callee]).all()


@pytest.mark.parametrize("count", [1000, 5000])
def test_generated_degrees_are_those_of_production(count: int) -> None:
    """Tail shares beside those of Alibaba's traces (Luo et al., SoCC 2021).

    There about 5 % of the services have 16 callers and more, over 10 % of the stateless ones call 5
    and more while most call one or two; and 39 % are leaves (Winchester et al., 2025, table 1).
    """
    there = generate(count, seed=1)
    callers = Counter(call.callee for call in there.calls)
    used = np.array([callers[one.id] for one in there.services])
    assert 0.025 < (used >= 16).mean() < 0.07
    assert (used <= 2).mean() > 0.5
    assert used.max() > 60
    # Its logarithm falls in a straight line with that of the degree: a power law of slope -1.
    tail = np.log([(used >= degree).mean() for degree in (4, 8, 16, 32)])
    slope = np.polyfit(np.log([4, 8, 16, 32]), tail, 1)[0]
    assert -1.6 < slope < -0.7

    uses = Counter(call.caller for call in there.calls)
    stateless = [one.id for one in there.services if one.kind is EntityKind.SERVICE]
    wide = np.array([uses[name] for name in stateless])
    assert 0.1 < (wide >= 5).mean() < 0.3
    assert (wide <= 2).mean() > 0.5
    assert 0.25 < np.mean([uses[one.id] == 0 for one in there.services]) < 0.45


@pytest.mark.parametrize("count", [1000, 5000])
def test_generated_requests_are_those_of_production(count: int) -> None:
    """Most call graphs are three to five services deep, few over ten; about a tenth is large.

    As Luo et al. (SoCC 2021) report: three and four are the most common depths, some go beyond ten,
    and sizes have a heavy tail with a tenth of more than 40 calls.
    """
    sampled = requests(generate(count, seed=1), 600)
    depth, size = np.array([one[0] for one in sampled]), np.array([one[1] for one in sampled])
    assert 3.5 < depth.mean() < 6.5
    assert np.bincount(depth).argmax() in {3, 4, 5}
    assert 0.001 < (depth > 10).mean() < 0.08
    assert 0.03 < (size > 40).mean() < 0.25
    assert np.median(size) < 0.7 * size.mean()


def requests(there: World, count: int) -> list[tuple[int, int]]:
    """Depth and size of the call graphs of that many requests of users.

    A service makes as many calls as it makes on average, rounded up or down, to services and to
    stores each, and picks whom it calls by how often it calls them.
    """
    rng = Random(1)
    stores = {EntityKind.DATABASE, EntityKind.CACHE, EntityKind.EXTERNAL}
    leaves = {one.id for one in there.services if one.kind in stores}
    groups: dict[tuple[EntityId, bool], tuple[list[EntityId], list[float]]] = {}
    for call in there.calls:
        names, weights = groups.setdefault((call.caller, call.callee in leaves), ([], []))
        names.append(call.callee)
        weights.append(call.per_request)
    found = []
    for _ in range(count):
        level, depth, size = [rng.choice(list(there.entries))], 0, 0
        while level:
            depth, size, above, level = depth + 1, size + len(level), level, []
            for service in above:
                for leaf in (False, True):
                    names, weights = groups.get((service, leaf), ([], []))
                    whole, rest = divmod(sum(weights), 1.0)
                    calls = int(whole) + (rng.random() < rest)
                    level += rng.choices(names, weights, k=calls) if calls else []
        found.append((depth, size))
    return found


def test_five_thousand_services_can_be_played() -> None:
    simulation = Simulation(generate(5000, seed=1))
    values = simulation.tick().value
    assert len(simulation.physics.services) == 5000
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: chain("a", "b", "c", back=True), "cycle of calls through a, b, c"),
        (lambda: chain("a", "a"), "two services of the same name"),
        (
            lambda: World(name="w", services=(), calls=(), entries={EntityId("a"): 1.0}),
            "calls a service 'a' that it does not have",
        ),
        (lambda: generate(3), "at least 4 services, not 3"),
        (lambda: generate(10_001), "at most 10000 services, not 10001"),
        (lambda: edges(EdgeKind.MESSAGE), "a calls b with messages, but neither is a queue"),
        (lambda: edges(EdgeKind.CALL, EdgeKind.READ), "two calls of b by a"),
        (lambda: edges(EdgeKind.CALL, kind=EntityKind.QUEUE), "a queue does not call"),
        (lambda: bound("zone-z"), "a runs in zone 'zone-z'.*zone-a, zone-b, zone-c"),
        (
            lambda: world("moon"),
            "no world 'moon'.*shop, sketch, online-boutique, train-ticket, generated",
        ),
    ],
)
def test_impossible_worlds_are_refused(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(ConfigError, match=message):
        build()


def test_a_cycle_is_told_by_its_members_alone() -> None:
    there = [("top", "b"), ("b", "c"), ("c", "a"), ("a", "b"), ("c", "leaf")]
    with pytest.raises(ConfigError, match=r"cycle of calls through a, b, c\. "):
        World(
            name="ring",
            services=tuple(SimulatedService(name=name) for name in ("top", "leaf", "a", "b", "c")),
            calls=tuple(Call(caller=EntityId(a), callee=EntityId(b)) for a, b in there),
            entries={EntityId("top"): 10.0},
        )


def test_replicas_stay_in_their_zones() -> None:
    zone = {node.id: node.zone for node in bound().nodes}
    assert Counter(zone[node] for node in bound().placement()[EntityId("a")]) == {
        "zone-a": 2, "zone-b": 1, "zone-c": 1,
    }  # fmt: skip
    two = bound("zone-b", "zone-c").placement()[EntityId("a")]
    assert Counter(zone[node] for node in two) == {"zone-b": 2, "zone-c": 2}


def test_namespaces_are_part_of_the_identity() -> None:
    service = SimulatedService(name="api", namespace="shop")
    assert service.id == "shop/api"
    assert service.entity().name == "api"


def test_wait_in_a_queue_matches_the_exact_one_of_mm1() -> None:
    load = np.array([0.1, 0.5, 0.8, 0.95])
    time, one = np.full(4, 0.02), np.ones(4)
    assert wait_for_server(time, one, load) == pytest.approx(0.02 * load / (1 - load))


def test_wait_in_a_queue_is_near_erlang_c() -> None:
    # M/M/4 at ρ = 0.8: C(4, 3.2) = 0.5964, W = C S / (c (1 - ρ)).
    exact = 0.5964 * 0.02 / (4 * 0.2)
    wait = wait_for_server(np.array([0.02]), np.array([4.0]), np.array([0.8]))
    assert wait[0] == pytest.approx(exact, rel=0.05)


def test_normal_cdf_is_as_exact_as_it_says() -> None:
    z = np.array([-3.0, -1.6448536, -0.5, 0.0, 1.0, 2.3263479])
    known = [0.001350, 0.05, 0.308538, 0.5, 0.841345, 0.99]
    assert normal_cdf(z) == pytest.approx(known, abs=1.5e-4)


def test_order_of_services_is_callers_first() -> None:
    physics = Physics(shop(), 15.0)
    assert (physics.caller < physics.callee).all()
    assert (np.diff(physics.caller) >= 0).all()


def test_weekend_blends_in_and_out() -> None:
    workload = Workload(day_amplitude=0.0, weekend=0.5)
    monday = 4 * 24 * HOUR  # 1970-01-05

    def level(day: float) -> float:
        return round(workload.level(Millis(monday + round(day * 24 * HOUR))), 3)

    assert [level(day) for day in (0.0, 0.2, 3.5, 4.8, 5.0, 5.5, 6.5, 7.0)] == [
        0.75, 1.0, 1.0, 1.0, 0.75, 0.5, 0.5, 0.75,
    ]  # fmt: skip
