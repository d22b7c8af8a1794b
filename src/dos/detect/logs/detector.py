"""What is unusual in the lines of each entity: new ones, bursts, values never seen.

    LogBatch ─▶ mining (templates) ─▶ parameters (strange values) ─▶ verdict (how unlikely)

Time is cut into stretches of `every` seconds. In each, the lines of every template are counted,
and so are its lines with a strange value and the templates that are new. Each count is tested
against what came before (see `rates.py`); the result is a probability, corrected for the number
of templates that were tested (Bonferroni), and the same limit holds for all of them: it follows
from how many false alarms are acceptable. A stretch is tested as it fills, so that a burst is
found before its stretch is over, and once more, finally, when it is.

Traffic raises the counts of many templates together: how many times as many lines of no concern as
usual there are, apart from the template's own, is expected of each. Lines known to be of no
concern are not looked at for bursts at all.

What is unusual hardly teaches what is usual, until it has lasted for `RELEARN` stretches. The state
depends on the lines, their times and the times of `step` alone; nothing is random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from dos.detect.logs.config import LogsConfig
from dos.detect.logs.kernel import take
from dos.detect.logs.layout import LogState, readable, room, scratch
from dos.detect.logs.mining import Lines
from dos.detect.logs.verdict import BURST, NEW, Judge, Verdict
from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.model.logs import LogBatch, LogFinding, LogScores, LogSignal
from dos.model.telemetry import BoolArray, Float64Array, Int32Array, Int64Array

SIGNALS = tuple(LogSignal)
CHUNK = 4096
"""Lines mined at once: what is known of them fits a processor's cache."""
CALM = 0.6
"""Share of the limit's strength below which a stretch is calm."""
RECOVER = 3
"""Calm stretches in a row after which it is over."""
RELEARN = 60
"""Unusual stretches in a row after which they are taken for usual."""
ABNORMAL_WEIGHT = 0.05
"""How much an unusual stretch teaches."""
MOST_TRAFFIC = 20.0
"""Times the usual traffic that are believed at most."""
_GAP = 60
"""Stretches without any line that are gone through one by one; a longer gap teaches nothing."""
_ROWS = 256
"""Rows made at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A kind of line of one entity."""

    serial: int
    """Unique for the life of the state, in order of first sight."""
    entity: EntityId
    text: str
    """With `<*>` for what varies."""
    example: str
    count: int
    severity: int
    """The highest seen."""
    first: Millis
    last: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStep:
    """What one step found."""

    findings: tuple[LogFinding, ...] = ()
    scores: tuple[LogScores, ...] = ()
    """Of the stretches that ended, oldest first."""


