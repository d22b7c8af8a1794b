"""What healthy systems look like in numbers: the quiet parts of recordings, and of simulations.

Both become `Healthy`: pieces of samples on one regular step, in columns of the few measures that
mean the same everywhere. A piece has no gap; a sample that is missing in one column is NaN.

Which part of a recording is healthy is decided by its case files alone: what lies outside the
incident of every case of the set and outside the windows that a case excludes. Of the labelled
series it is the prefix that the file's name declares clean.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from dos.evaluate.cases import discover, with_rates
from dos.ingest.recorded import CaseFile, find_metrics, read_case_file
from dos.ingest.spans import read_spans
from dos.ingest.tables import MetricTable, merge, read_metrics, read_text
from dos.kit.clock import DAY, HOUR, SECOND, Millis
from dos.kit.errors import CorruptDataError, PermanentError
from dos.model.telemetry import BoolArray, Float64Array, SeriesSpec
from dos.simulate.engine import Simulation
from dos.simulate.world import World

BEFORE_S = 60.0
"""Seconds before a recorded start that are not taken as healthy: starts are a little late."""
AFTER_S = 120.0
"""Seconds after an incident that are not: systems recover, and rates look back over minutes."""
SHORTEST = 8
"""Samples of the shortest piece that is used."""
WARM_UP_S = 1_200.0
"""Seconds a simulation runs before its samples count: slow variations start from nothing."""
REQUESTS = 500
"""Requests of each service that are drawn at the end of a piece."""
MONDAY = Millis(4 * DAY)
"""Midnight of 1970-01-05."""


class Measure(StrEnum):
    """What a column measures."""

    TRAFFIC = "traffic"
    ERRORS = "errors"
    LATENCY_P50 = "latency p50"
    LATENCY = "latency p95"
    """The 95th percentile, or the 90th where there is no 95th."""
    LATENCY_P99 = "latency p99"
    CPU = "cpu"
    MEMORY = "memory"
    NETWORK = "network"
    REQUESTS = "single requests"
    """Seconds of requests one by one, from spans."""
    KPI = "web KPI"
    """Volume or response time of a web service; the set does not say which."""
    MACHINE = "machine"
    """CPU, load, memory or network of a machine; the set does not say which."""


STANDS_FOR: dict[Measure, tuple[Measure, ...]] = {
    Measure.KPI: (Measure.TRAFFIC, Measure.LATENCY),
    Measure.MACHINE: (Measure.CPU, Measure.MEMORY, Measure.NETWORK),
}
"""What a measure of unknown meaning is compared with."""

_NAMES: tuple[tuple[Measure, str], ...] = (
    (Measure.TRAFFIC, r"request_rate|lod|PodWorkload\(Ops\)|requests_Sum"),
    (Measure.ERRORS, r"error_rate|availability_Average"),
    (Measure.LATENCY_P50, r"latency_p50|lat_50"),
    (Measure.LATENCY, r"latency_p95|lat_90|PodServerLatencyP95\(s\)"),
    (Measure.LATENCY_P99, r"latency_p99|lat_99|PodServerLatencyP99\(s\)"),
    (Measure.CPU, r"cpu_usage|cpu|CpuUsageRate\(%\)|container_cpu_usage_seconds_total"),
    (Measure.MEMORY, r"memory_usage|mem|MemoryUsageRate\(%\)|container_memory_working_set_bytes"),
    (
        Measure.NETWORK,
        r"network_receive|NetworkReceiveBytes|container_network_receive_bytes_total",
    ),
)
"""Metric names of the simulator and of the sets, one for each measure."""
_PERCENT_GOOD = "availability_Average"
"""Metric that counts successes, in percent, where the others count failures, as a ratio."""
_PER_STEP = "requests_Sum"
"""Metric that counts requests in a step, where the others are rates."""
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
"""An entity named by its address is a node, and nodes are not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One measured quantity of one entity."""

    entity: str
    measure: Measure


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Healthy:
    """Samples of a system in which nothing was wrong."""

    name: str
    """The set or world they are from."""
    step_s: float
    columns: tuple[Column, ...]
    pieces: tuple[Float64Array, ...]
    """Each `[time, column]`, evenly spaced by `step_s`; the longest gap-free stretches."""
    scaled: bool = False
    """Whether somebody scaled the values to a range, so that their level says nothing."""
    requests: tuple[Float64Array, ...] = ()
    """Durations of single requests in seconds, one array for each entity, where there are any."""

    @property
    def rate(self) -> float | None:
        """Requests per second of the median entity; None where traffic is not measured."""
        places = [i for i, one in enumerate(self.columns) if one.measure is Measure.TRAFFIC]
        if not places or self.scaled or not self.pieces:
            return None
        table = np.concatenate(self.pieces)[:, places]
        known = [column[np.isfinite(column)] for column in table.T]
        rates = [float(column.mean()) for column in known if len(column)]
        return float(np.median(rates)) if rates else None


def measure_of(metric: str) -> Measure | None:
    """The measure that a metric's name stands for; None for what is not compared."""
    return next((measure for measure, names in _NAMES if re.fullmatch(names, metric)), None)


