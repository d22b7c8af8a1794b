"""How good forecast alarms are: coverage of the interval, lead time, false alarms, and speed.

    python benchmarks/forecast.py [shapes] [faults] [flights] [speed] [--split dev] [--cases 8]

Without a name all four parts run. Prints Markdown. Seeds from 0 on (`--split dev`) are for
development; figures are published on those from 10000 on, the default.

- *shapes*: made-up resources (`forecast_shapes.py`), as memory and disks, quick and slow.
- *faults*: memory leaks and filling disks of the simulator, from minutes to a day.
- *flights*: the busy hours and the quiet weeks of `dos bench sim`: every alarm that is not about a
  leak or a filling disk is a false one.
- *speed*: CPU time of a sample and a tick, compiled code warm.

*Covered* is the share of forecasts whose interval holds the time at which the limit was really
reached: at the first alarm, and on average over all forecasts while the alarm was on.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from forecast_shapes import FILLING, HARMLESS, Shape

from dos.detect.forecast.forecaster import Forecaster
from dos.evaluate.bench.flight import Flight, FlightKind
from dos.evaluate.bench.timetable import MONDAY, timetable
from dos.kit.clock import HOUR, SECOND, Millis
from dos.model.forecast import Forecast, ForecastState
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import Float64Array, MetricBatch, MetricKind, Series, SeriesSpec
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.scenario import Scenario, eligible
from dos.simulate.worlds import world as world_of

WEEK = 7 * 24 * HOUR
FULL = 0.995


@dataclass(slots=True)
class Watched:
    """What was forecast of one series."""

    told: list[Forecast] = field(default_factory=list)
    """As each alarm began."""
    seen: list[Forecast] = field(default_factory=list)
    """At each look while an alarm was on."""


@dataclass(slots=True)
class Tally:
    """What many series of one sort came to."""

    cases: int = 0
    told: int = 0
    alarms: int = 0
    first: list[bool] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    lead: list[float] = field(default_factory=list)
    """Seconds from the first alarm to the end."""
    error: list[float] = field(default_factory=list)
    """Of the first alarm: |likely - true| as a share of the time left."""

    def add(self, watched: Watched, end: int) -> None:
        """One series that reached its limit at `end`."""
        self.cases += 1
        self.alarms += len(watched.told)
        if not watched.told:
            return
        one = watched.told[0]
        self.told += 1
        self.first.append(covers(one, end))
        self.lead.append((end - one.at) / SECOND)
        if one.exhausted_at is not None and end > one.at:
            self.error.append(abs(one.exhausted_at - end) / (end - one.at))
        later = [covers(each, end) for each in watched.seen if each.at < end]
        if later:
            self.whole.append(float(np.mean(later)))

    def row(self, name: str) -> str:
        """A row of a table."""
        if not self.told:
            return f"| {name} | {self.cases} | 0 | | | | | |"
        return (
            f"| {name} | {self.cases} | {self.told} | {np.mean(self.first):.2f} |"
            f" {np.mean(self.whole):.2f} | {shown(median(self.lead))} |"
            f" {median(self.error):.0%} | {self.alarms / self.cases:.1f} |"
        )


HEAD = """\
| | cases | told before | covered, first | covered, all | lead, median | error, median | alarms |
| --- | --: | --: | --: | --: | --: | --: | --: |"""


def covers(forecast: Forecast, end: int) -> bool:
    """Whether the interval holds `end`."""
    late = forecast.latest
    return forecast.earliest is not None and forecast.earliest <= end and (
        late is None or end <= late
    )  # fmt: skip


def shown(seconds: float) -> str:
    """Minutes, or hours."""
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Watcher:
    """Feeds a forecaster tick by tick and keeps what it says."""

    def __init__(self, specs: Sequence[SeriesSpec]) -> None:
        self.forecaster = Forecaster()
        self.forecaster.register([Series(id=SeriesId(i), spec=s) for i, s in enumerate(specs)])
        self.of: dict[int, Watched] = {}

    def tick(self, now: Millis, ids: Sequence[int], values: Float64Array, look: bool) -> None:
        """One value for each of `ids`."""
        which = np.array(ids, np.int32)
        stamps = np.full(len(which), now, np.int64)
        self.forecaster.take(MetricBatch(series_id=which, timestamp=stamps, value=values))
        for one in self.forecaster.tick(now):
            watched = self.of.setdefault(one.series_id, Watched())
            if one.state is not ForecastState.OVER and one.alarmed_at == now:
                watched.told.append(one)
        if look and self.forecaster.alarms:
            for one in self.forecaster.current(now):
                if one.alarmed_at is not None and one.exhausted_at is not None:
                    self.of.setdefault(one.series_id, Watched()).seen.append(one)


def watch_shapes(
    shapes: Sequence[Shape], *, metric: str, step: float, hours: float, cases: int, seed: int
) -> Iterator[tuple[str, Watched, int | None]]:
    """Each case with the name of its shape and the time at which it ran out."""
    time = np.arange(0.0, hours * 3600.0, step)
    rng = np.random.default_rng(seed)
    made = [(shape.__name__, shape(rng, time)) for shape in shapes for _ in range(cases)]
    specs = [
        SeriesSpec(entity=EntityId(f"e{i}"), metric=metric, unit="ratio") for i in range(len(made))
    ]
    watcher, shares = Watcher(specs), np.stack([share for _, share in made], axis=1)
    over = shares >= 1.0
    ends = np.where(over.any(axis=0), over.argmax(axis=0), len(time))
    for tick in range(len(time)):
        now = Millis(MONDAY + round(time[tick] * SECOND))
        ids = np.flatnonzero(ends > tick)
        watcher.tick(now, ids.tolist(), shares[tick, ids], tick % 5 == 0)
    for place, (name, _) in enumerate(made):
        end = int(ends[place])
        at = None if end == len(time) else MONDAY + round(time[end] * SECOND)
        yield name, watcher.of.get(place, Watched()), at


SETTINGS = (
    ("memory, an hour at 5 s", "memory_usage", 5.0, 1.0),
    ("memory, a day at 60 s", "memory_usage", 60.0, 24.0),
    ("disk, four days at 120 s", "disk_usage", 120.0, 96.0),
)


def shapes(seed: int, cases: int) -> None:
    """Print the tables of the made-up resources."""
    print("\n**Made-up resources that run out**\n")
    print(HEAD)
    total, by_shape = Tally(), {shape.__name__: Tally() for shape in FILLING}
    for title, metric, step, hours in SETTINGS:
        here = Tally()
        found = watch_shapes(FILLING, metric=metric, step=step, hours=hours, cases=cases, seed=seed)
        for name, watched, end in found:
            if end is not None:
                for tally in (here, total, by_shape[name]):
                    tally.add(watched, end)
        print(here.row(title))
    for name, tally in by_shape.items():
        print(tally.row(name.replace("_", " ")))
    print(total.row("**all**"))
    print("\n**Made-up resources that do not** (alarms in a series-week)\n")
    print("| | first day | later |\n| --- | --: | --: |")
    early: dict[str, list[int]] = {}
    late: dict[str, list[int]] = {}
    for name, watched, _ in watch_shapes(
        HARMLESS, metric="memory_usage", step=60.0, hours=96.0, cases=cases, seed=seed
    ):
        new = sum(one.at < MONDAY + 24 * HOUR for one in watched.told)
        early.setdefault(name, []).append(new)
        late.setdefault(name, []).append(len(watched.told) - new)
    for name, first in early.items():
        print(f"| {name} | {7 * np.mean(first):.2f} | {7 / 3 * np.mean(late[name]):.2f} |")


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A leak or a filling disk of the simulator."""

    world: str
    seed: int
    kind: FaultType
    minutes: float
    step: float
    history: float


