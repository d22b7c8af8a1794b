"""How alike healthy metrics of simulations and of real systems are, statistic by statistic.

A figure is first taken of each series (the median over its pieces, or of all pieces together
where the statistic needs many samples), then of a set: the median and quartiles over its series.
Series in which a statistic is not defined (a constant has no correlation) are left out of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dos.evaluate.healthy import SHORTEST, STANDS_FOR, Healthy, Measure
from dos.kit.clock import DAY, MINUTE, SECOND
from dos.model.telemetry import Float64Array

OUTLIER = 5.0
"""Robust standard deviations beyond which a change is an outlier."""
TAIL = 0.05
"""Share of the largest values that the tail index is estimated from."""
TAIL_LEAST = 200
"""Values below which there is no tail to speak of."""
LAGS = 5
"""Steps by which one series may lead or follow the other."""
FACTOR = 2.0
"""Ratio of medians beyond which two sets differ."""
_MAD = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation."""


class Statistic(StrEnum):
    """What is compared."""

    LEVEL = "mean"
    VARIATION = "coefficient of variation"
    MINUTE = "autocorrelation, 1 min"
    DAY = "autocorrelation, 1 day"
    NOISE = "step noise"
    KURTOSIS = "kurtosis of changes"
    OUTLIERS = "outliers among changes"
    UNCHANGED = "unchanged"
    TAIL = "tail index"
    QUANTILES = "p99 / p50"
    CPU_LATENCY = "cpu × latency, same step"
    CPU_LATENCY_LAGGED = "cpu × latency, ±5 steps"
    TRAFFIC_CPU = "traffic × cpu, same step"
    TRAFFIC_LATENCY = "traffic × latency, same step"


_FLOOR: Mapping[Statistic, float] = {
    Statistic.LEVEL: 1e-4,
    Statistic.MINUTE: 0.2,
    Statistic.DAY: 0.2,
    Statistic.OUTLIERS: 0.002,
    Statistic.UNCHANGED: 0.02,
    Statistic.CPU_LATENCY: 0.2,
    Statistic.CPU_LATENCY_LAGGED: 0.2,
    Statistic.TRAFFIC_CPU: 0.2,
    Statistic.TRAFFIC_LATENCY: 0.2,
}
"""Below this a figure is as good as zero: ratios of noise say nothing."""


def variation(piece: Float64Array) -> float:
    """Coefficient of variation: standard deviation over the absolute mean."""
    known = piece[np.isfinite(piece)]
    if len(known) < SHORTEST or not known.any():
        return math.nan
    mean = abs(float(known.mean()))
    return float(known.std()) / mean if mean > 0 else math.nan


def autocorrelation(piece: Float64Array, lag: int) -> float:
    """Correlation of a series with itself `lag` steps later; NaN if too short or constant.

    The usual estimator, with one mean and variance for the whole piece (Box, Jenkins: Time Series
    Analysis, 2.1.5), except that pairs with a missing sample are left out.
    """
    if lag < 1 or len(piece) < lag + SHORTEST:
        return math.nan
    return correlation(piece[:-lag], piece[lag:], around=_moments(piece))


def correlation(
    first: Float64Array,
    second: Float64Array,
    around: tuple[float, float] | None = None,
) -> float:
    """Pearson's correlation of two aligned series over the steps that both have.

    Args:
        around: Mean and variance to use for both; their own if None.
    """
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < SHORTEST:
        return math.nan
    a, b = first[both], second[both]
    mean_a, var_a = around if around is not None else _moments(a)
    mean_b, var_b = around if around is not None else _moments(b)
    scale = math.sqrt(var_a * var_b)
    if not scale > 0:
        return math.nan
    return float(np.mean((a - mean_a) * (b - mean_b))) / scale


def strongest(first: Float64Array, second: Float64Array, lags: int = LAGS) -> float:
    """The largest absolute correlation with one series shifted by up to `lags` either way."""
    size = len(first)
    found = [
        correlation(first[max(0, -k) : size - max(0, k)], second[max(0, k) : size + min(0, k)])
        for k in range(-lags, lags + 1)
    ]
    known = [abs(value) for value in found if math.isfinite(value)]
    return max(known, default=math.nan)


def detrended(piece: Float64Array) -> Float64Array:
    """The piece without its straight line (least squares)."""
    known = np.isfinite(piece)
    if known.sum() < 3:
        return piece
    time = np.arange(len(piece), dtype=np.float64)
    slope, level = np.polyfit(time[known], piece[known], 1)
    rest: Float64Array = piece - (slope * time + level)
    return rest


def kurtosis(changes: Float64Array) -> float:
    """Fourth standardised moment: 3 for a normal distribution, more for heavy tails."""
    if len(changes) < TAIL_LEAST:
        return math.nan
    mean, variance = _moments(changes)
    return float(np.mean((changes - mean) ** 4)) / variance**2 if variance > 0 else math.nan


def outliers(changes: Float64Array) -> float:
    """Share of changes more than `OUTLIER` robust standard deviations from the median.

    NaN where more than half of the changes are alike, so that there is no scale.
    """
    if len(changes) < SHORTEST:
        return math.nan
    away = np.abs(changes - np.median(changes))
    scale = _MAD * float(np.median(away))
    return float(np.mean(away > OUTLIER * scale)) if scale > 0 else math.nan


