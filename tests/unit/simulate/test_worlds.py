from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from dos.kit.clock import HOUR, Millis
from dos.kit.errors import ConfigError
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.engine import Simulation
from dos.simulate.propagation import Physics
from dos.simulate.queueing import normal_cdf, wait_for_server
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
    flat = Workload(day_amplitude=0.0, weekend=1.0, variation=0.0, bursts_per_day=0.0)
    simulation = Simulation(shop(), workload=flat)
    simulation.ticks(100)
    assert simulation.last is not None
    wanted = np.array([service.cpu for service in simulation.physics.services])
    assert simulation.last.flow.cpu == pytest.approx(0.03 + 0.97 * wanted, rel=0.1)


@pytest.mark.parametrize("count", [4, 5, 13, 50, 500])
def test_generated_worlds_are_connected_layers(count: int) -> None:
    there = generate(count, seed=3)
    assert len(there.services) == count
    assert len({(call.caller, call.callee) for call in there.calls}) == len(there.calls)
    called = {call.callee for call in there.calls}
    assert {service.id for service in there.services} == called | set(there.entries)
    assert all(there.level(call.callee) > there.level(call.caller) for call in there.calls)
    assert generate(count, seed=3) == there
    assert generate(count, seed=4) != there


def test_generated_degrees_have_a_heavy_tail() -> None:
    there = generate(500, seed=1)
    callers = sorted(Counter(call.callee for call in there.calls).values())
    assert callers[len(callers) // 2] <= 3
    assert callers[-1] >= 15


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
