"""Incidents of the simulator as cases with known causes, thousands of them from seeds.

A *voyage* is one world that is played for some hours: first in health, then one incident after
the other, with rest between. Of each incident a case is taken as it would have been built while
it went on: samples up to a moment not long after its first effect, history before, earlier
incidents cut out of it, the graph and the changes as they were known. Settings vary from voyage
to voyage (size, step, length of history, how many changes are made), so that whoever learns from
them does not learn the habits of one system.

Seeds from 10,000 on are held out, as in `dos bench sim`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np

from dos.kit.clock import HOUR, MINUTE, SECOND, Millis
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array, MetricKind
from dos.rca.case import Case
from dos.simulate.engine import Simulation, Truth
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.scenario import draw, eligible
from dos.simulate.world import World
from dos.simulate.worlds import world as world_of

MONDAY = Millis(1_767_571_200_000)
"""2026-01-05T00:00:00Z."""
BASELINE = HOUR
"""History that a case holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoyageOptions:
    """What varies between voyages, as ranges that are drawn from."""

    services: tuple[int, int] = (5, 60)
    """Least and most, of generated worlds; sizes are drawn evenly on a log scale."""
    steps: tuple[float, ...] = (5.0, 10.0, 15.0, 15.0, 30.0, 60.0, 300.0)
    """Seconds between samples."""
    history: tuple[int, int] = (40, 240)
    """Samples before the first incident."""
    incidents: int = 12
    paired: float = 0.12
    """Chance that two faults are at work at once."""
    decoy: float = 0.2
    """Chance that something harmless happens beside a fault."""
    harmless: float = 0.12
    """Chance that an incident is nothing but something harmless."""
    severity: tuple[float, float] = (0.4, 1.0)
    looks: int = 2
    """Cases that are taken of each incident, early and later."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedIncident:
    """A case and what was really wrong."""

    case: Case
    faults: tuple[Truth, ...]
    """Those at work and visible; none where nothing was wrong."""
    voyage: int
    """Seed of the voyage."""
    world: str
    step: float
    """Seconds between samples."""
    age: float
    """Seconds from the first effect to the end of the case."""

    @property
    def causes(self) -> frozenset[EntityId]:
        """Every entity that is right to name."""
        return frozenset(cause for fault in self.faults for cause in fault.causes)

    @property
    def known(self) -> frozenset[EntityId]:
        """Every entity that the case knows. Not everybody watches machines."""
        graph = self.case.graph
        of_graph = () if graph is None else [one.id for one in graph.entities]
        return frozenset([*self.case.entities(), *of_graph])


def voyage(
    seed: int, options: VoyageOptions | None = None, world: str | None = None
) -> Iterator[SimulatedIncident]:
    """Play one voyage.

    Args:
        seed: Of the world, the noise and the incidents.
        options: What may vary.
        world: A named world; by default one is generated.
    """
    options = options or VoyageOptions()
    rng = Random(f"voyage/{seed}/{world}")  # noqa: S311  a simulation
    least, most = options.services
    size = round(least * (most / least) ** rng.random())
    here = world_of(world or "generated", services=size, seed=seed)
    step = rng.choice(options.steps)
    ship = _Ship(here, seed, step, rng)
    ship.sail(rng.randint(*options.history))
    for _ in range(options.incidents):
        yield from _incident(ship, rng, options, seed)


class _Ship:
    """A simulation and the log of what it measured."""

    def __init__(self, world: World, seed: int, step: float, rng: Random) -> None:
        hour = rng.randrange(7 * 24)
        self.world, self.step = world, step
        self.simulation = Simulation(
            world,
            seed=seed,
            step_seconds=step,
            start=Millis(MONDAY + hour * HOUR),
            changes_per_day=rng.choice((0.0, 4.0, 24.0, 96.0)),
            nodes=rng.random() < 0.8,
        )
        self._counter = np.array(
            [one.kind is MetricKind.COUNTER for one in self.simulation.series], np.bool_
        )
        self._times: list[int] = []
        self._rows: list[Float64Array] = []
        self._before: Float64Array | None = None
        self._past: list[tuple[int, int]] = []

    @property
    def now(self) -> Millis:
        return self.simulation.now

    def sail(self, ticks: int) -> None:
        """Play and keep what was measured; counters as increase per second."""
        for _ in range(ticks):
            value = self.simulation.tick().value
            row = value.copy()
            if self._counter.any():
                before = value if self._before is None else self._before
                rise = value - before
                rise = np.where(rise < 0, value, rise)[self._counter]
                row[self._counter] = rise / self.step
                self._before = value
            self._times.append(self.simulation.now)
            self._rows.append(row)

    def forget(self, start: int, end: int) -> None:
        """What was from `start` to `end` is not normal."""
        self._past.append((start, end))

    def case(self, start: Millis, end: Millis) -> Case:
        """What is known at `end` of an incident that is said to have begun at `start`."""
        times = np.array(self._times, np.int64)
        use: BoolArray = (times > start - BASELINE) & (times <= end)
        for began, over in self._past:
            use &= (times <= began) | (times > over)
        chosen = np.flatnonzero(use)
        simulation = self.simulation
        edges = tuple(
            Edge(caller=one.caller, callee=one.callee, kind=one.kind, sources=(one.source,))
            for one in sorted(simulation.edges(), key=lambda one: (one.caller, one.callee))
        )
        entities = tuple(sorted(simulation.entities, key=lambda one: one.id))
        return Case(
            times=times[chosen],
            values=np.array([self._rows[place] for place in chosen]),
            series=simulation.series,
            graph=GraphSnapshot(version=1, at=end, entities=entities, edges=edges),
            start=start,
            end=end,
            changes=tuple(one for one in simulation.changes if one.at <= end),
        )


def _incident(
    ship: _Ship, rng: Random, options: VoyageOptions, seed: int
) -> Iterator[SimulatedIncident]:
    simulation, step = ship.simulation, ship.step
    first_truth, began = len(simulation.truths), ship.now
    planned = _plan(ship.world, rng, options, step)
    ends = max(at + fault.duration for at, fault in planned)
    waiting = sorted(planned, key=lambda one: one[0])
    looks = sorted(_ages(rng, options.looks, step, ends))
    while (ship.now - began) / SECOND < ends:
        while waiting and began + waiting[0][0] * SECOND <= ship.now:
            simulation.inject(waiting.pop(0)[1])
        ship.sail(1)
        truths = simulation.truths[first_truth:]
        seen = _first_effect(truths)
        while looks and seen is not None and ship.now - seen >= looks[0] * SECOND:
            age = looks.pop(0)
            if not waiting:
                yield _looked_at(ship, rng, truths, began=began, seen=seen, seed=seed, age=age)
    simulation.clear()
    # Until queues are drained and caches are warm again.
    rest = max(round(rng.uniform(180.0, 420.0) / step), 8)
    ship.sail(rest)
    while simulation.running:
        ship.sail(1)
    ship.forget(began, simulation.now - rest * round(step * SECOND) // 2)


def _plan(
    world: World, rng: Random, options: VoyageOptions, step: float
) -> list[tuple[float, Fault]]:
    """What breaks, and how many seconds from now."""
    kinds = [kind for kind in FaultType if eligible(world, kind)]
    harmful = [kind for kind in kinds if not KINDS[kind].harmless]
    harmless = [kind for kind in kinds if KINDS[kind].harmless]
    # Coarse samples see long incidents only.
    length = (max(90.0, 8 * step), max(300.0, 20 * step))

    def some(kind: FaultType, other_than: EntityId | None = None) -> Fault:
        targets = [one for one in eligible(world, kind) if one != other_than]
        target = rng.choice(targets or eligible(world, kind))
        return draw(rng, kind, target, severity=options.severity, duration=length)

    if harmless and rng.random() < options.harmless:
        return [(0.0, some(rng.choice(harmless)))]
    first = some(rng.choice(harmful))
    planned = [(0.0, first)]
    if rng.random() < options.paired:
        second = some(rng.choice(harmful), first.target)
        planned.append((rng.uniform(0.0, 0.3) * first.duration, second))
    if harmless and rng.random() < options.decoy:
        planned.append((0.0, some(rng.choice(harmless), first.target)))
    return planned


def _ages(rng: Random, count: int, step: float, ends: float) -> list[float]:
    """Seconds after the first effect at which somebody looks, evenly on a log scale."""
    least, most = 2.0 * step, max(3.0 * step, ends - 2 * step)
    return [least * (most / least) ** rng.random() for _ in range(count)]


def _first_effect(truths: tuple[Truth, ...]) -> Millis | None:
    """When anything could first be noticed; of what is harmless, when it began."""
    harmful = [one for one in truths if not one.harmless]
    if not harmful:
        return truths[0].start if truths else None
    seen = [_visible(one) for one in harmful]
    return min((at for at in seen if at is not None), default=None)


def _visible(truth: Truth) -> Millis | None:
    if truth.fault is FaultType.METRIC_CORRUPTION:
        return truth.start
    return truth.visible_at


def _looked_at(
    ship: _Ship,
    rng: Random,
    truths: tuple[Truth, ...],
    *,
    began: Millis,
    seen: Millis,
    seed: int,
    age: float,
) -> SimulatedIncident:
    """The case now; when it began is known as well as detection knows it."""
    dice = rng.random()
    told = seen + rng.uniform(-1.0, 2.0) * ship.step * SECOND
    if dice < 0.15:
        told = began
    elif dice > 0.75:
        told = seen + rng.uniform(0.0, 1.5) * MINUTE
    start = Millis(min(round(told), ship.now))
    visible = tuple(one for one in truths if not one.harmless and _visible(one) is not None)
    return SimulatedIncident(
        case=ship.case(start, ship.now),
        faults=visible,
        voyage=seed,
        world=ship.world.name,
        step=ship.step,
        age=age,
    )
