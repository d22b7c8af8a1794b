"""Metrics in columns.

A source emits `SampleFrame`s, whose series are described in full. At the intake the series are
interned once into the registry, and from there on only `MetricBatch`es travel:
`(series_id, timestamp, value)` as three arrays of equal length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from dos.model.ids import EntityId, SeriesId

Int8Array = npt.NDArray[np.int8]
UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Role(StrEnum):
    """What a metric says about its entity: the golden signals, and the rest."""

    TRAFFIC = "traffic"
    ERRORS = "errors"
    LATENCY = "latency"
    SATURATION = "saturation"
    AVAILABILITY = "availability"
    OTHER = "other"

    @property
    def is_golden(self) -> bool:
        """Whether users feel it at once: errors, latency, availability."""
        return self in {Role.ERRORS, Role.LATENCY, Role.AVAILABILITY}


class MetricKind(StrEnum):
    """Whether a value stands for itself or only its increase means something."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSpec:
    """A series in full. Two specs with the same entity, metric and labels are the same series."""

    entity: EntityId
    metric: str
    labels: tuple[tuple[str, str], ...] = ()
    """Further labels, sorted by name; empty for one series per entity and metric."""
    role: Role = field(default=Role.OTHER, compare=False)
    unit: str = field(default="", compare=False)
    """Base unit as in Prometheus names: `seconds`, `bytes`, `ratio`, `1/s`, or empty."""
    kind: MetricKind = field(default=MetricKind.GAUGE, compare=False)

    def describe(self) -> str:
        """`checkout latency_p95{code="500"}`, for people."""
        shown = ",".join(f'{name}="{value}"' for name, value in self.labels)
        return f"{self.entity} {self.metric}" + (f"{{{shown}}}" if shown else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """An interned series. After normalisation every series is a gauge (counters became rates)."""

    id: SeriesId
    spec: SeriesSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleFrame:
    """Samples as a source emits them, before interning.

    `series` is the frame's own table; emit the same tuple object again and again and the
    intake interns it only once.
    """

    series: tuple[SeriesSpec, ...]
    index: Int32Array
    """`[sample]` position in `series`."""
    timestamp: Int64Array
    """`[sample]` milliseconds since the epoch."""
    value: Float64Array
    """`[sample]` in the series' base unit; NaN where a sample was taken and had no value."""

    def __post_init__(self) -> None:
        if not len(self.index) == len(self.timestamp) == len(self.value):
            msg = "index, timestamp and value must have equal length"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.value)

    @staticmethod
    def at(series: tuple[SeriesSpec, ...], timestamp: int, value: Float64Array) -> SampleFrame:
        """One sample for each of `series` (`value` is `[series]`) at one time."""
        count = len(series)
        return SampleFrame(
            series=series,
            index=np.arange(count, dtype=np.int32),
            timestamp=np.full(count, timestamp, dtype=np.int64),
            value=np.asarray(value, dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetricBatch:
    """Samples of interned series, finite values only, in order of arrival."""

    series_id: Int32Array
    timestamp: Int64Array
    value: Float64Array

    def __post_init__(self) -> None:
        if not len(self.series_id) == len(self.timestamp) == len(self.value):
            msg = "series_id, timestamp and value must have equal length"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.value)

    @staticmethod
    def empty() -> MetricBatch:
        """A batch of no samples."""
        return MetricBatch(
            series_id=np.empty(0, np.int32),
            timestamp=np.empty(0, np.int64),
            value=np.empty(0, np.float64),
        )

    @staticmethod
    def joined(batches: Sequence[MetricBatch]) -> MetricBatch:
        """The samples of all `batches`, in order of arrival."""
        if not batches:
            return MetricBatch.empty()
        return MetricBatch(
            series_id=np.concatenate([one.series_id for one in batches]),
            timestamp=np.concatenate([one.timestamp for one in batches]),
            value=np.concatenate([one.value for one in batches]),
        )
