"""A case looked at once, for rankers that each weigh one kind of reason.

Measuring, the reasoning over the graph and the sentences of `Witness` are the same for all of
them; what is left to a ranker is its own number for each entity, and the sentence that says it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.rootcause import Evidence, EvidenceKind, RootCause, Stance
from dos.model.telemetry import BoolArray, Float64Array, Int64Array, Role
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.conclude import conclude, probabilities
from dos.rca.evidence import NOTABLE, Witness
from dos.rca.measure import Measured, measure
from dos.rca.suspicion import Suspicion, Weights, suspect

_WEIGHTS = Weights()
_OF_ROLE = {Role.TRAFFIC: _WEIGHTS.traffic, Role.OTHER: _WEIGHTS.other}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Review:
    """What every ranker wants to know of a case."""

    case: Case
    measured: Measured
    found: Suspicion
    owner: Int64Array
    """`[series]` place of its entity in `found.entities`."""
    weighed: Float64Array
    """`[series]` strength, of traffic and of metrics of no known role less."""
    abnormality: Float64Array
    """`[entity]` the greatest of its series' `weighed`; 0 for one that is normal."""
    ailing: Float64Array
    """`[entity]` the same without traffic: who is asked for less, or more, is not ill for that."""

    @staticmethod
    def of(case: Case) -> Review:
        """Look at `case`; costs what `measure` and `suspect` cost."""
        measured = measure(case)
        found = suspect(case, measured, _WEIGHTS)
        place = {entity: i for i, entity in enumerate(found.entities)}
        owner = np.array([place[spec.entity] for spec in case.series], np.int64)
        weight = [
            1.0 if ("scope", "self") in spec.labels else _OF_ROLE.get(spec.role, 1.0)
            for spec in case.series
        ]
        weighed = found.strength * np.array(weight, np.float64)
        asked = np.array([spec.role is Role.TRAFFIC for spec in case.series], np.bool_)
        return Review(
            case=case,
            measured=measured,
            found=found,
            owner=owner,
            weighed=weighed,
            abnormality=greatest(weighed, owner, len(place)),
            ailing=greatest(np.where(asked, 0.0, weighed), owner, len(place)),
        )

    @property
    def entities(self) -> tuple[EntityId, ...]:
        """Those of the case, in the order of all arrays `[entity]`."""
        return self.found.entities

    @property
    def place(self) -> dict[EntityId, int]:
        """Where each entity stands in arrays `[entity]`."""
        return {entity: i for i, entity in enumerate(self.entities)}

    @property
    def abnormal(self) -> BoolArray:
        """`[entity]` whether it is clearly abnormal (`NOTABLE`)."""
        return self.abnormality >= NOTABLE

    def callees(self) -> list[list[int]]:
        """Places of what each entity depends on, itself and what has no series aside."""
        graph, place = self.case.graph, self.place
        if graph is None:
            return [[] for _ in self.entities]
        return [
            sorted(place[one] for one in graph.callees(entity) if one in place and one != entity)
            for entity in self.entities
        ]

    def sure(self) -> float:
        """How probable it is that there is a cause at all: by the greatest abnormality."""
        most = float(self.abnormality.max(initial=0.0))
        return 1.0 - probabilities(np.array([most]))[1]

    def scores(self, score: Float64Array) -> EntityScores:
        """`score` `[entity]` beside the entities."""
        return EntityScores(entities=self.entities, score=score)

    def say(
        self,
        entity: EntityId,
        kind: EvidenceKind,
        text: str,
        weight: float,
        *,
        metric: str | None = None,
        start: int | None = None,
    ) -> Evidence:
        """A piece of evidence; it speaks against `entity` where its weight is negative."""
        return Evidence(
            stance=Stance.FOR if weight >= 0 else Stance.AGAINST,
            kind=kind,
            text=text,
            weight=round(weight, 6),
            entity=entity,
            metric=metric,
            start=Millis(self.found.onset if start is None else start),
            end=self.case.end,
        )

    def conclude(
        self,
        score: Float64Array,
        *,
        method: str,
        limit: int,
        own: Callable[[int], Collection[Evidence]],
        beside: Collection[EvidenceKind],
        chances: Float64Array | None = None,
    ) -> RootCause:
        """The best few, each with the ranker's own evidence before that of `Witness`.

        Args:
            score: `[entity]`.
            method: Name of the ranker.
            limit: Most hypotheses.
            own: The ranker's evidence on the entity at a place.
            beside: Which kinds of common evidence bear on what the ranker looks at.
            chances: `[entity]` as in `dos.rca.conclude.conclude`.
        """
        witness, place = Witness(self.case, self.measured, self.found, _WEIGHTS), self.place

        def evidence(entity: EntityId) -> tuple[Evidence, ...]:
            common = (one for one in witness.on(entity) if one.kind in beside)
            return (*own(place[entity]), *common)

        return conclude(
            self.case,
            self.scores(score),
            limit=limit,
            method=method,
            onset=self.found.onset,
            evidence=evidence,
            metric=witness.metric,
            chances=chances,
        )


def greatest(value: Float64Array, owner: Int64Array, count: int) -> Float64Array:
    """`[entity]` the greatest `value` `[series]` of each owner; 0 for one without any above 0."""
    most = np.zeros(count)
    np.maximum.at(most, owner, value)
    return most
