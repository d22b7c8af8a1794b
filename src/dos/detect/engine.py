"""The scoring kernel: all series of a shard in one vectorised pass per step.

For each new sample: each detector that watches the series gives a robust z-score; the side that
does not matter for the metric's role is ignored; over the threshold that the detector learned for
the series it is a strength, and the strongest counts (`dos.detect.ensemble`). Samples beyond the
threshold add to the evidence of the series, others take it back. An anomaly starts when the
evidence reaches `confirm` (so one wild sample never suffices, two very wild or three clear ones
do), is reported again whenever it became twice as strong, and ends after `recover` calm samples
in a row.
An abnormal series hardly learns, so that an incident does not become the new normal; after
`relearn` samples it is taken as just that and the baseline starts again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.compute.base import ColumnBatch
from dos.detect import closely
from dos.detect.closely import Slots
from dos.detect.columns import Column, Columns
from dos.detect.ensemble import Verdict, combine, score_of
from dos.detect.members import ROOM, Member, MemberState, Said, member_list
from dos.detect.profile import profile_of
from dos.detect.thresholds import ThresholdConfig
from dos.kit.errors import CorruptDataError
from dos.model.anomaly import Findings
from dos.model.telemetry import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    Series,
    UInt8Array,
)

__all__ = ["ROOM", "DetectConfig", "DetectKernel", "EngineState", "Readings", "score_of"]

_LAYOUT = {
    "id": Column(dtype="<i4", initial=-1),
    "above": Column(dtype="|b1", initial=True),
    "below": Column(dtype="|b1", initial=True),
    "certain": Column(dtype="<f8", initial=float("inf")),
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
    "strength": Column(dtype="<f8", initial=float("nan")),
    "scale": Column(dtype="<f4", initial=1.0),
    "leader": Column(dtype="|u1"),
    **closely.ROWS,
}


class DetectConfig(BaseModel):
    """Detection of abnormal series."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: str = "seasonal_ewma"
    """The everyday detector: scores every series; a file in `dos/detect/detectors`."""
    parameters: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """Keys of that detector's own configuration."""
    beside: tuple[str, ...] = ()
    """Further detectors that score every series."""
    closely: tuple[str, ...] = ()
    """Detectors that look closer, at more cost, at the series that matter or are suspected."""
    closely_at_most: int = Field(default=2000, ge=0, le=1_000_000)
    """Series that may be watched closely at a time."""
    closely_above: float = Field(default=0.75, gt=0, le=100)
    """A series above this share of its threshold is suspected, and watched closely if it can be."""
    options: dict[str, dict[str, float | int | str | bool]] = Field(default_factory=dict)
    """Keys of the detectors in `beside` and `closely`, by the name of the detector."""
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
    slots: Columns
    """Who is watched closely; a row each slot in use."""
    members: tuple[MemberState, ...]
    """By detector, in the kernel's order; those that look closely have a row a slot."""
    series: list[Series]

    @property
    def detector(self) -> Columns:
        """Columns of the everyday detector."""
        return self.members[0].own

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        members = sum(one.nbytes for one in self.members)
        return self.engine.nbytes + self.slots.nbytes + members


