"""Recent samples in a ring: what detection, ranking and charts look back on.

Time is cut into slots of `resolution` ms. Series are kept in blocks of 1,024: a block holds, for
each of its rows, the slot the row stands for now, and the values `[row, series]` as float32. The
row of slot `s` is `s % rows`, so new slots overwrite the oldest, and a row that still stands for
an older slot reads as NaN. A block needs no initialisation, and grows nothing but itself.

With a directory the blocks are one memory-mapped file, `ring.dat`: what was appended lies in the
page cache and so survives `kill -9` (after a power cut the last seconds may be missing; the
intake log is replayed over them anyway). One writer; not for use from several threads.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dos.kit import log
from dos.kit.clock import Millis
from dos.kit.errors import TransientError
from dos.model.ids import SeriesId
from dos.model.telemetry import Float32Array, Float64Array, Int64Array, MetricBatch
from dos.storage.base import Window
from dos.storage.history.precision import as_float32

_LANE_BITS = 10
LANES = 1 << _LANE_BITS
"""Series per block."""
_MAGIC = b"DOSRING1"
_HEADER = struct.Struct("<8sqqq")
"""Magic, resolution in ms, rows, series per block."""
_PAGE = 4096
_NEVER = -1
_logger = log.get("storage")


class RingHistory:
    """A `History` of fixed length.

    Memory or disk: `4.1 KiB * retention / resolution` per 1,024 series (2 MiB for 2 h at 15 s).

    Args:
        directory: Where `ring.dat` lies; None keeps everything in memory.
        resolution_ms: Width of a slot. Of several samples of a series in one slot, the one that
            arrived last counts.
        retention_ms: How far back to look, at least; rounded up to whole slots.

    Raises:
        ValueError: Resolution or retention is not positive.
    """

    def __init__(
        self, directory: Path | str | None, *, resolution_ms: int, retention_ms: int
    ) -> None:
        if resolution_ms <= 0 or retention_ms <= 0:
            msg = "resolution and retention of the history must be positive"
            raise ValueError(msg)
        self._resolution = resolution_ms
        self._rows = -(-retention_ms // resolution_ms) + 1
        self._block_bytes = self._rows * (8 + 4 * LANES)
        self._path = None if directory is None else Path(directory) / "ring.dat"
        self._newest = _NEVER
        self._use(bytearray(_PAGE))
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open(self._path)

    @property
    def resolution(self) -> int:
        """Width of a slot in ms."""
        return self._resolution

    def append(self, batch: MetricBatch) -> None:
        """Keep the samples; those older than the retention are dropped.

        Cost: about 20 µs for 600 series at one time, 20 ns a sample for large batches.

        Raises:
            TransientError: The disk is full; nothing was kept.
            ValueError: A series id is negative.
        """
        if len(batch) == 0:
            return
        first = int(batch.timestamp.min()) // self._resolution
        last = int(batch.timestamp.max()) // self._resolution
        lowest, highest = int(batch.series_id.min()), int(batch.series_id.max())
        if lowest < 0:
            msg = f"{lowest} is no series id"
            raise ValueError(msg)
        self._grow(highest // LANES + 1)
        self._newest = max(self._newest, last)
        if first == last >= self._oldest and lowest // LANES == highest // LANES:
            # What a scrape of a small system brings, made quick: one row of one block.
            row = self._claim_one(lowest // LANES, last)
            row[batch.series_id % LANES] = as_float32(batch.value)
            return
        slots = batch.timestamp // self._resolution
        series, value = batch.series_id.astype(np.int64), batch.value
        if first < self._oldest:
            kept = slots >= self._oldest
            series, slots, value = series[kept], slots[kept], value[kept]
        if len(slots):
            self._store(series, slots, value)

    def window(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """Samples of `series` in `[start, end]`, clipped to what is kept.

        `Window.times` are the beginnings of the slots. Cost: about 10 ns a value.
        """
        first = max(self._oldest, start // self._resolution)
        last = min(self._newest, end // self._resolution)
        slots = np.arange(first, last + 1, dtype=np.int64)
        values = np.full((len(slots), len(series)), np.nan, np.float32)
        wanted = np.asarray(series, dtype=np.int64)
        known = np.flatnonzero((wanted >= 0) & (wanted < self._blocks * LANES))
        if len(slots) and len(known):
            values[:, known] = self._read(wanted[known], slots)
        return Window(times=slots * self._resolution, values=values)

    def close(self) -> None:
        """Put everything on the disk and release the file; the ring is empty afterwards."""
        if isinstance(self._buffer, mmap.mmap):
            self._buffer.flush()
        self._newest = _NEVER
        self._use(bytearray(_PAGE))

    @property
    def _oldest(self) -> int:
        """The oldest slot still kept."""
        return max(0, self._newest - self._rows + 1)

    def _store(self, series: Int64Array, slots: Int64Array, value: Float64Array) -> None:
        """Keep samples of any series and slots; there is room, and none is too old."""
        block = series >> _LANE_BITS
        where = block * (self._block_bytes // 4) + (series & (LANES - 1))
        if (slots == slots[0]).all():
            row = int(slots[0]) % self._rows
            blocks = np.flatnonzero(np.bincount(block))
            self._claim(blocks, np.full(len(blocks), row))
            where += self._first_value + row * LANES
        else:
            rows = slots % self._rows
            pairs = np.flatnonzero(np.bincount(block * self._rows + rows))
            self._claim(pairs // self._rows, pairs % self._rows)
            where += self._first_value + rows * LANES
        self._cells[where] = as_float32(value)

    def _read(self, series: Int64Array, slots: Int64Array) -> Float32Array:
        """Values `[slot, series]` of series that have a block."""
        rows = slots % self._rows
        blocks, which = np.unique(series // LANES, return_inverse=True)
        current = self._slots[blocks[:, None], rows] == slots + 1
        where = series // LANES * (self._block_bytes // 4) + series % LANES
        values: Float32Array = self._cells[where + (self._first_value + rows * LANES)[:, None]]
        values[~current[which].T] = np.nan
        return values

    def _claim_one(self, block: int, slot: int) -> Float32Array:
        """The row of one slot in one block, `[series]`, made to stand for it as in `_claim`."""
        row = slot % self._rows
        values: Float32Array = self._values[block, row]
        if self._slots[block, row] != slot + 1:
            self._slots[block, row] = 0
            values[:] = np.nan
            self._slots[block, row] = slot + 1
        return values

    def _claim(self, blocks: Int64Array, rows: Int64Array) -> None:
        """Make the rows stand for the slots they have now, without values of former slots.

        A row is marked as standing for nothing while it is cleared, so that a process killed in
        between leaves no values of another time.
        """
        slots = self._newest - (self._newest - rows) % self._rows
        stale = self._slots[blocks, rows] != slots + 1
        if not stale.any():
            return
        blocks, rows, slots = blocks[stale], rows[stale], slots[stale]
        self._slots[blocks, rows] = 0
        self._values[blocks, rows] = np.nan
        self._slots[blocks, rows] = slots + 1

    def _grow(self, blocks: int) -> None:
        if blocks <= self._blocks:
            return
        if self._path is None:
            blocks = max(blocks, 2 * self._blocks)
            grown = bytearray(_PAGE + blocks * self._block_bytes)
            grown[: len(self._buffer)] = self._buffer
            self._use(grown)
        else:
            self._map(self._path, blocks)

    def _open(self, path: Path) -> None:
        """Map the file, or start anew when it is of other dimensions or no ring at all."""
        header = _HEADER.pack(_MAGIC, self._resolution, self._rows, LANES)
        with path.open("ab+") as file:
            file.seek(0)
            found = file.read(_HEADER.size)
            if found != header:
                if found:
                    _logger.warning(
                        "history_started_anew", file=str(path), resolution_ms=self._resolution,
                        reason="its resolution or retention differs, or it is damaged",
                    )  # fmt: skip
                file.truncate(0)
                file.write(header.ljust(_PAGE, b"\0"))
        blocks = (path.stat().st_size - _PAGE) // self._block_bytes
        self._map(path, blocks)
        self._newest = int(self._slots.max(initial=_NEVER + 1)) - 1

    def _map(self, path: Path, blocks: int) -> None:
        """Map the file with room for `blocks`.

        The room is reserved on the disk: writing into a hole of a full disk would kill the
        process (SIGBUS), reserving it fails with an error.
        """
        size = _PAGE + blocks * self._block_bytes
        with path.open("rb+") as file:
            try:
                _reserve(file.fileno(), size)
            except OSError as error:
                msg = f"Cannot grow {path} to {size} bytes: {error.strerror}."
                raise TransientError(msg, remedy="Free some disk space.") from error
            self._use(mmap.mmap(file.fileno(), size))

    def _use(self, buffer: bytearray | mmap.mmap) -> None:
        """Lay the views over `buffer`."""
        self._buffer = buffer
        self._blocks = (len(buffer) - _PAGE) // self._block_bytes
        data = np.frombuffer(buffer, np.uint8, self._blocks * self._block_bytes, _PAGE)
        by_block = data.reshape(self._blocks, self._block_bytes)
        head = 8 * self._rows
        self._first_value = head // 4
        self._cells: Float32Array = data.view(np.float32)
        self._slots: Int64Array = by_block[:, :head].view(np.int64)
        """`[block, row]` slot the row stands for, plus one; 0 for none."""
        values: Float32Array = by_block[:, head:].view(np.float32)
        self._values = values.reshape(self._blocks, self._rows, LANES)


def _reserve(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(file, 0, size)
    os.ftruncate(file, size)
