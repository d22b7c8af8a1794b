"""Spans of a recording into columns: who calls whom, and where the time goes.

Modest on purpose: per workload and `BUCKET` of time, the median and 95th percentile of the time
spent in its own code, and of the time its calls spent between it and the other side. The latter
counts for both sides of a call: a pod with a slow network is slow towards everybody, so its own
median rises, while the median of each neighbour is held down by its other calls.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dos.ingest.tables import read_text
from dos.kit.clock import SECOND
from dos.kit.errors import CorruptDataError
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int64Array, Role, SeriesSpec

COLUMNS = ("trace", "span", "parent", "pod", "operation", "start_us", "duration_us")
BUCKET = 15 * SECOND
OWN = (("scope", "self"),)
"""Label of what an entity spends by itself, which no callee can be blamed for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpanTable:
    """Spans in columns `[span]`."""

    entity: tuple[EntityId, ...]
    parent: Int64Array
    """Row of the parent span, -1 for a root or a parent that is not in the table."""
    start: Int64Array
    """ms since the epoch."""
    duration: Float64Array
    """Seconds."""


def read_spans(path: Path) -> SpanTable:
    """Read a traces file.

    Raises:
        CorruptDataError: A column is missing or a cell is not what it must be.
    """
    rows = csv.reader(io.StringIO(read_text(path)))
    header = next(rows, [])
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise CorruptDataError(f"{path}, line 1: missing column {', '.join(missing)}.")
    trace, span, parent, pod, _, start, duration = (header.index(name) for name in COLUMNS)
    found: list[tuple[str, str, str, EntityId, int, int]] = []
    for line, row in enumerate(rows, start=2):
        try:
            found.append(
                (
                    row[trace],
                    row[span],
                    row[parent],
                    EntityId(row[pod]),
                    int(row[start]),
                    int(row[duration]),
                )
            )
        except (ValueError, IndexError) as error:
            raise CorruptDataError(f"{path}, line {line}: not a span: {error}.") from error
    return table_of(found)


def calls(spans: SpanTable) -> tuple[tuple[EntityId, EntityId], ...]:
    """Caller and callee of every parent and child in different entities, sorted, once each."""
    found = {
        (spans.entity[parent], spans.entity[row])
        for row, parent in enumerate(spans.parent.tolist())
        if parent >= 0 and spans.entity[parent] != spans.entity[row]
    }
    return tuple(sorted(found))


def span_series(
    spans: SpanTable,
) -> tuple[Int64Array, Float64Array, tuple[SeriesSpec, ...]]:
    """Times `[time]`, values `[time, series]` and series of the time per entity; see above."""
    names = sorted(set(spans.entity))
    place = {name: i for i, name in enumerate(names)}
    entity = np.array([place[name] for name in spans.entity], np.int64)
    bucket = spans.start // BUCKET
    first = int(bucket.min()) if len(bucket) else 0
    steps = int(bucket.max()) - first + 1 if len(bucket) else 0
    step = bucket - first

    child = np.flatnonzero(spans.parent >= 0)
    parent = spans.parent[child]
    inside = np.bincount(parent, weights=spans.duration[child], minlength=len(spans.duration))
    away = entity[child] != entity[parent]
    # A span with a child elsewhere is a call: what the child does not account for is on the way.
    remote = np.bincount(
        parent[away], weights=spans.duration[child[away]], minlength=len(spans.duration)
    )
    is_call = remote > 0
    own = ~is_call
    self_time = np.maximum(spans.duration - inside, 0.0)
    ends = child[away]
    way = np.maximum(spans.duration[parent[away]] - remote[parent[away]], 0.0)
    columns = []
    specs: list[SeriesSpec] = []
    groups = (
        ("trace_self_seconds", OWN, entity[own], step[own], self_time[own]),
        (
            "trace_network_seconds",
            (),
            np.concatenate([entity[parent[away]], entity[ends]]),
            np.concatenate([step[parent[away]]] * 2),
            np.concatenate([way, way]),
        ),
    )
    for metric, labels, who, when, value in groups:
        for level in (0.5, 0.95):
            columns.append(_grouped_quantile(who, when, value, (len(names), steps), level))
            specs += [
                SeriesSpec(
                    entity=name,
                    metric=f"{metric}_p{level * 100:.0f}",
                    labels=labels,
                    role=Role.LATENCY,
                    unit="seconds",
                )
                for name in names
            ]
    # A bucket is known when it is over.
    times = (np.arange(steps, dtype=np.int64) + first + 1) * BUCKET
    return times, np.hstack(columns), tuple(specs)


def _grouped_quantile(
    who: Int64Array,
    when: Int64Array,
    value: Float64Array,
    shape: tuple[int, int],
    level: float,
) -> Float64Array:
    """`[time, entity]` quantile (nearest rank) of `value` by entity and step; NaN where none."""
    entities, steps = shape
    key = when * entities + who
    order = np.lexsort((value, key))
    count = np.bincount(key, minlength=entities * steps)
    end = np.cumsum(count)
    position = end - count + np.floor(level * np.maximum(count - 1, 0)).astype(np.int64)
    out = np.full(entities * steps, np.nan)
    some = count > 0
    out[some] = value[order][position[some]]
    return out.reshape(steps, entities)


def table_of(rows: Sequence[tuple[str, str, str, EntityId, int, int]]) -> SpanTable:
    """Spans from rows `(trace, span, parent, entity, start_us, duration_us)`."""
    place = {(trace, span): i for i, (trace, span, *_) in enumerate(rows)}
    return SpanTable(
        entity=tuple(row[3] for row in rows),
        parent=np.array(
            [place.get((row[0], row[2]), -1) if row[2] else -1 for row in rows], np.int64
        ),
        start=np.array([row[4] // 1000 for row in rows], np.int64),
        duration=np.array([row[5] / 1e6 for row in rows], np.float64),
    )
