"""Missing data: samples come later than they usually do, or do not come at all.

The logarithm of the time between samples is learned for each series; a wait is as strange as its
logarithm is far above that, in robust sigmas (with the floor used here, four and a half intervals
of a steady series are 6 sigmas). There are two occasions:

* `score` judges the wait that a sample ends: gaps and irregular scrapes, after the fact. A late
  sample has no direction: deviations are not negative, and there is no band.
* `overdue` is asked at every step, with the time it is now: series whose wait is too long by
  now. That is how a series is found that has stopped, of which no sample will ever tell; see
  `dos.detect.absence` for what becomes of it.

Silence is measured up to the newest sample of *any* series, not up to now: when nothing at all is
heard, it is the source that is down, and sources report on themselves. So it is when many series
fall silent at once, more than `together` of those heard of lately. Series of single replicas are
left out: replicas come and go.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.ones(200)
    >>> values[150:165] = np.nan  # a quarter of an hour without a sample
    >>> z = deviations("missing_data", values)
    >>> bool(z[:150].max() < 1.0), bool(z[165] > 6.0), bool(z[166:].max() < 1.0)
    (True, True, True)

State: 38 bytes a series. Cost: about 20 vector operations a batch, and a pass over all series
when silence is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.detect.absence import Overdue
from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.detect.robust import Calibration, begin_again, clipped, usable, whole
from dos.kit.clock import SECOND
from dos.kit.plugins import Plugin
from dos.model.telemetry import BoolArray, Float64Array, Int32Array, Int64Array, Series

_LEAST = 0.25
"""Smallest spread of the logarithm of waits that is believed."""
_LIVE = 3600.0 * SECOND
"""A series is live for this long after its last sample, ms."""
_FEW = 20
"""So many series may fall silent at once without the source being blamed."""


class Config(BaseModel):
    """Parameters of missing data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    half_life: int = Field(default=240, ge=2, le=100_000)
    """Samples after which half of what is known of the usual wait is forgotten."""
    warm_up: int = Field(default=24, ge=3, le=100_000)
    """Waits that must be known before one is judged."""
    limit: float = Field(default=6.0, gt=0, le=100)
    """Robust sigmas beyond which a series is overdue."""
    after: float = Field(default=30.0, ge=0, le=86_400)
    """Seconds of silence before which no series is overdue."""
    together: float = Field(default=0.2, gt=0, le=1)
    """Share of the live series that may fall silent at once; of more, the source is to blame."""
    replicas: str = "k8s.replica,k8s.pod.name,pod,service.instance.id,instance"
    """Labels that name a replica, separated by commas: such a series may end when it likes."""


class MissingData:
    """See the module's text."""

    name = "missing_data"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._replicas = {label.strip() for label in config.replicas.split(",")}
        self._waits = Calibration(prefix="wait", half_life=config.half_life, warm_up=config.warm_up)

    def layout(self) -> Mapping[str, Column]:
        """Time of the last sample, the usual wait, and whether silence was reported."""
        return {
            **self._waits.layout(),
            "count": Column(dtype="<i8"),
            "last": Column(dtype="<i8"),
            "silent": Column(dtype="|b1", initial=False),
            "lasting": Column(dtype="|b1", initial=True),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Note which series are of one replica."""
        columns["lasting"][first:] = [
            not any(name in self._replicas for name, _ in one.spec.labels) for one in series
        ]

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """How much longer than usual each sample was waited for."""
        wait = self._wait(columns, row, timestamp)
        ready = usable(value) & (wait > 0) & self._waits.ready(columns, row)
        unknown = np.full(len(row), np.nan)
        strange = np.maximum(self._strange(columns, row, wait), 0.0)
        return Scored(
            deviation=clipped(np.where(ready, strange, 0.0)),
            expected=unknown,
            sigma=unknown,
            ready=ready,
            sure=ready,
        )

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        """Learn the waits; who is heard of is not silent any more."""
        use = usable(value)
        row, timestamp, weight = row[use], timestamp[use], weight[use]
        begin_again(columns, self.layout(), row, keep=("lasting",))
        wait = self._wait(columns, row, timestamp)
        known = wait > 0
        self._waits.learn(columns, row[known], np.log(wait[known]), weight[known], _LEAST)
        whole(columns, "last")[row] = timestamp
        whole(columns, "count")[row] += 1
        columns["silent"][row] = False

    def overdue(self, columns: Columns, now: int) -> Overdue:
        """Series that have become overdue by `now` (ms); each is told once in a silence."""
        every = np.arange(len(columns), dtype=np.int32)
        last, known = whole(columns, "last"), whole(columns, "count") > 0
        heard = min(now, int(last[known].max(initial=0)))
        silence = np.where(known, np.maximum(heard - last, 0), 0).astype(np.float64)
        strange = self._strange(columns, every, np.maximum(silence, 1.0))
        beyond: BoolArray = (strange > self._config.limit) & (silence > self._config.after * SECOND)
        silent, lasting = cast(BoolArray, columns["silent"]), cast(BoolArray, columns["lasting"])
        fresh = beyond & lasting & ~silent & self._waits.ready(columns, every)
        silent |= fresh
        live = int((known & (silence < _LIVE)).sum())
        if fresh.sum() > max(_FEW, self._config.together * live):
            fresh[:] = False
        row = np.flatnonzero(fresh).astype(np.int32)
        usual = np.exp(np.minimum(self._waits.level(columns, row), 40.0))
        return Overdue(
            row=row,
            since=last[row] + usual.astype(np.int64),
            deviation=clipped(strange[row]),
        )

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """The scale is the unit."""
        return scaled

    @staticmethod
    def _wait(columns: Columns, row: Int32Array, timestamp: Int64Array) -> Float64Array:
        """Milliseconds since the sample before; 0 for the first and where a clock was set back."""
        passed = (timestamp - whole(columns, "last")[row]).astype(np.float64)
        return np.where(whole(columns, "count")[row] > 0, np.maximum(passed, 0.0), 0.0)

    def _strange(self, columns: Columns, row: Int32Array, wait: Float64Array) -> Float64Array:
        """Robust deviation of the logarithm of waits."""
        usual = self._waits.level(columns, row)
        sigma = self._waits.sigma(columns, row, _LEAST)
        strange: Float64Array = (np.log(np.maximum(wait, 1.0)) - usual) / sigma
        return strange


PLUGIN = Plugin(Config, MissingData)
