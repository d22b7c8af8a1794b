"""How load goes down the graph, and latency and errors up: one effect at a time."""

from __future__ import annotations

import numpy as np
import pytest

from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.flow import Effects, Flow, State
from dos.simulate.layout import PATIENCE, PATIENCE_OF_TIMEOUT
from dos.simulate.propagation import BREAKER_PROBES, REPEATS, Physics
from dos.simulate.upkeep import SCALE_DOWN_AFTER
from dos.simulate.world import Autoscaler, Call, SimulatedService, World
from dos.simulate.worlds import shop

TOP, MIDDLE, BOTTOM = EntityId("top"), EntityId("middle"), EntityId("bottom")
STEP = 5.0


def call(caller: EntityId, callee: EntityId, **options: object) -> Call:
    return Call(caller=caller, callee=callee, **{"retries": 0, "breaker": False} | options)  # type: ignore[arg-type]


def chain(*calls: Call, **bottom: object) -> World:
    """Top calls middle calls bottom, 100 requests a second; `calls` replace theirs."""
    service = SimulatedService
    return World(
        name="chain",
        services=(
            service(name=TOP, error_rate=0.0),
            service(name=MIDDLE, error_rate=0.0),
            service(**{"name": BOTTOM, "error_rate": 0.0} | bottom),  # type: ignore[arg-type]
        ),
        calls=calls or (call(TOP, MIDDLE), call(MIDDLE, BOTTOM)),
        entries={TOP: 100.0},
    )


class Plant:
    """A world without weather: the demand is what it says."""

    def __init__(self, world: World, step: float = STEP) -> None:
        self.physics = Physics(world, step)
        self.state: State = self.physics.initial_state()
        self.effects: Effects = self.physics.no_effects()
        self.still = np.ones(len(self.physics.services))

    def run(self, seconds: float = 120.0, *, load: float = 1.0) -> Flow:
        for _ in range(max(1, round(seconds / self.physics.step_seconds))):
            flow = self.physics.step(
                self.state, load * self.physics.entries, self.still, self.effects
            )
        return flow

    def at(self, service: EntityId) -> int:
        return self.physics.index[service]


def test_latency_is_the_sum_of_its_parts() -> None:
    plant = Plant(chain(call(TOP, MIDDLE), call(MIDDLE, BOTTOM, per_request=2.0)))
    flow = plant.run()
    top, middle, bottom = (plant.at(name) for name in (TOP, MIDDLE, BOTTOM))
    latency, own = flow.answers.latency, flow.own.mean
    assert latency[bottom] == pytest.approx(own[bottom])
    assert latency[middle] == pytest.approx(own[middle] + 2 * latency[bottom], rel=1e-3)
    assert latency[top] == pytest.approx(own[top] + latency[middle], rel=1e-3)
    assert flow.arrivals[bottom] == pytest.approx(200)


def test_the_quantiles_have_the_mean_and_variance_of_the_sum() -> None:
    plant = Plant(chain())
    flow = plant.run()
    location, spread = flow.answers.location, flow.answers.spread
    mean = np.exp(location + spread**2 / 2)
    assert mean == pytest.approx(flow.answers.latency)
    variance = (np.exp(spread**2) - 1) * mean**2
    expected = np.cumsum(flow.own.variance[::-1])[::-1]
    assert variance == pytest.approx(expected, rel=1e-3)


def test_load_makes_it_slow_long_before_it_fails() -> None:
    waits = []
    for load in (0.5, 1.0, 2.0, 2.6):
        plant = Plant(chain())
        flow = plant.run(load=load)
        waits.append(flow.own.mean[plant.at(BOTTOM)])
        assert flow.answers.errors.max() < 0.01
    assert waits == sorted(waits)
    assert waits[1] < 1.2 * waits[0]
    assert waits[3] > 2 * waits[0]


def test_a_bottleneck_shields_what_lies_below_and_refuses_the_rest() -> None:
    plant = Plant(chain())
    middle, bottom = plant.at(MIDDLE), plant.at(BOTTOM)
    plant.effects.capacity[middle] = 0.5 * 0.35
    flow = plant.run()
    assert flow.served[middle] == pytest.approx(50, rel=1e-6)
    assert flow.arrivals[bottom] == pytest.approx(50, rel=1e-6)
    assert flow.own.refused[middle] == pytest.approx(0.5, rel=1e-6)
    assert flow.answers.errors[middle] == pytest.approx(0.5, rel=1e-3)
    assert flow.answers.errors[plant.at(TOP)] == pytest.approx(0.5, abs=0.01)


