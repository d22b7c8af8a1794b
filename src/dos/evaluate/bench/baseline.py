"""Two baselines that read the very samples the pipeline reads.

* Fixed thresholds: `cpu_usage > 0.8`, `error_rate > 0.1`; a suspect's score is how many times
  its threshold it reached.
* 3-sigma: a series is abnormal when it was more than three standard deviations from its mean for
  `PATIENCE` samples in a row; mean and deviation are exponentially weighted over the last hour
  (Roberts 1959), all samples included. A suspect's score is its greatest deviation.

Both group alike, in the simplest way: while anything is abnormal, and until nothing was for
`REST` seconds, it is one incident, and all that was abnormal is in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dos.evaluate.bench.judge import Told
from dos.evaluate.bench.outcome import Contender, Raised, Ranking
from dos.ingest.base import Delivery
from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId, derive_id
from dos.model.telemetry import (
    BoolArray,
    Float64Array,
    Int64Array,
    MetricKind,
    SampleFrame,
    SeriesSpec,
)

LIMITS: Mapping[str, float] = {"cpu_usage": 0.8, "error_rate": 0.1}
"""Ratios above which the first sketch of DOS raised an alarm."""
SIGMAS = 3.0
PATIENCE = 3
"""Samples in a row; with one, every tick of a hundred series has an alarm by chance."""
MEMORY = 3_600.0
"""Time constant of mean and deviation, seconds."""
LEARNED = 60
"""Samples of a series before it is judged."""
REST = 30.0
"""Seconds without anything abnormal after which an incident is over: as in the pipeline."""


class Detector(Protocol):
    """Decides for each sample of one time whether it is abnormal, and how much."""

    def add(self, series: tuple[SeriesSpec, ...]) -> None:
        """Series seen for the first time; their rows are the next ones."""
        ...

    def look(
        self, row: Int64Array, value: Float64Array, *, history: bool
    ) -> tuple[BoolArray, Float64Array]:
        """`[sample]` whether it is abnormal, and its score; `row` has no repeats."""
        ...


class Thresholds:
    """Judges by `LIMITS`; see the module's text."""

    def __init__(self) -> None:
        self._limit = np.empty(0)

    def add(self, series: tuple[SeriesSpec, ...]) -> None:
        """Look up the limits."""
        limits = [LIMITS.get(one.metric, math.inf) for one in series]
        self._limit = np.concatenate([self._limit, np.array(limits)])

    def look(
        self, row: Int64Array, value: Float64Array, *, history: bool
    ) -> tuple[BoolArray, Float64Array]:
        """Compare."""
        del history
        strength = value / self._limit[row]
        return strength > 1.0, strength


class ThreeSigma:
    """Judges by mean and standard deviation; see the module's text.

    Args:
        step: Seconds between two samples.
    """

    def __init__(self, step: float) -> None:
        self._weight = 1.0 - math.exp(-step / MEMORY)
        self._counter = np.empty(0, np.bool_)
        self._last, self._mean, self._variance = np.empty(0), np.empty(0), np.empty(0)
        self._count, self._streak = np.empty(0, np.int64), np.empty(0, np.int64)

    def add(self, series: tuple[SeriesSpec, ...]) -> None:
        """Begin to learn them."""
        counters = [one.kind is MetricKind.COUNTER for one in series]
        fresh, none = np.zeros(len(series)), np.zeros(len(series), np.int64)
        self._counter = np.concatenate([self._counter, np.array(counters, np.bool_)])
        self._last = np.concatenate([self._last, np.full(len(series), np.nan)])
        self._mean = np.concatenate([self._mean, fresh])
        self._variance = np.concatenate([self._variance, fresh])
        self._count = np.concatenate([self._count, none])
        self._streak = np.concatenate([self._streak, none])

    def look(
        self, row: Int64Array, value: Float64Array, *, history: bool
    ) -> tuple[BoolArray, Float64Array]:
        """Judge by what was before, then learn."""
        # Of a counter, its increase; the first sample of one says nothing.
        read = np.where(self._counter[row], np.maximum(value - self._last[row], 0.0), value)
        self._last[row] = np.where(np.isfinite(value), value, self._last[row])
        known = np.isfinite(read)
        row, read = row[known], read[known]
        away = read - self._mean[row]
        # A constant series has no deviation; what is below a millionth is rounding.
        sigma = np.sqrt(self._variance[row]) + 1e-6 * (np.abs(self._mean[row]) + 1e-3)
        strength = np.abs(away) / sigma
        beyond = (strength > SIGMAS) & (self._count[row] >= LEARNED) & (not history)
        self._streak[row] = np.where(beyond, self._streak[row] + 1, 0)
        self._learn(row, away)
        abnormal, score = np.zeros(len(known), np.bool_), np.zeros(len(known))
        abnormal[known], score[known] = self._streak[row] >= PATIENCE, strength
        return abnormal, score

    def _learn(self, row: Int64Array, away: Float64Array) -> None:
        """Exponentially weighted mean and variance (West 1979, with constant weight)."""
        self._count[row] += 1
        weight = np.maximum(self._weight, 1.0 / self._count[row])
        self._mean[row] += weight * away
        self._variance[row] = (1.0 - weight) * (self._variance[row] + weight * away * away)


