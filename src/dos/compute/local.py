"""The in-process shard host: kernels over partitions of the virtual shards, called in place."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from dos.compute.base import VIRTUAL_SHARDS, BlockKernel, ColumnBatch, ShardKernel, shard_of
from dos.kit.errors import CorruptDataError
from dos.model.anomaly import Findings
from dos.model.ids import SeriesId
from dos.model.telemetry import Float64Array, Int32Array, Int64Array, MetricBatch, Series

S = TypeVar("S")


class LocalHost(Generic[S]):
    """Scores batches of interned series.

    Args:
        kernel: What scores.
        partitions: Into how many states the 256 virtual shards are fused. One is fastest in one
            process; findings are the same for any number.
    """

    def __init__(self, kernel: ShardKernel[S], partitions: int = 1) -> None:
        if not 1 <= partitions <= VIRTUAL_SHARDS:
            msg = f"partitions must be 1 to {VIRTUAL_SHARDS}"
            raise ValueError(msg)
        self._kernel = kernel
        self._states: list[S] = [kernel.create() for _ in range(partitions)]
        self._sizes = [0] * partitions
        self._series: list[list[Series]] = [[] for _ in range(partitions)]
        """By partition, in order of their rows."""
        self._partition = np.empty(0, np.int32)
        self._row = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._row)

    @property
    def states(self) -> Sequence[S]:
        """The kernels' states, by partition."""
        return self._states

    def register(self, series: Sequence[Series]) -> None:
        """Take charge of new series; ids follow on those registered before."""
        if not series:
            return
        partition, row = [], []
        fresh: list[list[Series]] = [[] for _ in self._states]
        for one in series:
            index = self._partition_of(one)
            partition.append(index)
            row.append(self._sizes[index] + len(fresh[index]))
            fresh[index].append(one)
        for index, group in enumerate(fresh):
            if group:
                self._states[index] = self._kernel.grow(self._states[index], group)
                self._sizes[index] += len(group)
                self._series[index] += group
        self._partition = np.concatenate([self._partition, np.array(partition, np.int32)])
        self._row = np.concatenate([self._row, np.array(row, np.int32)])

    def step(self, batch: MetricBatch, *, history: bool = False) -> Findings:
        """Score a batch; findings are sorted by time, then series.

        Samples of one series are scored in the order of their timestamps, each after the one
        before it was learned: a batch gives what its samples would give one at a time.
        """
        ids = batch.series_id
        rising = len(ids) < 2 or bool((ids[1:] > ids[:-1]).all())
        if rising and len(self._states) == 1:  # one sample each, in the order of rows: as they are
            return self._one(0, self._row[ids], batch, history=history)
        grid = _grid(batch) if not rising and isinstance(self._kernel, BlockKernel) else None
        if grid is not None:
            return self._step_grid(grid, history=history)
        order = np.lexsort((batch.timestamp, ids))
        found: list[Findings] = []
        for index in np.unique(self._partition[ids]).tolist():
            mine = order[self._partition[ids[order]] == index]
            rows = self._row[ids[mine]]
            by_row = np.argsort(rows, kind="stable")
            samples = MetricBatch(
                series_id=ids[mine][by_row],
                timestamp=batch.timestamp[mine][by_row],
                value=batch.value[mine][by_row],
            )
            found.append(self._one(index, rows[by_row], samples, history=history))
        return _merge([one for one in found if len(one)])

    def _one(self, index: int, row: Int32Array, batch: MetricBatch, *, history: bool) -> Findings:
        """Samples of one partition, in the order of `row`."""
        if not len(batch):
            return Findings.empty()
        columns = ColumnBatch(
            row=row, timestamp=batch.timestamp, value=batch.value, history=history
        )
        self._states[index], findings = self._kernel.step(self._states[index], columns)
        return findings

    def _step_grid(self, grid: _Grid, *, history: bool) -> Findings:
        """A stretch of many series, each of which the kernel may go through in one go."""
        assert isinstance(self._kernel, BlockKernel)  # noqa: S101  `step` has looked
        found: list[Findings] = []
        partitions = self._partition[grid.series]
        for index, state in enumerate(self._states):
            mine = np.flatnonzero(partitions == index)
            if not len(mine):
                continue
            rows = self._row[grid.series[mine]]
            by_row = np.argsort(rows, kind="stable")
            values = np.ascontiguousarray(grid.value[:, mine[by_row]])
            self._states[index], findings = self._kernel.step_block(
                state, rows[by_row], grid.timestamp, values, history=history
            )
            if len(findings):
                found.append(findings)
        return _merge(found)

    def step_if_quiet(self, batch: MetricBatch) -> bool:
        """Score a batch like `step`, if nothing is found in it; else change nothing.

        Returns:
            Whether nothing was found.

        Cost: that of `step`, and a copy of the state. For blocks of many samples a series.
        """
        before = [self._kernel.dump(state) for state in self._states]
        if not len(self.step(batch)):
            return True
        self._states = [self._kernel.load(*pair) for pair in zip(before, self._series, strict=True)]
        return False

    def settle(self, series: SeriesId) -> None:
        """Take what is abnormal in `series` as over; if it lasts it is found anew."""
        index = int(self._partition[series])
        row = self._row[series : series + 1]
        self._states[index] = self._kernel.settle(self._states[index], row)

    def adjust(self, scale: Mapping[SeriesId, float]) -> None:
        """Multiply the thresholds of these series; 1 is what the kernel makes of the data."""
        ids = np.fromiter(scale.keys(), np.int64, len(scale))
        factors = np.fromiter(scale.values(), np.float64, len(scale))
        for index in np.unique(self._partition[ids]).tolist():
            mine = self._partition[ids] == index
            rows = self._row[ids[mine]]
            self._states[index] = self._kernel.adjust(self._states[index], rows, factors[mine])

    def dump(self) -> bytes:
        """All states, exactly."""
        parts = [self._kernel.dump(state) for state in self._states]
        head = struct.pack("<I", len(parts))
        return head + b"".join(struct.pack("<Q", len(part)) + part for part in parts)

    def load(self, data: bytes, series: Sequence[Series]) -> None:
        """Restore what `dump` wrote; `series` are all that were registered then, in order.

        Raises:
            CorruptDataError: The data is damaged or of another kernel or number of partitions.
        """
        try:
            (count,) = struct.unpack_from("<I", data)
            if count != len(self._states):
                msg = f"The checkpoint has {count} partitions, this host {len(self._states)}."
                raise CorruptDataError(msg)
            at, parts = 4, []
            for _ in range(count):
                (size,) = struct.unpack_from("<Q", data, at)
                parts.append(data[at + 8 : at + 8 + size])
                at += 8 + size
        except struct.error as error:
            msg = f"The checkpoint is cut short: {error}."
            raise CorruptDataError(msg) from error
        groups: list[list[Series]] = [[] for _ in parts]  # rows follow from the series alone
        for one in series:
            groups[self._partition_of(one)].append(one)
        states = [self._kernel.load(*pair) for pair in zip(parts, groups, strict=True)]
        self.register(series)
        self._states = states

    def _partition_of(self, series: Series) -> int:
        return shard_of(series.spec) * len(self._states) // VIRTUAL_SHARDS

    def reset(self, series: Sequence[Series]) -> None:
        """Forget all that was learned and take charge of `series` anew."""
        self._states = [self._kernel.create() for _ in self._states]
        self._sizes = [0] * len(self._states)
        self._series = [[] for _ in self._states]
        self._partition, self._row = np.empty(0, np.int32), np.empty(0, np.int32)
        self.register(series)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grid:
    """A batch as a table."""

    series: Int32Array
    timestamp: Int64Array
    value: Float64Array
    """`[time, series]`; NaN where there is no sample."""


_TIMES = 4
"""A batch of fewer times is no block."""
_DENSE = 0.5
"""Share of a table that must be filled, or it is no saving."""


def _grid(batch: MetricBatch) -> _Grid | None:
    """The batch as a table, if it is one of many times in which most cells are filled."""
    count = len(batch)
    if count < _TIMES or batch.timestamp[0] == batch.timestamp[-1]:
        return None  # as a rule one scrape
    times, at = np.unique(batch.timestamp, return_inverse=True)
    series, of = np.unique(batch.series_id, return_inverse=True)
    cells = len(times) * len(series)
    if len(times) < _TIMES or not _DENSE * cells <= count <= cells:
        return None
    value = np.full((len(times), len(series)), np.nan)
    value[at, of] = batch.value
    if np.count_nonzero(~np.isnan(value)) != count:  # one time twice, or no number
        return None
    return _Grid(series=series, timestamp=times, value=value)


def _merge(found: list[Findings]) -> Findings:
    if not found:
        return Findings.empty()
    columns = {
        name: np.concatenate([getattr(one, name) for one in found])
        for name in Findings.__dataclass_fields__
    }
    order = np.lexsort((columns["series_id"], columns["timestamp"]))
    return Findings(**{name: column[order] for name, column in columns.items()})
