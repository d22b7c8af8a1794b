"""Detection beside its peers: on labelled series, on the development set, and in speed.

    python benchmarks/detect_peers.py SERIES… [--develop] [--cache DIR] [--only NAME…] [--speed]

SERIES are folders of labelled series (`Data,Label`, CSV or .csv.gz). River is measured too where it
is installed (`pip install river`); everything else comes with DOS. Prints Markdown. The same as
`dos bench detect`, with River, and with the speed of each on one core: the product with many series
side by side, one tick of all of them per call, the peers with one series after the other, as their
interfaces want it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np

from dos.evaluate.bench.tables import TextTable
from dos.evaluate.series.candidates import PEERS, build, known, side_by_side
from dos.evaluate.series.develop import DevelopOptions, development_set
from dos.evaluate.series.families import daily
from dos.evaluate.series.files import discover, published, read_all
from dos.evaluate.series.run import DetectOptions, run_detect
from dos.evaluate.series.scorer import Given
from dos.evaluate.series.tables import summary, tables
from dos.kit.errors import DosError

FLEET = 10_000
"""Series side by side of the product in the measurement of speed."""
TICKS = 100
"""Samples of each, half of them history."""
ALONE = 5_000
"""Samples of the one series of a peer."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", type=Path, nargs="*")
    parser.add_argument("--develop", action="store_true", help="the development set instead")
    parser.add_argument("--cache", type=Path, help="keeps development sets")
    parser.add_argument("--only", nargs="+", choices=known(), metavar="NAME")
    parser.add_argument("--speed", action="store_true", help="speed only")
    options = parser.parse_args()
    names = options.only or [name for name in known() if wanted(name)]
    try:
        if not options.speed:
            accuracy(options.series, names, options.cache, develop=options.develop)
        print(markdown(speed(names)))
    except DosError as error:
        parser.exit(1, f"error: {error}\n")


def wanted(name: str) -> bool:
    """What is measured unless said otherwise: `dos`, and every peer that is there."""
    if name in PEERS:
        return PEERS[name].installed or importlib.util.find_spec("river") is not None
    return name == "dos"


def accuracy(folders: list[Path], names: list[str], cache: Path | None, *, develop: bool) -> None:
    """Print what `dos bench detect` prints."""
    paths = discover(folders) if folders else []
    series = read_all(paths)
    source = ", ".join(dict.fromkeys(path.parent.name for path in paths))
    if develop:
        series = development_set(DevelopOptions(), series, cache)
        source, paths = "the development set", []
    if not series:
        print("No labelled series given: accuracy skipped.\n", file=sys.stderr)
        return
    options = DetectOptions(detectors=tuple(names), jobs=os.cpu_count() or 1)
    card = run_detect(series, options, source, published(paths))
    print(summary(card).replace("\n", "\n\n") + "\n")
    for table in tables(card, details=True):
        print(markdown(table))


def speed(names: list[str]) -> TextTable:
    """Points per CPU second of one process, scoring and learning."""
    rows = []
    for name in names:
        count, length = (FLEET, TICKS) if side_by_side(name) else (1, ALONE)
        values = np.stack(
            [daily(np.random.default_rng(one), length, 60.0) for one in range(min(count, 50))]
        )
        fleet = [
            Given(name=str(one), values=values[one % len(values)], prefix=length // 2, step_s=60.0)
            for one in range(count)
        ]
        build(name).score_all(
            [Given(name="x", values=values[0], prefix=20, step_s=60.0)]
        )  # imports
        scorer = build(name)
        began = time.process_time()
        scorer.score_all(fleet)
        seconds = max(time.process_time() - began, 1e-6)
        points = count * length
        rows.append((name, f"{count:,}", f"{length:,}", f"{points / seconds:,.0f}"))
    return TextTable(
        title="Speed on one core",
        note="",
        header=("", "series", "points each", "points/s"),
        rows=tuple(rows),
    )


def markdown(table: TextTable) -> str:
    """A table with its title and note."""
    rule = ["---", *("--:" for _ in table.header[1:])]
    lines = ["| " + " | ".join(row) + " |" for row in (table.header, rule, *table.rows)]
    note = f"\n\n{table.note}" if table.note else ""
    return f"### {table.title}\n\n" + "\n".join(lines) + note + "\n"


if __name__ == "__main__":
    main()
