"""How near the estimates of impact come to the truth, which the simulator knows.

    python benchmarks/impact.py requests [--incidents 60] [--seed 0]
    python benchmarks/impact.py followers [--incidents 80] [--seed 50]

`requests` holds failed and slowed requests, estimated from the metrics of the entry points alone,
against those that really failed, or were slow, and would not have been in the same world without
the fault. `followers` holds the predicted spread, from anomalies as detection finds them, against
who showed symptoms later, and those said to be merely asked for less against what was wrong with
them. Both play generated worlds of the development seeds (0 to 99) and print Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from dos.app.settings import Settings
from dos.compute.local import LocalHost
from dos.detect.engine import DetectKernel
from dos.impact.base import ImpactConfig
from dos.impact.radius import asked_less, risks
from dos.impact.requests import GUARD, entry_impact
from dos.impact.severity import is_felt
from dos.impact.signals import Telemetry
from dos.ingest.base import Delivery
from dos.ingest.normalise import Normaliser
from dos.kit.clock import HOUR, MINUTE, SECOND, Millis
from dos.model.anomaly import Anomaly, Direction, anomaly_of
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.impact import Estimate
from dos.model.registry import SeriesRegistry
from dos.model.telemetry import Float64Array, Role
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.flow import Flow
from dos.simulate.kinds import KINDS
from dos.simulate.queueing import normal_cdf
from dos.simulate.scenario import draw, eligible
from dos.simulate.world import World
from dos.simulate.worlds import world as world_of

MONDAY = Millis(1_767_571_200_000)
"""2026-01-05T00:00:00Z."""
DEVELOPMENT = 100
"""Seeds from here on are not for development."""
HISTORY = 3600.0
"""Seconds of health before each incident."""
HIT = 0.01
"""Share of the requests from which on an incident counts as one that users felt."""


# ------------------------------------------------------------------------------------ requests


@dataclass(frozen=True, slots=True)
class Outcome:
    """An estimate at one entry point beside the truth."""

    what: str
    truth: float
    estimate: Estimate | None
    requests: float

    @property
    def is_covered(self) -> bool:
        """Whether the truth is within the interval, to whole requests."""
        one = self.estimate
        return one is not None and one.low - 0.5 <= self.truth <= one.high + 0.5


@dataclass(frozen=True, slots=True)
class Moment:
    """One tick of an incident: what was counted, and the flow with and without the fault."""

    requests: Float64Array
    failed: Float64Array
    flow: Flow
    without: Flow


def outcomes(seed: int) -> Iterator[tuple[Outcome, ...]]:
    """The incidents of one world, one after the other."""
    rng = Random(f"impact/{seed}")  # noqa: S311  a simulation
    world, simulation = begun(rng, seed, (5.0, 15.0, 15.0, 30.0, 60.0))
    for _ in range(2):
        times: list[int] = []
        rows: list[Float64Array] = []
        play(simulation, round(HISTORY / simulation.step_seconds), times, rows)
        fault = some(rng, world, simulation.step_seconds)
        run = simulation.inject(fault)
        # Somebody looks while it goes on.
        ends = simulation.now + fault.duration * SECOND * rng.uniform(0.3, 1.0)
        moments: list[Moment] = []
        while simulation.now < ends:
            play(simulation, 1, times, rows)
            last, without = simulation.last, simulation.without(run.id)
            if last is None or without is None:
                break
            counted = last.counted
            moments.append(Moment(counted.requests, counted.failed, last.flow, without))
        seen = simulation.truths[-1].visible_at
        if seen is not None:
            # Detection says when it began, up to two samples late.
            told = seen + rng.uniform(-1.0, 2.0) * simulation.step_seconds * SECOND
            telemetry = Telemetry(
                times=np.array(times, np.int64),
                values=np.array(rows),
                series=simulation.series,
                start=Millis(min(round(told), simulation.now)),
                end=simulation.now,
            )
            yield tuple(held_against(telemetry, simulation, moments))
        simulation.clear()
        while simulation.running:
            simulation.tick()


def play(simulation: Simulation, ticks: int, times: list[int], rows: list[Float64Array]) -> None:
    """Play and keep what was measured."""
    for _ in range(ticks):
        rows.append(simulation.tick().value)
        times.append(simulation.now)


def held_against(
    telemetry: Telemetry, simulation: Simulation, moments: Sequence[Moment]
) -> Iterator[Outcome]:
    """What is estimated at each entry point, beside what really was."""
    physics = simulation.physics
    usual = telemetry.times < telemetry.start - GUARD
    for place in np.flatnonzero(physics.entries > 0).tolist():
        entity = physics.services[place].id
        found = entry_impact(telemetry, entity, ImpactConfig())
        requests = sum(float(one.requests[place]) for one in moments)
        failed = sum(
            float(one.failed[place] - one.requests[place] * one.without.answers.errors[place])
            for one in moments
        )
        yield Outcome("failed", max(0.0, failed), found.failed, requests)
        column = next(
            at
            for at, spec in enumerate(telemetry.series)
            if spec.entity == entity and spec.metric == "latency_p95"
        )
        limit = float(np.median(telemetry.values[usual, column]))
        slowed = sum(
            float(one.flow.arrivals[place] * (1.0 - one.flow.answers.errors[place]))
            * (slower(one.flow, place, limit) - slower(one.without, place, limit))
            * simulation.step_seconds
            for one in moments
        )
        yield Outcome("slowed", max(0.0, slowed), found.slowed, requests)


def slower(flow: Flow, place: int, limit: float) -> float:
    """Share of requests that take longer than `limit` seconds."""
    answers = flow.answers
    z = (np.log(limit) - answers.location[place : place + 1]) / answers.spread[place]
    return float(1.0 - normal_cdf(z)[0])


def requests(incidents: int, seed: int) -> str:
    """The table of `requests`."""
    found: list[tuple[Outcome, ...]] = []
    while len(found) < incidents and seed < DEVELOPMENT:
        found += outcomes(seed)
        seed += 1
    found = found[:incidents]
    lines = [
        f"{len(found)} incidents, {sum(map(len, found)) // 2} entry points in them.\n",
        "| requests | within the 90 % interval | felt | of these within | median error | 90 % |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for what in ("failed", "slowed"):
        mine = [one for group in found for one in group if one.what == what]
        felt = [one for one in mine if one.truth >= HIT * one.requests and one.estimate]
        errors = [abs(one.estimate.value - one.truth) / one.truth for one in felt if one.estimate]
        lines.append(
            f"| {what} | {sum(one.is_covered for one in mine)} of {len(mine)} "
            f"| {len(felt)} | {sum(one.is_covered for one in felt)} of {len(felt)} "
            f"| {np.median(errors):.2%} | {np.quantile(errors, 0.9):.1%} |"
        )
    return "\n".join(lines)


# ----------------------------------------------------------------------------------- followers


def followers(incidents: int, seed: int) -> str:
    """The table of `followers`."""
    said: list[tuple[float, bool]] = []
    less: list[bool] = []
    played = 0
    while played < incidents and seed < DEVELOPMENT:
        for graph, looks in watched(seed):
            said += predicted(graph, looks)
            less += asked_for_less(graph, looks)
            played += 1
        seed += 1
    chance, came = np.array([one for one, _ in said]), np.array([one for _, one in said])
    score, base = np.mean((chance - came) ** 2), came.mean()
    always = f"of one that always says the mean ({base:.1%}) {base * (1 - base):.3f}"
    lines = [
        f"{played} incidents, {len(said)} predictions. Brier score {score:.3f}; {always}.\n",
        "| chance that was said | predictions | said, mean | came |",
        "| --- | --: | --: | --: |",
    ]
    edges = (0.0, 0.05, 0.2, 0.4, 0.6, 1.0)
    for low, high in itertools.pairwise(edges):
        here = (chance >= low) & (chance < high)
        if here.any():
            lines.append(
                f"| {low:.0%} to {high:.0%} | {here.sum()} | {chance[here].mean():.1%} "
                f"| {came[here].mean():.1%} |"
            )
    right = f"rightly in {sum(less)} of {len(less)} cases"
    lines.append(f"\nSaid to be merely asked for less, with the root known: {right}.")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Look:
    """One tick of an incident."""

    now: Millis
    signs: Sequence[Anomaly]
    """What is abnormal since the fault began."""
    root: EntityId
    hurt: frozenset[EntityId]
    """Who really is slower, fails more or is shorter of something than without the fault."""

    @property
    def hurting(self) -> list[Anomaly]:
        """Symptoms: what callers feel, or a resource that is short."""
        return [one for one in self.signs if hurts(one)]


Looks = Sequence[Look]
"""The ticks of an incident."""


def watched(seed: int) -> Iterator[tuple[GraphSnapshot, Looks]]:
    """Incidents of one world as detection sees them."""
    rng = Random(f"radius/{seed}")  # noqa: S311  a simulation
    world, simulation = begun(rng, seed, (5.0, 15.0, 15.0, 30.0), most=30)
    watch = _Watch(simulation)
    for _ in range(200):
        watch.tick()
    calls = [
        Edge(caller=one.caller, callee=one.callee, kind=one.kind)
        for one in sorted(simulation.edges(), key=lambda one: (one.caller, one.callee))
    ]
    entities = sorted(simulation.entities, key=lambda one: one.id)
    graph = GraphSnapshot(version=1, entities=tuple(entities), edges=tuple(calls))
    for _ in range(4):
        fault = some(rng, world, simulation.step_seconds, shortest=180.0, longest=600.0)
        before = set(watch.active)
        run = simulation.inject(fault)
        ends = simulation.now + fault.duration * SECOND
        looks: list[Look] = []
        while simulation.now < ends:
            watch.tick()
            new = [one for series, one in watch.active.items() if series not in before]
            looks.append(Look(simulation.now, new, fault.target, hurt(simulation, run.id)))
        simulation.clear()
        while simulation.running:
            watch.tick()
        for _ in range(round(400 / simulation.step_seconds)):
            watch.tick()
        yield graph, looks


class _Watch:
    """A simulation and the detector of everyday."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._registry = SeriesRegistry()
        self._normaliser = Normaliser(self._registry)
        self._kernel = DetectKernel(Settings().detect)
        self._host = LocalHost(self._kernel)
        self.active: dict[int, Anomaly] = {}

    def tick(self) -> None:
        """Play a step and look at it."""
        simulation, registry = self._simulation, self._registry
        delivery = Delivery(frame=simulation.tick())
        intake = self._normaliser.take(simulation.now, "simulator", delivery)
        self._host.register(intake.series)
        findings = self._host.step(intake.metrics)
        for at in range(len(findings)):
            series = int(findings.series_id[at])
            if not findings.started[at]:
                self.active.pop(series, None)
                continue
            found = anomaly_of(
                findings,
                at,
                registry[series],
                decided_at=simulation.now,
                detectors=self._kernel.detectors,
            )
            known = self.active.get(series, found)
            self.active[series] = replace(found, started_at=known.started_at)