def tail_index(values: Float64Array, share: float = TAIL) -> float:
    """Hill's estimator α of the upper tail, P(X > x) ~ x^-α: the smaller, the heavier.

    `k / Σ ln(X₍ᵢ₎ / X₍ₖ₊₁₎)` over the k largest values, k the given share of all (Hill, Annals of
    Statistics 3(5), 1975, equation 2.4 with r = k).
    """
    known = np.sort(values[np.isfinite(values) & (values > 0)])[::-1]
    k = int(share * len(known))
    if len(known) < TAIL_LEAST or k < 1:
        return math.nan
    spread = float(np.sum(np.log(known[:k] / known[k])))
    return k / spread if spread > 0 else math.nan


def _moments(values: Float64Array) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.mean()), float(known.var())) if len(known) else (math.nan, math.nan)


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan


def _changes(pieces: Sequence[Float64Array]) -> Float64Array:
    """One-step changes of all pieces, without those that miss a sample."""
    found: Float64Array = np.concatenate([np.diff(piece) for piece in pieces])
    known: Float64Array = found[np.isfinite(found)]
    return known


def _of_series(healthy: Healthy, measure: Measure, place: int) -> dict[Statistic, float]:
    """Every statistic of one column."""
    pieces = [piece[:, place] for piece in healthy.pieces]
    changes = _changes(pieces)
    minute = max(1, round(MINUTE / SECOND / healthy.step_s))
    day = round(DAY / SECOND / healthy.step_s)
    levels = [float(np.nanmedian(p)) if np.isfinite(p).any() else math.nan for p in pieces]
    level = abs(_median(levels))
    spread = _MAD * float(np.median(np.abs(changes))) / math.sqrt(2) if len(changes) else math.nan
    found = {
        Statistic.MINUTE: _median(autocorrelation(piece, minute) for piece in pieces),
        Statistic.DAY: _median(autocorrelation(piece, day) for piece in pieces),
        Statistic.KURTOSIS: kurtosis(changes),
        Statistic.OUTLIERS: outliers(changes),
        Statistic.UNCHANGED: float(np.mean(changes == 0)) if len(changes) else math.nan,
    }
    if not healthy.scaled:
        found[Statistic.VARIATION] = _median(variation(piece) for piece in pieces)
        found[Statistic.NOISE] = spread / level if level > 0 else math.nan
    if measure is Measure.ERRORS:
        found[Statistic.LEVEL], _ = _moments(np.concatenate(pieces))
    if measure in {Measure.LATENCY, Measure.LATENCY_P99}:
        shares = [p / m for p, m in zip(pieces, levels, strict=True) if m > 0]
        found[Statistic.TAIL] = tail_index(np.concatenate(shares)) if shares else math.nan
    return found


_Pair = Callable[[Float64Array, Float64Array], float]
_PAIRS: tuple[tuple[Statistic, Measure, Measure, _Pair], ...] = (
    (Statistic.CPU_LATENCY, Measure.CPU, Measure.LATENCY, correlation),
    (Statistic.CPU_LATENCY_LAGGED, Measure.CPU, Measure.LATENCY, strongest),
    (Statistic.TRAFFIC_CPU, Measure.TRAFFIC, Measure.CPU, correlation),
    (Statistic.TRAFFIC_LATENCY, Measure.TRAFFIC, Measure.LATENCY, correlation),
)

Figures = dict[tuple[Measure, Statistic], list[float]]
"""For each measure and statistic one figure per series; those of a pair are under the second."""


def describe(healthy: Iterable[Healthy]) -> Figures:
    """All figures of the series in one set, which may consist of several parts."""
    figures: Figures = {}
    for part in healthy:
        for place, column in enumerate(part.columns):
            for statistic, value in _of_series(part, column.measure, place).items():
                figures.setdefault((column.measure, statistic), []).append(value)
        _describe_entities(part, figures)
        for durations in part.requests:
            figures.setdefault((Measure.REQUESTS, Statistic.TAIL), []).append(tail_index(durations))
            figures.setdefault((Measure.REQUESTS, Statistic.QUANTILES), []).append(
                _p99_over_p50(durations)
            )
    known = {key: [v for v in values if math.isfinite(v)] for key, values in figures.items()}
    return {key: values for key, values in known.items() if values}


def _describe_entities(part: Healthy, figures: Figures) -> None:
    """Add what relates two measures of one entity."""
    places: dict[str, dict[Measure, int]] = {}
    for place, column in enumerate(part.columns):
        places.setdefault(column.entity, {})[column.measure] = place
    for of in places.values():
        for statistic, one, other, relate in _PAIRS:
            if one in of and other in of:
                value = _median(
                    relate(detrended(piece[:, of[one]]), detrended(piece[:, of[other]]))
                    for piece in part.pieces
                )
                figures.setdefault((other, statistic), []).append(value)
        if Measure.LATENCY_P50 in of and Measure.LATENCY_P99 in of:
            p50, p99 = of[Measure.LATENCY_P50], of[Measure.LATENCY_P99]
            ratios = [piece[piece[:, p50] > 0] for piece in part.pieces]
            value = _median(x for rows in ratios for x in (rows[:, p99] / rows[:, p50]).tolist())
            figures.setdefault((Measure.LATENCY_P99, Statistic.QUANTILES), []).append(value)