class DetectKernel:
    """The `ShardKernel` of detection."""

    def __init__(self, config: DetectConfig) -> None:
        self._config = config
        everyday = Member(config.detector, config.parameters, config.threshold)
        beside = member_list(config.beside, config.options, config.threshold)
        close = member_list(config.closely, config.options, config.threshold)
        self._members: tuple[Member, ...] = (everyday, *beside, *close)
        self._dense = 1 + len(beside)
        self._slots = Slots(config.closely_at_most if close else 0)
        parts = [f"{one.name}-{one.detector.version}" for one in self._members]
        self.version = f"3/{'+'.join(parts)}"

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of the detectors: the everyday one, those beside it, those that look closely."""
        return tuple(one.name for one in self._members)

    def create(self) -> EngineState:
        """State of no series."""
        return EngineState(
            engine=Columns(_LAYOUT),
            slots=Columns(closely.SLOTS),
            members=tuple(member.create() for member in self._members),
            series=[],
        )

    def grow(self, state: EngineState, series: Sequence[Series]) -> EngineState:
        """Add one row for each series."""
        first = len(state.engine)
        state.engine.grow(len(series))
        state.series += series
        profiles = [profile_of(one.spec) for one in series]
        state.engine["id"][first:] = [one.id for one in series]
        state.engine["above"][first:] = [profile.above for profile in profiles]
        state.engine["below"][first:] = [profile.below for profile in profiles]
        state.engine["certain"][first:] = [profile.certain for profile in profiles]
        for member, own in self._everyday(state):
            own.grow(len(series))
            member.detector.prepare(own.own, first, series)
        self._slots.enter(state.engine, state.slots, first, series)
        self._look_closely(state, self._slots.claim_new(state.engine, state.slots, first))
        return state

    def step(self, state: EngineState, batch: ColumnBatch) -> tuple[EngineState, Findings]:
        """Score, decide, learn."""
        row, config, engine = batch.row, self._config, state.engine
        said = self._ask(state, batch)
        strengths = np.stack([one.strength(len(row)) for one in said])
        verdict = combine(self.detectors, strengths)
        strength = verdict.strength
        findings = Findings.empty()
        abnormal = cast(BoolArray, engine["abnormal"])[row]
        if not batch.history:
            findings = self._decide(state, batch, said, verdict)
            abnormal = abnormal | cast(BoolArray, engine["abnormal"])[row]
        suspicious = strength >= 1.0
        weight = np.where(abnormal | suspicious, config.abnormal_weight, 1.0)
        if batch.history:
            weight = np.where(suspicious, np.maximum(config.abnormal_weight, 0.3), 1.0)
        for member, own, one in zip(self._members, state.members, said, strict=True):
            at = one.at
            member.detector.learn(
                own.own, one.row, batch.timestamp[at], batch.value[at], weight[at]
            )
            which = one.scored.ready & ~abnormal[at]
            member.learn_tail(own, one.row, one.distance, which)
        self._keep(
            engine, batch, said[0], verdict, cast(BoolArray, np.isfinite(strengths).any(axis=0))
        )
        if len(self._members) > self._dense and not batch.history:
            self._suspect(state, batch, strength)
        return state, findings

    def settle(self, state: EngineState, row: Int32Array) -> EngineState:
        """End the abnormal stretch of `row`, which is over for want of samples."""
        for name in ("abnormal", "evidence", "calm", "streak"):
            state.engine[name][row] = 0
        return state

    def adjust(self, state: EngineState, row: Int32Array, scale: Float64Array) -> EngineState:
        """Multiply the thresholds of `row`, as feedback asks for; 1 is the series' own."""
        state.engine["scale"][row] = scale
        return state

    def readings(self, state: EngineState) -> Readings:
        """Newest value, expectation, band and score of every row."""
        engine, own = state.engine, state.members[0]
        row = np.arange(len(engine), dtype=np.int32)
        expected = cast(Float64Array, engine["expected"])
        sigma = cast(Float64Array, engine["sigma"])
        certain = cast(Float64Array, engine["certain"]) / sigma
        reach = self._members[0].limit(own, row, certain) * _scale(engine, row) * sigma
        unit = self._members[0].detector.to_unit
        return Readings(
            series_id=cast(Int32Array, engine["id"]).copy(),
            timestamp=cast(Int64Array, engine["last"]).copy(),
            value=cast(Float64Array, engine["value"]).copy(),
            expected=unit(own.own, row, expected),
            lower=unit(own.own, row, expected - reach),
            upper=unit(own.own, row, expected + reach),
            score=score_of(cast(Float64Array, engine["strength"])),
            abnormal=cast(BoolArray, engine["abnormal"]).copy(),
            detector=cast(UInt8Array, engine["leader"]).copy(),
            closely=cast(Int32Array, engine["slot"]) >= 0,
        )

    def dump(self, state: EngineState) -> bytes:
        """All tables, exactly."""
        version = self.version.encode()
        parts = [state.engine.dump(), state.slots.dump(), *(one.dump() for one in state.members)]
        head = len(version).to_bytes(4, "little") + version
        return head + b"".join(len(part).to_bytes(8, "little") + part for part in parts)

    def load(self, data: bytes, series: Sequence[Series]) -> EngineState:
        """What `dump` wrote."""
        at = 4 + int.from_bytes(data[:4], "little")
        version = data[4:at]
        if version != self.version.encode():
            msg = f"The detection state is of kernel {version!r}, this is {self.version!r}."
            raise CorruptDataError(msg, remedy="The baseline has to be learned again.")
        parts = []
        while at < len(data):
            stop = at + 8 + int.from_bytes(data[at : at + 8], "little")
            parts.append(data[at + 8 : stop])
            at = stop
        if len(parts) != 2 + len(self._members):
            msg = f"The detection state has {len(parts)} parts, not {2 + len(self._members)}."
            raise CorruptDataError(msg)
        engine = Columns.load(_LAYOUT, parts[0])
        if len(engine) != len(series):
            msg = f"The detection state is of {len(engine)} series, not {len(series)}."
            raise CorruptDataError(msg)
        return EngineState(
            engine=engine,
            slots=Columns.load(closely.SLOTS, parts[1]),
            members=tuple(m.load(p) for m, p in zip(self._members, parts[2:], strict=True)),
            series=list(series),
        )

    def _everyday(self, state: EngineState) -> Iterator[tuple[Member, MemberState]]:
        """Members that watch every series."""
        return zip(self._members[: self._dense], state.members, strict=False)

    def _ask(self, state: EngineState, batch: ColumnBatch) -> list[Said]:
        """What each member says of the samples it watches."""
        engine = state.engine
        every = np.arange(len(batch.row), dtype=np.int32)
        slot = cast(Int32Array, engine["slot"])[batch.row]
        watched = np.flatnonzero(slot >= 0).astype(np.int32)
        said: list[Said] = []
        for place, (member, own) in enumerate(zip(self._members, state.members, strict=True)):
            dense = place < self._dense
            at = every if dense else watched
            row = batch.row if dense else slot[watched]
            scored = member.detector.score(own.own, row, batch.timestamp[at], batch.value[at])
            deviation = scored.deviation
            certain = np.full(len(at), np.inf)
            if place:  # one without a direction takes that of the everyday detector
                unsigned = np.isnan(scored.expected)
                toward = np.where(said[0].scored.deviation[at] < 0, -1.0, 1.0)
                deviation = np.where(unsigned, toward * deviation, deviation)
                scored = replace(scored, deviation=deviation)
            else:
                certain = cast(Float64Array, engine["certain"])[batch.row] / scored.sigma
            distance = np.where(scored.ready, _side(engine, batch.row[at], deviation), 0.0)
            limit = member.limit(own, row, certain) * _scale(engine, batch.row[at])
            said.append(Said(at=at, row=row, scored=scored, distance=distance, limit=limit))
        return said

    def _keep(
        self,
        engine: Columns,
        batch: ColumnBatch,
        everyday: Said,
        verdict: Verdict,
        judged: BoolArray,
    ) -> None:
        """Remember the newest sample and what was said of it."""
        scored = everyday.scored
        for name, column in (
            ("last", batch.timestamp),
            ("value", batch.value),
            ("expected", np.where(scored.ready, scored.expected, np.nan)),
            ("sigma", np.where(scored.ready, scored.sigma, np.nan)),
            ("strength", np.where(judged, verdict.strength, np.nan)),
            ("leader", verdict.leader),
        ):
            engine[name][batch.row] = column

    def _suspect(self, state: EngineState, batch: ColumnBatch, strength: Float64Array) -> None:
        """Series under suspicion are watched closely, if there is a slot for them."""
        suspected = np.flatnonzero(strength >= self._config.closely_above)
        if not len(suspected):
            return
        row, at = batch.row[suspected], batch.timestamp[suspected]
        state.engine["suspected"][row] = at
        want = cast(Int32Array, state.engine["slot"])[row] < 0
        if want.any():
            given = self._slots.claim(
                state.engine, state.slots, row[want], at[want], strength[suspected[want]]
            )
            self._look_closely(state, given)

    def _look_closely(self, state: EngineState, row: Int32Array) -> None:
        """Those of `row` have a slot now: begin afresh there."""
        for place in cast(Int32Array, state.engine["slot"])[row].tolist():
            series = state.series[int(state.slots["row"][place])]
            for member, own in zip(
                self._members[self._dense :], state.members[self._dense :], strict=True
            ):
                if place == len(own.own):
                    own.grow(1)
                own.own.reset(place)
                own.tails.reset(place)
                member.detector.prepare(own.own.part(place, place + 1), 0, [series])

    def _decide(
        self, state: EngineState, batch: ColumnBatch, said: Sequence[Said], verdict: Verdict
    ) -> Findings:
        """Move evidence and hysteresis; return what started, got worse and ended."""
        row, config, engine = batch.row, self._config, state.engine
        strength = verdict.strength
        beyond = strength >= 1.0
        evidence = cast(Float64Array, engine["evidence"])
        before = evidence[row]
        onset = cast(Int64Array, engine["onset"])
        straying = beyond & (before == 0)
        onset[row[straying]] = batch.timestamp[straying]
        # What a stretch of wild samples teaches about the tail is forgotten if it turns out to
        # be the beginning of an anomaly: incidents must not make the series less sensitive.
        for member, own, one in zip(self._members, state.members, said, strict=True):
            member.remember(own, one.row[straying[one.at]])
        # One sample never gives more than 2, so that it takes two at least.
        after = np.where(beyond, before + np.minimum(strength, 2.0), np.maximum(before - 1.0, 0.0))
        evidence[row] = np.minimum(after, 2 * config.confirm)
        abnormal, calm = cast(BoolArray, engine["abnormal"]), cast(Int32Array, engine["calm"])
        calm[row] = np.where(strength < config.calm, calm[row] + 1, 0)
        was = abnormal[row]
        started = ~was & beyond & (after >= config.confirm)
        for member, own, one in zip(self._members, state.members, said, strict=True):
            member.restore(own, one.row[started[one.at]])
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
        return self._findings(state, batch, said, verdict, started | worse | ended)

    def _findings(
        self,
        state: EngineState,
        batch: ColumnBatch,
        said: Sequence[Said],
        verdict: Verdict,
        which: BoolArray,
    ) -> Findings:
        at = np.flatnonzero(which)
        if not len(at):
            return Findings.empty()
        row, engine = batch.row[at], state.engine
        strength, leader = verdict.strength[at], verdict.leader[at]
        band = [np.empty(len(at)) for _ in range(4)]  # deviation, lower, expected, upper
        for place, (member, own, one) in enumerate(
            zip(self._members, state.members, said, strict=True)
        ):
            # The leader's own band if it has one, else that of the everyday detector.
            where, mine = np.flatnonzero((leader == place) | (place == 0)), one
            here = np.searchsorted(mine.at, at[where])
            scored = mine.scored
            known = (place == 0) | ~np.isnan(scored.expected[here])
            band[0][where] = scored.deviation[here]
            where, here = where[known], here[known]
            expected, reach = scored.expected[here], (mine.limit * scored.sigma)[here]
            for values, column in zip(
                (expected - reach, expected, expected + reach), band[1:], strict=True
            ):
                column[where] = member.detector.to_unit(own.own, mine.row[here], values)
        return Findings(
            series_id=cast(Int32Array, engine["id"])[row],
            timestamp=batch.timestamp[at],
            started=cast(BoolArray, engine["abnormal"])[row].copy(),
            onset=cast(Int64Array, engine["onset"])[row].copy(),
            deviation=band[0],
            score=score_of(strength),
            observed=batch.value[at],
            expected=band[2],
            lower=band[1],
            upper=band[3],
            detector=leader,
            rarity=_rarity(self._config.threshold, strength),
        )


def _scale(engine: Columns, row: Int32Array) -> Float64Array:
    """What feedback makes of the thresholds of `row`."""
    return cast(Float32Array, engine["scale"])[row].astype(np.float64)


def _rarity(config: ThresholdConfig, strength: Float64Array) -> Float64Array:
    """Share of healthy samples that are as strong, were the tail beyond its quantile exponential.

    A share `1 - tail` lies beyond the tracked quantile, and the threshold is `margin` times it.
    """
    return (1 - config.tail) ** (config.margin * strength)


def _side(engine: Columns, row: Int32Array, deviation: Float64Array) -> Float64Array:
    """|z| where the side matters for the role, else 0."""
    above = cast(BoolArray, engine["above"])[row] & (deviation > 0)
    below = cast(BoolArray, engine["below"])[row] & (deviation < 0)
    return np.where(above | below, np.abs(deviation), 0.0)


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
    detector: UInt8Array
    """The detector that says most of the newest sample, by its place in the kernel's list."""
    closely: BoolArray
    """Whether the series is watched closely."""
