"""The score card of `dos bench detect`: figures per detector, group and series, with intervals.

The interval of a figure is the 95 % cluster bootstrap over series (`dos.evaluate.bench.resample`):
anomalies of one series are not independent of each other. Series may depend on each other too (the
eight of SMD in TSB-AD-U's list are one incident on one machine), which no interval here knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import TypeAdapter

from dos.detect.calibrate import Reliability, reliability
from dos.evaluate.bench.resample import Estimate, Flown
from dos.evaluate.series.events import EventScore, Judged, OperatingPoint, at_recall, away
from dos.evaluate.series.files import LabelledSeries
from dos.evaluate.series.scorer import Leak
from dos.evaluate.series.vus import Areas
from dos.model.telemetry import Float64Array

RECALL = 0.6
"""Event recall at which false alarms of detectors are compared, unless said otherwise."""
ALL = "all"
"""Name of the group of all series."""
CLAIMS = (1e-2, 1e-3, 1e-4)
"""Rarities that are checked."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What one detector made of one series."""

    detector: str
    series: int
    """Position among the series."""
    areas: Areas
    events: EventScore
    hits: tuple[bool, ...]
    """`[injected event]` whether the alarm found it, where events are known."""
    score: Float64Array
    """`[n]`."""
    rarity: Float64Array | None = None
    """`[n]` share of healthy samples said to be at least as strange, if it says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What it took a detector to score the series."""

    cpu_seconds: float
    points: int

    @property
    def speed(self) -> float:
        """Points per CPU second."""
        return self.points / max(self.cpu_seconds, 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one detector on one group of series."""

    group: str
    series: int
    anomalies: int
    vus_pr: Estimate
    vus_roc: Estimate
    auc_pr: Estimate
    """Means over the series that have anomalies; areas do not depend on any threshold."""
    recall: Estimate
    """Share of the anomalies that were found, at the detector's own thresholds."""
    precision: Estimate
    """Share of the alarms that belong to an anomaly."""
    false_per_day: Estimate
    """False alarms per series and day."""
    delay: Estimate
    delay_p90: Estimate
    """Points until the alarm, of those found: median, and 90th percentile."""
    time_on: Estimate
    """Share of the time away from anomalies with an alarm on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """One series under one detector."""

    series: str
    group: str
    vus_pr: float | None
    vus_roc: float | None
    auc_pr: float | None
    anomalies: int
    found: int
    alarms: int
    false: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeRow:
    """How many of the injected anomalies of one shape were found."""

    shape: str
    injected: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityRow:
    """Whether a claim about rarity came true on the healthy points of a group."""

    group: str
    claim: Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCard:
    """One detector."""

    name: str
    about: str
    figures: tuple[Figures, ...]
    """All series first, then each group by name."""
    group_mean: float | None
    """Mean over the groups of their mean VUS-PR: no group counts for its number of series."""
    at_recall: OperatingPoint | None
    """One threshold for all series that finds so many of the anomalies; None if none does."""
    work: Work
    leaks: tuple[Leak, ...]
    """Where it looked ahead; empty if it did not, or was not checked."""
    series: tuple[SeriesRow, ...]
    shapes: tuple[ShapeRow, ...]
    reliability: tuple[ReliabilityRow, ...] = ()
    """By group, all series first; empty of a detector that claims nothing."""

    def of(self, group: str) -> Figures:
        """The figures of one group."""
        return next(one for one in self.figures if one.group == group)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """VUS-PR that was published for a method, on the very series of this card."""

    method: str
    series: int
    """Series of this card for which there is a figure."""
    mean: float
    groups: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectCard:
    """Everything that was measured."""

    about: str
    """Which series."""
    series: int
    points: int
    days: float
    """Time behind the prefixes, over all series."""
    groups: tuple[str, ...]
    steps: Mapping[str, tuple[float, ...]]
    """Seconds between samples that were taken for granted, by group."""
    assumed_prefix: int
    """Series whose prefix was assumed."""
    recall: float
    """Event recall at which false alarms are compared."""
    checked: bool
    """Whether it was checked that no detector looks ahead."""
    complete: bool
    detectors: tuple[DetectorCard, ...]
    published: tuple[PublishedRow, ...] = ()
    wall_seconds: float = field(default=0.0, compare=False)

    def to_json(self) -> bytes:
        """Indented JSON."""
        return DETECT_CARD.dump_json(self, indent=1) + b"\n"


DETECT_CARD: TypeAdapter[DetectCard] = TypeAdapter(DetectCard)


def detector_card(
    name: str,
    about: str,
    series: Sequence[LabelledSeries],
    outcomes: Sequence[Outcome],
    work: Work,
    leaks: Sequence[Leak],
    *,
    recall: float = RECALL,
) -> DetectorCard:
    """Add up what one detector did; `outcomes` may lack some series."""
    outcomes = sorted(outcomes, key=lambda one: one.series)
    groups = sorted({series[one.series].group for one in outcomes})
    figures = [
        _figures(ALL, outcomes),
        *(
            _figures(name, [o for o in outcomes if series[o.series].group == name])
            for name in groups
        ),
    ]
    means = [one.vus_pr.value for one in figures[1:] if one.vus_pr.value is not None]
    judged = [
        Judged(
            labels=series[one.series].labels,
            score=one.score,
            prefix=series[one.series].prefix,
            step_s=series[one.series].step_s,
        )
        for one in outcomes
    ]
    return DetectorCard(
        name=name,
        about=about,
        figures=tuple(figures),
        group_mean=float(np.mean(means)) if means else None,
        at_recall=at_recall(judged, recall),
        work=work,
        leaks=tuple(leaks),
        series=tuple(_row(series[one.series], one) for one in outcomes),
        shapes=_shapes(series, outcomes),
        reliability=_reliability(series, outcomes, groups),
    )


def published_rows(
    series: Sequence[LabelledSeries], figures: Mapping[str, Mapping[str, float]]
) -> tuple[PublishedRow, ...]:
    """Means of published figures over the series at hand, the best method first."""
    rows: list[PublishedRow] = []
    for method, by_name in figures.items():
        known = [(one.group, by_name[one.name]) for one in series if one.name in by_name]
        if not known:
            continue
        groups = sorted({group for group, _ in known})
        rows.append(
            PublishedRow(
                method=method,
                series=len(known),
                mean=float(np.mean([value for _, value in known])),
                groups={
                    group: float(np.mean([value for where, value in known if where == group]))
                    for group in groups
                },
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.mean))


def _figures(group: str, outcomes: Sequence[Outcome]) -> Figures:
    drawn = Flown(len(outcomes))
    events = [one.events for one in outcomes]
    found = _numbers([sum(one.found) for one in events])
    anomalies = _numbers([one.anomalies for one in events])
    alarms = _numbers([one.alarms for one in events])
    false = _numbers([one.false for one in events])
    delays = [delay for one in events for delay in one.delays]
    of = [place for place, one in enumerate(events) for _ in one.delays]
    return Figures(
        group=group,
        series=len(outcomes),
        anomalies=int(anomalies.sum()),
        vus_pr=_mean(drawn, [one.areas.vus_pr for one in outcomes]),
        vus_roc=_mean(drawn, [one.areas.vus_roc for one in outcomes]),
        auc_pr=_mean(drawn, [one.areas.auc_pr for one in outcomes]),
        recall=drawn.share(found, anomalies),
        precision=drawn.share(alarms - false, alarms),
        false_per_day=drawn.rate(false, _numbers([one.days for one in events])),
        delay=drawn.quantile(delays, of, 0.5),
        delay_p90=drawn.quantile(delays, of, 0.9),
        time_on=drawn.ratio(
            _numbers([one.on for one in events]), _numbers([one.quiet for one in events])
        ),
    )


def _mean(drawn: Flown, values: Sequence[float | None]) -> Estimate:
    """Mean of those that are not None."""
    known = _numbers([value is not None for value in values])
    return drawn.ratio(_numbers([value or 0.0 for value in values]), known)


def _numbers(values: Sequence[float]) -> Float64Array:
    return np.array(values, np.float64)


def _row(series: LabelledSeries, outcome: Outcome) -> SeriesRow:
    areas, events = outcome.areas, outcome.events
    return SeriesRow(
        series=series.name,
        group=series.group,
        vus_pr=areas.vus_pr,
        vus_roc=areas.vus_roc,
        auc_pr=areas.auc_pr,
        anomalies=events.anomalies,
        found=sum(events.found),
        alarms=events.alarms,
        false=events.false,
    )


def _shapes(series: Sequence[LabelledSeries], outcomes: Sequence[Outcome]) -> tuple[ShapeRow, ...]:
    counts: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        for event, hit in zip(series[outcome.series].events, outcome.hits, strict=True):
            injected, found = counts.get(event.shape, (0, 0))
            counts[event.shape] = (injected + 1, found + hit)
    return tuple(
        ShapeRow(shape=shape, injected=injected, found=found)
        for shape, (injected, found) in sorted(counts.items())
    )


def _reliability(
    series: Sequence[LabelledSeries], outcomes: Sequence[Outcome], groups: Sequence[str]
) -> tuple[ReliabilityRow, ...]:
    """Claims against what was seen, behind the prefixes and away from anomalies."""
    said: dict[str, list[Float64Array]] = {name: [] for name in groups}
    for one in outcomes:
        if one.rarity is not None:
            of = series[one.series]
            quiet = away(of.labels[of.prefix :])
            said[of.group].append(one.rarity[of.prefix :][quiet])
    if not any(said.values()):
        return ()
    pooled = {ALL: [part for parts in said.values() for part in parts], **said}
    return tuple(
        ReliabilityRow(group=group, claim=claim)
        for group, parts in pooled.items()
        if parts
        for claim in reliability(np.concatenate(parts), CLAIMS)
    )
