"""How unusual the open stretch of time is, for each entity and in each way.

A count is tested against what came before (`rates.py`); the logarithm of its probability, corrected
for the number of tests, over that of the limit is its strength: 1 at the limit, 2 at the limit's
probability squared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

from dos.detect.logs.config import LogsConfig
from dos.detect.logs.layout import KINDS, LogState
from dos.detect.logs.rates import Counts, log_tail, log_tails
from dos.kit.clock import SECOND
from dos.model.telemetry import BoolArray, Float64Array, Int32Array, Int64Array, UInt8Array

NEW, BURST, PARAMETER = range(KINDS)
"""Ways of being unusual, in the order of `LogSignal`."""
WARNING = 13
"""Least severity of concern, as OpenTelemetry numbers them."""
MOST_TRAFFIC = 20.0
"""Times the usual traffic that are believed at most."""
_WEEK = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """Tests of the open stretch."""

    strength: Float64Array
    """`[entity, signal]`, from 0; 1 at the limit."""
    row: Int32Array
    """`[entity, signal]` template that shows it best, -1 for none."""
    rows: Int64Array
    """`[test]` templates that had lines."""
    by_row: Float64Array
    """`[test]` strength of how many lines each of them had."""


class Judge:
    """Tests the counts of stretches; changes nothing."""

    def __init__(self, config: LogsConfig) -> None:
        self._config = config
        self._every = round(config.every * SECOND)
        self._memory = config.memory / config.every
        self.limit = math.log(config.false_alarms * config.every / _WEEK)
        """Logarithm of the probability from which on a stretch is unusual."""

    def verdict(self, state: LogState) -> Verdict:
        """Test the counts of the open stretch."""
        table, count = state.templates, len(state.entities)
        rows = np.flatnonzero(cast(Float64Array, table["lines"]) > 0)
        owner = cast(Int32Array, table["entity"])[rows]
        strength = np.zeros((count, KINDS))
        shown = np.full((count, KINDS), -1, np.int32)
        if not len(rows):
            return Verdict(strength=strength, row=shown, rows=rows, by_row=np.empty(0))
        tests = np.log(np.bincount(owner, minlength=count)[owner])
        by_row = np.minimum(self._rates(state, rows, owner) + tests, 0.0) / self.limit
        severity = cast(UInt8Array, table["severity"])[rows]
        lately = state.bucket * self._every - round(self._config.warm_up * SECOND)
        fresh = cast(Int64Array, table["first"])[rows] >= lately
        calm = (severity > 0) & (severity < WARNING)
        burst = ~fresh & ~calm
        _best(strength, shown, NEW, _Tested(rows[fresh], owner[fresh], by_row[fresh]))
        _best(strength, shown, BURST, _Tested(rows[burst], owner[burst], by_row[burst]))
        self._fresh(state, strength, shown, _Tested(rows[fresh], owner[fresh], by_row[fresh]))
        self._parameters(state, strength, shown, rows)
        strength[~self.ready(state)] = 0.0
        return Verdict(strength=strength, row=shown, rows=rows, by_row=by_row)

    def ready(self, state: LogState) -> BoolArray:
        """`[entity]` whether it is known for long enough."""
        ticks = cast(Float64Array, state.entities["ticks"])
        return ticks * self._config.every >= self._config.warm_up

    def _rates(self, state: LogState, rows: Int64Array, owner: Int32Array) -> Float64Array:
        """`[test]` logarithms of the probabilities of so many lines."""
        table = state.templates
        ticks = cast(Float64Array, state.entities["ticks"])
        found = np.empty(len(rows))
        counts = Counts(
            lines=cast(Float64Array, table["lines"])[rows],
            squares=cast(Float64Array, table["squares"])[rows],
            mean=cast(Float64Array, table["mean"])[rows],
            variance=cast(Float64Array, table["variance"])[rows],
            exposure=np.minimum(ticks, self._memory)[owner],
            factor=_traffic(state, rows, owner),
        )
        log_tails(counts, found)
        return found

    def _fresh(
        self, state: LogState, strength: Float64Array, shown: Int32Array, tested: _Tested
    ) -> None:
        """How many new templates there are at once."""
        entities = state.entities
        for entity in np.unique(tested.owner).tolist():
            fresh, mean = float(entities["fresh"][entity]), float(entities["fresh_mean"][entity])
            exposure = max(1.0, min(float(entities["ticks"][entity]), self._memory))
            found = log_tail(fresh, mean, mean, exposure) / self.limit if fresh else 0.0
            if found > strength[entity, NEW]:
                strength[entity, NEW] = found
                if shown[entity, NEW] < 0:
                    shown[entity, NEW] = tested.row[tested.owner == entity][-1]

    def _parameters(
        self, state: LogState, strength: Float64Array, shown: Int32Array, rows: Int64Array
    ) -> None:
        """How many lines have values that they never had."""
        table = state.templates
        chosen = rows[cast(Float64Array, table["strange"])[rows] > 0].tolist()
        for row in chosen:
            entity = int(table["entity"][row])
            lines, squares = float(table["lines"][row]), float(table["squares"][row])
            now = lines * lines / squares
            before = max(1.0, float(table["seen"][row]) - now)
            usual = float(table["strange_ever"][row]) / before * now
            found = log_tail(float(table["strange"][row]), usual, 0.0, max(1.0, before / now))
            found = min(0.0, found + math.log(len(chosen))) / self.limit
            if found > strength[entity, PARAMETER]:
                strength[entity, PARAMETER] = found
                shown[entity, PARAMETER] = row


class _Tested(NamedTuple):
    """Templates `[test]`, their entities and strengths."""

    row: Int64Array
    owner: Int32Array
    strength: Float64Array


def _traffic(state: LogState, rows: Int64Array, owner: Int32Array) -> Float64Array:
    """`[test]` times as many lines of no concern as usual, apart from the template's own."""
    table, count = state.templates, len(state.entities)
    entity = cast(Int32Array, table["entity"])
    calm = (cast(UInt8Array, table["severity"]) < WARNING) & (entity >= 0)
    lines = np.where(calm, cast(Float64Array, table["lines"]), 0.0)
    mean = np.where(calm, cast(Float64Array, table["mean"]), 0.0)
    now = np.bincount(entity[calm], lines[calm], minlength=count)[owner] - lines[rows]
    usual = np.bincount(entity[calm], mean[calm], minlength=count)[owner] - mean[rows]
    return np.clip((now + 1.0) / (np.maximum(usual, 0.0) + 1.0), 1.0, MOST_TRAFFIC)


def _best(strength: Float64Array, shown: Int32Array, signal: int, tested: _Tested) -> None:
    """The strongest template of each entity."""
    order = np.argsort(tested.strength, kind="stable")  # the last one written is the strongest
    strength[tested.owner[order], signal] = tested.strength[order]
    shown[tested.owner[order], signal] = tested.row[order]
