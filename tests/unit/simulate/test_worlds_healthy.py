"""Every world that comes with DOS is well by itself: a weekday in which nothing breaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dos.kit.clock import DAY, HOUR, Millis
from dos.model.telemetry import Float64Array
from dos.simulate.engine import Simulation
from dos.simulate.world import World
from dos.simulate.worlds import BUILT_IN, world

MONDAY = Millis(1_795_392_000_000)
"""2026-11-23T00:00:00Z."""
STEP = 60.0
EXAMPLE = Path(__file__).parents[3] / "simulations/worlds/bookshop.yaml"
WORLDS = [*BUILT_IN, "generated", str(EXAMPLE)]


@dataclass(frozen=True, kw_only=True)
class Day:
    """What a day was like, `[tick, service]`; `errors` `[tick, entry]`."""

    simulation: Simulation
    cpu: Float64Array
    errors: Float64Array
    latency: Float64Array
    replicas: Float64Array


def live(there: World) -> Day:
    simulation = Simulation(there, seed=5, step_seconds=STEP, start=MONDAY)
    entries = [simulation.physics.index[name] for name in there.entries]
    rows = []
    for at in range(MONDAY, MONDAY + DAY, round(1000 * STEP)):
        simulation.fast_forward(Millis(at + round(1000 * STEP)))
        assert simulation.last is not None
        flow = simulation.last.flow
        rows.append((flow.cpu, flow.answers.errors[entries], flow.answers.latency, flow.replicas))
    cpu, errors, latency, replicas = (np.array(column) for column in zip(*rows, strict=True))
    return Day(simulation=simulation, cpu=cpu, errors=errors, latency=latency, replicas=replicas)


@pytest.fixture(scope="module", params=WORLDS, ids=lambda name: Path(name).stem)
def day(request: pytest.FixtureRequest) -> Day:
    return live(world(request.param, services=60, seed=1))


def test_nobody_is_overloaded_at_the_daily_peak(day: Day) -> None:
    per_hour = round(HOUR / 1000 / STEP)
    hours = day.cpu.reshape(24, per_hour, -1).mean(1)
    assert hours.max() < 0.7
    # And it is a peak: the evening is busier than the night, wherever nothing scales.
    fixed = ~day.simulation.physics.autoscaled & (day.simulation.physics.demand > 5)
    assert (hours[19, fixed] > 1.3 * hours[5, fixed]).all()


def test_users_see_next_to_no_errors(day: Day) -> None:
    assert day.errors.max() < 0.01


def test_users_wait_about_as_long_as_ever(day: Day) -> None:
    """In the busiest minute of the day less than twice as long as usual."""
    entries = [day.simulation.physics.index[name] for name in day.simulation.world.entries]
    waits = day.latency[:, entries]
    assert (waits.max(0) < 2 * np.median(waits, axis=0)).all()


def test_autoscalers_follow_the_day_without_flapping(day: Day) -> None:
    """A few changes a day, with the load; never more than four within an hour."""
    physics = day.simulation.physics
    changed = np.diff(day.replicas, axis=0) != 0
    assert not changed[:, ~physics.autoscaled].any()
    window = np.ones(round(HOUR / 1000 / STEP))
    for place in np.flatnonzero(physics.autoscaled):
        name = physics.services[place].id
        assert changed[:, place].sum() <= 12, name
        assert np.convolve(changed[:, place], window).max() <= 4, name


def test_something_scales_where_there_is_an_autoscaler(day: Day) -> None:
    scaled = day.simulation.physics.autoscaled
    if not scaled.any():
        pytest.skip("nothing to scale in this world")
    assert (np.ptp(day.replicas[:, scaled], axis=0) > 0).mean() >= 0.5
