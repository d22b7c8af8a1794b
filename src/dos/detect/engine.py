"""The scoring kernel: all series of a shard in one vectorised pass per step.

For each new sample: the detector gives a robust z-score; the side that does not matter for the
metric's role is ignored; samples beyond the series' own threshold add to its evidence, others
take it back. An anomaly starts when the evidence reaches `confirm` (so one wild sample never
suffices, two very wild or three clear ones do), is reported again whenever it became twice as
strong, and ends after `recover` calm samples in a row.
An abnormal series hardly learns, so that an incident does not become the new normal; after
`relearn` samples it is taken as just that and the baseline starts again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.compute.base import ColumnBatch
from dos.detect.base import Detector, Scored
from dos.detect.columns import Column, Columns
from dos.detect.profile import profile_of
from dos.detect.thresholds import ThresholdConfig, learn_tail, thresholds
from dos.kit.errors import CorruptDataError
from dos.kit.plugins import load
from dos.model.anomaly import Findings
from dos.model.telemetry import (
    BoolArray,
    Float64Array,
    Int32Array,
    Int64Array,
    Series,
)

ROOM = "dos.detect.detectors"

_LAYOUT = {
    "id": Column(dtype="<i4", initial=-1),
    "above": Column(dtype="|b1", initial=True),
    "below": Column(dtype="|b1", initial=True),
    "certain": Column(dtype="<f8", initial=float("inf")),
    "tail": Column(dtype="<f8", initial=4.0),
    "tail_before": Column(dtype="<f8", initial=4.0),
    "straying": Column(dtype="|b1", initial=False),
    "evidence": Column(dtype="<f8"),
    "calm": Column(dtype="<i4"),
    "abnormal": Column(dtype="|b1", initial=False),
    "onset": Column(dtype="<i8"),
    "streak": Column(dtype="<i4"),
    "reported": Column(dtype="<f8"),
    "last": Column(dtype="<i8"),
    "value": Column(dtype="<f8", initial=float("nan")),
    "expected": Column(dtype="<f8", initial=float("nan")),
    "sigma": Column(dtype="<f8", initial=float("nan")),
    "deviation": Column(dtype="<f8", initial=float("nan")),
}


class DetectConfig(BaseModel):
    """Detection of abnormal series."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: str = "seasonal_ewma"
    """Which detector scores the series; a file in `dos/detect/detectors`."""
    parameters: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """Keys of that detector's own configuration."""
    threshold: ThresholdConfig = ThresholdConfig()
    confirm: float = Field(default=3.0, ge=1, le=100)
    """Evidence that starts an anomaly; a sample at the threshold counts 1, at twice it 2."""
    recover: int = Field(default=5, ge=1, le=1000)
    """Calm samples in a row that end an anomaly."""
    calm: float = Field(default=0.6, gt=0, le=1)
    """A sample is calm below this share of the threshold."""
    abnormal_weight: float = Field(default=0.05, ge=0, le=1)
    """How much an abnormal sample is learned, against 1 for a normal one."""
    relearn: int = Field(default=2400, ge=10)
    """Abnormal samples in a row after which the new behaviour is taken as normal."""


@dataclass(slots=True, kw_only=True)
class EngineState:
    """State of the series of one shard host, a row each."""

    engine: Columns
    detector: Columns


