"""Log lines in the pipeline: what is found in them, as anomalies and samples of series.

Each entity that writes lines has a series for each way in which they can be unusual (interned at
the intake). Its samples are the scores of stretches of time, so that they are charted, kept and
looked at for causes like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.detect.logs.config import LogsConfig
from dos.detect.logs.detector import LogDetector
from dos.kit.clock import Millis
from dos.model.anomaly import LOGS, Anomaly, Direction
from dos.model.ids import AnomalyId, SeriesId, derive_id
from dos.model.intake import Intake
from dos.model.logs import LogFinding, LogScores, LogSignal
from dos.model.registry import SeriesRegistry
from dos.model.telemetry import MetricBatch

_LIMIT = 0.5
"""Score at the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one step found in log lines."""

    samples: MetricBatch
    started: tuple[Anomaly, ...]
    """New ones and those that became clearly stronger."""
    ended: tuple[tuple[SeriesId, Millis], ...]


class LogWatch:
    """The log detector of a pipeline, and the series of what it finds.

    Args:
        config: What is looked for.
        registry: Of the pipeline; only read.
    """

    def __init__(self, config: LogsConfig, registry: SeriesRegistry) -> None:
        self.detector = LogDetector(config)
        self._registry = registry

    @property
    def is_watching(self) -> bool:
        """Whether there were any lines."""
        return bool(self.detector.entities)

    def step(self, intake: Intake) -> Watched:
        """Take in the lines of `intake` and go on to its time."""
        found = self.detector.step(intake.logs, intake.now, history=intake.history)
        known = [(one, self._series(one)) for one in found.findings]
        return Watched(
            samples=MetricBatch.joined([self._samples(one) for one in found.scores]),
            started=tuple(
                self._anomaly(one, series, intake.now)
                for one, series in known
                if one.started and series is not None
            ),
            ended=tuple(
                (series, one.timestamp)
                for one, series in known
                if not one.started and series is not None
            ),
        )

    def _series(self, finding: LogFinding) -> SeriesId | None:
        """None where the source may have no more series."""
        return self._registry.find(finding.signal.spec(finding.entity))

    def _anomaly(self, finding: LogFinding, series: SeriesId, now: Millis) -> Anomaly:
        spec = self._registry[series].spec
        return Anomaly(
            id=AnomalyId(derive_id("ano", series, finding.onset, now)),
            series_id=series,
            entity=spec.entity,
            metric=spec.metric,
            role=spec.role,
            started_at=finding.onset,
            decided_at=now,
            direction=Direction.ABOVE,
            deviation=finding.deviation,
            score=finding.score,
            observed=finding.score,
            expected=0.0,
            lower=0.0,
            upper=_LIMIT,
            detector=LOGS,
            rarity=finding.rarity,
            detail=finding.detail,
        )

    def _samples(self, scores: LogScores) -> MetricBatch:
        ids, values = [], []
        for place, entity in enumerate(scores.entities):
            for column, signal in enumerate(LogSignal):
                series = self._registry.find(signal.spec(entity))
                if series is not None:
                    ids.append(series)
                    values.append(float(scores.score[place, column]))
        return MetricBatch(
            series_id=np.array(ids, np.int32),
            timestamp=np.full(len(ids), scores.at, np.int64),
            value=np.array(values, np.float64),
        )
