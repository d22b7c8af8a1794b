"""Metrics files of recordings, CSV or Parquet, read into columns with errors that name the place.

All reading is eager: a recording fits in memory (`MAX_BYTES` decoded per file).
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

from dos.ingest.roles import meaning_of
from dos.kit.clock import DAY, SECOND
from dos.kit.errors import CorruptDataError, PermanentError
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array, Int64Array, MetricKind, SeriesSpec

MAX_BYTES = 1 << 30
"""Decoded size above which a file is refused (1 GiB)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetricTable:
    """A metrics file."""

    times: Int64Array
    """`[time]` ms, strictly ascending."""
    values: Float64Array
    """`[time, series]`; NaN where the cell was empty."""
    series: tuple[SeriesSpec, ...]

    def rows(self, keep: BoolArray) -> MetricTable:
        """The rows where `keep` `[time]` is true."""
        return MetricTable(times=self.times[keep], values=self.values[keep], series=self.series)


def read_metrics(path: Path) -> MetricTable:
    """Read a metrics file, CSV (plain or gzip) or Parquet.

    Raises:
        CorruptDataError: The file is not such a table; the message names file, line and column.
    """
    if path.suffix == ".parquet":
        try:
            table = pq.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise CorruptDataError(f"{path}: not a readable Parquet file: {error}") from error
        _check_header(path, table.column_names)
    else:
        table = _read_csv(path)
    times = _times(path, table.column("time"))
    names = [name for name in table.column_names if name != "time"]
    columns = [_column(path, table, name) for name in names]
    specs = _specs(path, names, columns)
    scaled = [column * scale for column, (_, scale) in zip(columns, specs, strict=True)]
    return MetricTable(
        times=times,
        values=np.column_stack(scaled) if scaled else np.empty((len(times), 0)),
        series=tuple(spec for spec, _ in specs),
    )


def merge(tables: Sequence[MetricTable]) -> MetricTable:
    """One table of all series and all times; NaN where a table has no sample."""
    if len(tables) == 1:
        return tables[0]
    series = tuple(dict.fromkeys(spec for table in tables for spec in table.series))
    times = np.unique(np.concatenate([table.times for table in tables]))
    place = {spec: column for column, spec in enumerate(series)}
    values = np.full((len(times), len(series)), np.nan)
    for table in tables:
        rows = np.searchsorted(times, table.times)
        columns = np.array([place[spec] for spec in table.series], np.intp)
        values[rows[:, None], columns] = table.values
    return MetricTable(times=times, values=values, series=series)


