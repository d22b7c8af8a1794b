"""What a system's metrics were, read from disk to learn from: long-term history, or a recording.

The samples of each series become evenly spaced stretches: cut where samples are missing for long,
filled in between where one or two are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dos.ingest.recorded import METRIC_FILES
from dos.ingest.tables import read_metrics
from dos.kit.clock import Millis
from dos.kit.errors import PermanentError
from dos.model.telemetry import Float64Array, Int64Array
from dos.storage.history.segments import SegmentHistory

_SERIES_TABLE = "series.parquet"
_GAP = 4.0
"""Steps without a sample at which a stretch ends."""
_SHORTEST = 200
"""Samples of a stretch that is used."""
_TOGETHER = 500
"""Series read at a time."""
_EVER = (Millis(0), Millis(2**62))


def read_past(folder: Path) -> list[Float64Array]:
    """Every stretch of every series under `folder`, each `[n]`, finite and evenly spaced.

    Args:
        folder: The `history` of a data directory (or that directory), a directory with a metrics
            file (`metrics.parquet`, `metrics.csv`, `metrics.csv.gz`), or a folder of such
            directories.

    Raises:
        PermanentError: There is neither.
        CorruptDataError: A file is damaged; names it.
    """
    for place in (folder, folder / "history"):
        if (place / _SERIES_TABLE).is_file():
            return list(_segments(place))
    files = [
        case / name
        for case in (folder, *sorted(one for one in folder.glob("*") if one.is_dir()))
        for name in METRIC_FILES
        if (case / name).is_file()
    ]
    if not files:
        msg = f"{folder}: there is neither history nor a metrics file."
        remedy = f"Expected {_SERIES_TABLE} with segments, or one of {', '.join(METRIC_FILES)}."
        raise PermanentError(msg, remedy=remedy)
    return [stretch for path in files for stretch in _table(path)]


def stretches(timestamp: Int64Array, value: Float64Array) -> Iterator[Float64Array]:
    """Evenly spaced stretches of one series.

    Args:
        timestamp: `[n]` ms, ascending.
        value: `[n]`; what is not finite counts as missing.
    """
    known = np.isfinite(value)
    timestamp, value = timestamp[known], value[known]
    if len(value) < _SHORTEST:
        return
    passed = np.diff(timestamp)
    step = float(np.median(passed))
    if step <= 0:
        return
    cuts = np.flatnonzero(passed > _GAP * step) + 1
    for times, values in zip(np.split(timestamp, cuts), np.split(value, cuts), strict=True):
        count = round(float(times[-1] - times[0]) / step) + 1
        if count >= _SHORTEST and float(np.ptp(values)) > 0:
            grid = times[0] + step * np.arange(count)
            even: Float64Array = np.interp(grid, times.astype(np.float64), values)
            yield even


def _segments(folder: Path) -> Iterator[Float64Array]:
    history = SegmentHistory(folder)
    ids = [one.id for one in history.series()]
    for first in range(0, len(ids), _TOGETHER):
        samples = history.read(ids[first : first + _TOGETHER], *_EVER)
        cuts = np.flatnonzero(np.diff(samples.series_id)) + 1
        times, values = np.split(samples.timestamp, cuts), np.split(samples.value, cuts)
        for mine, said in zip(times, values, strict=True):
            yield from stretches(mine, said)


def _table(path: Path) -> Iterator[Float64Array]:
    table = read_metrics(path)
    for column in table.values.T:
        yield from stretches(table.times, column)