def test_nothing_is_lost_between_arrival_and_answer() -> None:
    plant = Plant(chain())
    middle = plant.at(MIDDLE)
    backlog = 0.0
    for capacity in (1.0, 0.2, 0.2, 0.9, 0.3, 1.0, 1.0):
        plant.effects.capacity[middle] = capacity
        flow = plant.run(STEP)
        grown = plant.state.backlog[middle] - backlog
        backlog = plant.state.backlog[middle]
        refused = flow.own.refused[middle] * flow.arrivals[middle]
        total = flow.served[middle] + refused + grown / STEP
        assert total == pytest.approx(flow.arrivals[middle], rel=1e-6)


@pytest.mark.parametrize("timeout", [0.2, 0.5, 1.0, 4.0])
def test_a_backlog_is_waited_in_once_and_ends_before_the_caller_gives_up(timeout: float) -> None:
    calls = (call(TOP, MIDDLE), call(MIDDLE, BOTTOM, timeout=timeout))
    plant = Plant(chain(*calls, service_time=0.002, replicas=40))
    bottom = plant.at(BOTTOM)
    plant.effects.capacity[bottom] = 0.1
    flow = plant.run()
    longest = min(PATIENCE, PATIENCE_OF_TIMEOUT * timeout)
    assert flow.own.mean[bottom] == pytest.approx(longest + 0.002, rel=0.05)
    refused = flow.own.refused[bottom]
    assert refused == pytest.approx(1 - 0.1 / 0.35, rel=0.01)
    # Who is let in is nearly always answered in time.
    assert flow.answers.call_failures[1] < refused + 0.03


def test_a_timeout_caps_what_a_caller_waits_and_fails_the_call() -> None:
    plant = Plant(chain(call(TOP, MIDDLE, timeout=60.0), call(MIDDLE, BOTTOM, timeout=0.5)))
    plant.effects.delay[plant.at(BOTTOM)] = 5.0
    flow = plant.run()
    assert flow.answers.latency[plant.at(BOTTOM)] > 5
    assert flow.answers.latency[plant.at(MIDDLE)] == pytest.approx(0.52, abs=0.02)
    assert flow.answers.errors[plant.at(MIDDLE)] == pytest.approx(1.0, abs=0.01)


def test_a_fallback_keeps_failures_down() -> None:
    plant = Plant(chain(call(TOP, MIDDLE, criticality=0.25), call(MIDDLE, BOTTOM)))
    plant.effects.errors[plant.at(BOTTOM)] = 0.4
    flow = plant.run()
    assert flow.answers.errors[plant.at(MIDDLE)] == pytest.approx(0.4, abs=0.01)
    assert flow.answers.errors[plant.at(TOP)] == pytest.approx(0.1, abs=0.01)


def test_a_call_for_few_requests_fails_few_of_them() -> None:
    plant = Plant(chain(call(TOP, MIDDLE, per_request=0.1), call(MIDDLE, BOTTOM)))
    plant.effects.errors[plant.at(BOTTOM)] = 0.9
    flow = plant.run()
    assert flow.answers.errors[plant.at(TOP)] == pytest.approx(0.09, abs=0.005)


@pytest.mark.parametrize(("retries", "more"), [(0, 0.0), (1, 0.3), (2, 0.39)])
def test_retries_mend_some_failures_and_cost_load(retries: int, more: float) -> None:
    plant = Plant(chain(call(TOP, MIDDLE), call(MIDDLE, BOTTOM, retries=retries)))
    plant.effects.errors[plant.at(BOTTOM)] = 0.3
    flow = plant.run()
    assert flow.call_rate[1] == pytest.approx(100 * (1 + more), rel=0.02)
    mended = (1 - REPEATS) * (1 - 0.3**retries)
    assert flow.answers.errors[plant.at(MIDDLE)] == pytest.approx(0.3 * (1 - mended), abs=0.01)


def test_a_budget_bounds_retries() -> None:
    calls = (call(TOP, MIDDLE), call(MIDDLE, BOTTOM, retries=2, retry_budget=0.1))
    plant = Plant(chain(*calls))
    plant.effects.errors[plant.at(BOTTOM)] = 0.5
    assert plant.run().call_rate[1] == pytest.approx(110, rel=0.01)


def test_a_breaker_lets_probes_through_and_closes_again() -> None:
    plant = Plant(chain(call(TOP, MIDDLE), call(MIDDLE, BOTTOM, breaker=True)))
    plant.effects.errors[plant.at(BOTTOM)] = 1.0
    broken = plant.run()
    assert broken.call_rate[1] == pytest.approx(100 * BREAKER_PROBES, rel=0.05)
    assert broken.answers.errors[plant.at(MIDDLE)] > 0.95
    plant.effects.errors[plant.at(BOTTOM)] = 0.0
    mended = plant.run()
    assert mended.call_rate[1] == pytest.approx(100, rel=1e-3)
    assert mended.answers.errors.max() < 1e-3


