"""What a ranker is.

A ranker is a pure function of its `Case`: no clock, no I/O, no randomness, so that the same
incident ranks the same way in production, in a replay and in the benchmark. It is called when an
incident opens and again as it grows, on the event loop's executor; budget 0.3 s for 200 entities,
2,000 series and 240 times. It never raises for a case that was constructed: where there is
nothing to go by, it says so with `unknown = 1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dos.model.ids import EntityId
from dos.model.rootcause import RootCause
from dos.model.telemetry import Float64Array
from dos.rca.case import Case

ROOM = "dos.rca.rankers"
"""Where `dos.kit.plugins.load` finds rankers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EntityScores:
    """A number for every entity of a case: the whole order, for scoring and fusing rankers."""

    entities: tuple[EntityId, ...]
    score: Float64Array
    """`[entity]`, higher is more suspect; comparable within one case only; never NaN."""

    def ordered(self) -> list[tuple[EntityId, float]]:
        """Most suspect first; ties in order of the entities' names."""
        pairs = zip(self.entities, self.score.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


class Ranker(Protocol):
    """Ranks the entities of a case by how probably they caused it; built as `build(config)`."""

    def score(self, case: Case) -> EntityScores:
        """Every entity that has series, scored.

        A ranker may also score those that only the graph knows: a third party that nobody measures
        can be the cause.
        """
        ...

    def rank(self, case: Case) -> RootCause:
        """The best few hypotheses, with evidence and probabilities."""
        ...