def recorded(folder: Path) -> Healthy:
    """The healthy part of a set of recorded cases.

    Raises:
        CorruptDataError: A file is malformed.
        PermanentError: There is no case in `folder`, or nowhere in it a quiet stretch.
    """
    cases = discover(folder)
    about = [read_case_file(case) for case in cases]
    baselines = {
        (case / a.normal).resolve() for case, a in zip(cases, about, strict=True) if a.normal
    }
    if baselines:
        table = with_rates(merge([read_metrics(path) for path in sorted(baselines)]))
        quiet = np.ones(len(table.times), np.bool_)
    else:
        table = merge([with_rates(read_metrics(find_metrics(case))) for case in cases])
        quiet = _quiet(table, about)
    step = float(np.median(np.diff(table.times)))
    table = table.rows(quiet)
    columns, values = _columns(table.series, table.values, step / SECOND)
    pieces = _split(table, values, step)
    held = _held(pieces)
    pieces = tuple(piece[::held] for piece in pieces if len(piece) >= SHORTEST * held)
    if not pieces:
        raise PermanentError(f"{folder}: no stretch of {SHORTEST} samples without an incident.")
    return Healthy(
        name=folder.name,
        step_s=step / SECOND * held,
        columns=columns,
        pieces=pieces,
        requests=_requests(folder / "normal_traces.csv.gz"),
    )


def labelled(path: Path) -> Healthy | None:
    """The clean prefix of a labelled series; None for what is no telemetry of a service.

    Spacecraft, road traffic, message volumes and synthetic series are left out.

    Raises:
        CorruptDataError: A row that is not `Data,Label`, or a label of 1 in the clean prefix.
    """
    found = re.fullmatch(r"\d+_(\w+?)_id_(\d+)_(\w+?)_tr_(\d+)_1st_\d+\.csv(\.gz)?", path.name)
    known = _LABELLED.get((found[1], found[3])) if found else None
    if found is None or known is None:
        return None
    rows = list(csv.reader(io.StringIO(read_text(path))))[1 : int(found[4]) + 1]
    try:
        values = np.array([[float(data), float(label)] for data, label in rows])
    except ValueError as error:
        raise CorruptDataError(f"{path}: a row is not 'Data,Label': {error}.") from error
    if values[:, 1].any():
        return None
    measure, step, scaled = known
    return Healthy(
        name=f"{found[1]} {found[3]}",
        step_s=step,
        columns=(Column(entity=found[2], measure=measure),),
        pieces=(values[:, :1],),
        scaled=scaled,
    )


_LABELLED: dict[tuple[str, str], tuple[Measure, float, bool]] = {
    ("NAB", "Facility"): (Measure.CPU, 300.0, False),
    ("SMD", "Facility"): (Measure.MACHINE, 60.0, True),
    ("WSD", "WebService"): (Measure.KPI, 60.0, False),
    ("IOPS", "WebService"): (Measure.KPI, 300.0, True),
}
"""Group and kind in the file's name to measure, step in seconds, and whether it was scaled.

The files have no times. The steps follow from where the autocorrelation of the whole series has
the day: at 288 samples in NAB and IOPS, at 1,440 in SMD and WSD.
"""


