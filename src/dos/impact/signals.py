"""What telemetry says of the requests of one entity: how many, how many fail, how slow they are.

An entity may have many series of one role. Of these the one is taken that speaks of requests and
of the entity as a whole; series that are split by labels (routes, replicas) are added up where
adding makes sense, and are of no use where it does not: percentiles cannot be added.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int64Array, Role, SeriesSpec

LONGEST_GAP = 2.0
"""A sample stands for the time since the one before, but for at most this many usual steps: what
was in a longer gap is not known."""
_LARGEST = 1e12
"""Requests per second, or seconds, beyond which a value is no measurement."""
_NOT_REQUESTS = re.compile(r"byte|packet|octet|network|retrans|tcp|disk|page")
_SHARES = re.compile(r"ratio|rate|percent|share")
_QUANTILE = re.compile(r"(?:p|quantile_?|0\.)(50|75|90|95|99|999)(?!\d)|(50|75|90|95|99)th")

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Telemetry:
    """A window of samples: what the impact is told of."""

    times: Int64Array
    """`[time]` ms, ascending; need not be evenly spaced."""
    values: Float64Array
    """`[time, series]` in each series' base unit; NaN where there is no sample."""
    series: tuple[SeriesSpec, ...]
    """`[series]`."""
    start: Millis
    """When the incident began."""
    end: Millis
    """Samples after it are not looked at."""
    baseline_end: Millis | None = None
    """Samples before it are surely of usual times; None: five minutes before `start`, which may
    be late."""
    past: tuple[tuple[Millis, Millis], ...] = ()
    """When earlier incidents began and ended: what was then is not usual."""

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.times), len(self.series)):
            msg = (
                f"values must be [time, series] = [{len(self.times)}, {len(self.series)}], "
                f"not {list(self.values.shape)}"
            )
            raise ValueError(msg)
        if np.any(np.diff(self.times) < 0):
            msg = "times must be in ascending order"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """The requests of one entity, sample by sample. Arrays `[sample]` but where stated."""

    times: Int64Array
    """When each sample was taken, ms."""
    seconds: Float64Array
    """For how long it stands."""
    rate: Float64Array
    """Requests per second."""
    failing: Float64Array
    """Share of them that fail, 0 to 1; NaN where it is not known."""
    levels: tuple[float, ...]
    """`[level]` the percentiles of latency there are, 0 to 1, ascending."""
    latency: Float64Array
    """`[sample, level]` seconds; NaN where it is not known."""
    unknown: tuple[str, ...] = ()
    """What is missing, and why."""

    @property
    def count(self) -> Float64Array:
        """`[sample]` requests that came in the time it stands for."""
        return self.rate * self.seconds


