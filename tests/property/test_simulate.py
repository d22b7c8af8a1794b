"""What holds in every world, under every fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.world import Call, World
from dos.simulate.worlds import generate

START = Millis(1_795_435_200_000)
worlds = st.builds(generate, st.integers(4, 40), st.integers(0, 10_000))
steps = st.sampled_from([1.0, 5.0, 15.0, 60.0])


@st.composite
def faults(draw: st.DrawFn, names: Sequence[EntityId]) -> Fault:
    return Fault(
        type=draw(st.sampled_from(FaultType)),
        target=draw(st.sampled_from(names)),
        severity=draw(st.floats(0.05, 1.0)),
        duration=draw(st.floats(1.0, 600.0)),
        ramp=draw(st.floats(0.0, 60.0)),
        recovery=draw(st.floats(0.0, 60.0)),
    )


def table(simulation: Simulation, values: Float64Array, metric: str) -> Float64Array:
    picks = [i for i, spec in enumerate(simulation.series) if spec.metric == metric]
    return values.reshape(-1, len(simulation.series))[:, picks]


@settings(max_examples=40)
@given(st.data(), worlds, steps, st.integers(0, 1000))
def test_values_stay_in_range(data: st.DataObject, world: World, step: float, seed: int) -> None:
    names = [service.id for service in world.services]
    simulation = Simulation(world, seed=seed, step_seconds=step, start=START)
    for fault in data.draw(st.lists(faults(names), max_size=5)):
        simulation.inject(fault)
    values = simulation.ticks(40).value
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    for ratio in ("error_rate", "cpu_usage", "memory_usage"):
        assert (table(simulation, values, ratio) <= 1).all()
    p50, p95, p99 = (table(simulation, values, f"latency_p{q}") for q in (50, 95, 99))
    assert (p50 > 0).all()
    assert (p50 <= p95).all()
    assert (p95 <= p99).all()
    # Containment: retries are bounded, so traffic is a bounded multiple of what users bring.
    depth = max(world.level(name) for name in names)
    arrivals = table(simulation, values, "request_rate").sum(axis=1)
    assert (arrivals <= 3 * 2.0**depth * sum(world.demand().values()) + 100).all()


@settings(max_examples=25)
@given(st.data(), worlds, worlds, st.integers(0, 1000))
def test_a_fault_never_leaves_its_component(
    data: st.DataObject, here: World, there: World, seed: int
) -> None:
    elsewhere = _renamed(there, "far-")
    world = World(
        name="two",
        services=here.services + elsewhere.services,
        calls=here.calls + elsewhere.calls,
        entries={**here.entries, **elsewhere.entries},
    )
    calm = Simulation(world, seed=seed, start=START)
    broken = Simulation(world, seed=seed, start=START)
    broken.inject(data.draw(faults([service.id for service in here.services])))
    far = [i for i, spec in enumerate(calm.series) if spec.entity.startswith("far-")]
    width = len(calm.series)
    before = calm.ticks(30).value.reshape(-1, width)[:, far]
    after = broken.ticks(30).value.reshape(-1, width)[:, far]
    assert before.tobytes() == after.tobytes()
    assert not any(name.startswith("far-") for truth in broken.truths for name in truth.affected)


@settings(max_examples=15)
@given(st.data(), worlds, st.sampled_from([5.0, 15.0, 60.0]), st.integers(0, 1000))
def test_everything_recovers(data: st.DataObject, world: World, step: float, seed: int) -> None:
    calm = Simulation(world, seed=seed, step_seconds=step, start=START)
    broken = Simulation(world, seed=seed, step_seconds=step, start=START)
    fault = data.draw(faults([service.id for service in world.services]))
    fault = replace(fault, duration=min(fault.duration, 120.0))
    broken.inject(fault)
    settle = Millis(START + 900_000)
    calm.fast_forward(settle)
    broken.fast_forward(settle)
    assert broken.running == ()
    assert broken.truths[0].end is not None
    expected, found = calm.ticks(5).value, broken.ticks(5).value
    for metric in ("latency_p50", "cpu_usage"):
        wanted, got = table(calm, expected, metric), table(broken, found, metric)
        assert np.allclose(wanted.mean(axis=0), got.mean(axis=0), rtol=0.05, atol=0.01), metric


@settings(max_examples=20)
@given(worlds, st.integers(0, 1000), st.integers(0, 60))
def test_stopping_and_regenerating_makes_no_difference(world: World, seed: int, ticks: int) -> None:
    whole, resumed = (Simulation(world, seed=seed, start=START) for _ in range(2))
    whole.ticks(ticks)
    resumed.fast_forward(Millis(START + ticks * 15_000))
    assert whole.ticks(5).value.tobytes() == resumed.ticks(5).value.tobytes()


def _renamed(world: World, prefix: str) -> World:
    def name(old: EntityId) -> EntityId:
        return EntityId(prefix + old)

    calls: list[Call] = [
        replace(call, caller=name(call.caller), callee=name(call.callee)) for call in world.calls
    ]
    return World(
        name=world.name,
        services=tuple(replace(one, name=prefix + one.name) for one in world.services),
        calls=tuple(calls),
        entries={name(entry): rate for entry, rate in world.entries.items()},
    )
