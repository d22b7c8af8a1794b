"""How alike the healthy metrics of the simulator and of real systems are.

    python benchmarks/realism.py DATA [--seeds 3] [--worlds shop sketch generated] [--details]

DATA holds `rca/<set>/case-*` (layout: docs/recorded-cases.md) and `detect/*/*.csv[.gz]` (labelled
series, `Data,Label`); either may be absent. Each set is compared with worlds that are simulated at
its step and cut to its lengths. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np

from dos.evaluate.healthy import Healthy, labelled, recorded, simulated
from dos.evaluate.realism import Row, Statistic, compare, describe, details, summary
from dos.kit.errors import DosError
from dos.simulate.worlds import world

PIECES = 16
"""Pieces simulated for each world and seed."""
SAMPLES = 6_000
"""Samples simulated for each world and seed, about, at most: four days at a step of a minute."""
GROUPS = (
    (
        "Spread and memory",
        (
            Statistic.LEVEL,
            Statistic.VARIATION,
            Statistic.NOISE,
            Statistic.MINUTE,
            Statistic.DAY,
            Statistic.UNCHANGED,
        ),
    ),
    (
        "Tails",
        (Statistic.KURTOSIS, Statistic.OUTLIERS, Statistic.TAIL, Statistic.QUANTILES),
    ),
    (
        "What moves together",
        (
            Statistic.CPU_LATENCY,
            Statistic.CPU_LATENCY_LAGGED,
            Statistic.TRAFFIC_CPU,
            Statistic.TRAFFIC_LATENCY,
        ),
    ),
)


def real_sets(folder: Path) -> Iterator[list[Healthy]]:
    """The sets of a folder, each in its parts."""
    for path in sorted(path for path in folder.glob("rca/*") if any(path.glob("case-*"))):
        yield [recorded(path)]
    groups: dict[str, list[Healthy]] = {}
    for path in sorted(folder.glob("detect/*/*_tr_*.csv*")):
        series = labelled(path)
        if series is not None:
            groups.setdefault(series.name, []).append(series)
    yield from groups.values()


def rows_of(real: list[Healthy], worlds: list[str], seeds: int) -> list[Row]:
    """One real set beside the worlds simulated like it."""
    lengths = _like([len(piece) for part in real for piece in part.pieces])
    rate = real[0].rate
    figures = {
        name: describe(
            simulated(
                world(name, seed=seed), seed=seed, step_s=real[0].step_s, lengths=lengths, rate=rate
            )
            for seed in range(1, seeds + 1)
        )
        for name in worlds
    }
    return compare(real[0].name, describe(real), figures)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--worlds", nargs="+", default=["shop", "sketch", "generated"])
    parser.add_argument("--details", action="store_true", help="quartiles, and each world")
    options = parser.parse_args()
    rows: list[Row] = []
    try:
        for real in real_sets(options.data):
            print(_about(real), file=sys.stderr)
            rows += rows_of(real, options.worlds, options.seeds)
    except DosError as error:
        parser.exit(1, f"error: {error}\n")
    if not rows:
        parser.exit(0, f"{options.data}: no recorded cases and no labelled series; skipped.\n")
    for title, statistics in GROUPS:
        print(f"### {title}\n\n{summary(rows, statistics)}")
    if options.details:
        print(f"### All figures\n\n{details(rows)}")


def _like(lengths: list[int]) -> list[int]:
    """A few of these lengths that stand for all, as many as `SAMPLES` allows but at least one."""
    places = np.linspace(0, len(lengths) - 1, min(PIECES, len(lengths))).round().astype(int)
    chosen = [sorted(lengths)[place] for place in places]
    most = max(1, int(SAMPLES / float(np.mean(chosen))))
    middle = (len(chosen) - most) // 2 if most < len(chosen) else 0
    return chosen[middle : middle + most]


def _about(real: list[Healthy]) -> str:
    pieces = [len(piece) for part in real for piece in part.pieces]
    rate = real[0].rate
    traffic = f", {rate:.2g} requests/s at the median entity" if rate is not None else ""
    return (
        f"{real[0].name}: {sum(len(part.columns) for part in real)} series, {real[0].step_s:g} s, "
        f"{len(pieces)} pieces of {min(pieces)} to {max(pieces)} samples, "
        f"{sum(pieces)} in all{traffic}"
    )


if __name__ == "__main__":
    main()