def _p99_over_p50(durations: Float64Array) -> float:
    if len(durations) < TAIL_LEAST:
        return math.nan
    p50, p99 = np.quantile(durations, (0.5, 0.99))
    return float(p99 / p50) if p50 > 0 else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Median and quartiles over series."""

    median: float
    lower: float
    upper: float
    series: int

    @staticmethod
    def of(values: Sequence[float]) -> Summary:
        """The summary of at least one figure."""
        lower, median, upper = (float(x) for x in np.quantile(values, (0.25, 0.5, 0.75)))
        return Summary(median=median, lower=lower, upper=upper, series=len(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One statistic of one measure, in a real set and in the worlds simulated like it."""

    name: str
    """The real set."""
    measure: Measure
    statistic: Statistic
    real: Summary
    simulated: Summary
    """Over the series of all worlds."""
    worlds: tuple[tuple[str, float], ...]
    """The median in each world."""

    @property
    def ratio(self) -> float:
        """Simulated over real median, both no smaller than what counts as zero."""
        return ratio_of(self.statistic, self.real.median, self.simulated.median)

    @property
    def differs(self) -> bool:
        """Whether one is more than `FACTOR` times the other."""
        return not 1 / FACTOR <= self.ratio <= FACTOR


def ratio_of(statistic: Statistic, real: float, simulated: float) -> float:
    """`simulated / real`; what is as good as zero counts as the least that is not.

    Correlations of opposite sign have no ratio: the one that is larger beyond the floor decides,
    as if the other were zero.
    """
    floor = _FLOOR.get(statistic, 1e-6)
    if real * simulated < 0:
        real, simulated = (abs(real), 0.0) if abs(real) >= abs(simulated) else (0.0, abs(simulated))
    return max(abs(simulated), floor) / max(abs(real), floor)


def compare(name: str, real: Figures, worlds: Mapping[str, Figures]) -> list[Row]:
    """Rows for everything that the real set and some world have."""
    rows: list[Row] = []
    for (measure, statistic), values in sorted(real.items(), key=_order):
        found = {
            world: [
                value
                for stand_in in STANDS_FOR.get(measure, (measure,))
                for value in figures.get((stand_in, statistic), [])
            ]
            for world, figures in worlds.items()
        }
        everything = [value for those in found.values() for value in those]
        if not everything:
            continue
        rows.append(
            Row(
                name=name,
                measure=measure,
                statistic=statistic,
                real=Summary.of(values),
                simulated=Summary.of(everything),
                worlds=tuple((w, float(np.median(those))) for w, those in found.items() if those),
            )
        )
    return rows


def _order(item: tuple[tuple[Measure, Statistic], list[float]]) -> tuple[int, int]:
    (measure, statistic), _ = item
    return list(Measure).index(measure), list(Statistic).index(statistic)


def summary(rows: Sequence[Row], statistics: Sequence[Statistic]) -> str:
    """A Markdown table of medians, `real / simulated`, in bold where they differ by `FACTOR`."""
    cells = {(row.measure, row.name, row.statistic): row for row in rows}
    shown = [s for s in statistics if any(row.statistic is s for row in rows)]
    lines = [["measure", "set", *(str(s) for s in shown)], ["---"] * (2 + len(shown))]
    keys = dict.fromkeys((row.measure, row.name) for row in rows if row.statistic in shown)
    for measure, name in sorted(keys, key=lambda key: list(Measure).index(key[0])):
        found = [cells.get((measure, name, s)) for s in shown]
        lines.append([measure, name, *(_cell(row) if row else "" for row in found)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def details(rows: Sequence[Row]) -> str:
    """A Markdown table with quartiles, the worlds one by one, and the ratio."""
    worlds = list(dict.fromkeys(world for row in rows for world, _ in row.worlds))
    head = ["measure", "set", "statistic", "real (quartiles)", "series", "simulated (quartiles)"]
    lines = [[*head, *worlds, "ratio"], ["---"] * (len(head) + len(worlds) + 1)]
    for row in sorted(rows, key=lambda row: list(Measure).index(row.measure)):
        by_world = dict(row.worlds)
        ratio = f"**{row.ratio:.2g}**" if row.differs else f"{row.ratio:.2g}"
        lines.append(
            [
                row.measure,
                row.name,
                row.statistic,
                _spread(row.real),
                str(row.real.series),
                _spread(row.simulated),
                *(f"{by_world[w]:.3g}" if w in by_world else "" for w in worlds),
                ratio,
            ]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: Row) -> str:
    text = f"{row.real.median:.2g} / {row.simulated.median:.2g}"
    return f"**{text}**" if row.differs else text


def _spread(summary: Summary) -> str:
    return f"{summary.median:.3g} ({summary.lower:.2g} to {summary.upper:.2g})"
