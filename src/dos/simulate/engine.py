"""The simulation itself: one tick after the other, on virtual time, with the truth kept aside.

Deterministic: the same world, seed, step, start and injections give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from dos.kit.clock import SECOND, Millis
from dos.model.entity import Entity
from dos.model.graph import EdgeEvidence
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array, SampleFrame, SeriesSpec
from dos.simulate.faults import Fault, FaultRun, FaultState, FaultType, effects_of
from dos.simulate.flow import Effects, Flow, State
from dos.simulate.metrics import Measured, Meter
from dos.simulate.noise import Noise
from dos.simulate.propagation import Physics
from dos.simulate.scenario import Incidents
from dos.simulate.workload import Weather, Workload
from dos.simulate.world import World

SOURCE = "simulator"
"""What the evidence for entities and edges is signed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What really happened."""

    id: str
    fault: FaultType
    target: EntityId
    severity: float
    start: Millis
    end: Millis | None = None
    """When nothing of the fault was left; None while it runs."""
    affected: tuple[EntityId, ...] = ()
    """Services that would have looked different without the fault, first affected first."""


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """One tick in full."""

    flow: Flow
    """What went on."""
    counted: Measured
    """What was counted of it."""
    normals: Float64Array
    """The tick's normal draws."""


@dataclass(slots=True)
class _Running:
    """A fault at work, beside the same world without it: the but-for test of causation."""

    run: FaultRun
    without: State
    affected: dict[EntityId, Millis] = field(default_factory=dict)


class Simulation:
    """A world in motion.

    Args:
        world: What there is.
        seed: Of all randomness.
        step_seconds: Length of a tick.
        start: Time before the first tick.
        incidents: Where faults come from by themselves; None for none.
        workload: The pattern of traffic.
    """

    def __init__(
        self,
        world: World,
        *,
        seed: int = 0,
        step_seconds: float = 15.0,
        start: Millis = Millis(0),
        incidents: Incidents | None = None,
        workload: Workload | None = None,
    ) -> None:
        self.world = world
        self.step_seconds = step_seconds
        self.physics = Physics(world, step_seconds)
        self._now = start
        self._step = round(step_seconds * SECOND)
        self._incidents = incidents
        self._noise = Noise([service.id for service in self.physics.services], seed)
        self._weather = Weather(workload or Workload(), self.physics.entries, step_seconds)
        self._meter = Meter(self.physics)
        self._state = self.physics.initial_state()
        self._calm = Effects.none(len(self.physics.services))
        self._running: list[_Running] = []
        self._truths: list[Truth] = []
        self.last: Played | None = None
        """The last tick in full; None before the first."""

    @property
    def now(self) -> Millis:
        """Time of the last tick."""
        return self._now

    @property
    def series(self) -> tuple[SeriesSpec, ...]:
        """The table of every frame."""
        return self._meter.series

    @property
    def truths(self) -> tuple[Truth, ...]:
        """Every fault so far, oldest first."""
        return tuple(self._truths)

    @property
    def running(self) -> tuple[FaultRun, ...]:
        """The faults at work."""
        return tuple(one.run for one in self._running)

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The services as nodes of the dependency graph."""
        return tuple(service.entity() for service in self.physics.services)

    def edges(self) -> tuple[EdgeEvidence, ...]:
        """The calls as evidence seen now."""
        return tuple(
            EdgeEvidence(
                caller=call.caller,
                callee=call.callee,
                kind=call.kind,
                source=SOURCE,
                seen_at=self._now,
            )
            for call in self.physics.calls
        )

    def tick(self) -> SampleFrame:
        """Play one step; the samples carry the time of its end."""
        return SampleFrame.at(self.series, self._now + self._step, self._advance())

    def ticks(self, count: int) -> SampleFrame:
        """Play `count` steps and return their samples in one frame, oldest first."""
        first = self._now + self._step
        values = [self._advance() for _ in range(count)]
        width = len(self.series)
        times = first + self._step * np.arange(count, dtype=np.int64)
        return SampleFrame(
            series=self.series,
            index=np.tile(np.arange(width, dtype=np.int32), count),
            timestamp=np.repeat(times, width),
            value=np.concatenate(values) if values else np.empty(0),
        )

    def fast_forward(self, to: Millis) -> None:
        """Play, without measuring, all ticks that end at or before `to`."""
        while self._now + self._step <= to:
            self._play()

    def inject(self, fault: Fault) -> FaultRun:
        """Trigger `fault` now.

        Raises:
            ConfigError: The world has no such target.
        """
        self.world.service(fault.target)
        run = FaultRun(fault, self._now, len(self._truths))
        self._running.append(_Running(run, self._state.copy()))
        self._truths.append(
            Truth(
                id=run.id,
                fault=fault.type,
                target=fault.target,
                severity=fault.severity,
                start=self._now,
            )
        )
        return run

    def clear(self) -> None:
        """Let every running fault recover from now on."""
        for one in self._running:
            one.run.clear(self._now)

    def _advance(self) -> Float64Array:
        played = self._play()
        return self._meter.values(played.flow, played.counted, played.normals[5:])

    def _play(self) -> Played:
        normals, uniforms = self._noise.tick()
        if self._incidents is not None:
            for fault in self._incidents.begin(self._now, idle=not self._running):
                self.inject(fault)
        self._now = Millis(self._now + self._step)
        demand, wander = self._weather.tick(self._now, normals[:3], uniforms[:1])
        runs = self.running
        effects = effects_of(runs, self.physics, self._now) if runs else self._calm
        flow = self.physics.step(self._state, demand, wander, effects)
        for one in self._running:
            others = [run for run in runs if run is not one.run]
            effects = effects_of(others, self.physics, self._now) if others else self._calm
            without = self.physics.step(one.without, demand, wander, effects)
            for place in np.flatnonzero(_differs(flow, without)):
                one.affected.setdefault(self.physics.services[place].id, self._now)
        if self._running:
            self._close()
        self.last = Played(flow, self._meter.count(flow, normals[3:5], uniforms[1]), normals)
        return self.last

    def _close(self) -> None:
        for one in self._running:
            over = one.run.state(self._now) is FaultState.OVER
            place = next(i for i, truth in enumerate(self._truths) if truth.id == one.run.id)
            self._truths[place] = replace(
                self._truths[place],
                end=self._now if over else None,
                affected=self._in_order(one.affected),
            )
        self._running = [
            one for one in self._running if one.run.state(self._now) is not FaultState.OVER
        ]

    def _in_order(self, affected: dict[EntityId, Millis]) -> tuple[EntityId, ...]:
        """First affected first; of those affected in the same tick, the deepest first."""
        level = self.world.level
        return tuple(sorted(affected, key=lambda name: (affected[name], -level(name), name)))


def _differs(flow: Flow, without: Flow) -> BoolArray:
    """`[service]` whether users or operators would notice what the fault does."""
    slower = flow.answers.latency > 1.25 * without.answers.latency
    failing = flow.answers.errors > without.answers.errors + 0.01
    fuller = (flow.cpu > without.cpu + 0.1) | (flow.memory > without.memory + 0.1)
    starved = flow.arrivals < 0.75 * without.arrivals
    return slower | failing | fuller | starved
