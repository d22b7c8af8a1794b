"""Short runs of the simulator, for its tests."""

from __future__ import annotations

import numpy as np

from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.workload import Workload
from dos.simulate.world import World
from dos.simulate.worlds import world

MONDAY_NOON = Millis(1_795_435_200_000)
"""2026-11-23T12:00:00Z."""


class Run:
    """A simulation and everything it has measured, as `[tick, series]`."""

    def __init__(
        self, there: World | str = "shop", *, seed: int = 1, step: float = 15.0, **options: Workload
    ) -> None:
        built = world(there) if isinstance(there, str) else there
        self.simulation = Simulation(
            built, seed=seed, step_seconds=step, start=MONDAY_NOON, **options
        )
        self._column = {
            (spec.entity, spec.metric): place for place, spec in enumerate(self.simulation.series)
        }
        self.values: Float64Array = np.empty((0, len(self.simulation.series)))

    def play(self, ticks: int) -> Run:
        frame = self.simulation.ticks(ticks)
        block = frame.value.reshape(ticks, len(self.simulation.series))
        self.values = np.concatenate([self.values, block])
        return self

    def breaks(self, fault: FaultType, target: str, **options: float) -> Run:
        self.simulation.inject(Fault(type=fault, target=EntityId(target), **options))
        return self

    def series(self, entity: str, metric: str) -> Float64Array:
        """`[tick]` values of one series."""
        column: Float64Array = self.values[:, self._column[EntityId(entity), metric]]
        return column

    def of(self, entity: str) -> Float64Array:
        """`[tick, series of the entity]`."""
        places = [place for (name, _), place in self._column.items() if name == entity]
        return self.values[:, places]
