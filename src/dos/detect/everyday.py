"""Series that only the everyday detector watches: columns in, findings out, compiled in between.

`step` is one sample of each row, `block` many samples of each; findings and state are the same
to the last bit (`dos.detect.fused`).
"""

from __future__ import annotations

from typing import Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from dos.compute.base import ColumnBatch
from dos.detect.base import Detector
from dos.detect.columns import Columns
from dos.detect.ensemble import score_of
from dos.detect.ewma import Settings, Table
from dos.detect.ferry import Batch, Newest
from dos.detect.fused import Found, Plan, run
from dos.detect.judge import ENDED, EXHAUSTED, Rules
from dos.detect.lanes import FIELDS, WIDTH, Pace
from dos.detect.state import EngineState
from dos.detect.thresholds import ThresholdConfig, rarity
from dos.model.anomaly import Findings
from dos.model.telemetry import Float64Array, Int32Array, Int64Array

G = TypeVar("G", bound=np.generic)
_NO_BEGIN = np.zeros(0, np.int64)


@runtime_checkable
class Fusible(Detector, Protocol):
    """A detector whose work can be done in one pass with the decision."""

    settings: Settings

    def table(self, columns: Columns) -> Table:
        """Its columns."""
        ...


class Everyday:
    """Runs `dos.detect.fused` on a state.

    Args:
        detector: The everyday detector.
        rules: How decisions are made.
        config: How thresholds are learned.
    """

    def __init__(self, detector: Fusible, rules: Rules, config: ThresholdConfig) -> None:
        self._detector = detector
        self._rules = rules
        self._pace = _pace(detector.settings, rules)
        self._config = config

    def step(self, state: EngineState, batch: ColumnBatch) -> Findings:
        """One sample of each series."""
        row, at, value = _own(batch.row), _own(batch.timestamp), _own(batch.value)
        made = Batch(row, at, value, _NO_BEGIN, 1, even=True, shared=False)
        parts = self._all(state, made, len(row), history=batch.history)
        return parts[0] if parts else Findings.empty()

    def stretches(self, state: EngineState, batch: ColumnBatch) -> list[Findings]:
        """Any number of samples of each series: those of one after the other, in order of time."""
        place = np.flatnonzero(np.diff(batch.row, prepend=-1))
        begin = np.append(place, len(batch.row))
        most = int(np.diff(begin).max())
        row, at, value = _own(batch.row[place]), _own(batch.timestamp), _own(batch.value)
        made = Batch(row, at, value, begin, most, even=False, shared=False)
        return self._all(state, made, (WIDTH + 4) * most + len(row), history=batch.history)

    def block(
        self,
        state: EngineState,
        row: Int32Array,
        at: Int64Array,
        value: Float64Array,
        *,
        history: bool,
    ) -> list[Findings]:
        """Samples at the times `at` of each of `row`.

        Args:
            state: What is known; changed in place.
            row: `[series]` without repeats.
            at: `[time]` ms, in the order in which the samples came.
            value: `[time, series]`; NaN where there is no sample.
            history: Learn, decide nothing.
        """
        flat = _own(value.reshape(-1))
        batch = Batch(_own(row), _own(at), flat, _NO_BEGIN, len(at), even=True, shared=True)
        return self._all(state, batch, (WIDTH + 4) * len(at) + len(row), history=history)

    def _all(self, state: EngineState, batch: Batch, room: int, *, history: bool) -> list[Findings]:
        """Run over all series of the batch, with room for so many findings at a time."""
        parts: list[Findings] = []
        first = 0
        while first < len(batch.row):
            found, count, first = self._run(state, batch, first, room, history=history)
            if count:
                parts.append(self._findings(state, batch, found, count))
        return parts

    def _run(
        self, state: EngineState, batch: Batch, first: int, room: int, *, history: bool
    ) -> tuple[Found, int, int]:
        """The findings, how many of them there are, and the place in the batch to go on from."""
        found = Found(
            np.empty(room, np.int64),
            np.empty(room, np.int32),
            np.empty(room, np.int8),
            np.empty(room, np.int64),
            np.empty((room, 5)),
        )
        plan = Plan(self._detector.settings, self._rules, self._pace, history)
        newest = Newest._make(state.engine[name] for name in Newest._fields)
        table = self._detector.table(state.detector)
        lane = np.zeros(FIELDS * WIDTH)
        first, count = run(table, state.rows(), newest, found, plan, batch, first, lane)
        return found, count, first

    def _findings(self, state: EngineState, batch: Batch, found: Found, count: int) -> Findings:
        at, row, kind = found.at[:count], found.row[:count], found.kind[:count]
        deviation, expected, sigma, limit, strength = found.seen[:count].T
        unit, own = self._detector.to_unit, state.detector
        when = at // len(batch.row) if batch.shared else at
        return Findings(
            series_id=cast(Int32Array, state.engine["id"])[row],
            timestamp=batch.at[when],
            started=(kind != ENDED) & (kind != EXHAUSTED),
            onset=found.onset[:count].copy(),
            deviation=deviation.copy(),
            score=score_of(strength),
            observed=batch.value[at],
            expected=unit(own, row, expected),
            lower=unit(own, row, expected - limit * sigma),
            upper=unit(own, row, expected + limit * sigma),
            detector=np.zeros(count, np.uint8),
            rarity=rarity(self._config, strength),
        )


def _pace(s: Settings, r: Rules) -> Pace:
    """The parameters as the loop over calm lanes takes them."""
    names = {name: getattr(s if name in s._fields else r, name) for name in Pace._fields}
    return Pace(**{name: float(value) for name, value in names.items()})


def _own(array: npt.NDArray[G]) -> npt.NDArray[G]:
    """The array itself if it is contiguous and may be written to, else a copy.

    Compiled code is made for one kind of array, and would be made once more for another.
    """
    return np.require(array, requirements=["C", "W"])
