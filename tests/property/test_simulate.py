"""What holds in every world, under every fault and whatever operators do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.kit.clock import Millis
from dos.kit.errors import ConfigError
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array
from dos.simulate.actions import Action, ActionKind
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds.changes import MOST_CALLS
from dos.simulate.kinds.monitoring import WAYS
from dos.simulate.kinds.stores import MOST_MISSES
from dos.simulate.propagation import EMPTY, STORM_RETRIES
from dos.simulate.scenario import Dice, RandomIncidents, eligible
from dos.simulate.world import World
from dos.simulate.worlds import generate, shop, sketch
from tests.unit.simulate.runs import beside

START = Millis(1_795_435_200_000)
worlds = st.one_of(st.builds(generate, st.integers(4, 40), st.integers(0, 10_000)), st.builds(shop))
steps = st.sampled_from([1.0, 5.0, 15.0, 60.0])
RATIOS = ("error_rate", "cpu_usage", "memory_usage", "disk_usage", "hit_ratio", "retransmits")
MOST_REPLICAS = 8
"""That operators ask for in these tests."""
GARBLED = {metric for metric, _ in WAYS}
"""Metrics that a corrupted one is among: out of range by nature."""
SPEED = 1.25
"""A service's speed wanders about 1 with a deviation of 3 %, so that this is never exceeded."""


@st.composite
def faults(draw: st.DrawFn, world: World, prefix: str = "") -> Fault:
    """Any that can happen in `world`, to a target whose name begins with `prefix`."""
    possible = {
        kind: targets
        for kind in FaultType
        if (targets := [one for one in eligible(world, kind) if one.startswith(prefix)])
    }
    kind = draw(st.sampled_from(sorted(possible)))
    return Fault(
        type=kind,
        target=draw(st.sampled_from(possible[kind])),
        severity=draw(st.floats(0.05, 1.0)),
        duration=draw(st.floats(1.0, 600.0)),
        ramp=draw(st.floats(0.0, 60.0)),
        recovery=draw(st.floats(0.0, 60.0)),
    )


@st.composite
def actions(draw: st.DrawFn, world: World, prefix: str = "") -> Action:
    """Anything operators may do, right or wrong."""
    kind = draw(st.sampled_from(ActionKind))
    own = [one.id for one in world.services if one.kind is not EntityKind.EXTERNAL]
    names = [node.id for node in world.nodes] if kind is ActionKind.DRAIN else own
    replicas = draw(st.integers(1, MOST_REPLICAS)) if kind is ActionKind.SCALE else None
    target = draw(st.sampled_from([one for one in names if one.startswith(prefix)]))
    return Action(kind=kind, target=target, replicas=replicas)


@st.composite
def timelines(draw: st.DrawFn, world: World, ticks: int) -> dict[int, list[Fault | Action]]:
    """Several faults and actions by the tick before which they begin; some at the same time."""
    one = st.one_of(faults(world), actions(world))
    when = st.integers(0, ticks - 1)
    timeline: dict[int, list[Fault | Action]] = {}
    for at, what in draw(st.lists(st.tuples(when, one), max_size=8)):
        timeline.setdefault(at, []).append(what)
    return timeline


def play(
    simulation: Simulation, timeline: dict[int, list[Fault | Action]], ticks: int
) -> Float64Array:
    """`[tick, series]`."""
    values = []
    for tick in range(ticks):
        for one in timeline.get(tick, ()):
            if isinstance(one, Fault):
                simulation.inject(one)
            else:
                simulation.act(one)
        values.append(simulation.tick().value)
    return np.array(values)


def columns(simulation: Simulation, metric: str) -> list[int]:
    return [i for i, spec in enumerate(simulation.series) if spec.metric == metric]


def sound(simulation: Simulation, timeline: dict[int, list[Fault | Action]]) -> BoolArray:
    """`[series]` False for those that a corruption in `timeline` may have garbled."""
    told = [one for several in timeline.values() for one in several]
    garbled = {
        one.target
        for one in told
        if isinstance(one, Fault) and one.type is FaultType.METRIC_CORRUPTION
    }
    return np.array(
        [not (s.entity in garbled and s.metric in GARBLED) for s in simulation.series], np.bool_
    )