@dataclass(slots=True)
class _Open:
    """The incident of the moment."""

    at: Millis
    last_seen: Millis
    told: dict[EntityId, float]
    """Scores when it was opened."""
    score: dict[EntityId, float] = field(default_factory=dict)
    """Greatest score of each entity so far, in order of appearance."""


class Watcher:
    """One baseline at work: judges samples and groups what is abnormal.

    Args:
        contender: Which one.
        detector: Its judgement of samples.
    """

    def __init__(self, contender: Contender, detector: Detector) -> None:
        self.contender = contender
        self._detector = detector
        self._rows: dict[SeriesSpec, int] = {}
        self._entities: list[EntityId] = []
        self._tables: list[tuple[tuple[SeriesSpec, ...], Int64Array]] = []
        self._abnormal: set[int] = set()
        self._alerts = 0
        self._open: _Open | None = None
        self._closed: list[Raised] = []

    def take(self, delivery: Delivery) -> None:
        """Read what the pipeline is about to read."""
        frame = delivery.frame
        if frame is None or not len(frame):
            return
        rows = self._rows_of(frame.series)
        for at, row, value in _by_time(frame, rows):
            abnormal, score = self._detector.look(row, value, history=delivery.history)
            if not delivery.history:
                self._group(at, row, abnormal, score)

    def told(self) -> Told:
        """Everything raised so far, oldest first, and the alerts of single series."""
        raised = list(self._closed)
        if self._open is not None:
            raised.append(self._raised(self._open, None))
        return Told(raised=raised, alerts=self._alerts)

    def _group(self, at: Millis, row: Int64Array, abnormal: BoolArray, score: Float64Array) -> None:
        """Alerts begin and end with their series; the incident with all of them."""
        found = np.flatnonzero(abnormal)
        if not len(found) and not self._abnormal and self._open is None:
            return
        ill = dict(zip(row[found].tolist(), score[found].tolist(), strict=True))
        self._alerts += len(ill.keys() - self._abnormal)
        self._abnormal = (self._abnormal - set(row.tolist())) | ill.keys()
        current = self._open
        if current is not None and not ill and at - current.last_seen >= REST * SECOND:
            self._closed.append(self._raised(current, at))
            self._open = None
        if ill:
            scores: dict[EntityId, float] = {}
            for one, value in ill.items():
                entity = self._entities[one]
                scores[entity] = max(value, scores.get(entity, 0.0))
            if self._open is None:
                self._open = _Open(at, at, scores)
            self._open.last_seen = at
            known = self._open.score
            for entity, value in scores.items():
                known[entity] = max(value, known.get(entity, 0.0))

    def _raised(self, one: _Open, resolved_at: Millis | None) -> Raised:
        return Raised(
            id=derive_id("inc", self.contender, one.at),
            opened_at=one.at,
            resolved_at=resolved_at,
            entities=tuple(one.score),
            told=_ranking(one.told),
            last=_ranking(one.score),
            paged=True,
        )

    def _rows_of(self, series: tuple[SeriesSpec, ...]) -> Int64Array:
        """Rows of a frame's table, which is mostly one seen before."""
        for table, rows in self._tables:
            if table is series:
                return rows
        fresh = tuple(one for one in dict.fromkeys(series) if one not in self._rows)
        for one in fresh:
            self._rows[one] = len(self._entities)
            self._entities.append(one.entity)
        self._detector.add(fresh)
        rows = np.array([self._rows[one] for one in series], np.int64)
        self._tables = [*self._tables, (series, rows)][-8:]
        return rows


def _by_time(frame: SampleFrame, rows: Int64Array) -> list[tuple[Millis, Int64Array, Float64Array]]:
    """The samples of a frame by time, oldest first."""
    row, when = rows[frame.index], frame.timestamp
    if when[0] == when[-1] and (when == when[0]).all():
        return [(Millis(int(when[0])), row, frame.value)]
    order = np.argsort(when, kind="stable")
    cuts = np.flatnonzero(np.diff(when[order])) + 1
    return [
        (Millis(int(when[part[0]])), row[part], frame.value[part]) for part in np.split(order, cuts)
    ]


def _ranking(scores: Mapping[EntityId, float]) -> Ranking:
    ordered = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
    return Ranking(order=tuple(ordered))


WATCHERS: Mapping[Contender, Callable[[float], Detector]] = {
    Contender.THRESHOLDS: lambda _: Thresholds(),
    Contender.THREE_SIGMA: ThreeSigma,
}
"""How to build each baseline, from the seconds between two samples."""
