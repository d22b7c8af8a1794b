"""Samples of months in Parquet files of five minutes each: what charts and training look back on.

`append` keeps samples in memory; `flush` writes those of finished spans, each span to one file,
whose name depends on nothing but the time. Samples that come late are merged into the file that
is there, so writing the same samples again changes nothing. That is the recovery too: what was
not written when the process was killed comes again when the intake log is replayed.

`append` and `add_series` are cheap and made for the event loop; the others do file work, one at a
time, and may run in another thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dos.kit import log
from dos.kit.clock import MINUTE, SECOND, Millis
from dos.kit.errors import CorruptDataError, TransientError
from dos.model.ids import SeriesId
from dos.model.telemetry import MetricBatch, Series
from dos.storage.history.files import (
    Segment,
    read_samples,
    read_series,
    segment_at,
    segments,
    sorted_unique,
    write_samples,
    write_series,
)
from dos.storage.history.precision import as_float32

_logger = log.get("storage")


class SegmentHistory:
    """The long-term history in a directory.

    Args:
        directory: Where the files lie; created when it is missing.
        span_ms: Time that one file covers; whole seconds that divide a day.

    Raises:
        ValueError: `span_ms` is not such a time.
        CorruptDataError: The table of series cannot be read; names the file.
    """

    def __init__(self, directory: Path | str, *, span_ms: int = 5 * MINUTE) -> None:
        if span_ms <= 0 or span_ms % SECOND or 24 * 60 * MINUTE % span_ms:
            msg = "the span of a history segment must be whole seconds that divide a day"
            raise ValueError(msg)
        self._directory = Path(directory)
        self._span = span_ms
        self._directory.mkdir(parents=True, exist_ok=True)
        self._table = self._directory / "series.parquet"
        self._series: dict[SeriesId, Series] = {}
        if self._table.exists():
            self._series = {one.id: one for one in read_series(self._table)}
        self._written_series = len(self._series)
        self._pending: list[MetricBatch] = []
        self._buffers = threading.Lock()
        self._files = threading.Lock()

    def add_series(self, series: Iterable[Series]) -> None:
        """Say what series ids stand for; known ones are passed over.

        Raises:
            ValueError: An id stands for another series already.
        """
        for one in series:
            known = self._series.get(one.id)
            if known is None:
                self._series[one.id] = one
            elif known.spec != one.spec:
                msg = (
                    f"series {one.id} is {known.spec.describe()!r} in {self._table}, "
                    f"not {one.spec.describe()!r}"
                )
                raise ValueError(msg)

    def series(self) -> Sequence[Series]:
        """All series with samples here, in order of their ids."""
        return [self._series[key] for key in sorted(self._series)]

    def append(self, batch: MetricBatch) -> None:
        """Keep the samples in memory until a `flush` writes them. Cost: none."""
        if len(batch):
            with self._buffers:
                self._pending.append(batch)

    def flush(self, before: Millis | None = None) -> Sequence[Path]:
        """Write the spans that end at `before` or earlier (None: all); returns the files.

        Samples of other spans stay in memory. Call it now and then with a time some way back,
        so that each file is written once and late samples do not rewrite it.

        Raises:
            TransientError: The disk is full; what was not written stays in memory.
        """
        with self._files:
            with self._buffers:
                pending, self._pending = self._pending, []
            samples = MetricBatch.joined(pending)
            span = samples.timestamp // self._span
            due = span < (np.iinfo(np.int64).max if before is None else before // self._span)
            written: list[Path] = []
            left = ~due
            try:
                self._write_series()
                for number in np.unique(span[due]).tolist():
                    of_span = span == number
                    segment = segment_at(self._directory, Millis(number * self._span), self._span)
                    self._write_segment(segment, _only(samples, of_span))
                    written.append(segment.path)
                    due &= ~of_span
            except OSError as error:
                left = due | left
                msg = f"Cannot write to the history in {self._directory}: {error}."
                raise TransientError(msg, remedy="Free some disk space.") from error
            finally:
                with self._buffers:
                    self._pending[:0] = [_only(samples, left)] if left.any() else []
            return written

    def read(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> MetricBatch:
        """Samples of `series` in `[start, end]`, sorted by `(series_id, timestamp)`.

        Includes what is not written yet. Files outside the time are not opened, and of the
        others only the row groups that may hold these series are read.

        Raises:
            CorruptDataError: A segment is damaged; names the file.
        """
        wanted = np.unique(np.asarray(series, np.int32))
        with self._files:
            with self._buffers:
                unwritten = MetricBatch.joined(self._pending)
            found = [
                read_samples(segment.path, wanted)
                for segment in segments(self._directory)
                if segment.start <= end and segment.end > start
            ]
        found.append(replace(unwritten, value=as_float32(unwritten.value).astype(np.float64)))
        samples = MetricBatch.joined(found)
        inside = (samples.timestamp >= start) & (samples.timestamp <= end)
        return sorted_unique(_only(samples, inside & np.isin(samples.series_id, wanted)))

    def span(self) -> tuple[Millis, Millis] | None:
        """From when to when the files reach; None when there is none yet."""
        with self._files:
            there = list(segments(self._directory))
        return (there[0].start, there[-1].end) if there else None

    def check(self) -> Sequence[CorruptDataError]:
        """Read every segment; returns an error, which names the file, for each damaged one."""
        found = []
        with self._files:
            for segment in segments(self._directory):
                try:
                    read_samples(segment.path)
                except CorruptDataError as error:
                    _logger.warning("history_segment_damaged", error=str(error))
                    found.append(error)
        return found

    def expire(self, before: Millis) -> int:
        """Delete the files all of whose samples are older than `before`; returns how many."""
        with self._files:
            old = [one for one in segments(self._directory) if one.end <= before]
            for segment in old:
                segment.path.unlink(missing_ok=True)
                if not any(segment.path.parent.iterdir()):
                    segment.path.parent.rmdir()
        return len(old)

    def close(self) -> None:
        """Write everything; the history stays usable."""
        self.flush()

    def _write_series(self) -> None:
        series = self.series()
        if len(series) != self._written_series:
            write_series(self._table, series)
            self._written_series = len(series)

    def _write_segment(self, segment: Segment, samples: MetricBatch) -> None:
        """Merge `samples` into the segment; of equal ones those that came last stay."""
        there: list[MetricBatch] = []
        if segment.path.exists():
            try:
                there.append(read_samples(segment.path))
            except CorruptDataError as error:
                aside = segment.path.with_name(f"{segment.path.name}.damaged")
                segment.path.replace(aside)
                _logger.warning("history_segment_damaged", error=str(error), moved_to=str(aside))
        write_samples(segment.path, sorted_unique(MetricBatch.joined([*there, samples])))


def _only(batch: MetricBatch, kept: np.typing.NDArray[np.bool_]) -> MetricBatch:
    return MetricBatch(
        series_id=batch.series_id[kept], timestamp=batch.timestamp[kept], value=batch.value[kept]
    )
