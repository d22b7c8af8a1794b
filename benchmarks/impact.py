"""How near estimated failed and slowed requests, and the predicted blast radius, come to the truth.

    python benchmarks/impact.py [--incidents 60] [--seed 0]

Plays incidents in simulated worlds (development seeds) and holds what `dos.impact` says from their
metrics alone against what the simulator knows: which requests failed that would not have failed in
the same world without the fault. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from dos.impact.base import ImpactConfig
from dos.impact.requests import entry_impact
from dos.impact.signals import Telemetry
from dos.impact.slowness import share_above
from dos.kit.clock import HOUR, SECOND, Millis
from dos.model.ids import EntityId
from dos.model.impact import Estimate
from dos.model.telemetry import Float64Array
from dos.simulate.engine import Simulation
from dos.simulate.faults import FaultType
from dos.simulate.flow import Flow
from dos.simulate.kinds import KINDS
from dos.simulate.queueing import normal_cdf
from dos.simulate.scenario import draw, eligible
from dos.simulate.worlds import world as world_of

MONDAY = Millis(1_767_571_200_000)
"""2026-01-05T00:00:00Z."""
FAINT = 20.0
"""Requests below which a relative error says nothing."""


@dataclass(slots=True)
class Tally:
    """What really happened at one entry point, from the first effect on."""

    failed: float = 0.0
    slowed: float = 0.0
    requests: float = 0.0
    slow_parts: list[tuple[float, float, float, float]] = field(default_factory=list)
    """Of each tick: requests answered, then μ and σ of ln(latency), then the share without."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An estimate beside the truth."""

    kind: str
    what: str
    truth: float
    estimate: Estimate | None
    requests: float


def outcomes(seed: int) -> Iterator[Outcome]:
    """One world, its incidents one after the other."""
    rng = Random(f"impact/{seed}")  # noqa: S311  a simulation
    world = world_of("generated", services=rng.randint(6, 40), seed=seed)
    step = rng.choice((5.0, 15.0, 15.0, 30.0, 60.0))
    simulation = Simulation(
        world,
        seed=seed,
        step_seconds=step,
        start=Millis(MONDAY + rng.randrange(168) * HOUR),
        changes_per_day=rng.choice((0.0, 24.0)),
        nodes=False,
    )
    times: list[int] = []
    rows: list[Float64Array] = []

    def play() -> None:
        rows.append(simulation.tick().value)
        times.append(simulation.now)

    for _ in range(round(3_600 / step)):
        play()
    kinds = [one for one in FaultType if eligible(world, one) and not KINDS[one].harmless]
    for _ in range(2):
        began = simulation.now
        kind = rng.choice(kinds)
        fault = draw(
            rng, kind, rng.choice(eligible(world, kind)), severity=(0.3, 1.0),
            duration=(max(120.0, 8 * step), max(900.0, 20 * step)),
        )  # fmt: skip
        run = simulation.inject(fault)
        truth: dict[int, Tally] = {}
        flows: list[tuple[Flow, Flow]] = []
        stops = simulation.now + fault.duration * SECOND * rng.uniform(0.3, 1.0)
        while simulation.now < stops:
            play()
            last, without = simulation.last, simulation.without(run.id)
            if last is None or without is None:
                break
            flows.append((last.flow, without))
            entries = np.flatnonzero(simulation.physics.entries > 0)
            for place in entries.tolist():
                tally = truth.setdefault(place, Tally())
                requests = float(last.counted.requests[place])
                tally.requests += requests
                tally.failed += float(last.counted.failed[place])
                tally.failed -= requests * float(without.answers.errors[place])
        visible = simulation.truths[-1].visible_at
        if visible is not None:
            told = Millis(round(visible + rng.uniform(-1.0, 2.0) * step * SECOND))
            telemetry = Telemetry(
                times=np.array(times, np.int64),
                values=np.array(rows),
                series=simulation.series,
                start=Millis(min(told, simulation.now)),
                end=simulation.now,
            )
            yield from _held_against(telemetry, simulation, truth, flows, kind)
        simulation.clear()
        while simulation.running:
            play()
        del times[:], rows[:]
        for _ in range(round(3_600 / step)):
            play()
        del began


def _held_against(
    telemetry: Telemetry,
    simulation: Simulation,
    truth: dict[int, Tally],
    flows: Sequence[tuple[Flow, Flow]],
    kind: FaultType,
) -> Iterator[Outcome]:
    for place, tally in truth.items():
        entity = simulation.physics.services[place].id
        found = entry_impact(telemetry, entity, ImpactConfig())
        yield Outcome(kind.value, "failed", max(0.0, tally.failed), found.failed, tally.requests)
        column = [
            spec.entity == entity and spec.metric == "latency_p95" for spec in telemetry.series
        ]
        usual = telemetry.times < telemetry.start - 5 * 60 * SECOND
        if not usual.any():
            continue
        slow = float(np.median(telemetry.values[usual][:, column.index(True)]))
        count = 0.0
        for flow, without in flows:
            answers = flow.arrivals[place] * (1.0 - flow.answers.errors[place])
            more = _share(flow, place, slow) - _share(without, place, slow)
            count += float(answers * more) * simulation.step_seconds
        yield Outcome(kind.value, "slowed", max(0.0, count), found.slowed, tally.requests)


def _share(flow: Flow, place: int, seconds: float) -> float:
    z = (np.log(seconds) - flow.answers.location[place]) / flow.answers.spread[place]
    return float(1.0 - normal_cdf(np.array([z]))[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    found: list[Outcome] = []
    incidents, seed = 0, options.seed
    while incidents < options.incidents:
        for one in outcomes(seed):
            found.append(one)
            if options.v:
                e = one.estimate
                print(
                    seed,
                    one.kind,
                    one.what,
                    f"{one.truth:.0f} of {one.requests:.0f}",
                    e and f"{e.value:.0f} [{e.low:.0f} {e.high:.0f}]",
                    "" if e and e.low - 0.5 <= one.truth <= e.high + 0.5 else "OUT",
                )
        incidents += 2
        seed += 1
    for what in ("failed", "slowed"):
        mine = [one for one in found if one.what == what and one.estimate]
        inside = [
            one for one in mine if one.estimate.low - 0.5 <= one.truth <= one.estimate.high + 0.5
        ]
        felt = [one for one in mine if one.truth >= max(FAINT, 0.01 * one.requests)]
        error = [abs(one.estimate.value - one.truth) / one.truth for one in felt]
        fin = [o for o in felt if o in inside]
        print(
            what,
            len(mine),
            f"covered {len(inside) / max(1, len(mine)):.2f}",
            f"felt {len(felt)} covered {len(fin) / max(1, len(felt)):.2f} median error {np.median(error):.3f}",
            f"90% {np.quantile(error, 0.9):.3f}",
        )


if __name__ == "__main__":
    main()
