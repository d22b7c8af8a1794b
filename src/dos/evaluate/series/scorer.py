"""What is measured: something that scores each point of a series by the points before it.

A scorer is given the whole series at once, because that is quick; that it does not look ahead is
checked (`looks_ahead`): the scores of a series that ends earlier must be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from dos.model.telemetry import BoolArray, Float64Array

CUTS = 3
"""Places at which a series is cut to see whether its scores stay the same."""
_TOLERANCE = 1e-9
"""Relative difference of scores that is rounding: sums in another order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """What a scorer is told of a series: everything but the labels."""

    name: str
    values: Float64Array
    """`[n]` finite, in the order of time, evenly spaced."""
    prefix: int
    """Points that may be used for fitting before any is scored."""
    step_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """What a scorer says of a series."""

    score: Float64Array
    """`[n]` finite, larger where more anomalous; one scale for all series."""
    alarm: BoolArray
    """`[n]` whether it would have an alarm on, at its own threshold and with its own patience."""
    rarity: Float64Array | None = None
    """`[n]` share of healthy samples that it says are at least as strange; NaN where it does not
    know. None: it makes no such claim."""


class StreamScorer(Protocol):
    """Scores one series; made anew for each."""

    def fit(self, prefix: Float64Array) -> None:
        """Learn from the points that may be used for fitting."""
        ...

    def score(self, values: Float64Array) -> Scored:
        """Score every point of the series, the prefix included.

        What is said of a point behind the prefix depends on it and on the points before it only.
        """
        ...


class FleetScorer(Protocol):
    """Scores many series at once, each by itself."""

    def score_all(self, fleet: Sequence[Given]) -> list[Scored]:
        """Fit each on its prefix and score it; see `StreamScorer`."""
        ...


class OneByOne:
    """A fleet whose series are scored one after the other.

    Args:
        build: Makes the scorer of a series from the seconds between its samples.
    """

    def __init__(self, build: Callable[[float], StreamScorer]) -> None:
        self._build = build

    def score_all(self, fleet: Sequence[Given]) -> list[Scored]:
        """Fit and score each."""
        scored: list[Scored] = []
        for given in fleet:
            scorer = self._build(given.step_s)
            scorer.fit(given.values[: given.prefix])
            scored.append(scorer.score(given.values))
        return scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Proof that a scorer looked ahead."""

    series: str
    cut: int
    """Points after which the series was made to end."""
    point: int
    """The first point that was scored differently."""


def looks_ahead(scorer: FleetScorer, fleet: Sequence[Given], seed: int = 0) -> list[Leak]:
    """Score `fleet` as it is, and again with every series cut short, and compare.

    Args:
        scorer: Under test.
        fleet: Series that have points behind their prefix.
        seed: Of the places at which they are cut.

    Returns:
        One leak at most for each series and cut; none is as it should be.
    """
    whole = scorer.score_all(fleet)
    rng = np.random.default_rng(seed)
    leaks: list[Leak] = []
    for _ in range(CUTS):
        cuts = [int(rng.integers(one.prefix + 1, len(one.values) + 1)) for one in fleet]
        short = [
            replace(one, values=one.values[:cut]) for one, cut in zip(fleet, cuts, strict=True)
        ]
        again = scorer.score_all(short)
        for given, cut, full, part in zip(fleet, cuts, whole, again, strict=True):
            same = np.isclose(full.score[:cut], part.score, rtol=_TOLERANCE, atol=_TOLERANCE)
            wrong = np.flatnonzero(~same | (full.alarm[:cut] != part.alarm))
            if len(wrong):
                leaks.append(Leak(series=given.name, cut=cut, point=int(wrong[0])))
    return leaks