class LogDetector:
    """Finds what is unusual in log lines; a plain state machine, one caller at a time."""

    version = "1"

    def __init__(self, config: LogsConfig | None = None) -> None:
        self.config = config or LogsConfig()
        self.refused = 0
        """Lines of entities beyond `max_entities`, since the start of the process."""
        self._state = LogState()
        self._every = round(self.config.every * SECOND)
        self._judge = Judge(self.config)
        self._line = scratch()
        self._mined = room(CHUNK, self.config.max_templates)

    def step(self, batch: LogBatch | None, now: Millis, *, history: bool = False) -> LogStep:
        """Take in lines and go on to `now`.

        Args:
            batch: The lines, in any order; late ones count for the open stretch.
            now: The time; lines that are ahead of it count as of now.
            history: True for the past: learned from, nothing is found.

        Cost: below 2 µs a line, and 0.1 ms for 10,000 templates.
        """
        findings: list[LogFinding] = []
        scores: list[LogScores] = []
        for bucket, lines in self._stretches(batch, now):
            self._advance(bucket, findings, scores, history=history)
            self._take(self._owned(lines, batch))
        if self._state.bucket >= 0 and not history:  # the past may come in parts
            self._advance(now // self._every, findings, scores, history=False)
            if batch is not None and len(batch):
                findings += self._start(self._judge.verdict(self._state), now)
        return LogStep(findings=tuple(findings), scores=tuple(scores))

    @property
    def entities(self) -> tuple[EntityId, ...]:
        """Those whose lines are looked at, in order of first sight."""
        return tuple(self._state.names)

    def templates(self) -> list[Template]:
        """All that are known, in order of first sight."""
        table = self._state.templates
        names = list(self._state.names)
        rows = np.flatnonzero(cast(Int32Array, table["entity"]) >= 0)
        rows = rows[np.argsort(table["serial"][rows])]
        return [
            Template(
                serial=int(table["serial"][row]),
                entity=names[int(table["entity"][row])],
                text=self._state.text(row),
                example=self._state.example(row),
                count=int(table["seen"][row]),
                severity=int(table["severity"][row]),
                first=Millis(int(table["first"][row])),
                last=Millis(int(table["last"][row])),
            )
            for row in rows.tolist()
        ]

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        state = self._state
        return state.templates.nbytes + state.slots.nbytes + state.entities.nbytes

    def dump(self) -> bytes:
        """The state, exactly."""
        return self._state.dump()

    def load(self, data: bytes) -> None:
        """Restore what `dump` wrote.

        Raises:
            CorruptDataError: `data` is not that.
        """
        self._state = LogState.load(data)

    def _stretches(self, batch: LogBatch | None, now: Millis) -> Iterator[tuple[int, Lines]]:
        """The lines of each stretch of time, oldest first."""
        if batch is None or not len(batch):
            return
        state = self._state
        lines = Lines(
            data=np.frombuffer(batch.data, np.uint8),
            offset=batch.offset.copy(),
            entity=batch.entity.copy(),
            timestamp=np.minimum(batch.timestamp, now),
            severity=batch.severity.copy(),
            weight=batch.weight.copy(),
        )
        bucket = np.maximum(lines.timestamp // self._every, state.bucket)
        if (bucket == bucket[0]).all():
            yield int(bucket[0]), lines
            return
        for one in np.unique(bucket).tolist():
            yield one, _chosen(lines, np.flatnonzero(bucket == one))

    def _owned(self, lines: Lines, batch: LogBatch | None) -> Lines:
        """`lines` with the rows of their entities; those of one too many are left out."""
        names: tuple[EntityId, ...] = () if batch is None else batch.entities
        rows = np.full(len(names), -1, np.int32)
        for place in np.unique(lines.entity).tolist():  # not before their first line: see `ready`
            full = len(self._state.names) >= self.config.max_entities
            name = cast(EntityId, names[place])
            known = self._state.names.get(name, -1)
            rows[place] = known if full else self._state.entity(name)
        owned = lines._replace(entity=rows[lines.entity])
        foreign = int((owned.entity < 0).sum())
        self.refused += foreign
        return _chosen(owned, np.flatnonzero(owned.entity >= 0)) if foreign else owned

    def _take(self, lines: Lines) -> None:
        """Count the lines of the open stretch."""
        state, most = self._state, self.config.max_templates
        for start in range(0, len(lines.entity), CHUNK):
            part = _part(lines, start, min(start + CHUNK, len(lines.entity)))
            done = 0
            while done < len(part.entity):
                merges = self._mined.merges
                merges[0] = 0
                done = take(
                    state.store(), state.parameters(), self._line, part, self._mined, (done, most)
                )
                if done < len(part.entity) and merges[0] + most <= len(self._mined.absorbed):
                    state.grow(max(_ROWS, len(state.templates)))

    def _advance(
        self, bucket: int, findings: list[LogFinding], scores: list[LogScores], *, history: bool
    ) -> None:
        """End stretches until `bucket` is the open one."""
        state = self._state
        if state.bucket < 0:
            state.bucket = bucket
        ended = 0
        while state.bucket < bucket and ended < _GAP:
            end = Millis((state.bucket + 1) * self._every)
            verdict = self._judge.verdict(self._state)
            if not history:
                findings += self._start(verdict, end)
                findings += self._end(verdict, end)
            scores.append(self._scores(verdict, end, history=history))
            self._learn(verdict, history=history)
            state.bucket += 1
            ended += 1
        state.bucket = max(state.bucket, bucket)

    def _start(self, verdict: Verdict, now: Millis) -> list[LogFinding]:
        """What became unusual, or clearly more so."""
        state = self._state
        active = cast(BoolArray, state.entities["active"])
        reported = cast(Float64Array, state.entities["reported"])
        onset = cast(Int64Array, state.entities["onset"])
        beyond = verdict.strength >= 1.0
        started = beyond & ~active
        worse = beyond & active & (verdict.strength >= 2.0 * reported)
        onset[started] = state.bucket * self._every
        active |= started
        reported[started | worse] = verdict.strength[started | worse]
        cast(Int32Array, state.entities["calm"])[beyond] = 0
        names = list(state.names)
        return [
            LogFinding(
                entity=names[entity],
                signal=SIGNALS[signal],
                timestamp=now,
                started=True,
                onset=Millis(int(onset[entity, signal])),
                score=score_of(float(verdict.strength[entity, signal])),
                rarity=math.exp(float(verdict.strength[entity, signal]) * self._judge.limit),
                deviation=deviation_of(float(verdict.strength[entity, signal]) * self._judge.limit),
                detail=self._detail(int(verdict.row[entity, signal]), signal),
            )
            for entity, signal in np.argwhere(started | worse).tolist()
        ]

    def _end(self, verdict: Verdict, now: Millis) -> list[LogFinding]:
        """What is usual again, at the end of a stretch."""
        state = self._state
        active = cast(BoolArray, state.entities["active"])
        calm = cast(Int32Array, state.entities["calm"])
        onset = cast(Int64Array, state.entities["onset"])
        calm[...] = np.where(verdict.strength < CALM, calm + 1, 0)
        ended = active & (calm >= RECOVER)
        active &= ~ended
        names = list(state.names)
        return [
            LogFinding(
                entity=names[entity],
                signal=SIGNALS[signal],
                timestamp=now,
                started=False,
                onset=Millis(int(onset[entity, signal])),
                score=score_of(float(verdict.strength[entity, signal])),
                rarity=math.exp(float(verdict.strength[entity, signal]) * self._judge.limit),
                deviation=deviation_of(float(verdict.strength[entity, signal]) * self._judge.limit),
            )
            for entity, signal in np.argwhere(ended).tolist()
        ]

    def _scores(self, verdict: Verdict, end: Millis, *, history: bool) -> LogScores:
        strength = np.zeros_like(verdict.strength) if history else verdict.strength
        score = 1.0 - np.exp2(-strength)
        return LogScores(at=end, entities=self.entities, score=score)

    def _learn(self, verdict: Verdict, *, history: bool) -> None:
        """Take the stretch that ended into what is usual."""
        table, entities = self._state.templates, self._state.entities
        known = cast(Int32Array, table["entity"]) >= 0
        owner = cast(Int32Array, table["entity"])[known]
        ticks = cast(Float64Array, entities["ticks"])
        ready = self._judge.ready(self._state)
        hot = np.zeros(len(table), np.bool_)
        beyond = verdict.rows[verdict.by_row >= 1.0]
        hot[beyond] = ready[cast(Int32Array, table["entity"])[beyond]]
        streak = cast(Int32Array, table["streak"])
        streak[...] = np.where(hot, streak + 1, 0)
        memory = self.config.memory / self.config.every
        rate = 1.0 / (np.minimum(ticks, memory) + 1.0)[owner]
        lasting = streak[known] > RELEARN
        unusual = ABNORMAL_WEIGHT if not history else 0.3
        rate = np.where(hot[known], np.where(lasting, np.maximum(rate, 0.1), rate * unusual), rate)
        mean, variance = cast(Float64Array, table["mean"]), cast(Float64Array, table["variance"])
        error = cast(Float64Array, table["lines"])[known] - mean[known]
        # A hundred unusual lines count like a few: their squares would soon make any burst usual.
        most = 3.0 * np.sqrt(variance[known] + mean[known] + 1.0)
        error = np.where(hot[known] & ~lasting, np.minimum(error, most), error)
        variance[known] += rate * (error * error * (1.0 - rate) - variance[known])
        mean[known] += rate * error
        ever, strange = table["strange_ever"], cast(Float64Array, table["strange"])
        cast(Float64Array, ever)[known] += strange[known]
        fresh = cast(Float64Array, entities["fresh"])
        usual = cast(Float64Array, entities["fresh_mean"])
        usual += (fresh - usual) / (np.minimum(ticks, memory) + 1.0)
        ticks += 1.0
        fresh[...] = 0.0
        for name in ("lines", "squares", "strange"):
            table[name][...] = 0.0

    def _detail(self, row: int, signal: int) -> str:
        """What was seen, for people."""
        if row < 0:
            return ""
        table = self._state.templates
        lines, mean = float(table["lines"][row]), float(table["mean"][row])
        text, every = self._state.text(row), f"{self.config.every:g} s"
        if signal == NEW:
            return f"{_times(lines)} in {every}, never before: {text}"
        if signal == BURST:
            return f"{_times(lines)} in {every}, usually {mean:.2g}: {text}"
        odd = readable(table["odd"][row].tobytes().rstrip(b"\0"))
        return f"{_times(float(table['strange'][row]))} with an unusual value, {odd}: {text}"


def score_of(strength: float) -> float:
    """Anomaly score 0 to 1: 0.5 at the limit, 0.75 at the limit's probability squared."""
    return 1.0 - math.pow(2.0, -max(strength, 0.0))


def deviation_of(log_rarity: float) -> float:
    """Sigmas beyond which a normal distribution leaves so much on one side.

    Feller's bound on the normal tail, `φ(z) / z`, solved by iteration; within 0.1 from 2 sigmas on.
    """
    z = math.sqrt(max(0.0, -2.0 * log_rarity))
    for _ in range(20):
        z = math.sqrt(max(0.0, -2.0 * (log_rarity + math.log(max(z, 1.0) * math.sqrt(math.tau)))))
    return z


def _times(lines: float) -> str:
    """`once`, `12 times`."""
    return "once" if round(lines) == 1 else f"{lines:,.0f} times"


def _part(lines: Lines, start: int, stop: int) -> Lines:
    """Consecutive lines."""
    return Lines(
        data=lines.data,
        offset=lines.offset[start : stop + 1],
        entity=lines.entity[start:stop],
        timestamp=lines.timestamp[start:stop],
        severity=lines.severity[start:stop],
        weight=lines.weight[start:stop],
    )


def _chosen(lines: Lines, which: Int64Array) -> Lines:
    """Some of the lines, with their bytes put together anew."""
    starts, stops = lines.offset[which], lines.offset[which + 1]
    offset = np.zeros(len(which) + 1, np.int64)
    np.cumsum(stops - starts, out=offset[1:])
    data = np.empty(int(offset[-1]), np.uint8)
    for i in range(len(which)):
        data[offset[i] : offset[i + 1]] = lines.data[starts[i] : stops[i]]
    data.flags.writeable = False  # as what comes from bytes: one type, compiled once
    return Lines(
        data=data,
        offset=offset,
        entity=lines.entity[which],
        timestamp=lines.timestamp[which],
        severity=lines.severity[which],
        weight=lines.weight[which],
    )