def hurts(anomaly: Anomaly) -> bool:
    """Whether it is a symptom: felt by callers, or a resource that is short."""
    short = anomaly.role is Role.SATURATION and anomaly.direction is Direction.ABOVE
    return short or is_felt(anomaly)


def predicted(graph: GraphSnapshot, looks: Looks) -> Iterator[tuple[float, bool]]:
    """Chances, said every half minute until a minute before the end, and whether it came."""
    ill = [{one.entity for one in look.hurting} for look in looks]
    began = next((at for at, one in enumerate(ill) if one), len(looks))
    last = looks[-1].now
    asked = -HOUR
    for at in range(began, len(looks)):
        now, signs = looks[at].now, looks[at].hurting
        if last - now < MINUTE or now - asked < MINUTE / 2:
            continue
        asked = now
        later = set().union(*ill[at + 1 :])
        for entity, risk in risks(ill[at], graph, signs, now).items():
            yield risk.chance, entity in later


def hurt(simulation: Simulation, run: str) -> frozenset[EntityId]:
    """Services with which something is wrong because of the fault, by the simulator's own marks."""
    last, without = simulation.last, simulation.without(run)
    if last is None or without is None:
        return frozenset()
    flow = last.flow
    wrong = flow.answers.latency > 1.25 * without.answers.latency
    wrong |= flow.answers.errors > without.answers.errors + 0.01
    wrong |= (flow.cpu > without.cpu + 0.1) | (flow.memory > without.memory + 0.1)
    wrong |= flow.disk > without.disk + 0.1
    services = simulation.physics.services
    return frozenset(services[place].id for place in np.flatnonzero(wrong).tolist())


