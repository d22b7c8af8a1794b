"""One series, one point at a time: the simple face of the temporal network.

    >>> import numpy as np
    >>> from dos import RealTimeAnomalyDetector
    >>> detector = RealTimeAnomalyDetector(window_size=60, threshold=6.0)
    >>> latency = np.random.default_rng(3).normal(0.120, 0.006, 300)
    >>> latency[250:] += 0.060
    >>> results = [detector.process_new_point(point) for point in latency]
    >>> found = [place for place, one in enumerate(results) if one.is_anomaly]
    >>> found[0]
    250

The newest points are kept in a sliding window, which the network rebuilds as it should have been.
The error of the newest point, weighed by how sure the network is that it is abnormal, is held
against a threshold that adapts: a multiple of the 95 % quantile of the latest errors, so that noise
raises it and quiet lowers it. Abnormal errors count little, but they count: where a change lasts,
the window comes to hold the new behaviour, the network rebuilds that, the threshold follows, and
the alarm ends. For thousands of series use the engine (`dos.detect.engine`), which asks the network
about all of them together and decides with patience.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dos.detect import temporal_state
from dos.detect.columns import Columns
from dos.detect.robust import real, whole
from dos.detect.temporal_window import WINDOW, Described, describe
from dos.kit.clock import SECOND
from dos.ml.runtime import Served
from dos.model.telemetry import Float64Array

_SHORTEST = 8
_ROW = np.zeros(1, np.int32)
_LARGEST = 1e100
"""Points are clipped here, so that no difference overflows."""
_ERRORS = 30
"""Errors that must be known before one is judged."""
_LATEST = 256
"""Errors that the threshold is taken from."""
_QUANTILE, _SIGMAS = 0.95, 1.96
"""Of errors, and how many sigmas a normal distribution has there."""
_LEAST = 0.05
"""Smallest quantile of errors, in scales of the window."""
_UNSURE = 0.5
"""What an error counts where the network is sure that nothing is wrong, against 1.5 where it is
sure that something is."""
_EVERY = 2
"""Of abnormal errors, every so-many-th counts for the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointResult:
    """What is said of one point."""

    is_anomaly: bool
    score: float
    """0 to 1: 0.5 at the threshold, 0.75 at twice it."""
    error: float
    """Of the reconstruction of this point, in spreads of the window, compressed by asinh and
    weighed."""
    threshold: float
    """What the error was held against; it adapts."""
    expected: float
    """What the network rebuilt in its place."""
    lower: float
    upper: float
    """Between these the point would not have been abnormal."""
    ready: bool
    """False while the window or the knowledge of errors is not complete, and for a point that is no
    finite number; the rest is NaN then, and the score 0."""


class RealTimeAnomalyDetector:
    """Judges the points of one series as they come; see the module's text.

    Needs no torch. A point takes about a millisecond. Not for several threads at once.

    Args:
        window_size: Points in the sliding window, from 8; the network sees them as 60.
        threshold: Sigmas of the errors, as if they were normally distributed, from which a point is
            abnormal; smaller finds more.
        model: Name of a model that comes with DOS, or a folder with `model.onnx` and `card.json`.

    Raises:
        ValueError: `window_size` or `threshold` is too small.
        PermanentError: There is no such model.
    """

    def __init__(
        self,
        window_size: int = WINDOW,
        threshold: float = 6.0,
        *,
        model: str | Path = "temporal",
    ) -> None:
        if window_size < _SHORTEST or not threshold > 0:
            msg = f"window_size must be at least {_SHORTEST}, and threshold above 0"
            raise ValueError(msg)
        self.window_size = window_size
        self.threshold = threshold
        self._served = Served(model)
        self._window: deque[float] = deque(maxlen=window_size)
        self._past = Columns(temporal_state.LAYOUT)
        self._past.grow(1)
        self._errors: deque[float] = deque(maxlen=_LATEST)
        self._abnormal = 0

    def process_new_point(self, point: float) -> PointResult:
        """Judge the next point of the series, and learn it.

        Args:
            point: In the series' unit. What is not finite is passed over.
        """
        value = float(point)
        if not math.isfinite(value):
            return _UNREADY
        value = min(max(value, -_LARGEST), _LARGEST)
        self._window.append(value)
        result = _UNREADY
        if len(self._window) == self.window_size:
            result = self._judge()
        weight = 0.0 if result.is_anomaly else 1.0
        when = np.full(1, whole(self._past, "count")[0] * SECOND, np.int64)
        temporal_state.keep(self._past, _ROW, when, np.full(1, value), np.full(1, weight), 128)
        return result

    def _judge(self) -> PointResult:
        """Of the newest point in the full window."""
        described = self._described()
        said = self._served.run({"window": described.window, "memory": described.memory})
        sure = 1.0 / (1.0 + math.exp(-min(max(float(said["anomaly"][0]), -50.0), 50.0)))
        rebuilt, newest = float(said["reconstruction"][0, -1]), float(described.window[0, -1])
        counts = _UNSURE + sure
        error = abs(newest - rebuilt) * counts
        if len(self._errors) < _ERRORS:
            self._errors.append(error)
            return _UNREADY
        usual = max(float(np.quantile(self._errors, _QUANTILE)), _LEAST)
        limit = usual * self.threshold / _SIGMAS
        abnormal = error > limit
        self._abnormal += abnormal
        if not abnormal or self._abnormal % _EVERY == 0:
            self._errors.append(min(error, limit))
        reach = limit / counts
        band = described.to_unit(np.array([[rebuilt, rebuilt - reach, rebuilt + reach]]))[0]
        return PointResult(
            is_anomaly=abnormal,
            score=1.0 - 2.0 ** -(error / limit),
            error=error,
            threshold=limit,
            expected=float(band[0]),
            lower=float(band[1]),
            upper=float(band[2]),
            ready=True,
        )

    def _described(self) -> Described:
        """The window as the network takes it, beside what left it."""
        window: Float64Array = np.array(self._window)
        if self.window_size != WINDOW:
            place = np.linspace(0.0, self.window_size - 1.0, WINDOW)
            window = np.interp(place, np.arange(self.window_size), window)
        return describe(
            window[None],
            real(self._past, "past"),
            real(self._past, "moves"),
            whole(self._past, "filled"),
        )


_UNREADY = PointResult(
    is_anomaly=False,
    score=0.0,
    error=math.nan,
    threshold=math.nan,
    expected=math.nan,
    lower=math.nan,
    upper=math.nan,
    ready=False,
)