def simulated(
    world: World,
    *,
    seed: int,
    step_s: float,
    lengths: Sequence[int],
    rate: float | None = None,
) -> Healthy:
    """The healthy world, measured as a recording was: its step, and pieces of those lengths.

    Each piece is a run of its own, with its own seed, and they begin at hours spread over a week.

    Args:
        world: Who plays.
        seed: Of all pieces.
        step_s: Seconds between samples.
        lengths: Samples of each piece.
        rate: Requests per second that the median service gets; as the world has it if None.
    """
    if rate is not None:
        world = _at_rate(world, rate)
    pieces: list[Float64Array] = []
    requests: list[Float64Array] = []
    columns: tuple[Column, ...] = ()
    mine = {service.id for service in world.services}
    for number, length in enumerate(lengths):
        start = MONDAY + (number * 29 * HOUR) % (7 * DAY)
        simulation = Simulation(
            world, seed=seed * 1_000 + number, step_seconds=step_s, start=Millis(start)
        )
        for _ in range(int(WARM_UP_S / step_s)):
            simulation.tick()
        frame = simulation.ticks(length)
        keep = [i for i, spec in enumerate(frame.series) if spec.entity in mine]
        table = frame.value.reshape(length, len(frame.series))[:, keep]
        columns, values = _columns([frame.series[i] for i in keep], table, step_s)
        pieces.append(values)
        requests.append(_drawn(simulation, seed * 1_000 + number))
    return Healthy(
        name=world.name,
        step_s=step_s,
        columns=columns,
        pieces=tuple(pieces),
        requests=tuple(np.concatenate(requests, axis=1)) if requests else (),
    )


def _quiet(table: MetricTable, about: Sequence[CaseFile]) -> BoolArray:
    """`[time]` whether no case's incident and no excluded window is near."""
    seconds = table.times / SECOND
    quiet = np.ones(len(seconds), np.bool_)
    for case in about:
        windows = list(case.exclude)
        if case.inject_time is not None:
            end = case.end_time if case.end_time is not None else float(seconds[-1])
            windows.append((case.inject_time - BEFORE_S, end + AFTER_S))
        for first, last in windows:
            quiet &= (seconds < first) | (seconds > last)
    return quiet


def _columns(
    series: Sequence[SeriesSpec], values: Float64Array, step_s: float
) -> tuple[tuple[Column, ...], Float64Array]:
    """The columns with a measure, and their values `[time, column]`."""
    columns: list[Column] = []
    kept: list[Float64Array] = []
    for place, spec in enumerate(series):
        measure = measure_of(spec.metric)
        if measure is None or _ADDRESS.fullmatch(spec.entity):
            continue
        column = values[:, place]
        if spec.metric == _PERCENT_GOOD:
            column = 1.0 - column / 100.0
        elif spec.metric == _PER_STEP:
            column = column / step_s
        columns.append(Column(entity=spec.entity, measure=measure))
        kept.append(column)
    return tuple(columns), np.column_stack(kept) if kept else np.empty((len(values), 0))


def _split(table: MetricTable, values: Float64Array, step: float) -> tuple[Float64Array, ...]:
    """`values` cut where the time jumps; what is too short is dropped."""
    cuts = np.flatnonzero(np.diff(table.times) > 1.5 * step) + 1
    return tuple(piece for piece in np.split(values, cuts) if len(piece) >= SHORTEST)


def _held(pieces: Sequence[Float64Array]) -> int:
    """Steps for which a value is held: more than 1 where a recording was filled between scrapes.

    The median length of the runs of equal values, over the columns that change at all.
    """
    runs: list[Float64Array] = []
    for piece in pieces:
        for column in piece.T:
            changed = np.flatnonzero(np.diff(column) != 0)
            if np.isfinite(column).all() and len(changed) > 1:
                runs.append(np.diff(changed).astype(np.float64))
    return max(1, round(float(np.median([np.median(run) for run in runs])))) if runs else 1


def _requests(path: Path) -> tuple[Float64Array, ...]:
    """Seconds that each entity took to answer a request, by its spans as the one called."""
    if not path.is_file():
        return ()
    spans = read_spans(path)
    entity = np.array(spans.entity)
    called = (spans.parent < 0) | (entity[spans.parent] != entity)
    return tuple(spans.duration[called & (entity == name)] for name in np.unique(entity))


def _at_rate(world: World, rate: float) -> World:
    """The same world with so many users that the median service gets `rate` requests a second.

    Capacity follows demand, so utilisation stays; what changes is how many requests there are
    to count.
    """
    factor = rate / float(np.median(list(world.demand().values())))
    return replace(world, entries={name: n * factor for name, n in world.entries.items()})


def _drawn(simulation: Simulation, seed: int) -> Float64Array:
    """`[service, request]` latencies of single requests, drawn as the last tick answered them."""
    last = simulation.last
    if last is None:
        return np.empty((0, REQUESTS))
    answers = last.flow.answers
    normals = np.random.default_rng(seed).standard_normal((len(answers.spread), REQUESTS))
    return np.exp(answers.location[:, None] + answers.spread[:, None] * normals)
