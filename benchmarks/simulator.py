"""How fast the simulator is, and how much memory it takes.

    python benchmarks/simulator.py [--services 500] [--hours 24] [--step 15] [--seed 1]
                                   [--world NAME] [--quiet] [--json]

Plays a generated world with random incidents, up to three at once, and measures every series; the
frames are dropped as a consumer would drop them. Time is processor time of this one process, so
that other work on the machine does not count; NumPy is held to one core.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from dos.kit.clock import HOUR, MINUTE, SECOND, Millis, SystemClock
from dos.simulate.engine import Simulation
from dos.simulate.scenario import Dice, RandomIncidents
from dos.simulate.worlds import world

MONDAY = Millis(1_795_392_000_000)
"""2026-11-23T00:00:00Z."""
CHUNK_SAMPLES = 120_000
"""Samples in one frame, about, as the ingest source delivers its back-fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run cost."""

    services: int
    calls: int
    nodes: int
    series: int
    series_per_service: float
    ticks: int
    samples: int
    build_seconds: float
    """Processor seconds until the first tick: the world, its arrays, the dice."""
    cpu_seconds: float
    """Processor seconds of all ticks."""
    wall_seconds: float
    milliseconds_per_tick: float
    samples_per_second: int
    faults: int
    fault_share: float
    """Ratio of the ticks in which at least one fault was at work."""
    peak_memory_mib: int
    """Of the whole process, the interpreter and its libraries included."""
    memory_before_mib: int
    """Of the process before the first tick."""


def main() -> None:
    """Play once and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="generated")
    parser.add_argument("--services", type=int, default=500)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--step", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true", help="without incidents")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = play(
        options.world,
        services=options.services,
        hours=options.hours,
        step=options.step,
        seed=options.seed,
        incidents=not options.quiet,
    )
    if options.json:
        print(json.dumps(asdict(figures)))
        return
    for name, value in asdict(figures).items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
        print(f"{name.replace('_', ' '):24}{shown:>16}")


def play(
    name: str, *, services: int, hours: float, step: float, seed: int, incidents: bool
) -> Figures:
    """Play `hours` at `step` seconds and say what it cost."""
    clock = SystemClock()
    began = used()
    there = world(name, services=services, seed=seed)
    dice = Dice(chance=0.02, quiet=10 * MINUTE / SECOND, at_once=3)
    simulation = Simulation(
        there,
        seed=seed,
        step_seconds=step,
        start=MONDAY,
        incidents=RandomIncidents(there, seed, dice=dice) if incidents else None,
        changes_per_day=20.0,
    )
    built, before = used(), peak()
    wall = clock.monotonic()
    ticks, samples, busy = round(hours * HOUR / SECOND / step), 0, 0
    chunk = max(1, CHUNK_SAMPLES // len(simulation.series))
    for first in range(0, ticks, chunk):
        count = min(chunk, ticks - first)
        samples += len(simulation.ticks(count))
        busy += count if simulation.running else 0
    spent = used() - built
    return Figures(
        services=len(there.services),
        calls=len(there.calls),
        nodes=len(there.nodes),
        series=len(simulation.series),
        series_per_service=round(len(simulation.series) / len(there.services), 1),
        ticks=ticks,
        samples=samples,
        build_seconds=round(built - began, 2),
        cpu_seconds=round(spent, 2),
        wall_seconds=round(clock.monotonic() - wall, 2),
        milliseconds_per_tick=round(1e3 * spent / ticks, 3),
        samples_per_second=round(samples / spent),
        faults=len(simulation.truths),
        fault_share=round(busy / ticks, 2),
        peak_memory_mib=peak(),
        memory_before_mib=before,
    )


def used() -> float:
    """Processor seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak() -> int:
    """Most MiB of this process resident at once so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
