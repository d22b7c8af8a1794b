"""A stretch of a simulation as a recorded case, in the layout of `docs/recorded-cases.md`.

What `dos replay` and the benchmarks read: metrics, spans, edges, changes, logs, and beside them the
truth. Spans and lines are written as they come; metrics are held until the end, since a table is
written by columns.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

from dos.ingest.recorded import QUIET, TRACES
from dos.kit.clock import SECOND, Millis
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, MetricKind, SeriesSpec
from dos.simulate.engine import Simulation, Truth
from dos.simulate.faults import Fault
from dos.simulate.logs import Record
from dos.simulate.scenario import check_target
from dos.simulate.signals import Amount, Signals
from dos.simulate.traces import Span

Form = Literal["csv", "parquet"]
_SUFFIX = {"csv": "csv.gz", "parquet": "parquet"}
LOGS = "logs.jsonl.gz"
SPANS = (
    "trace", "span", "parent", "pod", "operation", "start_us", "duration_us",
    "kind", "error", "instance", "node",
)  # fmt: skip
"""Columns of traces. `pod` is the entity that the metrics know, `instance` the pod itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was written."""

    folder: Path
    samples: int
    spans: int
    lines: int
    truth: Truth | None
    """The incident that the case is about, if there was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to record."""

    duration: float = 1800.0
    """Seconds of the case."""
    normal: float = 0.0
    """Seconds before the case that go into files of their own, as its fault-free past."""
    fault: Fault | None = None
    """To be injected; the case is then about this one."""
    after: float = 600.0
    """Seconds of the case after which it is."""
    form: Form = "csv"
    """Of files of metrics."""

    def __post_init__(self) -> None:
        if self.duration <= 0 or self.normal < 0 or not 0 <= self.after <= self.duration:
            times = f"{self.duration:g}, {self.normal:g} and {self.after:g} s"
            msg = f"Duration, normal part and fault ({times}) do not fit together."
            raise ConfigError(msg, remedy="The fault must lie within the duration of the case.")


@dataclass(slots=True)
class _Part:
    """Metrics of one stretch of time, and how many spans and lines there were."""

    times: list[int] = field(default_factory=list)
    rows: list[Float64Array] = field(default_factory=list)
    spans: int = 0
    lines: int = 0


def record(
    simulation: Simulation,
    folder: Path,
    plan: Plan,
    *,
    seed: int = 0,
    amount: Amount | None = None,
    progress: Callable[[float], object] | None = None,
) -> Recorded:
    """Play a simulation and write what can be seen of it.

    Args:
        simulation: Where it stands, with the incidents it was given; these should leave the
            normal part alone.
        folder: To write to; made, or empty.
        plan: What to record.
        seed: Of traces and logs.
        amount: How many of these.
        progress: Told how far it has come, 0 to 1.

    Raises:
        ConfigError: The folder has something in it, or the fault does not fit the world.
    """
    if plan.fault is not None:
        check_target(simulation.world, plan.fault.type, plan.fault.target)
    _make(folder)
    recorder = _Recorder(Signals(simulation, seed=seed, amount=amount), folder, plan, progress)
    if plan.normal:
        recorder.play_normal()
    return recorder.play_case()


class _Recorder:
    """Plays the parts of a case and writes them."""

    def __init__(
        self,
        signals: Signals,
        folder: Path,
        plan: Plan,
        progress: Callable[[float], object] | None,
    ) -> None:
        self._signals, self._simulation = signals, signals.simulation
        self._folder, self._plan, self._progress = folder, plan, progress
        step = self._simulation.step_seconds
        self._past = round(plan.normal / step)
        self._ticks = max(1, round(plan.duration / step))
        self._due = self._ticks if plan.fault is None else round(plan.after / step)
        self._done = 0

    def play_normal(self) -> None:
        """The fault-free past."""
        part = _Part()
        with _writer(self._folder / QUIET) as traces, Path(os.devnull).open("w") as nowhere:
            csv.writer(traces, lineterminator="\n").writerow(SPANS)
            self._play(self._past, traces, nowhere, part)
        self._write_metrics("normal", part)

    def play_case(self) -> Recorded:
        """The case, and what is known of it."""
        simulation, plan, folder = self._simulation, self._plan, self._folder
        begin, told_before = simulation.now, simulation.operations.since(0)[1]
        part, run = _Part(), None
        with _writer(folder / TRACES) as traces, _writer(folder / LOGS) as logs:
            csv.writer(traces, lineterminator="\n").writerow(SPANS)
            self._play(self._due, traces, logs, part)
            if plan.fault is not None:
                run = simulation.inject(plan.fault)
            self._play(self._ticks - self._due, traces, logs, part)
        self._write_metrics("metrics", part)
        _write_edges(folder / "edges.csv", simulation)
        _write_changes(folder / "changes.jsonl", simulation, told_before)
        truths = [one for one in simulation.truths if one.end is None or one.end > begin]
        about = _about(truths, None if run is None else run.id)
        normal = f"normal.{_SUFFIX[plan.form]}" if self._past else None
        _write_case(folder, simulation, about, truths, normal)
        return Recorded(
            folder=folder,
            samples=len(part.rows) * len(simulation.series),
            spans=part.spans,
            lines=part.lines,
            truth=about,
        )

    def _play(self, ticks: int, traces: TextIO, logs: TextIO, part: _Part) -> None:
        signals, rows = self._signals, csv.writer(traces, lineterminator="\n")
        for _ in range(ticks):
            seen = signals.tick()
            part.times.append(int(seen.frame.timestamp[0]))
            part.rows.append(seen.frame.value)
            rows.writerows(_span_row(signals, span) for span in seen.spans)
            logs.writelines(_log_line(signals, line) for line in seen.records)
            part.spans += len(seen.spans)
            part.lines += len(seen.records)
            self._done += 1
            if self._progress is not None:
                self._progress(self._done / (self._past + self._ticks))

    def _write_metrics(self, name: str, part: _Part) -> None:
        path = self._folder / f"{name}.{_SUFFIX[self._plan.form]}"
        _write_table(path, self._simulation.series, part, self._plan.form)


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        msg = f"{folder} has something in it."
        raise ConfigError(msg, remedy="Name an empty folder, or one that is not there yet.")


def _span_row(signals: Signals, span: Span) -> tuple[object, ...]:
    physics = signals.fleet.physics
    return (
        f"{span.trace:032x}",
        f"{span.span:016x}",
        "" if span.parent is None else f"{span.parent:016x}",
        physics.services[span.pod.service].id,
        span.name,
        span.start,
        span.end - span.start,
        span.kind.name.lower(),
        span.error,
        span.pod.name,
        physics.nodes[span.pod.node].name,
    )


def _log_line(signals: Signals, record: Record) -> str:
    physics = signals.fleet.physics
    line: dict[str, object] = {
        "time": record.time / 1e6,
        "service": None,
        "pod": None,
        "node": physics.nodes[record.node].name,
        "severity": record.severity.name,
        "body": record.body,
        "template": record.template,
        "attributes": dict(record.attributes),
        "weight": round(record.weight, 3),
    }
    if record.pod is not None:
        line |= {"service": physics.services[record.pod.service].id, "pod": record.pod.name}
    if record.trace is not None and record.span is not None:
        line |= {"trace": f"{record.trace:032x}", "span": f"{record.span:016x}"}
    return json.dumps(line, ensure_ascii=False) + "\n"


def column_of(spec: SeriesSpec) -> str:
    """`entity|metric` with the unit in the metric's name, where readers look for it."""
    metric = "_".join([spec.metric, *(value for _, value in spec.labels)])
    if spec.kind is MetricKind.COUNTER:
        metric += "_total"
    elif spec.unit.isalpha() and not metric.endswith(f"_{spec.unit}"):
        metric += f"_{spec.unit}"
    return f"{spec.entity}|{metric}"


