"""The simulation itself: one tick after the other, on virtual time, with the truth kept aside.

Deterministic: the same world, seed, step, start, injections and actions give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np

from dos.kit.clock import DAY, SECOND, Millis
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.graph import EdgeEvidence, EdgeKind
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array, SampleFrame, SeriesSpec
from dos.simulate.actions import Action, Performed
from dos.simulate.faults import Fault, FaultRun, FaultState, FaultType
from dos.simulate.flow import Effects, Flow, State
from dos.simulate.kinds import KINDS, effects_of
from dos.simulate.metrics import Measured, Meter
from dos.simulate.noise import Noise
from dos.simulate.operations import Operations, pain_of, restart
from dos.simulate.propagation import Physics
from dos.simulate.replicas import ReplicaMeter
from dos.simulate.scenario import Incidents, check_target
from dos.simulate.workload import Weather, Workload
from dos.simulate.world import World

SOURCE = "simulator"
"""What the evidence for entities and edges is signed with."""
WATCHED_SECONDS = 180.0
"""For so long a world without an action goes on beside the one with it."""


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
    causes: tuple[EntityId, ...] = ()
    """Entities that are right to name as its cause."""
    harmless: bool = False
    """Whether it only looks like an incident."""
    visible_at: Millis | None = None
    """When the first service was affected; None where none was."""
    mitigated_at: Millis | None = None
    """When its recovery began, by itself or by an action; None while it has not."""


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """One tick in full."""

    flow: Flow
    """What went on."""
    counted: Measured
    """What was counted of it."""
    normals: Float64Array
    """The tick's normal draws."""
    uniforms: Float64Array
    """Its uniform draws."""
    state: State
    """What it left behind: the next tick changes it."""


@dataclass(slots=True)
class _Running:
    """A fault at work, beside the same world without it: the but-for test of causation."""

    run: FaultRun
    place: int
    """In the list of truths."""
    without: State
    flow: Flow | None = None
    """The last tick of that world."""
    affected: dict[EntityId, Millis] = field(default_factory=dict)


@dataclass(slots=True)
class _Watched:
    """An action, beside the same world without it."""

    place: int
    """In the list of what was performed."""
    without: State
    runs: list[FaultRun]
    until: Millis


