"""The ports of compute: a pure kernel that scores a shard, and a host that runs kernels.

Series are spread over 256 fixed virtual shards by a hash of their entity, so that moving shards
between hosts never changes what a series' state is, and all that is known of one entity is in one
state: a kernel may look at its series together. A host may fuse the virtual shards it owns into
one state: findings do not depend on which entities are put together (the contract suite asserts
it, byte for byte).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from dos.model.anomaly import Findings
from dos.model.telemetry import BoolArray, Float64Array, Int32Array, Int64Array, Series, SeriesSpec

VIRTUAL_SHARDS = 256

S = TypeVar("S")


def shard_of(spec: SeriesSpec) -> int:
    """The virtual shard of a series, 0 to 255: that of its entity, the same on every machine."""
    return zlib.crc32(spec.entity.encode()) % VIRTUAL_SHARDS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColumnBatch:
    """Samples for a kernel, by row of the kernel's state."""

    row: Int32Array
    """`[sample]` row in the state, ascending. Samples of one row follow each other in the order
    in which they are to be scored, each after the one before it was learned."""
    timestamp: Int64Array
    value: Float64Array
    history: bool = False
    """True for back-fill: learn, decide nothing."""

    def where(self, chosen: BoolArray) -> ColumnBatch:
        """The samples that a mask marks; the batch itself if those are all."""
        if chosen.all():
            return self
        return ColumnBatch(
            row=self.row[chosen],
            timestamp=self.timestamp[chosen],
            value=self.value[chosen],
            history=self.history,
        )


class ShardKernel(Protocol[S]):
    """Scores the series of one state. Pure: no I/O, no clock, no randomness."""

    version: str
    """Changes whenever equal input could give other findings; part of a finding's identity."""

    def create(self) -> S:
        """State of no series."""
        ...

    def grow(self, state: S, series: Sequence[Series]) -> S:
        """Add one row for each of `series`, in order."""
        ...

    def step(self, state: S, batch: ColumnBatch) -> tuple[S, Findings]:
        """Score one batch; may reuse `state`'s arrays. `Findings.series_id` are real ids."""
        ...

    def settle(self, state: S, row: Int32Array) -> S:
        """Take what is abnormal at `row` as over; if it lasts it is found anew."""
        ...

    def adjust(self, state: S, row: Int32Array, scale: Float64Array) -> S:
        """Multiply the thresholds of `row` by `scale`; 1 is what the kernel makes of the data."""
        ...

    def dump(self, state: S) -> bytes:
        """The state as bytes, exactly."""
        ...

    def load(self, data: bytes, series: Sequence[Series]) -> S:
        """The state `dump` wrote; `series` are those of its rows, in order.

        Raises:
            CorruptDataError: Not such bytes, or of another version of the kernel.
        """
        ...


@runtime_checkable
class BlockKernel(Protocol[S]):
    """A kernel that takes many samples of many series at once, quicker than one after the other."""

    def step_block(
        self,
        state: S,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        *,
        history: bool,
    ) -> tuple[S, Findings]:
        """What one `step` a time would give.

        Args:
            state: What is known.
            row: `[series]` rows, ascending, without repeats.
            timestamp: `[time]` ms, ascending.
            value: `[time, series]`; NaN where a series has no sample.
            history: Learn, decide nothing.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State up to an offset of the intake log. Whoever holds a newer epoch has taken over."""

    epoch: int
    offset: int
    data: bytes


class CheckpointStore(Protocol):
    """Keeps the newest checkpoint of a host."""

    def load(self) -> Checkpoint | None:
        """The newest intact checkpoint, or None."""
        ...

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace, atomically.

        Raises:
            PermanentError: A checkpoint with a newer epoch is there: another host took over.
        """
        ...
