"""Where the segments of the long-term history lie, and how one file is written and read.

::

    history/series.parquet                     id, entity, metric, labels, role, unit, kind
    history/2026-11-23/143000-300s.parquet     series_id, timestamp, value

The folder and name of a segment say from when to when its samples were taken, so that a reader
skips files without opening them. Anything that reads Parquet can read them, for example DuckDB::

    SELECT entity, metric, timestamp, value
    FROM 'history/*/*.parquet' JOIN 'history/series.parquet' ON id = series_id
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dos.kit.clock import SECOND, Millis, from_rfc3339, to_datetime
from dos.kit.errors import CorruptDataError
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import (
    Int32Array,
    MetricBatch,
    MetricKind,
    Role,
    Series,
    SeriesSpec,
)
from dos.storage.history.precision import as_float32

ROW_GROUP = 64 * 1024
"""Rows; the unit that a reader of a few series skips."""
_NAME = re.compile(r"(\d{2})(\d{2})(\d{2})-(\d+)s\.parquet")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SCHEMA = pa.schema(
    [
        pa.field("series_id", pa.int32(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("value", pa.float32(), nullable=False),
    ]
)
_ENCODING = {
    "series_id": "DELTA_BINARY_PACKED",
    "timestamp": "DELTA_BINARY_PACKED",
    "value": "BYTE_STREAM_SPLIT",
}
_SERIES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int32(), nullable=False),
        pa.field("entity", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("labels", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A file that holds the samples of `[start, end)`."""

    path: Path
    start: Millis
    end: Millis


def segment_at(directory: Path, start: Millis, span_ms: int) -> Segment:
    """The segment of `span_ms` that begins at `start`."""
    begin = to_datetime(start)
    name = f"{begin:%H%M%S}-{span_ms // SECOND}s.parquet"
    path = directory / f"{begin:%Y-%m-%d}" / name
    return Segment(path=path, start=start, end=Millis(start + span_ms))


def segments(directory: Path) -> Iterator[Segment]:
    """All segments, oldest first. Files of other names are none."""
    days = sorted(path for path in directory.iterdir() if _DAY.fullmatch(path.name))
    for day in days:
        for path in sorted(day.iterdir()):
            if match := _NAME.fullmatch(path.name):
                hour, minute, second, span = match.groups()
                start = from_rfc3339(f"{day.name}T{hour}:{minute}:{second}Z")
                yield Segment(path=path, start=start, end=Millis(start + int(span) * SECOND))


def sorted_unique(batch: MetricBatch) -> MetricBatch:
    """Sorted by `(series_id, timestamp)`; of equal ones the last to arrive stays."""
    order = np.lexsort((batch.timestamp, batch.series_id))
    series_id, timestamp = batch.series_id[order], batch.timestamp[order]
    last = np.ones(len(order), np.bool_)
    last[:-1] = (series_id[1:] != series_id[:-1]) | (timestamp[1:] != timestamp[:-1])
    return MetricBatch(
        series_id=series_id[last], timestamp=timestamp[last], value=batch.value[order][last]
    )


def write_samples(path: Path, batch: MetricBatch) -> None:
    """Write a segment (sorted already), atomically. Values become float32.

    Delta encoding makes timestamps nearly free, and splitting the bytes of the floats lets zstd
    find their equal exponents: 2 to 3 bytes a sample for metrics that vary, less for steady ones.
    """
    columns = {
        "series_id": pa.array(batch.series_id),
        "timestamp": pa.array(batch.timestamp).cast(pa.timestamp("ms", tz="UTC")),
        "value": pa.array(as_float32(batch.value)),
    }
    _write(path, pa.table(columns, schema=_SCHEMA), _ENCODING)


def read_samples(path: Path, series_ids: Int32Array | None = None) -> MetricBatch:
    """The samples of a segment, of all series or of the given ones (sorted).

    Row groups without any of these series are not read.

    Raises:
        CorruptDataError: The file is no such segment, or damaged; names it.
    """
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            groups = _groups(file.metadata, series_ids)
            if not groups:
                return MetricBatch.empty()
            table = file.read_row_groups(groups, columns=_SCHEMA.names)
            series = table["series_id"].to_numpy().astype(np.int32, copy=False)
            timestamp = table["timestamp"].cast(pa.int64()).to_numpy()
            value = table["value"].to_numpy().astype(np.float64)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise damaged(path, error) from error
    if series_ids is not None:
        kept = np.isin(series, series_ids)
        series, timestamp, value = series[kept], timestamp[kept], value[kept]
    return MetricBatch(series_id=series, timestamp=timestamp, value=value)


def write_series(path: Path, series: Sequence[Series]) -> None:
    """Write the table that says what the series ids stand for, atomically."""
    specs = [one.spec for one in series]
    columns = {
        "id": [int(one.id) for one in series],
        "entity": [spec.entity for spec in specs],
        "metric": [spec.metric for spec in specs],
        "labels": [list(spec.labels) for spec in specs],
        "role": [spec.role.value for spec in specs],
        "unit": [spec.unit for spec in specs],
        "kind": [spec.kind.value for spec in specs],
    }
    _write(path, pa.table(columns, schema=_SERIES_SCHEMA))


def read_series(path: Path) -> Sequence[Series]:
    """The series that `write_series` wrote, in order of their ids.

    Raises:
        CorruptDataError: The file is no such table, or damaged; names it.
    """
    try:
        rows = pq.read_table(path, schema=_SERIES_SCHEMA).to_pylist()
        return [
            Series(
                id=SeriesId(row["id"]),
                spec=SeriesSpec(
                    entity=EntityId(row["entity"]),
                    metric=row["metric"],
                    labels=tuple((name, value) for name, value in row["labels"]),
                    role=Role(row["role"]),
                    unit=row["unit"],
                    kind=MetricKind(row["kind"]),
                ),
            )
            for row in rows
        ]
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> CorruptDataError:
    """The error for a file of the history that cannot be read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    msg = f"{path} of the history cannot be read: {reason.rstrip('.')}."
    return CorruptDataError(msg, remedy="Restore it from a backup or move it away.")


def _groups(metadata: pq.FileMetaData, series_ids: Int32Array | None) -> list[int]:
    """The row groups that may hold one of `series_ids`, by their statistics."""
    every = range(metadata.num_row_groups)
    if series_ids is None:
        return list(every)
    found = []
    for group in every:
        statistics = metadata.row_group(group).column(0).statistics
        if statistics is None or not statistics.has_min_max:
            found.append(group)
            continue
        first = np.searchsorted(series_ids, statistics.min)
        if first < len(series_ids) and series_ids[first] <= statistics.max:
            found.append(group)
    return found


def _write(path: Path, table: pa.Table, encoding: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    pq.write_table(
        table,
        fresh,
        compression="zstd",
        compression_level=3,
        row_group_size=ROW_GROUP,
        use_dictionary=encoding is None,
        column_encoding=encoding,
    )
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(path)