def move_before(history: MetricTable, table: MetricTable) -> MetricTable:
    """`history` moved by whole days to end before `table`, so that the time of day stays true."""
    if not len(table.times) or not len(history.times):
        return history
    excess = int(history.times[-1]) - int(table.times[0])
    shift = (excess // DAY + 1) * DAY if excess >= 0 else 0
    return MetricTable(times=history.times - shift, values=history.values, series=history.series)


def read_text(path: Path) -> str:
    """The text of a file, gunzipped if its name says so.

    Raises:
        CorruptDataError: Broken gzip, or not UTF-8.
        PermanentError: Cannot be read, or larger than `MAX_BYTES`.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptDataError(f"{path}: not UTF-8 text: {error.reason}.") from error


def read_bytes(path: Path) -> bytes:
    """The content of a file, gunzipped if its name says so; errors as for `read_text`."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorruptDataError(f"{path}: broken gzip: {error}") from error
    except OSError as error:
        raise PermanentError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if len(data) > MAX_BYTES:
        raise PermanentError(f"{path}: larger than {MAX_BYTES >> 20} MiB decoded.")
    return data


def _read_csv(path: Path) -> pa.Table:
    data = read_bytes(path)
    try:
        header = next(csv.reader(io.StringIO(data.partition(b"\n")[0].decode("utf-8-sig"))), [])
    except UnicodeDecodeError as error:
        raise CorruptDataError(f"{path}, line 1: not UTF-8 text: {error.reason}.") from error
    _check_header(path, header)
    convert = pv.ConvertOptions(
        column_types={name: pa.float64() for name in header}, null_values=["", "NaN", "nan"]
    )
    read = pv.ReadOptions(column_names=header, skip_rows=1)
    try:
        return pv.read_csv(pa.BufferReader(data), read_options=read, convert_options=convert)
    except pa.ArrowInvalid as error:
        raise CorruptDataError(_culprit(path, data, header) or f"{path}: {error}") from error


def _culprit(path: Path, data: bytes, header: list[str]) -> str | None:
    """The first row or cell that is not right, as a sentence; arrow names neither reliably."""
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig", errors="replace")))
    for line, row in enumerate(rows, start=1):
        if line == 1 or not row:
            continue
        if len(row) != len(header):
            return f"{path}, line {line}: {len(row)} cells, but the header has {len(header)}."
        for name, cell in zip(header, row, strict=True):
            if cell and not _is_number(cell):
                return f"{path}, line {line}, column {name!r}: {cell!r} is not a number."
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_header(path: Path, header: list[str]) -> None:
    if "time" not in header:
        msg = f"{path}, line 1: there is no column 'time'."
        raise CorruptDataError(msg, remedy="Name the column with unix seconds 'time'.")
    seen: set[str] = set()
    for name in header:
        if name in seen:
            raise CorruptDataError(f"{path}, line 1: column {name!r} appears twice.")
        seen.add(name)


def _times(path: Path, column: pa.ChunkedArray) -> Int64Array:
    # The header is line 1, so row 0 is line 2.
    try:
        seconds = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise CorruptDataError(f"{path}, column 'time': not numbers: {error}") from error
    missing = np.flatnonzero(~np.isfinite(seconds))
    if missing.size:
        raise CorruptDataError(f"{path}, line {missing[0] + 2}: the time is missing.")
    times: Int64Array = np.round(seconds * SECOND).astype(np.int64)
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if wrong.size:
        row = int(wrong[0]) + 1
        here, above = seconds[row], seconds[row - 1]
        msg = f"{path}, line {row + 2}: time {here:.15g} is not after {above:.15g}."
        raise CorruptDataError(msg, remedy="Sort the rows by time, one row for each time.")
    return times


def _column(path: Path, table: pa.Table, name: str) -> Float64Array:
    try:
        values: Float64Array = table.column(name).cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CorruptDataError(f"{path}, column {name!r}: not numbers: {error}") from error
    return values


def _specs(
    path: Path, names: list[str], columns: list[Float64Array]
) -> list[tuple[SeriesSpec, float]]:
    """The series of each column, and what to multiply its values by to have them in its unit."""
    parts = [_split(path, name) for name in names]
    falls = {metric for (_, metric), column in zip(parts, columns, strict=True) if _falls(column)}
    found: list[tuple[SeriesSpec, float]] = []
    for entity, metric in parts:
        meaning = meaning_of(metric)
        # Many recordings hold the rate of a counter under the counter's name: look at the values.
        kind = MetricKind.GAUGE if metric in falls else meaning.kind
        spec = SeriesSpec(
            entity=entity, metric=metric, role=meaning.role, unit=meaning.unit, kind=kind
        )
        found.append((spec, meaning.scale))
    return found


def _split(path: Path, name: str) -> tuple[EntityId, str]:
    entity, separator, metric = name.rpartition("|")
    if not separator or not entity or not metric:
        msg = f"{path}, line 1: column {name!r} is not of the form 'entity|metric'."
        raise CorruptDataError(msg)
    return EntityId(entity), metric


def _falls(values: Float64Array) -> bool:
    """Whether a column falls more often than a counter that is reset now and then."""
    finite = values[np.isfinite(values)]
    return int(np.sum(np.diff(finite) < 0)) > max(2, finite.size // 50)
