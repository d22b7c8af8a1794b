"""Series that only the everyday detector watches: columns in, findings out, compiled in between.

`step` is one sample of each row, `block` many samples of each; findings and state are the same
to the last bit (`dos.detect.fused`).
"""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

import numpy as np

from dos.detect.base import Detector
from dos.detect.columns import Columns
from dos.detect.ensemble import score_of
from dos.detect.ewma import Settings, Table
from dos.detect.fused import Batch, Found, Newest, Plan, run
from dos.detect.judge import ENDED, EXHAUSTED, Rules
from dos.detect.state import EngineState
from dos.detect.thresholds import ThresholdConfig, rarity
from dos.model.anomaly import Findings
from dos.model.telemetry import Float64Array, Int32Array, Int64Array


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
        self._config = config

    def step(
        self,
        state: EngineState,
        row: Int32Array,
        at: Int64Array,
        value: Float64Array,
        *,
        history: bool,
    ) -> Findings:
        """One sample of each of `row`, which is ascending and without repeats."""
        batch = Batch(row, at, value, 1, shared=False)
        found, count, _ = self._run(state, batch, 0, len(row), history=history)
        return self._findings(state, batch, found, count) if count else Findings.empty()

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
        batch = Batch(row, at, np.ascontiguousarray(value).reshape(-1), len(at), shared=True)
        parts: list[Findings] = []
        first, room = 0, len(at) + 4 * len(row)
        while first < len(row):
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
        plan = Plan(self._detector.settings, self._rules, history)
        newest = Newest._make(state.engine[name] for name in Newest._fields)
        table = self._detector.table(state.detector)
        first, count = run(table, state.rows(), newest, found, plan, batch, first)
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
