"""The scoring kernel: all series of a shard in one vectorised pass per step.

For each new sample: each detector that watches the series gives a robust z-score; the side that
does not matter for the metric's role is ignored; over the threshold that the detector learned for
the series it is a strength, and the strongest counts (`dos.detect.ensemble`). Samples beyond the
threshold add to the evidence of the series, others take it back. An anomaly starts when the
evidence reaches `confirm` (so one wild sample never suffices, two very wild or three clear ones
do), is reported again whenever it became clearly stronger, and ends after `recover` calm samples
in a row. Detectors that look at windows remember a trouble for a while, so what the detectors that
watch every series saw ends when these are calm; a close one that lingers over it is not heard
before it was calm once. What only a close detector saw ends when that is calm.
An abnormal series hardly learns, so that an incident does not become the new normal; after
`relearn` samples it is taken as just that and the baseline starts again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.compute.base import ColumnBatch
from dos.detect import closely, past
from dos.detect.absence import silence
from dos.detect.base import KnowsDaysOff
from dos.detect.calendar import Calendars, DaysOff
from dos.detect.closely import Slots
from dos.detect.columns import Columns
from dos.detect.council import Council
from dos.detect.everyday import Everyday, Fusible
from dos.detect.judge import Rules
from dos.detect.members import ROOM, Member, member_list
from dos.detect.profile import profile_of
from dos.detect.readings import Readings, Watcher, merged, readings_of
from dos.detect.state import LAYOUT, PAST, EngineState
from dos.detect.thresholds import ThresholdConfig
from dos.kit.clock import Millis
from dos.kit.errors import CorruptDataError
from dos.model.anomaly import Findings
from dos.model.telemetry import (
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    Series,
)

__all__ = ["ROOM", "DetectConfig", "DetectKernel", "EngineState", "Readings"]


class DetectConfig(BaseModel):
    """Detection of abnormal series."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: str = "seasonal_ewma"
    """The everyday detector: scores every series; a file in `dos/detect/detectors`."""
    parameters: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """Keys of that detector's own configuration."""
    beside: tuple[str, ...] = ()
    """Further detectors that score every series."""
    closely: tuple[str, ...] = ("committee",)
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


