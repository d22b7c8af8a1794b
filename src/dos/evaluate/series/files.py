"""Labelled series, one per CSV file with the columns `Data,Label` (1 = anomalous).

The layout of TSB-AD, plain or gzip. Its file names say more: `039_WSD_id_11_WebService_tr_1746_
1st_1846.csv` is of the group WSD, its first 1,746 points may be used for fitting, and the first
anomaly is at 1,846. A file with another name belongs to the group of its folder, and the first
15 % of its points may be used for fitting. A row whose value is missing or not finite is left out,
as the benchmark's authors do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from dos.evaluate.series.vus import stretches
from dos.ingest.tables import read_bytes
from dos.kit.errors import CorruptDataError, PermanentError
from dos.model.telemetry import BoolArray, Float64Array, Int64Array

PREFIX = 0.15
"""Share of a series that may be used for fitting where the file's name does not say."""
SHORTEST = 20
"""Points below which a series says nothing."""
STEPS: dict[str, float] = {
    "WSD": 60.0,
    "SMD": 60.0,
    "IOPS": 300.0,
    "NAB": 300.0,
    "SMAP": 60.0,
    "MSL": 60.0,
}
"""Seconds between samples by group: the files have no times.

WSD and SMD are sampled once a minute. KPIs of IOPS come at one or five minutes; those of TSB-AD
have their day at 288 points. NAB's are mostly at five minutes (its taxi rides at 30). SMAP and MSL
are telemetry of spacecraft with no stated step: a minute is an assumption.
"""
STEP = 60.0
"""Seconds between samples of any other group."""
PUBLISHED = "published_vus_pr.csv"
"""Name of a file beside the series with VUS-PR of other methods: `file,METHOD,METHOD…`."""
_NAME = re.compile(r"\d+_(?P<group>[A-Za-z0-9-]+?)_id_\d+_.*?tr_(?P<prefix>\d+)_1st_\d+")
_FILES = (".csv", ".csv.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One anomaly that was put into a series on purpose."""

    shape: str
    first: int
    last: int
    """Points, both inclusive."""
    effect: float
    """Largest change of a point in robust sigmas of the series' own changes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledSeries:
    """A series, its labels, and what may be used for fitting."""

    name: str
    group: str
    values: Float64Array
    """`[n]` finite."""
    labels: BoolArray
    """`[n]`."""
    prefix: int
    """Points at the beginning that may be used for fitting."""
    step_s: float
    row: Int64Array
    """`[n]` row of the file, from 0, that a point is from."""
    rows: int
    """Rows of the file."""
    assumed_prefix: bool = False
    """Whether `prefix` is `PREFIX` of the points, for want of better knowledge."""
    events: tuple[Event, ...] = ()
    """What was injected, where that is known."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def clean(self) -> int:
        """Points of the prefix before the first labelled one."""
        labelled = np.flatnonzero(self.labels[: self.prefix])
        return int(labelled[0]) if len(labelled) else self.prefix

    @property
    def anomalies(self) -> int:
        """Labelled stretches."""
        return len(stretches(self.labels)[0])


def discover(folders: Sequence[Path]) -> list[Path]:
    """The series files in `folders` and below, sorted, each once; a file stands for itself.

    Raises:
        PermanentError: A folder is not there, or there is no file in any.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if folder.is_file():
            found[folder.resolve()] = None
        elif folder.is_dir():
            inside = sorted(path for path in folder.rglob("*") if path.name.endswith(_FILES))
            found |= {path.resolve(): None for path in inside if path.name != PUBLISHED}
        else:
            raise PermanentError(f"{folder}: no such directory.")
    if not found:
        named = ", ".join(str(folder) for folder in folders)
        msg = f"{named}: no labelled series."
        raise PermanentError(msg, remedy="They are CSV files (or .csv.gz) with Data,Label.")
    return list(found)


def read_series(path: Path, step_s: float | None = None) -> LabelledSeries:
    """Read one file.

    Args:
        path: CSV, or CSV in gzip.
        step_s: Seconds between samples; by the group (`STEPS`) if None.

    Raises:
        CorruptDataError: Not such a file, or shorter than `SHORTEST` points.
        PermanentError: Cannot be read.
    """
    data, label = _columns(path)
    keep = np.flatnonzero(np.isfinite(data) & np.isfinite(label))
    if len(keep) < SHORTEST:
        raise CorruptDataError(f"{path}: {len(keep)} points with a value; {SHORTEST} are needed.")
    if not np.isin(label[keep], (0.0, 1.0)).all():
        raise CorruptDataError(f"{path}: a label is neither 0 nor 1.")
    name = path.name.removesuffix(".gz").removesuffix(".csv")
    told = _NAME.fullmatch(name)
    group = told["group"] if told else path.parent.name
    prefix = int(told["prefix"]) if told else int(PREFIX * len(data))
    return LabelledSeries(
        name=name,
        group=group,
        values=data[keep],
        labels=label[keep] == 1.0,
        prefix=int(np.searchsorted(keep, min(prefix, len(data)))),
        step_s=step_s if step_s is not None else STEPS.get(group, STEP),
        row=keep,
        rows=len(data),
        assumed_prefix=told is None,
    )


def read_all(paths: Sequence[Path], step_s: float | None = None) -> list[LabelledSeries]:
    """Read several files; one whose name another has too is called after its folder as well.

    Raises:
        CorruptDataError: One is not such a file.
        PermanentError: One cannot be read.
    """
    series = [read_series(path, step_s) for path in paths]
    times = Counter(one.name for one in series)
    return [
        one if times[one.name] == 1 else replace(one, name=f"{path.parent.name}__{one.name}")
        for path, one in zip(paths, series, strict=True)
    ]


def published(paths: Sequence[Path]) -> dict[str, dict[str, float]]:
    """VUS-PR by method and name of the series, from the tables beside `paths`.

    Raises:
        CorruptDataError: A table is malformed.
    """
    figures: dict[str, dict[str, float]] = {}
    for folder in dict.fromkeys(path.parent for path in paths):
        path = folder / PUBLISHED
        if not path.is_file():
            continue
        table = _table(path)
        if table.column_names[0] != "file":
            raise CorruptDataError(f"{path}: the first column is not 'file'.")
        names = [name.removesuffix(".csv") for name in table.column("file").to_pylist()]
        for method in table.column_names[1:]:
            values = _numbers(path, table, method)
            known = zip(names, values.tolist(), strict=True)
            figures.setdefault(method, {}).update({k: v for k, v in known if np.isfinite(v)})
    return figures


def _columns(path: Path) -> tuple[Float64Array, Float64Array]:
    table = _table(path)
    columns = {name.strip().lower(): name for name in table.column_names}
    missing = [name for name in ("data", "label") if name not in columns]
    if missing:
        raise CorruptDataError(
            f"{path}: no column {' and '.join(name.title() for name in missing)}.",
            remedy="A labelled series has the columns Data,Label.",
        )
    return _numbers(path, table, columns["data"]), _numbers(path, table, columns["label"])


def _table(path: Path) -> pa.Table:
    try:
        return pv.read_csv(pa.py_buffer(read_bytes(path)))
    except pa.ArrowInvalid as error:
        raise CorruptDataError(f"{path}: not a CSV table: {error}.") from error


def _numbers(path: Path, table: pa.Table, name: str) -> Float64Array:
    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    try:
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CorruptDataError(f"{path}: column {name}: not a number: {error}.") from error
    return np.asarray(numbers, np.float64)
