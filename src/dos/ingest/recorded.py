"""Recorded cases on disk: the layout of `docs/recorded-cases.md`, read whole.

Shared by the file source, which replays a directory, and by the benchmark, which ranks it.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from dos.ingest.spans import SpanTable, calls, read_spans, span_series
from dos.ingest.tables import MetricTable, merge, move_before, read_bytes, read_metrics, read_text
from dos.kit.clock import SECOND, Millis
from dos.kit.errors import CorruptDataError, PermanentError
from dos.model.change import Change, ChangeKind
from dos.model.ids import ChangeId, EntityId, derive_id

METRIC_FILES = ("metrics.parquet", "metrics.csv.gz", "metrics.csv")
TRACES, QUIET = "traces.csv.gz", "normal_traces.csv.gz"

_ALPHABET = "[bcdfghjklmnpqrstvwxz2456789]"
"""What Kubernetes makes random names of: no vowels, no digits that look like letters."""
_POD = re.compile(rf"^(?P<workload>.+?)(?:-{_ALPHABET}{{6,10}})?-{_ALPHABET}{{5}}$")
"""Pod names: workload, ReplicaSet hash (absent for DaemonSets), five characters."""


class CauseTruth(BaseModel):
    """What really was the cause: for scoring only."""

    model_config = ConfigDict(frozen=True)

    entity: EntityId
    service: str | None = None
    metric: str | None = None


class TargetAlarm(BaseModel):
    """The alarm a person would have seen."""

    model_config = ConfigDict(frozen=True)

    node: EntityId
    metric: str | None = None
    timestamp: float | None = None


class CaseFile(BaseModel):
    """`case.json`. Times in unix seconds; every key may be absent."""

    model_config = ConfigDict(frozen=True)

    dataset: str | None = None
    case: str | None = None
    inject_time: float | None = None
    end_time: float | None = None
    fault: str | None = None
    target: TargetAlarm | None = None
    root_cause: CauseTruth | None = None
    normal: str | None = None
    exclude: tuple[tuple[float, float], ...] = ()


class ChangeLine(BaseModel):
    """One line of `changes.jsonl`; `time` in unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: float
    kind: ChangeKind = ChangeKind.OTHER
    entity: EntityId | None = None
    summary: str = ""


def workload_of(entity: str) -> str:
    """The workload a pod belongs to (`cart-579f5959-wc2lz` is of `cart`), else `entity`."""
    match = _POD.match(entity)
    return match["workload"] if match else entity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """A case directory, read whole."""

    path: Path
    about: CaseFile
    table: MetricTable
    """Metrics file and what was derived from traces."""
    history: MetricTable | None
    """The fault-free period, moved to lie before `table`."""
    edges: tuple[tuple[EntityId, EntityId], ...]
    """Caller and callee, from `edges.csv` and traces."""
    changes: tuple[Change, ...]

    def without_excluded(self) -> MetricTable:
        """`table` without the windows that `case.json` says belong to other faults."""
        keep = np.ones(len(self.table.times), np.bool_)
        for first, last in self.about.exclude:
            keep &= (self.table.times < first * SECOND) | (self.table.times > last * SECOND)
        return self.table.rows(keep)


def read_recording(folder: Path) -> Recording:
    """Read a case directory.

    Raises:
        CorruptDataError: A file is malformed; the message names file, line and column.
        PermanentError: A file that must be there is not, or cannot be read.
    """
    about = read_case_file(folder)
    table = read_metrics(find_metrics(folder))
    past = [read_metrics(_in_set(folder, about.normal))] if about.normal is not None else []
    calls_seen: tuple[tuple[EntityId, EntityId], ...] = ()
    traces = folder / TRACES
    if traces.is_file():
        spans = read_spans(traces)
        calls_seen = calls(spans)
        table = merge([table, _of_spans(spans)])
        quiet = next((p for p in (folder / QUIET, folder.parent / QUIET) if p.is_file()), None)
        past += [_of_spans(read_spans(quiet))] if quiet else []
    names = [spec.entity for spec in table.series]
    edges = dict.fromkeys([*resolve_edges(read_edges(folder), names), *calls_seen])
    return Recording(
        path=folder,
        about=about,
        table=table,
        history=merge([move_before(one, table) for one in past]) if past else None,
        edges=tuple(edges),
        changes=read_changes(folder),
    )