def test_a_full_pool_above_keeps_a_slow_callee_from_everybody() -> None:
    """Requests that wait hold their caller's place: back-pressure goes up, level by level."""
    plant = Plant(chain(call(TOP, MIDDLE, timeout=60.0), call(MIDDLE, BOTTOM, timeout=30.0)))
    plant.effects.delay[plant.at(BOTTOM)] = 10.0
    flow = plant.run(600)
    middle = plant.at(MIDDLE)
    assert flow.in_flight[middle] == pytest.approx(plant.physics.pool[middle], rel=0.1)
    assert flow.served[middle] < 25
    # The wait for it fills the pool above as well: there users are refused.
    assert flow.own.refused[plant.at(TOP)] > 0.5
    plant.effects.delay[plant.at(BOTTOM)] = 0.0
    assert plant.run(120).served[middle] == pytest.approx(100, rel=0.01)


def test_what_a_queue_hands_on_waits_there_and_hurts_nobody() -> None:
    consumer = EntityId("consumer")
    world = World(
        name="queue",
        services=(
            SimulatedService(name=TOP, error_rate=0.0),
            SimulatedService(name="jobs", kind=EntityKind.QUEUE, error_rate=0.0),
            SimulatedService(name=consumer, error_rate=0.0),
        ),
        calls=(
            call(TOP, EntityId("jobs"), kind=EdgeKind.MESSAGE),
            call(EntityId("jobs"), consumer, kind=EdgeKind.MESSAGE),
        ),
        entries={TOP: 50.0},
    )
    plant = Plant(world)
    plant.effects.capacity[plant.at(consumer)] = 0.1
    flow = plant.run(300)
    waiting = flow.waiting[plant.at(EntityId("jobs"))]
    behind = 300 * (50 - flow.served[plant.at(consumer)])
    assert waiting == pytest.approx(behind, rel=0.05)
    assert flow.answers.errors.max() < 1e-3
    assert flow.answers.latency[plant.at(TOP)] < 0.1
    plant.effects.capacity[plant.at(consumer)] = 1.0
    # It works the backlog off with what it has to spare.
    assert plant.run(300).waiting[plant.at(EntityId("jobs"))] == pytest.approx(0, abs=1)


def test_a_cache_that_misses_sends_its_callers_to_their_store() -> None:
    plant = Plant(shop())
    before = plant.run().arrivals.copy()
    plant.effects.missed[plant.at(EntityId("redis-cache"))] = 2.0
    after = plant.run().arrivals
    ratio = {one.id: after[i] / before[i] for i, one in enumerate(plant.physics.services)}
    assert ratio[EntityId("catalog-db")] == pytest.approx(2.0, rel=0.02)
    # user-service reads through the cache too; shop-db has other callers besides.
    assert 1.3 < ratio[EntityId("shop-db")] < 2
    assert ratio[EntityId("redis-cache")] == pytest.approx(1.0, rel=0.02)


def test_an_autoscaler_follows_the_load_up_at_once_and_down_after_a_while() -> None:
    scaler = Autoscaler(at_least=2, at_most=6, target=0.6)
    plant = Plant(chain(replicas=2, cpu=0.5, autoscale=scaler))
    bottom = plant.at(BOTTOM)
    assert plant.run(120).replicas[bottom] == 2
    surge = plant.run(120, load=2.0)
    assert surge.replicas[bottom] == 4
    assert surge.cpu[bottom] < 0.66
    assert plant.run(SCALE_DOWN_AFTER - 30).replicas[bottom] == 4
    assert plant.run(120).replicas[bottom] == 2


def test_an_autoscaler_stays_within_its_bounds() -> None:
    scaler = Autoscaler(at_least=2, at_most=3, target=0.6)
    plant = Plant(chain(replicas=2, cpu=0.5, autoscale=scaler))
    assert plant.run(600, load=2.0).replicas[plant.at(BOTTOM)] == 3
    assert plant.run(900, load=0.1).replicas[plant.at(BOTTOM)] == 2


def test_one_tick_is_a_function_of_state_and_input() -> None:
    one, two = Plant(shop()), Plant(shop())
    one.run(60, load=3.0)
    two.run(60, load=3.0)
    state = one.state.copy()
    first, second = one.run(STEP, load=2.0), two.run(STEP, load=2.0)
    assert first.answers.latency.tobytes() == second.answers.latency.tobytes()
    one.state = state
    again = one.run(STEP, load=2.0)
    assert again.answers.latency.tobytes() == first.answers.latency.tobytes()
    assert again.arrivals.tobytes() == first.arrivals.tobytes()
