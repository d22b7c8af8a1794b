"""Speed and memory of detection on one core, with peers in the same run. Prints Markdown.

    python benchmarks/detection.py [--series N] [--largest N] [--only-detectors]

Times are CPU seconds of this process, the best of several rounds, so that what else runs on the
machine counts as little as it can. River is measured where it is installed (`pip install river`);
its detectors and Netdata's figures are the ones that a fleet would be watched with instead.
The series are a quarter each of latency (judged on a log scale), errors, traffic and saturation,
with noise and no anomalies, at a sample every 15 s.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np

from dos.compute.base import ColumnBatch
from dos.compute.local import LocalHost
from dos.detect.engine import ROOM, DetectConfig, DetectKernel, EngineState
from dos.kit.plugins import names
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import Float64Array, Int32Array, MetricBatch, Role, Series, SeriesSpec

MONDAY = 1_767_571_200_000
STEP = 15_000
KINDS = (
    (Role.LATENCY, "seconds", 0.2),
    (Role.ERRORS, "ratio", 0.01),
    (Role.TRAFFIC, "1/s", 100.0),
    (Role.SATURATION, "ratio", 0.4),
)
EVERYDAY = DetectConfig(beside=(), closely=())


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    points_per_s: float
    note: str = ""


def fleet(count: int) -> list[Series]:
    """Four series of each entity."""
    return [
        Series(
            id=SeriesId(i),
            spec=SeriesSpec(
                entity=EntityId(f"service-{i // 4}"),
                metric=f"metric-{i % 4}",
                role=KINDS[i % 4][0],
                unit=KINDS[i % 4][1],
            ),
        )
        for i in range(count)
    ]


def samples(times: int, count: int, seed: int = 1) -> Float64Array:
    """`[time, series]` healthy values."""
    level = np.array([KINDS[i % 4][2] for i in range(count)])
    noise = np.random.default_rng(seed).standard_normal((times, count)) * 0.05
    values: Float64Array = level * np.exp(noise)
    return values


def best(rounds: int, work: Callable[[], object]) -> float:
    """CPU seconds of the quickest of several rounds."""
    spent = []
    for _ in range(rounds):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return min(spent)


class Ticks:
    """A kernel that is given one sample of every series a call."""

    def __init__(self, config: DetectConfig, count: int) -> None:
        self.kernel = DetectKernel(config)
        self.state: EngineState = self.kernel.grow(self.kernel.create(), fleet(count))
        self.row: Int32Array = np.arange(count, dtype=np.int32)
        self.values = samples(16, count)
        self.now = MONDAY

    def __call__(self) -> None:
        """One tick."""
        self.now += STEP
        value = self.values[self.now // STEP % len(self.values)]
        at = np.full(len(self.row), self.now)
        self.kernel.step(self.state, ColumnBatch(row=self.row, timestamp=at, value=value))


def tick_rows(count: int) -> Iterator[Row]:
    """One tick a call, through the kernel and through the shard host."""
    ticks = Ticks(EVERYDAY, count)
    for _ in range(20):
        ticks()  # compiled, warmed up
    spent = best(60, ticks)
    mean = best(1, lambda: [ticks() for _ in range(240)]) / 240  # with the turns of the half hours
    yield Row(
        f"DOS, one tick of {count:,} series a call",
        count / spent,
        f"{1e3 * spent:.1f} ms a tick; {count / mean / 1e6:.0f}M/s over an hour of ticks",
    )
    host: LocalHost[EngineState] = LocalHost(DetectKernel(EVERYDAY))
    host.register(fleet(count))
    ids, now = np.arange(count, dtype=np.int32), MONDAY

    def deliver() -> None:
        nonlocal now
        now += STEP
        value = ticks.values[now // STEP % len(ticks.values)]
        host.step(MetricBatch(series_id=ids, timestamp=np.full(count, now), value=value))

    for _ in range(20):
        deliver()
    spent = best(60, deliver)
    yield Row("the same through the shard host", count / spent, f"{1e3 * spent:.1f} ms a tick")


def block_row(count: int, times: int, *, step: int, history: bool, role: int | None = None) -> Row:
    """Hours of many series in one call."""
    kernel = DetectKernel(EVERYDAY)
    series = fleet(4 * count)[role::4] if role is not None else fleet(count)
    values = samples(times, 4 * count)[:, role::4] if role is not None else samples(times, count)
    values = np.ascontiguousarray(values)
    at, row = MONDAY + step * np.arange(times), np.arange(count, dtype=np.int32)
    series = [Series(id=SeriesId(i), spec=one.spec) for i, one in enumerate(series)]

    fresh = [kernel.grow(kernel.create(), series) for _ in range(3)]  # series are registered once

    def work() -> None:
        kernel.step_block(fresh.pop(), row, at, values, history=history)

    spent = best(len(fresh), work)
    kind = "a quarter on a log scale" if role is None else "linear scale"
    what = f"DOS, block of {times:,} times of {count:,} series, {step / 1e3:.0f} s apart"
    return Row(what, count * times / spent, f"{'history' if history else 'decided'}; {kind}")


def plain_row(count: int) -> Row:
    """What the least thing that could be called detection costs in NumPy."""
    mean, spread = samples(1, count)[0], np.full(count, 0.1)
    values, at = samples(16, count), 0

    def work() -> None:
        nonlocal at, mean, spread
        at += 1
        value = values[at % 16]
        z = (value - mean) / spread
        if (np.abs(z) > 1e9).any():
            raise AssertionError
        mean += 0.01 * (value - mean)
        spread += 0.01 * (np.abs(value - mean) - spread)

    return Row("plain EWMA z-score in NumPy, a tick a call", count / best(60, work))


def river_rows() -> Iterator[Row]:
    """River, one series and one value a call, as its interface wants it."""
    if importlib.util.find_spec("river") is None:
        print("River is not installed: left out.\n", file=sys.stderr)
        return
    from river import anomaly

    values = samples(1, 40_000)[0].tolist()
    scorer = anomaly.GaussianScorer()

    def gaussian() -> None:
        for value in values:
            scorer.score_one(None, value)
            scorer.learn_one(None, value)

    trees = anomaly.HalfSpaceTrees(seed=1)

    def half_space() -> None:
        for value in values[:4_000]:
            point = {"x": value % 1.0}
            trees.score_one(point)
            trees.learn_one(point)

    yield Row("River, GaussianScorer", len(values) / best(3, gaussian))
    yield Row("River, HalfSpaceTrees", 4_000 / best(2, half_space))


def curve(largest: int) -> str:
    """Cost of a tick by the number of series."""
    count, lines = 1_000, []
    while count <= largest:
        ticks = Ticks(EVERYDAY, count)
        for _ in range(5):
            ticks()
        spent = best(10, ticks)
        size = ticks.state.nbytes / count
        lines.append(
            (f"{count:,}", f"{1e3 * spent:.2f}", f"{1e9 * spent / count:.0f}", f"{size:.0f}",
             f"{100 * spent / (STEP / 1e3):.2f} %")
        )  # fmt: skip
        count *= 10
    head = ("series", "ms a tick", "ns a series", "bytes a series", "of a core, every 15 s")
    return markdown(head, lines, "Cost curve")


def detectors(count: int) -> str:
    """Each detector alone, as the only one."""
    lines = []
    for name in names(ROOM):
        ticks = Ticks(DetectConfig(detector=name, beside=(), closely=()), count)
        for _ in range(4):
            ticks()
        spent = best(6, ticks)
        lines.append(
            (name, f"{count / spent / 1e6:.2f}M", f"{1e6 * spent / count:.2f}",
             f"{ticks.state.members[0].own.nbytes / count:,.0f}")
        )  # fmt: skip
    head = ("detector", "points/s", "µs a point", "bytes a series")
    return markdown(head, lines, f"Detectors alone, {count:,} series a call")


def compile_table() -> str:
    """What compiling costs: with nothing kept, and with what was kept the first time."""
    code = (
        "import sys,time; sys.path.insert(0,'src'); sys.path.insert(0,'.'); b=time.process_time();"
        "from benchmarks.detection import *;"
        "import_s=time.process_time()-b; t=Ticks(EVERYDAY,100); t();"
        "print(import_s, time.process_time()-b)"
    )
    with tempfile.TemporaryDirectory() as kept:
        lines = []
        for what in ("nothing kept", "kept code"):
            done = subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, text=True,
                env={**os.environ, "NUMBA_CACHE_DIR": kept},
                cwd=Path(__file__).resolve().parents[1],
            )  # fmt: skip
            imported, all_in_all = map(float, done.stdout.split())
            lines.append((what, f"{imported:.1f}", f"{all_in_all - imported:.1f}"))
    head = ("", "imports, s", "first tick, s")
    return markdown(head, lines, "Start, CPU seconds")


def table(rows: list[Row]) -> str:
    """Rates, and how they compare with River's quickest."""
    river = next((one.points_per_s for one in rows if "Gaussian" in one.what), math.nan)
    lines = [
        (
            one.what,
            _millions(one.points_per_s),
            "" if math.isnan(river) else f"{one.points_per_s / river:,.1f}",
            one.note,
        )
        for one in rows
    ]
    head = ("what", "points/s", "against River's GaussianScorer", "")
    return markdown(head, lines, "Points per second of one core")


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]], title: str) -> str:
    """A table with its title."""
    rule = ["---", *("--:" for _ in head[1:])]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
    return f"**{title}**\n\n{rows}\n"


def _millions(rate: float) -> str:
    return f"{rate / 1e6:.1f}M" if rate >= 1e6 else f"{rate / 1e3:.0f}k"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--only-detectors", action="store_true")
    options = parser.parse_args()
    if not options.only_detectors:
        rows = [
            *tick_rows(options.series),
            block_row(2_048, 2_880, step=STEP, history=True),
            block_row(2_048, 2_880, step=STEP, history=True, role=2),
            block_row(2_048, 2_880, step=5_000, history=True, role=2),
            block_row(2_048, 2_880, step=STEP, history=False),
            plain_row(options.series),
            *river_rows(),
        ]
        for one in (table(rows), curve(options.largest), compile_table()):
            print(one)
    print(detectors(2_048))


if __name__ == "__main__":
    main()