def find_metrics(folder: Path) -> Path:
    """The metrics file of a case directory.

    Raises:
        PermanentError: There is none; the message says what was looked for.
    """
    for name in METRIC_FILES:
        if (folder / name).is_file():
            return folder / name
    msg = f"{folder}: not a recorded case, no metrics file in it."
    raise PermanentError(msg, remedy=f"Expected one of {', '.join(METRIC_FILES)}.")


def read_case_file(folder: Path) -> CaseFile:
    """`case.json` of `folder`, or all defaults when there is none.

    Raises:
        CorruptDataError: Not valid JSON, or a key has the wrong type.
    """
    path = folder / "case.json"
    if not path.is_file():
        return CaseFile()
    try:
        return CaseFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CorruptDataError(f"{path}: {_first(error)}") from error


def read_edges(folder: Path) -> tuple[tuple[str, str], ...]:
    """`edges.csv` of the case or, for a whole set, of the folder above: caller and callee names.

    Raises:
        CorruptDataError: A header or a row that is not `caller,callee`.
    """
    path = next(
        (p for p in (folder / "edges.csv", folder.parent / "edges.csv") if p.is_file()), None
    )
    if path is None:
        return ()
    rows = list(csv.reader(io.StringIO(read_text(path))))
    if not rows or [cell.strip() for cell in rows[0][:2]] != ["caller", "callee"]:
        raise CorruptDataError(f"{path}, line 1: the header must be 'caller,callee'.")
    for line, row in enumerate(rows[1:], start=2):
        if row and (len(row) < 2 or not row[0].strip() or not row[1].strip()):
            raise CorruptDataError(f"{path}, line {line}: expected 'caller,callee', found {row}.")
    return tuple((row[0].strip(), row[1].strip()) for row in rows[1:] if row)


def resolve_edges(
    edges: Iterable[tuple[str, str]], entities: Iterable[EntityId]
) -> tuple[tuple[EntityId, EntityId], ...]:
    """Edges between what is measured: an end that names a workload stands for all its pods.

    An end that is neither measured nor the workload of something measured stays as it is.
    """
    by_workload: dict[str, list[EntityId]] = {}
    known = list(dict.fromkeys(entities))
    for entity in known:
        by_workload.setdefault(workload_of(entity), []).append(entity)

    def ends(name: str) -> list[EntityId]:
        return [EntityId(name)] if name in known else by_workload.get(name, [EntityId(name)])

    found = (
        (a, b) for caller, callee in edges for a, b in itertools.product(ends(caller), ends(callee))
    )
    return tuple(dict.fromkeys((a, b) for a, b in found if a != b))


def read_changes(folder: Path) -> tuple[Change, ...]:
    """`changes.jsonl` of the case, if there is one, in order of time.

    Raises:
        CorruptDataError: A line that is not such a JSON object.
    """
    path = folder / "changes.jsonl"
    if not path.is_file():
        return ()
    changes: list[Change] = []
    for number, line in enumerate(read_bytes(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = ChangeLine.model_validate_json(line)
        except ValidationError as error:
            raise CorruptDataError(f"{path}, line {number}: {_first(error)}") from error
        changes.append(
            Change(
                id=ChangeId(derive_id("chg", path.parent.name, number, row.time, row.summary)),
                at=Millis(round(row.time * SECOND)),
                kind=row.kind,
                entity=row.entity,
                summary=row.summary,
                source="file",
            )
        )
    return tuple(sorted(changes, key=lambda change: change.at))


def _in_set(folder: Path, name: str) -> Path:
    """The baseline file `name`, which must lie in the case or its set."""
    found = (folder / name).resolve()
    if not found.is_relative_to(folder.resolve().parent) or not found.is_file():
        msg = f"{folder / 'case.json'}: 'normal' names {name!r}, which is not a file of the set."
        raise PermanentError(msg)
    return found


def _first(error: ValidationError) -> str:
    """The first complaint of pydantic as one line."""
    one = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in one["loc"])
    return f"{where}: {one['msg']}." if where else f"{one['msg']}."


def _of_spans(spans: SpanTable) -> MetricTable:
    times, values, series = span_series(spans)
    return MetricTable(times=times, values=values, series=series)