class Simulation:
    """A world in motion.

    Args:
        world: What there is.
        seed: Of all randomness.
        step_seconds: Length of a tick.
        start: Time before the first tick.
        incidents: Where faults come from by themselves; None for none.
        workload: The pattern of traffic.
        changes_per_day: Harmless changes of the whole system; most are deployments.
        nodes: Whether machines are measured too.
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
        changes_per_day: float = 0.0,
        nodes: bool = True,
    ) -> None:
        self.world = world
        self.step_seconds = step_seconds
        self.physics = Physics(world, step_seconds)
        self._now = start
        self._step = round(step_seconds * SECOND)
        self._incidents = incidents
        physics = self.physics
        names = [*(one.id for one in physics.services), *(node.id for node in physics.nodes)]
        self._noise = Noise(names, seed)
        self._weather = Weather(workload or Workload(), physics.entries, step_seconds)
        self._meter = Meter(physics, nodes=nodes)
        self._series = self._meter.series
        self._replicas: ReplicaMeter | None = None
        self._seed = seed
        self._show_nodes = nodes
        self._state = physics.initial_state()
        self._calm = physics.no_effects()
        self._running: list[_Running] = []
        self._truths: list[Truth] = []
        self._watched: list[_Watched] = []
        self._performed: list[Performed] = []
        self.operations = Operations(world, seed, changes_per_day * step_seconds * SECOND / DAY)
        """Versions, flags, and the changes people make."""
        self.last: Played | None = None
        """The last tick in full; None before the first."""

    @property
    def now(self) -> Millis:
        """Time of the last tick."""
        return self._now

    @property
    def series(self) -> tuple[SeriesSpec, ...]:
        """The table of every frame."""
        return self._series

    @property
    def truths(self) -> tuple[Truth, ...]:
        """Every fault so far, oldest first."""
        return tuple(self._truths)

    @property
    def running(self) -> tuple[FaultRun, ...]:
        """The faults at work."""
        return tuple(one.run for one in self._running)

    def without(self, fault: str) -> Flow | None:
        """The last tick as it would have been without the running fault of that id.

        None for one that does not run any more, and before its first tick.
        """
        return next((one.flow for one in self._running if one.run.id == fault), None)

    @property
    def actions(self) -> tuple[Performed, ...]:
        """Every remediation so far, oldest first."""
        return tuple(self._performed)

    @property
    def watched(self) -> int:
        """How many actions are compared with the world without them at present."""
        return len(self._watched)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change of the system so far, oldest first."""
        return tuple(self.operations.changes)

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The services, and the nodes where they are measured, of the dependency graph."""
        services = tuple(service.entity() for service in self.physics.services)
        nodes = self.physics.nodes if self._show_nodes else ()
        return services + tuple(node.entity() for node in nodes)

    def edges(self) -> tuple[EdgeEvidence, ...]:
        """The calls, and what runs where, as evidence seen now."""
        calls = [(call.caller, call.callee, call.kind) for call in self.physics.calls]
        if self._show_nodes:
            drained = {
                node.id
                for node, gone in zip(self.physics.nodes, self._state.drained, strict=True)
                if gone
            }
            calls += [
                (service, node, EdgeKind.HOST)
                for service, nodes in self.world.placement().items()
                for node in sorted(set(nodes) - drained)
            ]
        return tuple(
            EdgeEvidence(caller=caller, callee=callee, kind=kind, source=SOURCE, seen_at=self._now)
            for caller, callee, kind in calls
        )

    def measure_replicas(self) -> None:
        """From the next tick on measure each replica too, as series of its service with a label."""
        self._replicas = ReplicaMeter(self.physics, self._seed)
        self._series = self._meter.series + self._replicas.series

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
            ConfigError: The world has no such target, or it cannot have such a fault.
        """
        kind = KINDS[fault.type]
        check_target(self.world, fault.type, fault.target)
        place = len(self._truths)
        run = FaultRun(fault, self._now, place)
        self._running.append(_Running(run, place, self._state.copy()))
        self._truths.append(
            Truth(
                id=run.id,
                fault=fault.type,
                target=fault.target,
                severity=fault.severity,
                start=self._now,
                causes=kind.causes(self.world, fault.target),
                harmless=kind.harmless,
                # Nothing but its metric is affected.
                affected=(fault.target,) if fault.type is FaultType.METRIC_CORRUPTION else (),
            )
        )
        for one in self._watched:
            one.runs.append(copy(run))
        if kind.rolls:
            self.operations.deploy(fault.target)
            for state in self._states(without=False):
                restart(self.physics, state, fault.target)
        change = kind.change(run, self.operations.version(fault.target))
        if change is not None:
            self.operations.note(self._now, change[0], fault.target, change[1])
        return run

    def act(self, action: Action) -> Performed:
        """Take a remediation action now; what comes of it is measured from here on.

        Raises:
            ConfigError: The world has no such target, or the action is not for such a target.
        """
        without = self._state.copy()
        runs = [copy(one.run) for one in self._running]
        self.operations.carry_out(action, self.physics, self._states(), self._now)
        cured = self._cure(action, self.running)
        for one in self._watched:
            self._cure(action, one.runs)
        performed = Performed(at=self._now, action=action, cured=cured)
        until = Millis(self._now + round(WATCHED_SECONDS * SECOND))
        self._watched.append(_Watched(len(self._performed), without, runs, until))
        self._performed.append(performed)
        return performed

    def clear(self) -> None:
        """Let every running fault recover from now on."""
        for run in (*self.running, *(run for one in self._watched for run in one.runs)):
            run.clear(self._now)

    def _cure(self, action: Action, runs: Iterable[FaultRun]) -> tuple[str, ...]:
        """Let those of `runs` recover that `action` cures; their ids."""
        cured = []
        for run in runs:
            fault = run.fault
            if fault.target == action.target and action.kind in KINDS[fault.type].cures:
                run.clear(self._now)
                cured.append(run.id)
        return tuple(cured)

    def _states(self, *, without: bool = True) -> list[State]:
        """Of the world, and of each world beside it: what people do, they do in all of them.

        Args:
            without: Whether the world without the newest fault is among them.
        """
        running = self._running if without else self._running[:-1]
        return [
            self._state,
            *(one.without for one in running),
            *(one.without for one in self._watched),
        ]

    def _advance(self) -> Float64Array:
        played = self._play()
        values = self._meter.values(
            played.flow, played.counted, played.normals[5:], played.uniforms[2]
        )
        for one in self._running:
            if one.run.fault.type is FaultType.METRIC_CORRUPTION:
                self._corrupt(one.run, values)
        if self._replicas is not None:
            values = np.concatenate([values, self._replicas.values(played.flow, played.state)])
        return values

    def _corrupt(self, run: FaultRun, values: Float64Array) -> None:
        for garbled in effects_of([run], self.physics, self._now).corrupted:
            values[self._meter.column[garbled.service, garbled.metric]] *= garbled.factor

    def _play(self) -> Played:
        services = len(self.physics.services)
        normals, uniforms = self._noise.tick()
        if self._replicas is not None:
            self._replicas.draw()
        if self._incidents is not None:
            for due in self._incidents.begin(self._now, running=len(self._running)):
                if isinstance(due, Fault):
                    self.inject(due)
                else:
                    self.act(due)
        self.operations.routine(self.physics, self._states(), self._now)
        self._now = Millis(self._now + self._step)
        demand, wander = self._weather.tick(
            self._now, normals[:3, :services], uniforms[:1, :services]
        )
        runs = self.running
        flow = self._step_world(self._state, runs, demand, wander)
        for one in self._running:
            others = [run for run in runs if run is not one.run]
            one.flow = without = self._step_world(one.without, others, demand, wander)
            for place in np.flatnonzero(_differs(flow, without)):
                one.affected.setdefault(self.physics.services[place].id, self._now)
        if self._watched:
            self._compare(flow, demand, wander)
        if self._running:
            self._close()
        counted = self._meter.count(flow, normals[3:5, :services], uniforms[1, :services])
        self.last = Played(flow, counted, normals, uniforms, self._state)
        return self.last

    def _step_world(
        self,
        state: State,
        runs: tuple[FaultRun, ...] | list[FaultRun],
        demand: Float64Array,
        wander: Float64Array,
    ) -> Flow:
        effects: Effects = effects_of(runs, self.physics, self._now) if runs else self._calm
        return self.physics.step(state, demand, wander, effects)

    def _compare(self, flow: Flow, demand: Float64Array, wander: Float64Array) -> None:
        """Count what callers suffer with each action that is watched, and without it."""
        pain = pain_of(self.physics, flow) * self.step_seconds
        for one in self._watched:
            without = self._step_world(one.without, one.runs, demand, wander)
            so_far = self._performed[one.place]
            self._performed[one.place] = replace(
                so_far,
                pain=so_far.pain + pain,
                pain_without=so_far.pain_without
                + pain_of(self.physics, without) * self.step_seconds,
                watched=so_far.watched + self.step_seconds,
            )
        self._watched = [one for one in self._watched if self._now < one.until]

    def _close(self) -> None:
        for one in self._running:
            over = one.run.state(self._now) is FaultState.OVER
            mended = self._now >= one.run.recovers_at
            affected = self._in_order(one.affected)
            so_far = self._truths[one.place]
            self._truths[one.place] = replace(
                so_far,
                end=self._now if over else None,
                affected=affected or so_far.affected,
                visible_at=min(one.affected.values(), default=None),
                mitigated_at=one.run.recovers_at if mended else None,
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
    fuller |= flow.disk > without.disk + 0.1
    starved = flow.arrivals < 0.75 * without.arrivals
    return slower | failing | fuller | starved
