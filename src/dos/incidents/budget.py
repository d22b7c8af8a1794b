"""At most N false pages per service and week: what evidence that leaves to be asked for.

Every cluster of anomalies that could be an incident has *evidence* (`dos.incidents.corroborate`);
one opens when its evidence reaches the *level*. The level follows from the budget: it is the
lowest one that no more than N clusters per service-week would have crossed for nothing. How many
would have, is known from the past, also of those that stayed below the level:

* one labelled *confirmed* counted for something and does not count here, one labelled *false*
  counts in full;
* one without a label counts by how likely it was for nothing: that falls with its evidence, and
  follows the labels of those with about as much evidence;
* what happened half a `memory` ago counts three quarters, and so on, for services change;
* before there is a past, a cautious guess stands in its place and gives way to it as service-weeks
  go by.

The level moves slowly (`_SLOWNESS` an hour), so that one bad night does not make DOS deaf.

State: a histogram, an hour's clock and the last clusters, which may still be labelled. All of it
depends on the times of decisions only, not on how often somebody looked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from dos.kit.clock import DAY, HOUR, Millis
from dos.model.ids import IncidentId

WEEK = 7 * DAY
NEUTRAL_BUDGET = 2.0
"""False pages per service-week at which the level is 1 where nothing is known."""
LOWEST, HIGHEST = 0.5, 4.0
_STEP = 0.05
"""Between two levels."""
_LEVELS = tuple(LOWEST + _STEP * n for n in range(round((HIGHEST - LOWEST) / _STEP) + 1))
_STEEPNESS = 4.0
"""Of the guess: false clusters halve this many times from one level to the next."""
_STEEPER = 8.0
"""The same below level 1: what a careful person would not call evidence, chance brings often."""
_GUESS_WEIGHS = 20.0
"""Service-weeks of the past that weigh as much as the guess."""
_AIM = 0.8
"""Share of the budget that is aimed at, since the future is never quite like the past."""
_MEMORY = 4 * WEEK
_FORGET = 0.5 ** (HOUR / _MEMORY)
_SLOWNESS = 0.02
_ALIKE = 0.5
"""Evidence that differs by no more is about as much."""
_LABELS = 2.0
"""Labels that weigh as much as the guess."""
_KEPT = 300
"""Clusters remembered, so that a label can still reach them."""


def starting_level(budget: float) -> float:
    """The level where nothing is known: a fourth of the budget costs half a level.

    A fourfold one buys a quarter.

    Args:
        budget: False pages per service-week, above 0.
    """
    return _lowest_within(budget, {}, 0.0)


def chance_of_nothing(evidence: float) -> float:
    """How likely a cluster was for nothing, 0 to 1, where nobody ever labelled one like it.

    True faults are far beyond level 1.
    """
    return min(1.0, math.exp2(-2.0 * (evidence - 1.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A cluster that is over."""

    at: Millis
    evidence: float
    """At its strongest."""
    nothing: float
    """What it counts as: 1 for a false one, 0 for a true one."""
    labelled: bool = False
    incident_id: IncidentId | None = None


@dataclass(slots=True, kw_only=True)
class Budget:
    """What is known of false clusters, and the level it leads to."""

    level: float
    """Evidence that opens an incident."""
    hour: Millis = Millis(0)
    """Up to which full hour all is accounted for; 0 before the first."""
    exposure: float = 0.0
    """Service-weeks watched; older ones count less."""
    counts: dict[int, float] = field(default_factory=dict)
    """Clusters for nothing, by the place of the highest level they crossed."""
    past: list[Past] = field(default_factory=list)
    """The newest clusters, oldest first."""

    def advance(self, budget: float, services: int, now: Millis) -> None:
        """Time went by in which `services` were watched. Cost: O(hours since the last call).

        Args:
            budget: False pages per service-week.
            services: Watched, machines not counted.
            now: The present; one before the last call changes nothing.
        """
        full = Millis(now - now % HOUR)
        if not self.hour or full - self.hour > _MEMORY:
            self.hour = full
        while self.hour < full:
            self.hour = Millis(self.hour + HOUR)
            self.exposure = self.exposure * _FORGET + services * HOUR / WEEK
            self.counts = {place: one * _FORGET for place, one in self.counts.items()}
            wanted = _lowest_within(budget, self.counts, self.exposure)
            self.level += max(-_SLOWNESS, min(_SLOWNESS, wanted - self.level))

    def over(self, evidence: float, at: Millis, incident_id: IncidentId | None = None) -> None:
        """A cluster is over; `evidence` is its strongest, `incident_id` what it opened, if so."""
        place = _place_of(evidence)
        if place is None:
            return
        nothing = self._chance(evidence)
        self._count(place, nothing)
        one = Past(at=at, evidence=evidence, nothing=nothing, incident_id=incident_id)
        self.past = [*self.past, one][-_KEPT:]

    def label(self, incident_id: IncidentId, *, nothing: bool | None) -> bool:
        """Somebody said whether an incident was for nothing; None takes it back.

        Returns:
            Whether the incident is remembered.
        """
        for place, one in enumerate(self.past):
            if one.incident_id != incident_id:
                continue
            known = replace(one, labelled=False)
            self.past[place] = known
            counts = self._chance(one.evidence) if nothing is None else float(nothing)
            crossed = _place_of(one.evidence)
            if crossed is not None:
                age = max(0, self.hour - one.at) // HOUR
                self._count(crossed, (counts - one.nothing) * _FORGET**age)
            self.past[place] = replace(known, nothing=counts, labelled=nothing is not None)
            return True
        return False

    def _chance(self, evidence: float) -> float:
        """How likely a cluster without a label was for nothing, 0 to 1."""
        alike = [
            one.nothing
            for one in self.past
            if one.labelled and abs(one.evidence - evidence) <= _ALIKE
        ]
        guess = chance_of_nothing(evidence) * _LABELS
        return (guess + sum(alike)) / (_LABELS + len(alike))

    def _count(self, place: int, nothing: float) -> None:
        self.counts[place] = max(0.0, self.counts.get(place, 0.0) + nothing)


def _place_of(evidence: float) -> int | None:
    """The highest level that `evidence` crosses; None below all."""
    if evidence < LOWEST:
        return None
    # A little more, since 0.6 / 0.05 is a little less than 12.
    return min(int((evidence - LOWEST) / _STEP + 1e-9), len(_LEVELS) - 1)


def _lowest_within(budget: float, counts: dict[int, float], exposure: float) -> float:
    """The lowest level that clusters for nothing crossed within the budget."""
    crossed, best = 0.0, HIGHEST
    for place in range(len(_LEVELS) - 1, -1, -1):
        crossed += counts.get(place, 0.0)
        above = _LEVELS[place] - 1.0
        steepness = _STEEPNESS if above > 0 else _STEEPER
        guess = _AIM * NEUTRAL_BUDGET * math.exp2(-steepness * above)
        rate = (crossed + guess * _GUESS_WEIGHS) / (exposure + _GUESS_WEIGHS)
        if rate > _AIM * budget * (1 + 1e-9):
            break
        best = _LEVELS[place]
    return best