EPISODES = ((6.0, 5.0, 2.0), (30.0, 5.0, 2.0), (120.0, 15.0, 4.0), (480.0, 30.0, 8.0),
            (2880.0, 60.0, 24.0))  # fmt: skip
"""Minutes of the fault, step in seconds, hours of history."""


def play(episode: Episode) -> tuple[Watched, int, int | None]:
    """What was said of the target, how many alarms there were elsewhere, and when it ran out."""
    world = world_of(episode.world, services=30, seed=episode.seed)
    rng = Random(f"forecast/{episode}")  # noqa: S311  a simulation
    target = rng.choice(eligible(world, episode.kind))
    start = Millis(MONDAY + rng.randrange(WEEK // HOUR) * HOUR)
    simulation = Simulation(world, seed=episode.seed, step_seconds=episode.step, start=start)
    watcher, gauges = Watcher(simulation.series), gauges_of(simulation)
    leak = episode.kind is FaultType.MEMORY_LEAK
    metric = "memory_usage" if leak else "disk_usage"
    mine = [(one.entity, one.metric) for one in simulation.series].index((target, metric))
    for _ in range(round(episode.history * 3600.0 / episode.step)):
        frame = simulation.tick()
        watcher.tick(simulation.now, gauges, frame.value[gauges], look=False)
    kind = KINDS[episode.kind]
    simulation.inject(
        Fault(type=episode.kind, target=target, severity=rng.uniform(0.5, 0.95),
              duration=episode.minutes * 60.0, ramp=kind.ramp, recovery=kind.recovery)
    )  # fmt: skip
    watcher.of.clear()
    place, restarts, end = simulation.physics.index[target], None, None
    for _ in range(round(episode.minutes * 60.0 / episode.step)):
        frame = simulation.tick()
        watcher.tick(simulation.now, gauges, frame.value[gauges], look=True)
        now = None if simulation.last is None else float(simulation.last.flow.restarts[place])
        killed = leak and restarts is not None and now != restarts
        if killed or (not leak and frame.value[mine] >= FULL):
            end = simulation.now
            break
        restarts = now
    others = sum(len(one.told) for at, one in watcher.of.items() if at != mine)
    watched = watcher.of.get(mine, Watched())
    watched.told = [one for one in watched.told if end is None or one.at < end]
    return watched, others, end


def gauges_of(simulation: Simulation) -> list[int]:
    """Places of the series that are no counters."""
    return [i for i, one in enumerate(simulation.series) if one.kind is MetricKind.GAUGE]


def faults(seed: int, cases: int) -> None:
    """Print the table of the simulator's leaks and filling disks."""
    print("\n**Leaks and filling disks of the simulator**\n")
    print(HEAD)
    total, elsewhere = Tally(), 0
    for kind in (FaultType.MEMORY_LEAK, FaultType.DISK_FULL):
        for minutes, step, history in EPISODES:
            tally = Tally()
            for world in ("shop", "generated"):
                for number in range(seed, seed + max(1, cases // 2)):
                    watched, others, end = play(
                        Episode(world=world, seed=number, kind=kind, minutes=minutes, step=step,
                                history=history)
                    )  # fmt: skip
                    elsewhere += others
                    if end is not None:
                        tally.add(watched, end)
                        total.add(watched, end)
            print(tally.row(f"{kind.label.lower()}, fault of {shown(60 * minutes)}"), flush=True)
    print(total.row("**all**"))
    print(f"\nAlarms about other series meanwhile: {elsewhere}.")


def fly(
    flight: Flight,
) -> tuple[list[tuple[Forecast, EntityId]], float, list[tuple[FaultType, EntityId, int, int]]]:
    """Alarms of a flight with their entities, service-weeks, and the faults."""
    table = timetable(flight)
    name, _, size = flight.world.partition(":")
    world = world_of(name, services=int(size or 30), seed=flight.seed)
    start = Millis(table.start - round(flight.history * SECOND))
    simulation = Simulation(
        world, seed=flight.seed, step_seconds=flight.step, start=start,
        incidents=Scenario(table.faults, world, table.start), changes_per_day=4.0,
    )  # fmt: skip
    watcher, gauges = Watcher(simulation.series), gauges_of(simulation)
    for _ in range(round((flight.history + table.length) / flight.step)):
        frame = simulation.tick()
        watcher.tick(simulation.now, gauges, frame.value[gauges], look=False)
        if simulation.now <= table.start:
            watcher.of.clear()
    told = [(one, one.entity) for watched in watcher.of.values() for one in watched.told]
    happened = [
        (one.fault, one.target, one.start, simulation.now if one.end is None else one.end)
        for one in simulation.truths
    ]
    return told, table.length * SECOND / WEEK * len(world.services), happened


def flights(seed: int, cases: int) -> None:
    """Print the table of false alarms in the flights of `dos bench sim`."""
    print("\n**False alarms in the flights of the simulator**\n")
    print(
        "| | flights | service-weeks | alarms | about a leak or a disk | false | a service-week |"
    )
    print("| --- | --: | --: | --: | --: | --: | --: |")
    real = {FaultType.MEMORY_LEAK, FaultType.DISK_FULL}
    for kind, step, history, tail in (
        (FlightKind.FAULTS, 5.0, 7_200.0, 1_800.0),
        (FlightKind.QUIET, 60.0, 86_400.0, 7 * 86_400.0),
    ):
        number, weeks, total, false = 0, 0.0, 0, 0
        for world in ("shop", "online-boutique", "generated:30"):
            for one in range(seed, seed + max(1, cases // 4)):
                flown = Flight(
                    kind=kind, world=world, seed=one, step=step, history=history, quiet=tail
                )
                told, service_weeks, happened = fly(flown)
                number, weeks, total = number + 1, weeks + service_weeks, total + len(told)
                for forecast, entity in told:
                    about = any(
                        fault in real and entity == target and start <= forecast.at <= end + 60_000
                        for fault, target, start, end in happened
                    )
                    false += not about
        print(
            f"| {kind.value} | {number} | {weeks:.1f} | {total} | {total - false} | {false} |"
            f" {false / weeks:.2f} |",
            flush=True,
        )


def cpu_seconds() -> float:
    """CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def speed(seed: int) -> None:
    """Print CPU time per sample and tick, and memory per series."""
    count, ticks = 10_000, 100
    specs = [
        SeriesSpec(entity=EntityId(f"e{i}"), metric="disk_usage", unit="ratio")
        for i in range(count)
    ]
    rng = np.random.default_rng(seed)
    print("\n**Speed**, 10,000 series with a limit, a sample each and a decision every 5 s\n")
    print("| | us a series and tick | bytes a series |\n| --- | --: | --: |")
    for title, share in (
        ("nothing grows", 0.0),
        ("one in a hundred grows", 0.01),
        ("all grow", 1.0),
    ):
        watcher = Watcher(specs)
        slope = np.where(np.arange(count) < share * count, 3e-3, 0.0)
        values = 0.3 + np.arange(ticks)[:, None] * slope
        values += 1e-3 * rng.standard_normal(values.shape)
        ids, began = list(range(count)), 0.0
        for tick in range(ticks):
            if tick == ticks // 2:
                began = cpu_seconds()
            watcher.tick(Millis(MONDAY + tick * 5_000), ids, values[tick], look=False)
        each = (cpu_seconds() - began) / (ticks // 2) / count
        print(
            f"| {title} | {1e6 * each:.2f} | {watcher.forecaster.nbytes / count:.0f} |", flush=True
        )


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="shapes, faults, flights, speed; all by default")
    parser.add_argument("--split", choices=("dev", "held-out"), default="held-out")
    parser.add_argument("--cases", type=int, default=8, help="of each sort")
    options = parser.parse_args()
    seed = 0 if options.split == "dev" else 10_000
    chosen = options.parts or ["shapes", "faults", "flights", "speed"]
    if "shapes" in chosen:
        shapes(seed, options.cases)
    if "faults" in chosen:
        faults(seed, options.cases)
    if "flights" in chosen:
        flights(seed, options.cases)
    if "speed" in chosen:
        speed(seed)


if __name__ == "__main__":
    main()
