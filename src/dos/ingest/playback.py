"""A recorded case as deliveries of a source, on the recording's own time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dos.ingest.base import Delivery
from dos.ingest.recorded import Recording
from dos.ingest.tables import MetricTable
from dos.ingest.xray import kind_of
from dos.kit.clock import Millis
from dos.model.entity import Entity
from dos.model.graph import EdgeEvidence
from dos.model.telemetry import SampleFrame

HISTORY_SAMPLES = 50_000
"""Samples of the fault-free period delivered at once."""


def deliveries(recording: Recording, shift: int = 0) -> Iterator[tuple[Millis, Delivery]]:
    """What `recording` delivers, each with the time at which it does.

    First the topology, then the fault-free history, then row by row.

    Args:
        recording: What was read from a case directory.
        shift: Milliseconds to add to every time.
    """
    table = recording.without_excluded()
    times = (table.times + shift).tolist()
    if not times:
        return
    began = Millis(times[0])
    yield began, _topology(recording, began)
    if recording.history is not None:
        for frame in _history(recording.history, shift):
            yield began, Delivery(frame=frame, history=True)
    waiting = list(recording.changes)
    for row, at in enumerate(times):
        due = [change for change in waiting if change.at + shift <= at]
        waiting = waiting[len(due) :]
        frame = _frame(table, slice(row, row + 1), shift)
        if len(frame) or due:
            yield Millis(at), Delivery(frame=frame, changes=tuple(due))


def _topology(recording: Recording, at: Millis) -> Delivery:
    measured = [spec.entity for spec in recording.table.series]
    ends = [end for edge in recording.edges for end in edge]
    return Delivery(
        entities=tuple(
            Entity(id=entity, kind=kind_of(entity)) for entity in dict.fromkeys([*measured, *ends])
        ),
        edges=tuple(
            EdgeEvidence(caller=caller, callee=callee, source="file", seen_at=at)
            for caller, callee in recording.edges
        ),
    )


def _history(table: MetricTable, shift: int) -> Iterator[SampleFrame]:
    rows = max(1, HISTORY_SAMPLES // max(1, len(table.series)))
    for first in range(0, len(table.times), rows):
        yield _frame(table, slice(first, first + rows), shift)


def _frame(table: MetricTable, rows: slice, shift: int) -> SampleFrame:
    """The samples of some rows, in order of time; empty cells are no samples."""
    values = table.values[rows]
    row, series = np.nonzero(~np.isnan(values))
    return SampleFrame(
        series=table.series,
        index=series.astype(np.int32),
        timestamp=table.times[rows][row] + shift,
        value=values[row, series],
    )
