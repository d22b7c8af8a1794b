"""Telemetry of made-up entities for the tests of impact."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dos.impact.signals import Telemetry
from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role, SeriesSpec

STEP = 15
"""Seconds between samples."""
BASELINE = 240
"""Samples before the incident: an hour."""
START = Millis(BASELINE * STEP * SECOND)


def spec(metric: str, role: Role, unit: str, entity: str = "web", **labels: str) -> SeriesSpec:
    return SeriesSpec(
        entity=EntityId(entity),
        metric=metric,
        role=role,
        unit=unit,
        labels=tuple(sorted(labels.items())),
    )


RATE = spec("request_rate", Role.TRAFFIC, "1/s")
ERRORS = spec("error_rate", Role.ERRORS, "ratio")
P50 = spec("latency_p50", Role.LATENCY, "seconds")
P95 = spec("latency_p95", Role.LATENCY, "seconds")
P99 = spec("latency_p99", Role.LATENCY, "seconds")


def telemetry(
    columns: Mapping[SeriesSpec, Float64Array | float], samples: int = BASELINE + 40
) -> Telemetry:
    """Samples every 15 s; the incident begins after `BASELINE` of them."""
    times = np.arange(samples, dtype=np.int64) * STEP * SECOND
    values = [np.broadcast_to(np.asarray(one, np.float64), samples) for one in columns.values()]
    return Telemetry(
        times=times,
        values=np.stack(values, axis=1) if values else np.empty((samples, 0)),
        series=tuple(columns),
        start=START,
        end=Millis(max(0, samples - 1) * STEP * SECOND),
    )


def after(before: float, then: float, samples: int = BASELINE + 40) -> Float64Array:
    """`before` until the incident begins, `then` from there on."""
    return np.where(np.arange(samples) < BASELINE, before, then)
