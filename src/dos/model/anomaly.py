"""Anomalies. A score is a number; an anomaly is the decision that a series behaves abnormally."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dos.kit.clock import Millis
from dos.model.ids import AnomalyId, EntityId, SeriesId, derive_id
from dos.model.telemetry import (
    BoolArray,
    Float64Array,
    Int32Array,
    Int64Array,
    Role,
    Series,
    UInt8Array,
)

LOGS = "logs"
"""The detector of log lines."""


class Direction(StrEnum):
    """Which side of the expected band the values are on."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """A stretch of abnormal behaviour of one series."""

    id: AnomalyId
    series_id: SeriesId
    entity: EntityId
    metric: str
    role: Role
    started_at: Millis
    """Time of the first abnormal sample, which lies before the decision."""
    decided_at: Millis
    ended_at: Millis | None = None
    direction: Direction
    deviation: float
    """Robust z-score at the decision: distance from the expected value in robust sigmas."""
    score: float
    """Anomaly score, 0 to 1, at the decision."""
    observed: float
    expected: float
    lower: float
    upper: float
    """The band of normal values at the decision, in the series' unit."""
    detector: str
    """The detector that said most; the band is its own if it has one, else the everyday one's."""
    rarity: float | None = None
    """Estimated share of the series' healthy samples that are at least as strange, 0 to 1; None
    in anomalies that were stored before it was kept."""
    detail: str = ""
    """What was seen, in words, where numbers do not say it: of log lines."""

    @property
    def goes_along(self) -> bool:
        """Whether it keeps no incident open by itself.

        What was written does not, nor do more requests, as long as nothing suffers from them.
        """
        busier = self.role is Role.TRAFFIC and self.direction is Direction.ABOVE
        return busier or self.detector == LOGS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """What a shard kernel found in one step, in columns `[finding]`; sorted by series.

    A finding is a transition: a series became abnormal, or clearly more so (`started`), or normal
    again.
    """

    series_id: Int32Array
    timestamp: Int64Array
    """Time of the sample that led to the decision, ms."""
    started: BoolArray
    onset: Int64Array
    """Time of the first abnormal sample of the stretch, ms."""
    deviation: Float64Array
    """Signed robust z-score; positive above the expected value."""
    score: Float64Array
    observed: Float64Array
    expected: Float64Array
    lower: Float64Array
    upper: Float64Array
    detector: UInt8Array
    """Which detector said most, by its place in the kernel's `detectors`."""
    rarity: Float64Array
    """Estimated share of healthy samples that are at least as strange, 0 to 1."""

    def __len__(self) -> int:
        return len(self.series_id)

    @staticmethod
    def empty() -> Findings:
        """No finding."""
        real = np.empty(0, np.float64)
        whole = np.empty(0, np.int64)
        return Findings(
            series_id=np.empty(0, np.int32),
            timestamp=whole,
            started=np.empty(0, np.bool_),
            onset=whole,
            deviation=real,
            score=real,
            observed=real,
            expected=real,
            lower=real,
            upper=real,
            detector=np.empty(0, np.uint8),
            rarity=real,
        )


def anomaly_of(
    findings: Findings,
    index: int,
    series: Series,
    *,
    decided_at: Millis,
    detectors: Sequence[str],
) -> Anomaly:
    """The anomaly that the finding at `index`, about `series`, says has started.

    Args:
        findings: What the kernel found.
        index: Which of them.
        series: The series it is about.
        decided_at: Now.
        detectors: The kernel's detectors, in its order.
    """
    onset = Millis(int(findings.onset[index]))
    deviation = float(findings.deviation[index])
    return Anomaly(
        id=AnomalyId(derive_id("ano", series.id, onset, decided_at)),
        series_id=series.id,
        entity=series.spec.entity,
        metric=series.spec.metric,
        role=series.spec.role,
        started_at=onset,
        decided_at=decided_at,
        direction=Direction.ABOVE if deviation > 0 else Direction.BELOW,
        deviation=deviation,
        score=float(findings.score[index]),
        observed=float(findings.observed[index]),
        expected=float(findings.expected[index]),
        lower=float(findings.lower[index]),
        upper=float(findings.upper[index]),
        detector=detectors[int(findings.detector[index])],
        rarity=float(findings.rarity[index]),
    )
