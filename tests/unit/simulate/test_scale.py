"""The simulator's cost grows with the size of the world and with nothing else."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.scenario import Dice, RandomIncidents, eligible
from dos.simulate.worlds import generate
from tests.unit.simulate.runs import MONDAY_NOON

SMALL, LARGE = 300, 3000


def cost(services: int, ticks: int) -> float:
    """Processor seconds of one tick, the best of three rounds."""
    simulation = Simulation(generate(services, seed=1), start=MONDAY_NOON)
    simulation.ticks(4)
    rounds = []
    for _ in range(3):
        began = time.process_time()
        simulation.ticks(ticks)
        rounds.append((time.process_time() - began) / ticks)
    return min(rounds)


@pytest.mark.serial
def test_ten_times_the_services_cost_at_most_ten_times_as_much() -> None:
    assert cost(LARGE, 10) < 10 * cost(SMALL, 40)


def test_memory_does_not_grow_with_time() -> None:
    world = generate(30, seed=1)
    incidents = RandomIncidents(world, 1, dice=Dice(chance=0.05))
    warm = Simulation(world, seed=1, start=MONDAY_NOON, changes_per_day=500.0)
    for kind in FaultType:  # every module is loaded, whatever they need
        for target in eligible(world, kind)[:1]:
            warm.inject(Fault(type=kind, target=target))
    warm.ticks(30)
    tracemalloc.start()
    simulation = Simulation(
        world, seed=1, start=MONDAY_NOON, incidents=incidents, changes_per_day=500.0
    )
    held = []
    for _ in range(2):
        # Longer than a block of noise, of which one is kept.
        for _ in range(53):
            simulation.ticks(10)
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(simulation.truths) > 5
    # What stays is the truth about each fault and the list of changes.
    assert held[1] - held[0] < 0.1 * held[0]