def _write_table(path: Path, series: Sequence[SeriesSpec], part: _Part, form: Form) -> None:
    whole = all(time % SECOND == 0 for time in part.times)
    times = [time // SECOND if whole else time / SECOND for time in part.times]
    values = np.array(part.rows).reshape(len(part.rows), len(series))
    columns = {column_of(spec): values[:, at] for at, spec in enumerate(series)}
    # A value that is not there is an empty cell, in either form.
    table = pa.table(
        {"time": times, **{name: pa.array(one, from_pandas=True) for name, one in columns.items()}}
    )
    if form == "parquet":
        pq.write_table(table, path, compression="zstd")
        return
    with _compressed(path) as file:
        pv.write_csv(table, file)


def _write_edges(path: Path, simulation: Simulation) -> None:
    """Calls, and what runs where: trouble travels along both."""
    pairs = dict.fromkeys((edge.caller, edge.callee) for edge in simulation.edges())
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("caller", "callee"))
        rows.writerows(pairs)


def _write_changes(path: Path, simulation: Simulation, told_before: int) -> None:
    changes, _ = simulation.operations.since(told_before)
    with path.open("w", encoding="utf-8") as file:
        for change in changes:
            line = {
                "time": change.at / SECOND,
                "kind": change.kind.value,
                "entity": change.entity,
                "summary": change.summary,
            }
            file.write(json.dumps(line) + "\n")


def _write_case(
    folder: Path,
    simulation: Simulation,
    about: Truth | None,
    truths: Sequence[Truth],
    normal: str | None,
) -> None:
    case: dict[str, object] = {"dataset": f"simulator/{simulation.world.name}", "case": folder.name}
    if normal is not None:
        case["normal"] = normal
    if about is not None:
        end = simulation.now if about.end is None else about.end
        case |= {
            "inject_time": about.start / SECOND,
            "end_time": end / SECOND,
            "fault": about.fault.value,
            "root_cause": {"entity": _cause(simulation, about)},
        }
        others = [one for one in truths if one.id != about.id and not one.harmless]
        case["exclude"] = [
            window for one in others for window in _outside(one, about.start, end, simulation.now)
        ]
    text = json.dumps(case, indent=2, ensure_ascii=False)
    (folder / "case.json").write_text(text + "\n", encoding="utf-8")


def _about(truths: Sequence[Truth], wanted: str | None) -> Truth | None:
    """The incident of the case: the one that was asked for, else the first one that does harm."""
    if wanted is not None:
        return next(one for one in truths if one.id == wanted)
    return next((one for one in truths if not one.harmless), None)


def _cause(simulation: Simulation, truth: Truth) -> EntityId:
    """What is right to name and is measured: a zone is not, the machines in it are."""
    measured = {spec.entity for spec in simulation.series}
    return next((one for one in truth.causes if one in measured), truth.target)


def _outside(
    truth: Truth, begin: Millis, end: Millis, now: Millis
) -> Iterator[tuple[float, float]]:
    """The parts of another fault's time, in seconds, that are not the case's own."""
    until = now if truth.end is None else truth.end
    if truth.start < begin:
        yield truth.start / SECOND, min(until, begin - 1) / SECOND
    if until > end:
        yield (max(truth.start, end) + 1) / SECOND, until / SECOND


@contextmanager
def _compressed(path: Path) -> Iterator[gzip.GzipFile]:
    """A gzip file without a time in it: the same recording is the same bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        yield file


@contextmanager
def _writer(path: Path) -> Iterator[TextIO]:
    with _compressed(path) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        yield text
