"""The score card of `dos bench rca`: figures per contender, set and fault, with intervals.

Intervals are 95 % bootstrap intervals (`dos.evaluate.bench.resample`). What is drawn is the case
of a recorded set and the voyage of simulated ones, whose cases share a world. Differences between
contenders are paired: both are computed from the same draws. The mean over sets gives every set
the same weight and draws in each set by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from pydantic import TypeAdapter

from dos.evaluate.bench.resample import Estimate, Flown
from dos.evaluate.rca.contenders import Side
from dos.evaluate.rca.judge import Outcome
from dos.evaluate.rca.trust import Harmless, Trust, harmless_of, trust_of
from dos.model.telemetry import Float64Array

SCHEMA = 1
"""Goes up when the meaning of a key changes."""
DEPTH = 5
"""Avg@5 is the mean of AC@1 to AC@5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What was ranked."""

    about: str
    simulated: bool
    late_s: float
    """Seconds by which the start was reported too late."""
    traces: bool = True
    """Whether series were made of traces where there are any."""
    planned: int
    """Cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Shares of the cases that have a cause whose cause is among the first 1, 3, and 1 to 5."""

    cases: int
    ac1: Estimate
    ac3: Estimate
    avg5: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """One contender on one case."""

    case: str
    faults: tuple[str, ...]
    place: int | None
    """None: never found."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCard:
    """One contender on one set."""

    name: str
    figures: Figures
    faults: Mapping[str, Figures]
    """By fault; a case with two faults counts for both, with the place of each."""
    median_seconds: float
    trust: Trust | None
    """None of who gives no probabilities."""
    both_of_two: Estimate
    """Of the cases with two faults: a cause of each is among the first three."""
    harmless: tuple[Harmless, ...]
    """What was named where nothing was wrong with any entity; simulated cases only."""
    rows: tuple[CaseRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How much better one contender is than another, paired."""

    over: str
    """The other."""
    ac1: Estimate
    avg5: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderCard:
    """One contender."""

    name: str
    side: Side
    sets: tuple[SetCard, ...]
    mean: Figures | None
    """Mean over the sets; None of simulated cases, where sets are variants."""
    gaps: Mapping[str, Gap]
    """Of a ranker, by set: against the baseline that is best there by AC@1, then Avg@5."""
    mean_gap: Gap | None
    """Of a ranker: against the baseline whose mean over sets is best."""
    best_gap: Gap | None
    """The mean of `gaps`: against whichever baseline is best in each set."""

    def of(self, name: str) -> SetCard | None:
        """The figures of one set."""
        return next((one for one in self.sets if one.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RcaCard:
    """Everything that was measured."""

    schema: int = SCHEMA
    source: Source
    sets: tuple[str, ...]
    cases: int
    """Those that were ranked and name a cause, or none where nothing was wrong."""
    complete: bool
    contenders: tuple[ContenderCard, ...]
    wall_seconds: float = field(default=0.0, compare=False)

    def to_json(self) -> bytes:
        """Indented JSON."""
        return RCA_CARD.dump_json(self, indent=1) + b"\n"


RCA_CARD: TypeAdapter[RcaCard] = TypeAdapter(RcaCard)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Sums by cluster of one contender on one set, and the draws of that set."""

    drawn: Flown
    cases: Float64Array
    """`[cluster]`."""
    hits: Float64Array
    """`[cluster, DEPTH]` cases with the cause among the first 1, 2, …."""

    def figures(self) -> Figures:
        """With intervals."""
        return Figures(
            cases=int(self.cases.sum()),
            ac1=self.drawn.share(self.hits[:, 0], self.cases),
            ac3=self.drawn.share(self.hits[:, 2], self.cases),
            avg5=self.drawn.share(self.hits.mean(axis=1), self.cases),
        )

    def draws(self) -> Float64Array:
        """`[1 + draw, DEPTH]` shares; the first row is what happened."""
        below = self.drawn.sums(self.cases)[:, None]
        out = np.full((len(below), self.hits.shape[1]), np.nan)
        np.divide(self.drawn.sums(self.hits), below, out=out, where=below > 0)
        return out


def card_of(
    outcomes: Sequence[Outcome],
    contenders: Sequence[tuple[Side, str]],
    source: Source,
    *,
    complete: bool,
) -> RcaCard:
    """Add up what all contenders did."""
    sets = tuple(dict.fromkeys(one.group for one in outcomes))
    tallies = {
        (name, group): _tally([o for o in outcomes if (o.contender, o.group) == (name, group)], at)
        for _, name in contenders
        for at, group in enumerate(sets)
    }
    names = [name for side, name in contenders if side is Side.BASELINE]
    cards = []
    for side, name in contenders:
        mine = [one for one in outcomes if one.contender == name]
        against = names if side is Side.RANKER and not source.simulated else []
        gaps = {group: _gap(tallies, name, against, [group]) for group in sets}
        cards.append(
            ContenderCard(
                name=name,
                side=side,
                sets=tuple(
                    set_card(group, [one for one in mine if one.group == group], at)
                    for at, group in enumerate(sets)
                    if any(one.group == group for one in mine)
                ),
                mean=None if source.simulated else _mean([tallies[name, one] for one in sets]),
                gaps={group: gap for group, gap in gaps.items() if gap is not None},
                mean_gap=_gap(tallies, name, against, sets),
                best_gap=_best_gap(tallies, name, against, sets),
            )
        )
    return RcaCard(
        source=source,
        sets=sets,
        cases=len({(one.group if not source.simulated else "", one.case) for one in outcomes}),
        complete=complete,
        contenders=tuple(cards),
    )


def set_card(name: str, outcomes: Sequence[Outcome], seed: int) -> SetCard:
    """One contender on one set.

    Args:
        name: Of the set.
        outcomes: On its cases, in the same order for every contender.
        seed: Of the draws, the same for every contender.
    """
    faults = dict.fromkeys(fault for one in outcomes for fault in one.faults)
    pairs = [one for one in outcomes if len(one.each) > 1]
    both = [all(place is not None and place <= 3 for place in one.each) for one in pairs]
    clusters = _clusters(outcomes)
    drawn = Flown(len(clusters), seed)
    return SetCard(
        name=name,
        figures=_tally(outcomes, seed).figures(),
        faults={fault: _of_fault(outcomes, fault, seed) for fault in sorted(faults)},
        median_seconds=median(one.seconds for one in outcomes),
        trust=trust_of(outcomes, clusters, drawn),
        both_of_two=drawn.share(
            _summed(pairs, clusters, both), _summed(pairs, clusters, [1.0] * len(pairs))
        ),
        harmless=harmless_of(outcomes, clusters, drawn),
        rows=tuple(
            CaseRow(case=one.case, faults=one.faults, place=one.place, seconds=one.seconds)
            for one in outcomes
        ),
    )


def _clusters(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Place of each cluster, in order of first appearance."""
    return {name: at for at, name in enumerate(dict.fromkeys(one.cluster for one in outcomes))}


def _summed(
    outcomes: Sequence[Outcome], clusters: Mapping[str, int], values: Sequence[float]
) -> Float64Array:
    """`[cluster]` sums of a value per outcome."""
    where = np.array([clusters[one.cluster] for one in outcomes], np.intp)
    weights = np.array(values, np.float64)
    return np.bincount(where, weights=weights, minlength=len(clusters)).astype(np.float64)


def _tally(
    outcomes: Sequence[Outcome],
    seed: int,
    place_of: Callable[[Outcome], int | None] = lambda one: one.place,
    among: Callable[[Outcome], bool] = lambda one: one.harmful,
) -> Tally:
    clusters = _clusters(outcomes)
    counted = [one for one in outcomes if among(one)]
    places = [place_of(one) for one in counted]
    hits = [
        _summed(counted, clusters, [place is not None and place <= depth for place in places])
        for depth in range(1, DEPTH + 1)
    ]
    return Tally(
        drawn=Flown(len(clusters), seed),
        cases=_summed(counted, clusters, [1.0] * len(counted)),
        hits=np.stack(hits, axis=1),
    )


def _of_fault(outcomes: Sequence[Outcome], fault: str, seed: int) -> Figures:
    def place(one: Outcome) -> int | None:
        mine = [at for kind, at in zip(one.faults, one.each, strict=True) if kind == fault]
        return min((at for at in mine if at is not None), default=None)

    return _tally(outcomes, seed, place, lambda one: fault in one.faults).figures()


def _mean(tallies: Sequence[Tally]) -> Figures:
    """Mean over sets, each drawn by itself."""
    draws = np.mean([one.draws() for one in tallies], axis=0)
    total = int(sum(one.cases.sum() for one in tallies))
    widest = max(tallies, key=lambda one: one.drawn.count).drawn

    def estimate(values: Float64Array) -> Estimate:
        return widest.estimate(values, float(total))

    return Figures(
        cases=total,
        ac1=estimate(draws[:, 0]),
        ac3=estimate(draws[:, 2]),
        avg5=estimate(draws.mean(axis=1)),
    )


Tallies = Mapping[tuple[str, str], Tally]


def _gap(tallies: Tallies, name: str, baselines: Sequence[str], sets: Sequence[str]) -> Gap | None:
    """Against the baseline with the best mean over `sets`."""
    if not baselines:
        return None
    means = {one: _draws(tallies, one, sets) for one in baselines}
    best = max(baselines, key=lambda one: (means[one][0, 0], means[one][0].mean()))
    return _difference(tallies, name, best, means[best], sets)


def _best_gap(
    tallies: Tallies, name: str, baselines: Sequence[str], sets: Sequence[str]
) -> Gap | None:
    """Against the best baseline of each set."""
    gaps = {group: _gap(tallies, name, baselines, [group]) for group in sets}
    best = [tallies[gap.over, group].draws() for group, gap in gaps.items() if gap is not None]
    if not best:
        return None
    return _difference(tallies, name, "the best of each set", np.mean(best, axis=0), sets)


def _difference(
    tallies: Tallies, name: str, over: str, theirs: Float64Array, sets: Sequence[str]
) -> Gap:
    drawn = max((tallies[name, one].drawn for one in sets), key=lambda one: one.count)
    away = _draws(tallies, name, sets) - theirs
    cases = float(sum(tallies[name, one].cases.sum() for one in sets))
    return Gap(
        over=over,
        ac1=drawn.estimate(away[:, 0], cases),
        avg5=drawn.estimate(away.mean(axis=1), cases),
    )


def _draws(tallies: Tallies, name: str, sets: Sequence[str]) -> Float64Array:
    draws: Float64Array = np.mean([tallies[name, one].draws() for one in sets], axis=0)
    return draws
