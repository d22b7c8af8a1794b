"""A forecaster, and series to feed it with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dos.detect.forecast.base import ForecastConfig
from dos.detect.forecast.forecaster import Forecaster
from dos.kit.clock import Millis
from dos.model.forecast import Forecast
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import MetricBatch, Series, SeriesSpec

START = Millis(1_767_571_200_000)
"""2026-01-05T00:00:00Z, a Monday."""


def series_of(*metrics: str, unit: str = "ratio") -> list[Series]:
    """A series of each metric, all of one entity."""
    return [
        Series(id=SeriesId(i), spec=SeriesSpec(entity=EntityId("db"), metric=one, unit=unit))
        for i, one in enumerate(metrics)
    ]


def watching(
    *metrics: str, unit: str = "ratio", config: ForecastConfig | None = None
) -> Forecaster:
    """A forecaster that knows a series of each metric."""
    forecaster = Forecaster(config)
    forecaster.register(series_of(*metrics, unit=unit))
    return forecaster


def batch(
    times: Sequence[int] | npt.NDArray[np.int64],
    values: Sequence[float] | npt.NDArray[np.float64],
    series: int | npt.NDArray[np.int32] = 0,
) -> MetricBatch:
    """Samples of one series, or of as many as there are ids."""
    ids = np.broadcast_to(np.asarray(series, np.int32), (len(times),)).copy()
    return MetricBatch(
        series_id=ids,
        timestamp=np.asarray(times, np.int64),
        value=np.asarray(values, np.float64),
    )


def play(
    forecaster: Forecaster,
    values: Sequence[float] | npt.NDArray[np.float64],
    *,
    step: float = 60.0,
    start: int = START,
    series: int = 0,
) -> list[Forecast]:
    """Samples one after the other, with a decision after each; what changed."""
    changed: list[Forecast] = []
    for i, value in enumerate(values):
        now = Millis(start + round(i * step * 1000))
        forecaster.take(batch([now], [value], series))
        changed += forecaster.tick(now)
    return changed


def noise(count: int, sigma: float, seed: int = 0) -> npt.NDArray[np.float64]:
    """White noise."""
    return sigma * np.random.default_rng(seed).standard_normal(count)