class DetectKernel:
    """The `ShardKernel` of detection."""

    def __init__(self, config: DetectConfig) -> None:
        self._config = config
        plugin = load(ROOM, config.detector)
        self._detector: Detector = plugin.build(plugin.config(**config.parameters))
        self.version = f"2/{self._detector.name}-{self._detector.version}"

    @property
    def detector(self) -> str:
        """Name of the detector in use."""
        return self._detector.name

    def create(self) -> EngineState:
        """State of no series."""
        return EngineState(engine=Columns(_LAYOUT), detector=Columns(self._detector.layout()))

    def grow(self, state: EngineState, series: Sequence[Series]) -> EngineState:
        """Add one row for each series."""
        first = len(state.engine)
        state.engine.grow(len(series))
        state.detector.grow(len(series))
        profiles = [profile_of(one.spec) for one in series]
        state.engine["id"][first:] = [one.id for one in series]
        state.engine["above"][first:] = [profile.above for profile in profiles]
        state.engine["below"][first:] = [profile.below for profile in profiles]
        state.engine["certain"][first:] = [profile.certain for profile in profiles]
        self._detector.prepare(state.detector, first, series)
        return state

    def step(self, state: EngineState, batch: ColumnBatch) -> tuple[EngineState, Findings]:
        """Score, decide, learn."""
        row, config, engine = batch.row, self._config, state.engine
        scored = self._detector.score(state.detector, row, batch.timestamp, batch.value)
        limit = self._limit(engine, row, scored.sigma)
        distance = self._distance(engine, row, scored)
        strength = distance / limit
        findings = Findings.empty()
        abnormal = cast(BoolArray, engine["abnormal"])[row]
        if not batch.history:
            findings = self._decide(state, batch, scored, limit, strength)
            abnormal = abnormal | cast(BoolArray, engine["abnormal"])[row]
        suspicious = scored.ready & (strength >= 1.0)
        weight = np.where(abnormal | suspicious, config.abnormal_weight, 1.0)
        if batch.history:
            weight = np.where(suspicious, np.maximum(config.abnormal_weight, 0.3), 1.0)
        self._detector.learn(state.detector, row, batch.timestamp, batch.value, weight)
        self._learn_tail(engine, row, distance, scored.ready & ~abnormal)
        for name, column in (
            ("last", batch.timestamp),
            ("value", batch.value),
            ("expected", np.where(scored.ready, scored.expected, np.nan)),
            ("sigma", np.where(scored.ready, scored.sigma, np.nan)),
            ("deviation", np.where(scored.ready, scored.deviation, np.nan)),
        ):
            engine[name][row] = column
        return state, findings

    def settle(self, state: EngineState, row: Int32Array) -> EngineState:
        """End the abnormal stretch of `row`, which is over for want of samples."""
        for name in ("abnormal", "evidence", "calm", "streak"):
            state.engine[name][row] = 0
        return state

    def readings(self, state: EngineState) -> Readings:
        """Newest value, expectation, band and score of every row."""
        engine = state.engine
        row = np.arange(len(engine), dtype=np.int32)
        expected = cast(Float64Array, engine["expected"])
        sigma = cast(Float64Array, engine["sigma"])
        limit = self._limit(engine, row, sigma)
        reach = limit * sigma
        deviation = cast(Float64Array, engine["deviation"])
        strength = np.where(np.isnan(deviation), np.nan, self._side(engine, row, deviation) / limit)
        unit = self._detector.to_unit
        return Readings(
            series_id=cast(Int32Array, engine["id"]).copy(),
            timestamp=cast(Int64Array, engine["last"]).copy(),
            value=cast(Float64Array, engine["value"]).copy(),
            expected=unit(state.detector, row, expected),
            lower=unit(state.detector, row, expected - reach),
            upper=unit(state.detector, row, expected + reach),
            score=score_of(strength),
            abnormal=cast(BoolArray, engine["abnormal"]).copy(),
        )

    def dump(self, state: EngineState) -> bytes:
        """Both tables, exactly."""
        engine, detector = state.engine.dump(), state.detector.dump()
        version = self.version.encode()
        head = len(version).to_bytes(4, "little") + version + len(engine).to_bytes(8, "little")
        return head + engine + detector

    def load(self, data: bytes) -> EngineState:
        """What `dump` wrote."""
        size = int.from_bytes(data[:4], "little")
        version = data[4 : 4 + size]
        if version != self.version.encode():
            msg = f"The detection state is of kernel {version!r}, this is {self.version!r}."
            raise CorruptDataError(msg, remedy="The baseline has to be learned again.")
        at = 12 + size
        length = int.from_bytes(data[4 + size : at], "little")
        return EngineState(
            engine=Columns.load(_LAYOUT, data[at : at + length]),
            detector=Columns.load(self._detector.layout(), data[at + length :]),
        )

    def _limit(self, engine: Columns, row: Int32Array, sigma: Float64Array) -> Float64Array:
        """Threshold for |z| of each of `row`."""
        certain = cast(Float64Array, engine["certain"])[row] / sigma
        return thresholds(self._config.threshold, cast(Float64Array, engine["tail"])[row], certain)

    @staticmethod
    def _side(engine: Columns, row: Int32Array, deviation: Float64Array) -> Float64Array:
        """|z| where the side matters for the role, else 0."""
        above = cast(BoolArray, engine["above"])[row] & (deviation > 0)
        below = cast(BoolArray, engine["below"])[row] & (deviation < 0)
        return np.where(above | below, np.abs(deviation), 0.0)

    def _distance(self, engine: Columns, row: Int32Array, scored: Scored) -> Float64Array:
        return np.where(scored.ready, self._side(engine, row, scored.deviation), 0.0)

    def _learn_tail(
        self, engine: Columns, row: Int32Array, distance: Float64Array, which: BoolArray
    ) -> None:
        """A stretch beyond the tail counts once, or a slow ramp would push its limit ahead."""
        tail, straying = cast(Float64Array, engine["tail"]), cast(BoolArray, engine["straying"])
        beyond = distance > tail[row]
        chosen = which & ~(beyond & straying[row])
        rows = row[chosen]
        tail[rows] = learn_tail(self._config.threshold, tail[rows], distance[chosen])
        straying[row] = beyond

    def _decide(
        self,
        state: EngineState,
        batch: ColumnBatch,
        scored: Scored,
        limit: Float64Array,
        strength: Float64Array,
    ) -> Findings:
        """Move evidence and hysteresis; return what started, got worse and ended."""
        row, config, engine = batch.row, self._config, state.engine
        beyond = strength >= 1.0
        evidence = cast(Float64Array, engine["evidence"])
        before = evidence[row]
        onset = cast(Int64Array, engine["onset"])
        first = row[beyond & (before == 0)]
        onset[first] = batch.timestamp[beyond & (before == 0)]
        # What a stretch of wild samples teaches about the tail is forgotten if it turns out to
        # be the beginning of an anomaly: incidents must not make the series less sensitive.
        tail, tail_before = cast(Float64Array, engine["tail"]), engine["tail_before"]
        tail_before[first] = tail[first]
        # One sample never gives more than 2, so that it takes two at least.
        after = np.where(beyond, before + np.minimum(strength, 2.0), np.maximum(before - 1.0, 0.0))
        evidence[row] = np.minimum(after, 2 * config.confirm)
        abnormal, calm = cast(BoolArray, engine["abnormal"]), cast(Int32Array, engine["calm"])
        calm[row] = np.where(strength < config.calm, calm[row] + 1, 0)
        was = abnormal[row]
        started = ~was & beyond & (after >= config.confirm)
        tail[row[started]] = cast(Float64Array, tail_before)[row[started]]
        streak = cast(Int32Array, engine["streak"])
        streak[row] = np.where(was, streak[row] + 1, 0)
        exhausted = was & (streak[row] >= config.relearn)
        ended = was & ((calm[row] >= config.recover) | exhausted)
        abnormal[row] = (was | started) & ~ended
        evidence[row] = np.where(ended, 0.0, evidence[row])
        if exhausted.any():
            state.detector["count"][row[exhausted]] = 0
        reported = cast(Float64Array, engine["reported"])
        worse = was & ~ended & (strength >= 2.0 * reported[row])
        reported[row] = np.where(started | worse, strength, reported[row])
        return self._findings(state, batch, scored, limit, strength, started | worse | ended)

    def _findings(
        self,
        state: EngineState,
        batch: ColumnBatch,
        scored: Scored,
        limit: Float64Array,
        strength: Float64Array,
        which: BoolArray,
    ) -> Findings:
        at = np.flatnonzero(which)
        if not len(at):
            return Findings.empty()
        row, engine = batch.row[at], state.engine
        expected, reach = scored.expected[at], limit[at] * scored.sigma[at]
        unit = self._detector.to_unit
        return Findings(
            series_id=cast(Int32Array, engine["id"])[row],
            timestamp=batch.timestamp[at],
            started=cast(BoolArray, engine["abnormal"])[row].copy(),
            onset=cast(Int64Array, engine["onset"])[row].copy(),
            deviation=scored.deviation[at],
            score=score_of(strength[at]),
            observed=batch.value[at],
            expected=unit(state.detector, row, expected),
            lower=unit(state.detector, row, expected - reach),
            upper=unit(state.detector, row, expected + reach),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """The newest sample of every series beside its band, in columns `[series]`; NaN: unknown."""

    series_id: Int32Array
    timestamp: Int64Array
    value: Float64Array
    expected: Float64Array
    lower: Float64Array
    upper: Float64Array
    score: Float64Array
    abnormal: BoolArray


def score_of(strength: Float64Array) -> Float64Array:
    """Anomaly score 0 to 1 from |z| over its threshold: 0.5 at the threshold, 0.75 at twice it."""
    return 1.0 - np.exp2(-np.maximum(strength, 0.0))