def requests_of(telemetry: Telemetry, entity: EntityId) -> Requests | None:
    """The requests of `entity`; None where nothing says how many there are.

    Cost: O(time × series of the entity).
    """
    mine = [at for at, spec in enumerate(telemetry.series) if spec.entity == entity]
    within = telemetry.times <= telemetry.end
    values = telemetry.values[within][:, mine]
    values = np.where(np.abs(values) <= _LARGEST, values, np.nan)  # NaN and infinite ones too
    table = _Table(telemetry.times[within], values, [telemetry.series[at] for at in mine])
    traffic = table.traffic()
    if not traffic:
        return None
    rate = table.total(traffic)
    rows = np.flatnonzero(~np.isnan(rate) & (rate >= 0))
    if len(rows) == 0:
        return None
    times = table.times[rows]
    seconds, usual = _lasting(times)
    unknown: list[str] = []
    failing = table.failing(traffic, rows, usual)
    if failing is None:
        failing = np.full(len(rows), np.nan)
        unknown.append("no series says how many of its requests fail")
    levels, latency = table.latency(rows, usual)
    if not levels:
        unknown.append("no series has a percentile of the latency of all its requests")
    return Requests(
        times=times,
        seconds=seconds,
        rate=rate[rows],
        failing=failing,
        levels=levels,
        latency=latency,
        unknown=tuple(unknown),
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """The samples of one entity: times `[time]`, values `[time, series]`, finite or NaN."""

    times: Int64Array
    values: Float64Array
    series: Sequence[SeriesSpec]

    def traffic(self) -> list[int]:
        """Columns that add up to the requests per second."""
        return self._one_metric(
            [
                at
                for at, spec in enumerate(self.series)
                if spec.role is Role.TRAFFIC
                and spec.unit in {"1/s", ""}
                and not _NOT_REQUESTS.search(spec.metric)
            ]
        )

    def total(self, columns: Sequence[int]) -> Float64Array:
        """`[time]` sum of `columns`, of which some may be missing; NaN where all are."""
        chosen = self.values[:, columns]
        known = ~np.isnan(chosen)
        total: Float64Array = np.where(known, chosen, 0.0).sum(axis=1)
        return np.where(known.any(axis=1), total, np.nan)

    def failing(
        self, traffic: Sequence[int], rows: Int64Array, usual: float
    ) -> Float64Array | None:
        """`[row]` share of requests that fail; None where no series says so."""
        errors = [
            at
            for at, spec in enumerate(self.series)
            if spec.role is Role.ERRORS and not _NOT_REQUESTS.search(spec.metric)
        ]
        shares = self._one_metric([at for at in errors if self._is_share(at)])
        found: Float64Array | None = None
        if len(shares) == 1:
            found = self._held(self.values[:, shares[0]], rows, usual)
        elif shares:
            found = self._weighted(shares, traffic, rows, usual)
        if found is None:
            counts = self._one_metric(
                [at for at in errors if self.series[at].unit == "1/s" and not self._is_share(at)]
            )
            if not counts:
                return None
            failed = self._held(self.total(counts), rows, usual)
            rate = self.total(traffic)[rows]
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                found = np.where(rate > 0, failed / rate, np.where(np.isnan(failed), np.nan, 0.0))
        return np.clip(found, 0.0, 1.0)

    def latency(self, rows: Int64Array, usual: float) -> tuple[tuple[float, ...], Float64Array]:
        """Levels and `[row, level]` seconds of the percentiles of all requests."""
        groups: dict[str, dict[float, int]] = {}
        for at, spec in enumerate(self.series):
            if spec.role is not Role.LATENCY or spec.unit not in {"seconds", ""}:
                continue
            labels = dict(spec.labels)
            text = f"p{labels.pop('quantile', '').removeprefix('0.')}"
            found = _QUANTILE.search(spec.metric) or _QUANTILE.fullmatch(text)
            if found is None or labels:
                continue
            digits = found.group(1) or found.group(2)
            base = _QUANTILE.sub("", spec.metric)
            groups.setdefault(base, {}).setdefault(int(digits) / 10 ** len(digits), at)
        if not groups:
            return (), np.empty((len(rows), 0))
        best = min(groups, key=lambda base: (-len(groups[base]), "request" not in base, base))
        levels = tuple(sorted(groups[best]))
        columns = [self._held(self.values[:, groups[best][level]], rows, usual) for level in levels]
        latency = np.stack(columns, axis=1)
        return levels, np.where(latency > 0, latency, np.nan)

    def _is_share(self, column: int) -> bool:
        """Whether errors are given as a share of requests."""
        spec = self.series[column]
        if spec.unit == "ratio":
            return True
        if spec.unit or not _SHARES.search(spec.metric):
            return False
        values = self.values[:, column]
        return bool(np.all(np.isnan(values) | ((values >= 0) & (values <= 1))))

    def _one_metric(self, columns: Sequence[int]) -> list[int]:
        """Those of one metric: of requests rather than not, of all rather than split by label."""

        def rank(at: int) -> tuple[bool, bool, bool, int, str]:
            spec = self.series[at]
            labelled, plain = bool(spec.labels), spec.metric.startswith(("request", "error"))
            return labelled, not plain, "request" not in spec.metric, len(spec.metric), spec.metric

        if not columns:
            return []
        first = min(columns, key=rank)
        spec = self.series[first]
        if not spec.labels:
            return [first]
        return [at for at in columns if self.series[at].metric == spec.metric]

    def _weighted(
        self, shares: Sequence[int], traffic: Sequence[int], rows: Int64Array, usual: float
    ) -> Float64Array | None:
        """Shares of parts weighed by the requests of the same parts; None if these do not fit."""
        by_labels = {self.series[at].labels: at for at in traffic}
        pairs = [(at, by_labels.get(self.series[at].labels)) for at in shares]
        if any(part is None for _, part in pairs):
            return None
        failed, total = np.zeros(len(rows)), np.zeros(len(rows))
        for at, part in pairs:
            share = self._held(self.values[:, at], rows, usual)
            count = self._held(self.values[:, part], rows, usual)
            known = ~np.isnan(share) & ~np.isnan(count)
            failed += np.where(known, share * count, 0.0)
            total += np.where(known, count, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, failed / total, np.nan)

    def _held(self, column: Float64Array, rows: Int64Array, usual: float) -> Float64Array:
        """`[row]` the newest value of `column` that is not older than a gap may be."""
        known = ~np.isnan(column)
        newest = np.maximum.accumulate(np.where(known, np.arange(len(column)), -1))[rows]
        age = (self.times[rows] - self.times[newest]) / SECOND
        fresh = (newest >= 0) & (age <= LONGEST_GAP * usual)
        return np.where(fresh, column[newest], np.nan)


def _lasting(times: Int64Array) -> tuple[Float64Array, float]:
    """For how many seconds each sample stands, and the usual step."""
    steps = np.diff(times) / SECOND
    steps = steps[steps > 0]
    usual = float(np.median(steps)) if len(steps) else 60.0
    before = np.concatenate([[usual], np.diff(times) / SECOND])
    return np.minimum(before, LONGEST_GAP * usual), usual
