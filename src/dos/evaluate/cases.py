"""Recorded cases for the benchmark: what a ranker may see, and apart from it the truth.

A case directory (layout in `docs/recorded-cases.md`) becomes a `Case`, which holds the samples up
to the end of the incident, the call graph and the alarm, and a `Truth`, which the ranker is never
given. The names of the folder, of the fault and of the cause stay out of the `Case`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dos.ingest.recorded import (
    CaseFile,
    Recording,
    find_metrics,
    read_recording,
    workload_of,
)
from dos.ingest.tables import MetricTable, merge
from dos.ingest.xray import kind_of
from dos.kit.clock import SECOND, Millis
from dos.kit.errors import PermanentError
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import MetricKind
from dos.rca.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The injected cause."""

    entity: EntityId
    service: str
    metric: str | None
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedCase:
    """A case beside its truth."""

    path: Path
    case: Case
    truth: Truth | None
    """None when `case.json` names no cause."""


def discover(folder: Path) -> list[Path]:
    """The case directories in `folder` (a set), below it (several sets), or `folder` itself.

    Raises:
        PermanentError: There is no recorded case.
    """
    if not folder.is_dir():
        raise PermanentError(f"{folder}: no such directory.")
    direct = sorted(path for path in folder.glob("case-*") if path.is_dir())
    found = direct or sorted(path for path in folder.glob("*/case-*") if path.is_dir())
    if found:
        return found
    find_metrics(folder)
    return [folder]


def load_case(path: Path, *, late_s: float = 0.0) -> LoadedCase:
    """Read one case directory.

    Args:
        path: The directory.
        late_s: Seconds by which the start is reported too late; samples in between are then
            among those that look like history.

    Raises:
        CorruptDataError: A file is malformed; the message names the place.
        PermanentError: No metrics file, or the baseline file is missing.
    """
    recording = read_recording(path)
    about = recording.about
    table = recording.without_excluded()
    if about.end_time is not None:
        table = table.rows(table.times <= about.end_time * SECOND)
    if recording.history is not None:
        table = merge([table, recording.history])
    table = with_rates(table)
    start = _start(table, about)
    case = Case(
        times=table.times,
        values=table.values,
        series=table.series,
        graph=_graph(recording),
        start=start,
        end=Millis(int(table.times[-1])) if len(table.times) else start,
        changes=recording.changes,
        target=(about.target.node, about.target.metric) if about.target else None,
    )
    return reported_late(LoadedCase(path=path, case=case, truth=_truth(about)), late_s)


def reported_late(loaded: LoadedCase, late_s: float) -> LoadedCase:
    """The same case with its start reported `late_s` seconds later."""
    late = Millis(loaded.case.start + round(late_s * SECOND))
    return replace(loaded, case=replace(loaded.case, start=late))


def _truth(about: CaseFile) -> Truth | None:
    cause = about.root_cause
    if cause is None:
        return None
    return Truth(
        entity=cause.entity,
        service=cause.service or workload_of(cause.entity),
        metric=cause.metric,
        fault=about.fault,
    )


def with_rates(table: MetricTable) -> MetricTable:
    """Counters turned into their increase per second, as the pipeline's normaliser does."""
    counters = [i for i, spec in enumerate(table.series) if spec.kind is MetricKind.COUNTER]
    if not counters:
        return table
    values, series = table.values.copy(), list(table.series)
    for column in counters:
        known = np.flatnonzero(np.isfinite(values[:, column]))
        rise = np.diff(values[known, column])
        # After a reset the counter started from zero: the new value is the increase.
        rise = np.where(rise < 0, values[known[1:], column], rise)
        values[known[1:], column] = rise / (np.diff(table.times[known]) / SECOND)
        values[known[:1], column] = np.nan
        series[column] = replace(series[column], kind=MetricKind.GAUGE)
    return MetricTable(times=table.times, values=values, series=tuple(series))


def _start(table: MetricTable, about: CaseFile) -> Millis:
    if about.inject_time is not None:
        return Millis(round(about.inject_time * SECOND))
    if about.target is not None and about.target.timestamp is not None:
        return Millis(round(about.target.timestamp * SECOND))
    # Nobody says: the second half is suspect, and the ranker dates the onset itself.
    return Millis(int(table.times[len(table.times) // 2])) if len(table.times) else Millis(0)


def _graph(recording: Recording) -> GraphSnapshot | None:
    if not recording.edges:
        return None
    measured = {spec.entity for spec in recording.table.series}
    everyone = sorted({*measured, *(end for edge in recording.edges for end in edge)})
    return GraphSnapshot(
        version=1,
        entities=tuple(Entity(id=name, kind=kind_of(name)) for name in everyone),
        edges=tuple(
            Edge(caller=a, callee=b, sources=("file",)) for a, b in sorted(recording.edges)
        ),
    )