@settings(max_examples=60)
@given(st.data(), worlds, steps, st.integers(0, 1000))
def test_values_stay_in_range(data: st.DataObject, world: World, step: float, seed: int) -> None:
    simulation = Simulation(world, seed=seed, step_seconds=step, start=START)
    timeline = data.draw(timelines(world, 30))
    values = play(simulation, timeline, 40)
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    fair = sound(simulation, timeline)
    for ratio in RATIOS:
        places = [at for at in columns(simulation, ratio) if fair[at]]
        assert (values[:, places] <= 1).all(), ratio
    p50, p95, p99 = (columns(simulation, f"latency_p{q}") for q in (50, 95, 99))
    orderly = fair[p95]
    assert (values[:, p50] > 0).all()
    assert (values[:, p50] <= values[:, p95])[:, orderly].all()
    assert (values[:, p95] <= values[:, p99])[:, orderly].all()
    assert set(np.unique(values[:, columns(simulation, "ready")])) <= {0.0, 1.0}
    restarts = np.diff(values[:, columns(simulation, "restarts")], axis=0)
    assert set(np.unique(restarts)) <= {0.0, 1.0}


@settings(max_examples=40)
@given(st.data(), worlds, steps, st.integers(0, 1000))
def test_propagation_is_contained(
    data: st.DataObject, world: World, step: float, seed: int
) -> None:
    """No loop runs away: nobody is called more than its callers' capacity and retries allow.

    What a service serves is bounded by its own capacity, whatever arrives; so the bound of each
    edge does not depend on how long or how deep a failure has spread.
    """
    simulation = Simulation(world, seed=seed, step_seconds=step, start=START)
    timeline = data.draw(timelines(world, 30))
    broken = [one for several in timeline.values() for one in several if isinstance(one, Fault)]
    physics = simulation.physics
    grown = np.maximum(1.0, np.maximum(MOST_REPLICAS, physics.most) / physics.replicas)
    grown = np.where(np.isfinite(grown), grown, MOST_REPLICAS / physics.replicas)
    capacity = SPEED * physics.capacity * np.maximum(1.0, grown)
    wanted = physics.per_request.copy()
    for fault in broken:
        if fault.type is FaultType.FEATURE_FLAG:
            wanted[physics.calls_from(fault.target)] *= 1.0 + MOST_CALLS
        if fault.type is FaultType.CACHE_STAMPEDE:
            wanted[physics.behind_cache(fault.target)] *= 1.0 + MOST_MISSES
    for cache in np.flatnonzero(physics.cache):
        wanted[physics.behind_cache(physics.services[cache].id)] *= EMPTY
    stormy = any(fault.type is FaultType.RETRY_STORM for fault in broken)
    tries = 1.0 + np.maximum(physics.retry_budget, STORM_RETRIES * stormy)
    most = capacity[physics.caller] * wanted * tries
    for tick in range(40):
        for one in timeline.get(tick, ()):
            if isinstance(one, Fault):
                simulation.inject(one)
            else:
                simulation.act(one)
        simulation.tick()
        assert simulation.last is not None
        flow = simulation.last.flow
        assert (flow.served <= capacity).all()
        assert (flow.call_rate <= most * (1 + 1e-9)).all()


@settings(max_examples=40)
@given(st.data(), worlds, worlds, st.integers(0, 1000))
def test_what_happens_here_never_shows_there(
    data: st.DataObject, here: World, there: World, seed: int
) -> None:
    world = beside(here, there)
    calm = Simulation(world, seed=seed, start=START)
    broken = Simulation(world, seed=seed, start=START)
    one = st.one_of(faults(world, "here-"), actions(world, "here-"))
    timeline = {
        tick: data.draw(st.lists(one, min_size=not tick, max_size=2)) for tick in (0, 3, 10)
    }
    far = [i for i, spec in enumerate(calm.series) if spec.entity.startswith("there-")]
    before = play(calm, {}, 30)[:, far]
    after = play(broken, timeline, 30)[:, far]
    assert before.tobytes() == after.tobytes()
    assert not any(name.startswith("there-") for truth in broken.truths for name in truth.affected)


