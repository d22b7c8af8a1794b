"""From what the graph network says to probabilities one can rely on.

`chances` turns log-odds into probabilities, `likely` into a set that holds the cause as often as is
promised. `Verdict` holds what was said of an example beside the truth; `fit_temperature` and
`fit_share` learn from such examples how sure the network may be (see `dos.rca.training`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dos.model.telemetry import Float64Array
from dos.rca.examples import KINDS, Example
from dos.rca.inputs import NODE_INPUTS, STRONG

VERSION = "2"
"""Of the meaning of the network's inputs and outputs."""
COVERAGE = 0.9
"""How often the cause is to be in the set of likely ones."""
_SCORE = NODE_INPUTS.index("score_log")
_LEAST = 1e-6
_COOLEST, _HOTTEST, _GRID = 0.3, 8.0, 200


def chances(entity: Float64Array, none: float, temperature: float) -> tuple[Float64Array, float]:
    """Softmax over the entities of a case and "none of these".

    Args:
        entity: `[entity]` log-odds.
        none: The same for "none of these".
        temperature: By which they are divided; above 1 makes less sure.

    Returns:
        `[entity]` probabilities and that of "none of these"; together they sum to 1.
    """
    logits = np.append(entity, none) / temperature
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    return weights[:-1], float(weights[-1])


def likely(probability: Float64Array, unknown: float, share: float) -> tuple[int, ...]:
    """The fewest entities, most probable first, that with "none of these" reach `share`.

    "None of these" takes its place in the order of probabilities; it is not listed.
    """
    order = np.argsort(-probability, kind="stable")
    total, listed, waiting = 0.0, [], unknown
    for at in order:
        if waiting >= probability[at]:
            total, waiting = total + waiting, -1.0
        if total >= share:
            break
        total += float(probability[at])
        listed.append(int(at))
        if total >= share:
            break
    return tuple(listed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """What was said of an example."""

    example: Example
    entity: Float64Array
    """`[entity, 1 + KINDS]` log-odds of being the cause, and of the kinds of fault."""
    none: float
    temperature: float = 1.0

    def at(self, temperature: float) -> Verdict:
        """The same at another temperature."""
        return replace(self, temperature=temperature)

    def saying(self, odds: Float64Array, none: float) -> Verdict:
        """The same with other log-odds of the entities `[entity]`, and of "none of these"."""
        entity = self.entity.copy()
        entity[:, 0] = odds
        return replace(self, entity=entity, none=none)

    @property
    def statistics(self) -> Float64Array:
        """`[entity]` the statistical score."""
        logarithm = self.example.node[:, _SCORE].astype(np.float64) * STRONG
        score: Float64Array = np.expm1(logarithm)
        return score

    @property
    def chances(self) -> tuple[Float64Array, float]:
        """Probabilities of the entities, and of "none of these"."""
        return chances(self.entity[:, 0], self.none, self.temperature)

    @property
    def known(self) -> int:
        """Causes whose entities the case knows."""
        return sum(bool(cause.entities) for cause in self.example.causes)

    @property
    def right(self) -> frozenset[int]:
        """Entities that are right to name."""
        return frozenset(one for cause in self.example.causes for one in cause.entities)

    @property
    def place(self) -> int:
        """Place of the best of them, from 1; ties at the worst place; one too many if none is."""
        value = self.entity[:, 0]
        best = max((float(value[at]) for at in self.right), default=-np.inf)
        return int((value >= best).sum()) if np.isfinite(best) else len(value) + 1

    def all_within(self, places: int) -> bool:
        """Whether each of the causes has an entity among the first `places`."""
        first = set(np.argsort(-self.entity[:, 0], kind="stable")[:places].tolist())
        return all(first & set(one.entities) for one in self.example.causes if one.entities)

    @property
    def abstains(self) -> bool:
        """Whether "none of these" is as likely as any entity."""
        probability, unknown = self.chances
        return unknown >= float(probability.max(initial=0.0))

    @property
    def kind_is_right(self) -> bool:
        """Whether the first entity's kind of fault is that of a cause."""
        first = int(np.argmax(self.entity[:, 0]))
        said = KINDS[int(np.argmax(self.entity[first, 1:]))]
        return any(said is one.kind for one in self.example.causes)

    @property
    def missed(self) -> float:
        """Minus the logarithm of the probability that was given to what is right."""
        probability, unknown = self.chances
        right = sum(float(probability[at]) for at in self.right) if self.known else unknown
        return -float(np.log(max(right, 1e-12)))


def fit_temperature(verdicts: Sequence[Verdict], tried: int = _GRID) -> float:
    """The temperature at which what is right was most probable (Guo et al. 2017, section 4.2).

    Args:
        verdicts: At temperature 1.
        tried: How many temperatures, evenly on a log scale.
    """
    grid = np.geomspace(_COOLEST, _HOTTEST, tried)
    loss = [sum(one.at(float(level)).missed for one in verdicts) for level in grid]
    return round(float(grid[int(np.argmin(loss))]), 4)


def fit_share(verdicts: Sequence[Verdict]) -> float:
    """The share that `likely` has to reach to hold what is right as often as `COVERAGE` says.

    Sadinle, Lei & Wasserman 2019 in the cumulative form of Romano, Sesia & Candès, *Classification
    with Valid and Adaptive Coverage*, NeurIPS 2020, section 2.2, without randomisation.
    """
    needed = sorted(_needed(one) for one in verdicts)
    if not needed:
        return COVERAGE
    place = min(int(np.ceil((len(needed) + 1) * COVERAGE)), len(needed)) - 1
    # Where the first one is right more often than that, it is the whole set; an empty one says
    # nothing.
    return max(round(float(needed[place]), 6), _LEAST)


def _needed(verdict: Verdict) -> float:
    """The share at which the set just holds what is right."""
    probability, unknown = verdict.chances
    all_of_them = np.append(probability, unknown)
    order = np.argsort(-all_of_them, kind="stable")
    right = verdict.right if verdict.known else frozenset({len(probability)})
    total = 0.0
    for at in order:
        if int(at) in right:
            # Just below what is reached with it: the set takes one more until the share is there.
            return total + 1e-9
        total += float(all_of_them[at])
    return 1.0
