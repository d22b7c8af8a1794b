"""From what sources deliver to what the pipeline takes: interned, checked, in order.

`Delivery` → `Normaliser.take` → `Intake`. In between every sample is looked at once, in columns:
series are interned (one dictionary look-up per series and table, not per sample), samples that
must not reach detection are dropped and counted by reason, counters become rates per second.

State is three arrays `[series]`: the newest timestamp, and for counters the last raw value.
Nothing here is concurrent: one writer, the intake loop, calls `take`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.ingest.base import Delivery
from dos.kit import log
from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration
from dos.model.ids import SeriesId
from dos.model.intake import Intake
from dos.model.logs import LogSignal
from dos.model.registry import SeriesRegistry
from dos.model.telemetry import (
    BoolArray,
    Float64Array,
    Int32Array,
    Int64Array,
    MetricBatch,
    MetricKind,
    SampleFrame,
    SeriesSpec,
)

_NEVER = np.iinfo(np.int64).min
_REFUSED = -1
"""Stands for a series id where the source has used up its share of series."""

_log = log.get("ingest")


class Refusal(StrEnum):
    """Why a sample went no further than the intake."""

    NON_FINITE = "non_finite"
    """NaN or infinite: the source looked and there was no value."""
    DUPLICATE = "duplicate"
    """The series has a sample of that very time."""
    OUT_OF_ORDER = "out_of_order"
    """The series has a newer sample."""
    FUTURE = "future"
    """Further ahead of our clock than clocks may differ."""
    TOO_MANY_SERIES = "too_many_series"
    """A new series of a source that has as many as it may."""
    COUNTER_START = "counter_start"
    """First sample of a counter, or first after a long gap: an increase needs two."""


class NormaliserConfig(BaseModel):
    """Bounds of the intake (`ingest:` in the configuration)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_series_per_source: int = Field(
        default=100_000, ge=1, description="New series beyond this many per source are refused."
    )
    max_future: Duration = Field(
        default=300.0, description="How far ahead of our clock a sample may be."
    )
    max_counter_gap: Duration = Field(
        default=300.0,
        description="A counter silent for longer starts anew: no rate is computed over the gap.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCounts:
    """What became of one source's samples; accepted and refused add up to all it delivered."""

    accepted: int
    refused: Mapping[Refusal, int]


@dataclass(frozen=True, slots=True)
class _Table:
    """A frame's `series` tuple as ids; holds the tuple, so that its identity stays taken."""

    series: tuple[SeriesSpec, ...]
    ids: Int32Array
    """`[row]` series id, or `_REFUSED`."""
    counter: BoolArray
    """`[row]` whether the source delivers running totals."""
    any_refused: bool
    any_counter: bool


@dataclass(frozen=True, slots=True)
class _Samples:
    """Columns `[sample]` of one delivery on their way through the checks."""

    ids: Int32Array
    at: Int64Array
    value: Float64Array
    counter: BoolArray

    def where(self, rows: BoolArray | Int64Array) -> _Samples:
        """The samples that a mask marks, or in the order that positions give."""
        return _Samples(self.ids[rows], self.at[rows], self.value[rows], self.counter[rows])


class Normaliser:
    """Turns deliveries into intakes.

    Args:
        registry: Where series are interned; this is its only writer.
        config: The bounds.
    """

    _TABLES = 64
    """Series tables remembered; sources that pull have one or two each."""

    def __init__(self, registry: SeriesRegistry, config: NormaliserConfig | None = None) -> None:
        self._registry = registry
        self._config = config or NormaliserConfig()
        self._tables: OrderedDict[tuple[str, int], _Table] = OrderedDict()
        self._owned: dict[str, set[int]] = {}
        self._warned: set[str] = set()
        self._accepted: Counter[str] = Counter()
        self._refused: dict[str, Counter[Refusal]] = {}
        self._last = np.full(0, _NEVER, np.int64)
        self._raw = np.full(0, np.nan, np.float64)
        self._place = np.zeros(0, np.int64)

    def take(self, now: Millis, source: str, delivery: Delivery) -> Intake:
        """Normalise one delivery.

        Within a delivery samples are put in order of time; across deliveries a late one is
        dropped. Cost: O(samples), plus O(series) when the frame brings a new series table.
        """
        known = len(self._registry)
        frame = delivery.frame
        metrics = MetricBatch.empty() if frame is None else self._metrics(now, source, frame)
        if delivery.logs:
            for entity in delivery.logs.entities:  # what is found in its lines has series too
                for signal in LogSignal:
                    self._intern(source, signal.spec(entity))
        return Intake(
            now=now,
            source=source,
            history=delivery.history,
            series=tuple(self._registry.since(known)),
            metrics=metrics,
            entities=delivery.entities,
            edges=delivery.edges,
            changes=delivery.changes,
            feedback=delivery.feedback,
            alerts=delivery.alerts,
            silences=delivery.silences,
            acknowledgements=delivery.acknowledgements,
            undelivered=delivery.undelivered,
            logs=delivery.logs or None,
        )

    def restore(self, last_timestamps: Mapping[SeriesId, Millis]) -> None:
        """After a restart: samples up to these times were taken in already.

        What is delivered again is then dropped as a duplicate. Times never move back, so the
        order of calls does not matter. Counters start anew (one sample without a rate).
        """
        self._grow()
        for series_id, last in last_timestamps.items():
            self._last[series_id] = max(int(self._last[series_id]), last)

    def counts(self, source: str) -> SampleCounts:
        """What became of `source`'s samples so far."""
        refused = self._refused.get(source, Counter())
        return SampleCounts(accepted=self._accepted[source], refused=dict(refused))

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources that delivered samples, sorted."""
        return tuple(sorted(self._refused))

    # ------------------------------------------------------------------------------- samples

    def _metrics(self, now: Millis, source: str, frame: SampleFrame) -> MetricBatch:
        refused = self._refused.setdefault(source, Counter())
        table = self._table(source, frame.series)
        row = frame.index
        samples = _Samples(table.ids[row], frame.timestamp, frame.value, table.counter[row])
        samples = _drop(refused, Refusal.NON_FINITE, samples, ~np.isfinite(samples.value))
        limit = now + round(self._config.max_future * SECOND)
        samples = _drop(refused, Refusal.FUTURE, samples, samples.at > limit)
        if table.any_refused:
            foreign = samples.ids == _REFUSED
            samples = _drop(refused, Refusal.TOO_MANY_SERIES, samples, foreign)
        samples = self._in_order(refused, samples)
        rated = self._rates(refused, samples) if table.any_counter else samples
        self._last[samples.ids] = samples.at
        self._accepted[source] += len(rated.ids)
        return _by_time(rated)

    def _in_order(self, refused: Counter[Refusal], samples: _Samples) -> _Samples:
        """Without what each series has already; grouped by series when one comes repeatedly."""
        ids = samples.ids
        place = self._place
        positions = np.arange(len(ids))
        place[ids] = positions
        last = self._last[ids]
        if not np.array_equal(place[ids], positions):
            samples = samples.where(np.lexsort((samples.at, ids)))
            last = self._last[samples.ids]
            again = _same_as_before(samples.ids) & _same_as_before(samples.at)
        else:
            again = np.zeros(len(ids), np.bool_)
        older = samples.at < last
        again |= samples.at == last
        if not (older.any() or again.any()):
            return samples
        _count(refused, Refusal.OUT_OF_ORDER, int(np.count_nonzero(older)))
        _count(refused, Refusal.DUPLICATE, int(np.count_nonzero(again & ~older)))
        return samples.where(~(older | again))

    def _rates(self, refused: Counter[Refusal], samples: _Samples) -> _Samples:
        """Counters as increase per second between neighbouring samples.

        A value below the one before is a restart from zero, as in Prometheus' `rate`
        (promql/functions.go, extrapolatedRate): what it has now is what it gained.
        """
        ids, at, value = samples.ids, samples.at, samples.value
        before_at, before = self._last[ids], self._raw[ids]
        repeated = np.flatnonzero(_same_as_before(ids))
        before_at[repeated], before[repeated] = at[repeated - 1], value[repeated - 1]
        with np.errstate(invalid="ignore", over="ignore"):
            seconds = (at - before_at) / SECOND
            increase = np.where(value >= before, value - before, value)
            # `at - _NEVER` overflows, but then `before` is NaN and marks the start by itself
            start = np.isnan(before) | (seconds > self._config.max_counter_gap)
            rate = increase / np.where(start, 1.0, seconds)
        counter = samples.counter
        self._raw[ids[counter]] = value[counter]
        rated = _Samples(ids, at, np.where(counter, rate, value), counter)
        return _drop(refused, Refusal.COUNTER_START, rated, counter & start)

    # -------------------------------------------------------------------------------- series

    def _table(self, source: str, series: tuple[SeriesSpec, ...]) -> _Table:
        key = (source, id(series))
        known = self._tables.get(key)
        if known is not None:
            self._tables.move_to_end(key)
            return known
        ids = np.fromiter((self._intern(source, spec) for spec in series), np.int32, len(series))
        counter = np.array([spec.kind is MetricKind.COUNTER for spec in series], np.bool_)
        table = _Table(
            series=series,
            ids=ids,
            counter=counter,
            any_refused=bool((ids == _REFUSED).any()),
            any_counter=bool(counter.any()),
        )
        self._tables[key] = table
        if len(self._tables) > self._TABLES:
            self._tables.popitem(last=False)
        self._grow()
        return table

    def _intern(self, source: str, spec: SeriesSpec) -> int:
        owned = self._owned.setdefault(source, set())
        known = self._registry.find(spec)
        if known is None:
            if len(owned) >= self._config.max_series_per_source:
                self._warn_once(source, spec)
                return _REFUSED
            if spec.kind is MetricKind.COUNTER:
                unit = f"{spec.unit or '1'}/s"
                spec = replace(spec, kind=MetricKind.GAUGE, unit=unit)
            known = self._registry.intern(spec)[0].id
        owned.add(known)
        return known

    def _warn_once(self, source: str, spec: SeriesSpec) -> None:
        if source not in self._warned:
            self._warned.add(source)
            _log.warning(
                "source has too many series; further new ones are refused",
                source=source,
                limit=self._config.max_series_per_source,
                first_refused=spec.describe(),
                remedy="narrow its queries, or raise ingest.max_series_per_source",
            )

    def _grow(self) -> None:
        """Room for every registered series, at least doubling so that growth is amortised."""
        missing = len(self._registry) - len(self._last)
        if missing > 0:
            extra = max(missing, len(self._last))
            self._last = np.concatenate([self._last, np.full(extra, _NEVER, np.int64)])
            self._raw = np.concatenate([self._raw, np.full(extra, np.nan, np.float64)])
            self._place = np.zeros(len(self._last), np.int64)


def _drop(
    refused: Counter[Refusal], reason: Refusal, samples: _Samples, rows: BoolArray
) -> _Samples:
    """`samples` without the marked rows, which are counted."""
    if not rows.any():
        return samples
    _count(refused, reason, int(np.count_nonzero(rows)))
    return samples.where(~rows)


def _count(refused: Counter[Refusal], reason: Refusal, samples: int) -> None:
    if samples:
        refused[reason] += samples


def _same_as_before(column: Int32Array | Int64Array) -> BoolArray:
    """`[sample]` whether the value equals its predecessor's."""
    same = np.zeros(len(column), np.bool_)
    np.equal(column[1:], column[:-1], out=same[1:])
    return same


def _by_time(samples: _Samples) -> MetricBatch:
    at = samples.at
    if (at[1:] < at[:-1]).any():
        samples = samples.where(np.argsort(at, kind="stable"))
    return MetricBatch(series_id=samples.ids, timestamp=samples.at, value=samples.value)
