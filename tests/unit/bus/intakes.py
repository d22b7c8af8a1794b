"""Intakes to write into logs, and how to compare them (arrays have no `==` of their own)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dos.kit.clock import Millis
from dos.model.intake import Intake
from dos.model.telemetry import MetricBatch


def batch(ids: Sequence[int], times: Sequence[int], values: Sequence[float]) -> MetricBatch:
    return MetricBatch(
        series_id=np.array(ids, np.int32),
        timestamp=np.array(times, np.int64),
        value=np.array(values, np.float64),
    )


def numbered(number: int, samples: int = 10) -> Intake:
    """An intake that is told from others by its time and values."""
    values = [number + one / 10 for one in range(samples)]
    return Intake(
        now=Millis(number), metrics=batch(range(samples), [number * 1000] * samples, values)
    )


def same(one: Intake, other: Intake) -> bool:
    """Equal in everything, NaN equal to itself."""
    columns = ("series_id", "timestamp", "value")
    equal = all(
        np.array_equal(
            getattr(one.metrics, name), getattr(other.metrics, name), equal_nan=name == "value"
        )
        for name in columns
    )
    empty = MetricBatch.empty()
    return equal and replace(one, metrics=empty) == replace(other, metrics=empty)
