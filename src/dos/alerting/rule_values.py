"""What a rule compares: values, ratios and changes of its series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dos.alerting.rule_config import RuleConfig
from dos.kit.clock import MINUTE, SECOND, Millis
from dos.model.ids import EntityId
from dos.model.matchers import Matchers, all_match, parse_matchers
from dos.model.telemetry import BoolArray, Float64Array, Int64Array, MetricBatch, SeriesSpec

STALE = 5 * MINUTE
"""A series without samples for so long says nothing any more."""
_KEPT = 60
"""Values of the past that are kept of each series whose change matters: one each 60th of it."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """What a rule has to remember of its series, so that it goes on after a restart."""

    divisor: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By series: time and value of the newest sample of what is divided by."""
    past: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """By series: times and values, oldest first. The first is what is compared with, once it is
    old enough."""


class RuleValues:
    """The series of one rule, and what their samples are compared as.

    Args:
        config: The rule.
    """

    def __init__(self, config: RuleConfig) -> None:
        self.config = config
        self.matchers: Matchers = parse_matchers(config.matchers)
        self.mine: BoolArray = np.zeros(0, np.bool_)
        """`[series]` which it is about."""
        self.memory = Memory()
        self._over = round((config.change_over or 0.0) * SECOND)
        self._specs: dict[int, SeriesSpec] = {}
        """Those it is about."""
        self._divisors: dict[tuple[EntityId, tuple[tuple[str, str], ...]], int] = {}
        self._pair: Int64Array = np.zeros(0, np.int64)
        """`[series]` which series it is divided by; -1: none."""

    def register(self, specs: Sequence[SeriesSpec]) -> None:
        """Learn of new series, in order of their ids."""
        first = len(self.mine)
        takes = np.array([self._takes(one) for one in specs], np.bool_)
        self.mine = np.concatenate([self.mine, takes])
        if not self.config.of:
            return
        self._pair = np.concatenate([self._pair, np.full(len(specs), -1, np.int64)])
        for number, spec in enumerate(specs, start=first):
            if spec.metric == self.config.of:
                self._divisors.setdefault((spec.entity, spec.labels), number)
            if self.mine[number]:
                self._specs[number] = spec
        for number, spec in self._specs.items():
            total = self._divisors.get((spec.entity, ()), -1)
            self._pair[number] = self._divisors.get((spec.entity, spec.labels), total)

    def see(self, batch: MetricBatch) -> None:
        """Remember what later samples are compared with; before `of_samples`."""
        if self.config.of:
            for row in np.flatnonzero(np.isin(batch.series_id, self._used())).tolist():
                series, at = int(batch.series_id[row]), int(batch.timestamp[row])
                before, value = self.memory.divisor.get(series), float(batch.value[row])
                if not math.isnan(value) and (before is None or at >= before[0]):
                    self.memory.divisor[series] = (at, value)

    def of_samples(self, batch: MetricBatch, rows: Int64Array) -> Float64Array:
        """`[row]` what is compared; NaN where nothing can be said."""
        shown = batch.value[rows]
        if self.config.of:
            shown = self._divided(batch, rows, shown)
        if self._over:
            shown = self._changed(batch, rows, shown)
        return shown

    def holds(self, value: Float64Array) -> BoolArray:
        """`[sample]` whether the condition holds; never for NaN."""
        if self.config.above is not None:
            return value > self.config.above
        if self.config.below is not None:
            return value < self.config.below
        return np.zeros(len(value), np.bool_)

    def _takes(self, spec: SeriesSpec) -> bool:
        return self.config.names(spec) and all_match(self.matchers, dict(spec.labels))

    def _used(self) -> Int64Array:
        return np.fromiter(self._divisors.values(), np.int64, len(self._divisors))

    def _divided(self, batch: MetricBatch, rows: Int64Array, value: Float64Array) -> Float64Array:
        found = np.full(len(rows), np.nan)
        for place, row in enumerate(rows.tolist()):
            by = self.memory.divisor.get(int(self._pair[batch.series_id[row]]))
            if by is not None and by[1] != 0 and batch.timestamp[row] - by[0] <= STALE:
                found[place] = value[place] / by[1]
        return found

    def _changed(self, batch: MetricBatch, rows: Int64Array, value: Float64Array) -> Float64Array:
        found = np.full(len(rows), np.nan)
        for place, row in enumerate(rows.tolist()):
            if not np.isfinite(value[place]):
                continue
            at, now = int(batch.timestamp[row]), float(value[place])
            before = self._before(int(batch.series_id[row]), Millis(at), now)
            if before is None:
                continue
            if self.config.change == "absolute":
                found[place] = now - before
            elif before:
                found[place] = (now - before) / abs(before)
        return found

    def _before(self, series: int, at: Millis, value: float) -> float | None:
        """The value one `change_over` before `at`; keeps `value` for later."""
        slot = max(SECOND, self._over // _KEPT)
        past = self.memory.past.setdefault(series, [])
        if not past or at >= past[-1][0] + slot:
            past.append((at, value))
        while len(past) > 1 and past[1][0] <= at - self._over:
            del past[0]
        then, before = past[0]
        # Of a series with a gap nothing is known for that time.
        known = at - self._over - max(STALE, 2 * slot) <= then <= at - self._over
        return before if known else None