def asked_for_less(graph: GraphSnapshot, looks: Looks) -> Iterator[bool]:
    """Of each entity that is said to be merely asked for less, whether nothing is wrong there."""
    seen: set[EntityId] = set()
    for look in looks:
        abnormal = {one.entity for one in look.signs}
        for entity in asked_less(abnormal, look.root, graph, look.signs):
            if entity not in seen:
                seen.add(entity)
                yield entity not in look.hurt


# -------------------------------------------------------------------------------------- worlds


def begun(
    rng: Random, seed: int, steps: Sequence[float], most: int = 40
) -> tuple[World, Simulation]:
    """A generated world that begins to move."""
    world = world_of("generated", services=rng.randint(6, most), seed=seed)
    simulation = Simulation(
        world,
        seed=seed,
        step_seconds=rng.choice(steps),
        start=Millis(MONDAY + rng.randrange(168) * HOUR),
        nodes=False,
    )
    return world, simulation


def some(
    rng: Random, world: World, step: float, shortest: float = 120.0, longest: float = 900.0
) -> Fault:
    """A harmful fault of any kind that the world can have."""
    kinds = [one for one in FaultType if eligible(world, one) and not KINDS[one].harmless]
    kind = rng.choice(kinds)
    target = rng.choice(eligible(world, kind))
    length = (max(shortest, 8 * step), max(longest, 20 * step))
    return draw(rng, kind, target, severity=(0.3, 1.0), duration=length)


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("requests", "followers"))
    parser.add_argument("--incidents", type=int)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    table, count, seed = (requests, 60, 0) if options.what == "requests" else (followers, 80, 50)
    incidents = count if options.incidents is None else options.incidents
    sys.stdout.write(table(incidents, seed if options.seed is None else options.seed) + "\n")


if __name__ == "__main__":
    main()
