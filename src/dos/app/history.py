"""Samples kept twice: the recent ones in a ring for analysis, all of them in files for later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dos.kit.clock import Millis
from dos.model.ids import SeriesId
from dos.model.telemetry import MetricBatch, Series
from dos.storage.base import Window
from dos.storage.history.ring import RingHistory
from dos.storage.history.segments import SegmentHistory


class KeptHistory:
    """A `History` whose windows come from the ring; `long` is None when files are disabled."""

    def __init__(self, recent: RingHistory, long: SegmentHistory | None) -> None:
        self._recent = recent
        self.long = long

    @property
    def resolution(self) -> int:
        """Width of a time slot of the ring in ms."""
        return self._recent.resolution

    def append(self, batch: MetricBatch) -> None:
        """Keep the samples in both places."""
        self._recent.append(batch)
        if self.long is not None:
            self.long.append(batch)

    def window(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """Samples of the ring."""
        return self._recent.window(series, start, end)

    def add_series(self, series: Iterable[Series]) -> None:
        """Say what series ids stand for, so that the files can be read by themselves."""
        if self.long is not None:
            self.long.add_series(series)

    def series(self) -> Sequence[Series]:
        """What the files know of series, in order of their ids; empty without files."""
        return self.long.series() if self.long is not None else ()

    def flush(self) -> None:
        """Write all that is buffered; must be called before the intake log is trimmed."""
        if self.long is not None:
            self.long.flush()

    def close(self) -> None:
        """Write what is still buffered and release everything."""
        self._recent.close()
        if self.long is not None:
            self.long.close()