class DetectKernel:
    """The `ShardKernel` of detection."""

    def __init__(self, config: DetectConfig, calendars: Calendars | None = None) -> None:
        self._config = config
        self._days_off = DaysOff(calendars or Calendars())
        everyday = Member(config.detector, config.parameters)
        beside = member_list(config.beside, config.options)
        close = member_list(config.closely, config.options, closely=True)
        self._members: tuple[Member, ...] = (everyday, *beside, *close)
        for member in self._members:
            if isinstance(member.detector, KnowsDaysOff):
                member.detector.use(self._days_off)
        self._dense = 1 + len(beside)
        self._slots = Slots(config.closely_at_most if close else 0)
        self._rules = rules_of(config)
        self._council = Council(self._members, self._dense, self._rules, config.threshold)
        self._everyday: Everyday | None = None
        if isinstance(everyday.detector, Fusible) and not beside:
            self._everyday = Everyday(everyday.detector, self._rules, config.threshold)
        self._past = PAST if close else {}
        parts = [f"{one.name}-{one.detector.version}" for one in self._members]
        self.version = f"5/{'+'.join(parts)}"

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of the detectors: the everyday one, those beside it, those that look closely."""
        return tuple(one.name for one in self._members)

    def create(self) -> EngineState:
        """State of no series."""
        return EngineState(
            engine=Columns(LAYOUT),
            past=Columns(self._past),
            slots=Columns(closely.SLOTS),
            members=tuple(member.create() for member in self._members),
            series=[],
        )

    def grow(self, state: EngineState, series: Sequence[Series]) -> EngineState:
        """Add one row for each series."""
        first = len(state.engine)
        state.engine.grow(len(series))
        state.past.grow(len(series))
        state.series += series
        profiles = [profile_of(one.spec) for one in series]
        state.engine["id"][first:] = [one.id for one in series]
        state.engine["above"][first:] = [profile.above for profile in profiles]
        state.engine["below"][first:] = [profile.below for profile in profiles]
        state.engine["certain"][first:] = [profile.certain for profile in profiles]
        for member, own in zip(self._members[: self._dense], state.members, strict=False):
            own.grow(len(series))
            member.detector.prepare(own.own, first, series)
        self._slots.enter(state.engine, first, series)
        self._look_closely(state, self._slots.claim_new(state.engine, state.slots, first))
        return state

    def step(self, state: EngineState, batch: ColumnBatch) -> tuple[EngineState, Findings]:
        """Score, decide, learn. A sample that is not a number is passed over."""
        self._cover(batch.timestamp)
        if len(batch.row) > 1 and not (np.diff(batch.row) > 0).all():
            return state, self._repeated(state, batch)
        if self._everyday is None:
            known = batch.where(~np.isnan(batch.value))
            return state, self._together(state, known) if len(known.row) else Findings.empty()
        if not len(state.slots):
            return state, self._everyday.step(state, batch)
        watched = state.slot[batch.row] >= 0
        rest = batch.where(~watched)
        near = batch.where(watched & ~np.isnan(batch.value))
        found = [self._everyday.step(state, rest)] if len(rest.row) else []
        strength = cast(Float32Array, state.engine["strength"])[rest.row]
        suspected = (strength >= self._config.closely_above) & ~np.isnan(rest.value)
        if len(near.row):
            findings, said = self._council.step(state, near)
            found.append(findings)
            strong = said >= self._config.closely_above
            state.engine["suspected"][near.row[strong]] = near.timestamp[strong]
        if suspected.any() and not batch.history:
            self._claim(state, rest.where(suspected))
        past.keep(state, batch.row, batch.value)
        return state, merged(found)

    def _repeated(self, state: EngineState, batch: ColumnBatch) -> Findings:
        """A batch in which series have several samples: as if they had come one after the other."""
        found: list[Findings] = []
        if self._everyday is not None and (batch.history or not len(state.slots)):
            alone = batch.where(state.slot[batch.row] < 0)
            batch = batch.where(state.slot[batch.row] >= 0)
            if len(alone.row):
                found += self._everyday.stretches(state, alone)
                past.keep_all(state, alone.row, alone.value)
        first = np.flatnonzero(np.diff(batch.row, prepend=-1))
        nth = np.arange(len(batch.row)) - np.repeat(first, np.diff(first, append=len(batch.row)))
        for turn in range(int(nth.max(initial=-1)) + 1):
            found.append(self.step(state, batch.where(nth == turn))[1])
        return merged(found)

    def step_block(
        self,
        state: EngineState,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        *,
        history: bool,
    ) -> tuple[EngineState, Findings]:
        """Many samples of many series; findings and state are those of one `step` a time.

        Series that only the everyday detector watches are gone through one by one, each in one
        go, which is several times as fast as tick by tick.

        Args:
            state: What is known.
            row: `[series]` rows, ascending, without repeats.
            timestamp: `[time]` ms.
            value: `[time, series]`; NaN where a series has no sample.
            history: Learn, decide nothing.
        """
        self._cover(timestamp)
        slow = np.arange(len(row))
        found: list[Findings] = []
        if self._everyday is not None and (history or not len(state.slots)):
            watched = state.slot[row] >= 0
            alone = row[~watched]
            if len(alone):
                values = value if not watched.any() else value[:, ~watched]
                found += self._everyday.block(state, alone, timestamp, values, history=history)
                past.keep(state, alone, values)
            slow = np.flatnonzero(watched)
        for at, line in zip(timestamp, value[:, slow], strict=True) if len(slow) else ():
            known = np.flatnonzero(~np.isnan(line))
            batch = ColumnBatch(
                row=row[slow[known]],
                timestamp=np.full(len(known), at),
                value=line[known],
                history=history,
            )
            found.append(self.step(state, batch)[1])
        return state, merged(found)

    def settle(self, state: EngineState, row: Int32Array) -> EngineState:
        """End the abnormal stretch of `row`, which is over for want of samples."""
        for name in ("abnormal", "evidence", "calm", "streak", "mean", "plain", "spent"):
            state.engine[name][row] = 0
        return state

    def _cover(self, timestamp: Int64Array) -> None:
        """Know the holidays around these times."""
        if self._days_off.matter and len(timestamp):
            self._days_off.cover(Millis(int(timestamp.min())), Millis(int(timestamp.max())))

    def adjust(self, state: EngineState, row: Int32Array, scale: Float64Array) -> EngineState:
        """Multiply the thresholds of `row`, as feedback asks for; 1 is the series' own."""
        state.engine["scale"][row] = scale
        return state

    def readings(self, state: EngineState) -> Readings:
        """Newest value, expectation, band and score of every row."""
        return readings_of(state, self._members[0], self._rules, self._config.threshold)

    def watching(self, readings: Readings, row: int) -> tuple[str, ...]:
        """Names of the detectors that watch a row; first the one that says most of it now."""
        names = self.detectors if readings.closely[row] else self.detectors[: self._dense]
        leader = self.detectors[int(readings.detector[row])]
        return (leader, *(name for name in names if name != leader))

    def watchers(self, state: EngineState) -> tuple[Watcher, ...]:
        """Which detectors there are, how many series each watches, and what that takes."""
        return tuple(
            Watcher(
                name=member.name,
                closely=place >= self._dense,
                series=len(own.own) if place < self._dense else len(state.slots),
                bytes_per_series=own.nbytes / max(len(own.own), 1),
            )
            for place, (member, own) in enumerate(zip(self._members, state.members, strict=True))
        )

    def dump(self, state: EngineState) -> bytes:
        """All tables, exactly."""
        version = self.version.encode()
        head = len(version).to_bytes(4, "little") + version
        parts = [table.dump() for table in (state.engine, state.past, state.slots)]
        parts += [member.dump() for member in state.members]
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
        if len(parts) != 3 + len(self._members):
            msg = f"The detection state has {len(parts)} parts, not {3 + len(self._members)}."
            raise CorruptDataError(msg)
        engine = Columns.load(LAYOUT, parts[0])
        if len(engine) != len(series):
            msg = f"The detection state is of {len(engine)} series, not {len(series)}."
            raise CorruptDataError(msg)
        return EngineState(
            engine=engine,
            past=Columns.load(self._past, parts[1]),
            slots=Columns.load(closely.SLOTS, parts[2]),
            members=tuple(m.load(p) for m, p in zip(self._members, parts[3:], strict=True)),
            series=list(series),
        )

    def _together(self, state: EngineState, batch: ColumnBatch) -> Findings:
        """Rows that several detectors watch; and who has fallen silent by now."""
        findings, _ = self._council.step(state, batch)
        if batch.history:
            return findings
        members, now = self._members[: self._dense], int(batch.timestamp.max())
        silent = silence(state, members, self._rules, self._config.threshold, now)
        return merged([findings, *silent]) if silent else findings

    def _claim(self, state: EngineState, batch: ColumnBatch) -> None:
        """Series under suspicion are watched closely, if there is a slot for them."""
        row, at = batch.row, batch.timestamp
        state.engine["suspected"][row] = at
        strength = cast(Float32Array, state.engine["strength"])[row]
        given = self._slots.claim(state.engine, state.slots, row, at, strength)
        self._look_closely(state, given)

    def _look_closely(self, state: EngineState, row: Int32Array) -> None:
        """Those of `row` have a slot now: begin afresh there, with what is known of their past."""
        watching = list(zip(self._members, state.members, strict=True))[self._dense :]
        state.engine["spent"][row] = False
        state.engine["plain"][row] = state.engine["abnormal"][row]
        for place in state.slot[row].tolist():
            series = state.series[int(cast(Int32Array, state.slots["row"])[place])]
            for member, own in watching:
                if place == len(own.own):
                    own.grow(1)
                member.begin(own, place, series)
        for slot, at, value in past.replay(state, row):
            for member, own in watching:
                member.detector.score(own.own, slot, at, value)
                member.detector.learn(own.own, slot, at, value, np.ones(len(slot)))


def rules_of(config: DetectConfig) -> Rules:
    """The configuration as compiled code takes it."""
    threshold = config.threshold
    return Rules(
        minimum=threshold.minimum,
        margin=threshold.margin,
        up=math.exp(threshold.rate * threshold.tail),
        down=math.exp(-threshold.rate * (1 - threshold.tail)),
        lowest=threshold.minimum / threshold.margin / 2,
        highest=20 * threshold.minimum,
        confirm=config.confirm,
        recover=config.recover,
        calm=config.calm,
        abnormal_weight=config.abnormal_weight,
        relearn=config.relearn,
        lasting=threshold.lasting,
        lasting_rate=1 - 0.5 ** (1 / threshold.lasting_half_life),
        lasting_calm=min(1.0, 3.15 * (1 - 0.5 ** (1 / threshold.lasting_half_life))),
    )
