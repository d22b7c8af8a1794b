"""A simulated day through the whole pipeline, on virtual time.

    python benchmarks/virtual_day.py [--services 50] [--hours 24] [--step 15] [--seed 1] [--quiet]

Prints wall and CPU seconds, samples per second, and how many incidents there were; with
`--quiet` nothing is injected, and every incident is a false one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from dos.evaluate.virtual_day import Day, run_day
from dos.kit.clock import SystemClock


def main() -> None:
    """Run one day and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=50)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--step", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    day = Day(
        services=options.services,
        hours=options.hours,
        step=options.step,
        seed=options.seed,
        incidents=not options.quiet,
    )
    clock = SystemClock()
    began = clock.monotonic()
    result = asyncio.run(run_day(day))
    wall = clock.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "services": day.services,
                "hours": day.hours,
                "samples": result.samples,
                "wall_seconds": round(wall, 2),
                "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
                "samples_per_second": round(result.samples / wall),
                "peak_memory_mib": round(used.ru_maxrss / 1024),
                "faults": result.faults,
                "incidents": result.incidents,
                "digest": result.digest,
            }
        )
    )


if __name__ == "__main__":
    main()