@settings(max_examples=40)
@given(st.data(), worlds, st.sampled_from([5.0, 15.0, 60.0]), st.integers(0, 1000))
def test_everything_recovers(data: st.DataObject, world: World, step: float, seed: int) -> None:
    calm = Simulation(world, seed=seed, step_seconds=step, start=START)
    broken = Simulation(world, seed=seed, step_seconds=step, start=START)
    for fault in data.draw(st.lists(faults(world), min_size=1, max_size=3)):
        broken.inject(replace(fault, duration=min(fault.duration, 120.0)))
    settle = Millis(START + 1_500_000)
    calm.fast_forward(settle)
    broken.fast_forward(settle)
    assert broken.running == ()
    assert all(truth.end is not None for truth in broken.truths)
    expected, found = (one.ticks(5).value.reshape(5, -1).mean(axis=0) for one in (calm, broken))
    steady = _not_scaled(world)
    for metric in ("latency_p50", "request_rate", "cpu_usage", "error_rate", "disk_usage"):
        places = [at for at in columns(calm, metric) if calm.series[at].entity in steady]
        assert np.allclose(expected[places], found[places], rtol=0.05, atol=0.01), metric


@settings(max_examples=30)
@given(st.data(), worlds, st.integers(0, 1000))
def test_same_seed_same_bytes(data: st.DataObject, world: World, seed: int) -> None:
    timeline = data.draw(timelines(world, 20))
    one, same, other = (Simulation(world, seed=s, start=START) for s in (seed, seed, seed + 1))
    values = play(one, timeline, 25)
    assert values.tobytes() == play(same, timeline, 25).tobytes()
    assert values.tobytes() != play(other, timeline, 25).tobytes()
    assert (one.truths, one.changes, one.actions) == (same.truths, same.changes, same.actions)


@settings(max_examples=15)
@given(worlds, st.integers(0, 1000), st.integers(0, 60), st.integers(1, 4))
def test_stopping_and_regenerating_makes_no_difference(
    world: World, seed: int, ticks: int, at_once: int
) -> None:
    def simulation() -> Simulation:
        incidents = RandomIncidents(world, seed, dice=Dice(chance=0.3, at_once=at_once))
        return Simulation(world, seed=seed, start=START, incidents=incidents, changes_per_day=500.0)

    whole, resumed = simulation(), simulation()
    whole.ticks(ticks)
    resumed.fast_forward(Millis(START + ticks * 15_000))
    assert resumed.truths == whole.truths
    assert resumed.changes == whole.changes
    assert whole.ticks(5).value.tobytes() == resumed.ticks(5).value.tobytes()


@settings(max_examples=30)
@given(st.data(), worlds)
def test_what_cannot_happen_is_refused_before_anything_changes(
    data: st.DataObject, world: World
) -> None:
    kind = data.draw(st.sampled_from(FaultType))
    everything: Sequence[EntityId] = [
        *(one.id for one in world.services),
        *(node.id for node in world.nodes),
        *(EntityId(zone) for zone in world.zones),
        EntityId("nobody"),
    ]
    target = data.draw(st.sampled_from(sorted(everything)))
    simulation, calm = (Simulation(world, start=START) for _ in range(2))
    try:
        simulation.inject(Fault(type=kind, target=target))
    except ConfigError:
        assert target not in eligible(world, kind)
        assert not simulation.truths
        assert simulation.tick().value.tobytes() == calm.tick().value.tobytes()
    else:
        assert target in eligible(world, kind)


def _not_scaled(world: World) -> set[EntityId]:
    """Who has no autoscaler and runs beside none.

    An autoscaler is content with any number of replicas near its target, and keeps what a fault
    left it with.
    """
    scaled = {one.id for one in world.services if one.autoscale is not None}
    placed = world.placement()
    nodes = {node for name in scaled for node in placed[name]}
    near = scaled | {call.caller for call in world.calls if call.callee in scaled}
    return {one.id for one in world.services} - near | {n.id for n in world.nodes} - nodes


def test_small_worlds_have_what_the_tests_draw_from() -> None:
    assert all(eligible(shop(), kind) for kind in FaultType)
    assert len([kind for kind in FaultType if eligible(sketch(), kind)]) >= 15
