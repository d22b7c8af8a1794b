"""Watch the simulated system: `python simulations/demo_simulation.py`.

A thin door to `dos simulate run` that works from a clone, installed or not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from dos.kit.clock import ScaledClock, SystemClock
from dos.kit.duration import parse_duration
from dos.kit.errors import DosError
from dos.simulate.engine import Simulation
from dos.simulate.narration import tell
from dos.simulate.scenario import Incidents, RandomIncidents, Scenario
from dos.simulate.scenario_file import read_scenario
from dos.simulate.worlds import world


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Watch a simulated system in which things break.")
    parser.add_argument("--world", default="shop", help="shop, sketch or generated")
    parser.add_argument("--seed", type=int, default=0, help="of all randomness")
    parser.add_argument("--speed", type=float, default=1.0, help="cycles a second; 0: no pause")
    parser.add_argument("--duration", type=parse_duration, help="for example 5m; else no end")
    parser.add_argument("--scenario", type=Path, help="YAML file with a timeline of faults")
    return parser.parse_args()


def main() -> int:
    """Play until the duration is over or somebody interrupts."""
    chosen = _arguments()
    start = SystemClock().now()
    try:
        there = world(chosen.world, seed=chosen.seed)
        incidents: Incidents
        if chosen.scenario is not None:
            incidents = Scenario(read_scenario(chosen.scenario), there, start)
        else:
            incidents = RandomIncidents(there, chosen.seed)
    except DosError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    simulation = Simulation(
        there, seed=chosen.seed, step_seconds=1.0, start=start, incidents=incidents
    )
    clock = ScaledClock(start, chosen.speed) if chosen.speed > 0 else None
    sys.stdout.reconfigure(errors="replace", line_buffering=True)  # type: ignore[union-attr]
    try:
        asyncio.run(
            tell(simulation, clock, lambda line: sys.stdout.write(line + "\n"), chosen.duration)
        )
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
