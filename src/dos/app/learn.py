"""Teaching a pipeline's baseline what samples that were kept can teach.

For a model that begins beside a running one, and for one that takes over at a start: neither has
to wait until enough new samples have come. What is taught is what a source's back-fill would
have: it is learned from, and nothing is decided on it.
"""

from __future__ import annotations

import numpy as np

from dos.app.pipeline import Pipeline
from dos.kit.clock import HOUR, Millis
from dos.model.telemetry import MetricBatch
from dos.storage.base import LongHistory

RECENT = 4_000_000
"""Samples of the recent history learned from, at most: bounds it to a second or so."""
LONG = 20_000_000
"""The same of the long history."""
_WEEKS = 14 * 24
"""Hours of the long history that are worth reading."""
_SLOTS = 64


def learn_recent(pipeline: Pipeline, now: Millis) -> int:
    """Learn from the samples in the pipeline's own history, up to `now`; returns how many.

    In stretches of time, so that memory stays bounded.
    """
    series = [one.id for one in pipeline.parts.registry.since(0)][: len(pipeline.parts.host)]
    if not series:
        return 0
    history = pipeline.parts.history
    slots = max(1, RECENT // len(series))
    window = history.window(series, Millis(now - slots * history.resolution), now)
    ids = np.asarray(series, np.int32)
    learned = 0
    for first in range(0, len(window.times), _SLOTS):
        values = window.values[first : first + _SLOTS]
        row, column = np.nonzero(~np.isnan(values))
        batch = MetricBatch(
            series_id=ids[column],
            timestamp=window.times[first + row],
            value=values[row, column].astype(np.float64),
        )
        pipeline.parts.host.step(batch, history=True)
        learned += len(batch)
    return learned


def learn_long(pipeline: Pipeline, long: LongHistory, now: Millis) -> int:
    """Learn from the long history up to `now`; returns how many samples there were.

    As far back as `LONG` samples reach at the pipeline's resolution.
    """
    span = long.span()
    series = [one.id for one in pipeline.parts.registry.since(0)][: len(pipeline.parts.host)]
    if span is None or not series:
        return 0
    an_hour = max(1, HOUR // pipeline.parts.history.resolution) * len(series)
    hours = min(_WEEKS, max(1, LONG // an_hour))
    learned = 0
    for start in range(max(span[0], now - hours * HOUR), now + 1, HOUR):
        batch = long.read(series, Millis(start), Millis(min(start + HOUR - 1, now)))
        order = np.argsort(batch.timestamp, kind="stable")
        batch = MetricBatch(
            series_id=batch.series_id[order],
            timestamp=batch.timestamp[order],
            value=batch.value[order],
        )
        pipeline.parts.host.step(batch, history=True)
        learned += len(batch)
    return learned
