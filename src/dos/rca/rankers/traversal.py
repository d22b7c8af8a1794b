"""Anomaly traversal: abnormal, with no abnormal dependency.

From the alarm, or from everything abnormal where nobody says what the alarm was, follow calls to
callees that are about as abnormal until none is left: where the walk ends is the cause (Liu et
al., *MicroHECL: high-efficient root cause localization in large-scale microservice systems*,
ICSE-SEIP 2021; Chen et al., *CauseInfer*, INFOCOM 2014). Entities that call each other in a ring
are an end together. Ends are ordered by their abnormality. Behind those reached stand ends that
were not reached, then what is abnormal and passes the blame on, then the rest. Traffic does not
count: who is asked for less is not ill for that.

    >>> from dos.testing.rankers import ranked, story
    >>> case = story(
    ...     ("payment", "latency_p95", 2.5, 0),
    ...     ("orders", "latency_p95", 9.0, 1),
    ...     ("frontend", "latency_p95", 9.0, 2),
    ... )
    >>> ranked("traversal", case)
    ['payment']

Fails: with one false edge to something abnormal the blame moves on; one callee that is missed, or
not measured, ends the walk too early; without a graph every abnormal entity is an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.kit.plugins import Plugin
from dos.model.rootcause import Evidence, EvidenceKind, RootCause
from dos.model.telemetry import BoolArray, Float64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.components import components
from dos.rca.conclude import probabilities
from dos.rca.evidence import NOTABLE
from dos.rca.review import Review

_SHOWN = 4


class Config(BaseModel):
    """Keys of `type: traversal`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(default=6, ge=1, le=20, description="Most hypotheses to give.")
    abnormal: float = Field(
        default=round(float(np.expm1(NOTABLE)) + 2.0, 6),
        ge=2,
        description="Robust sigmas, lastingly, from which an entity is abnormal.",
    )
    passes: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="How abnormal a callee is, against its caller, for the trail to lead on to it.",
    )


class TraversalRanker:
    """Ranks entities by whether the trail of abnormal calls ends at them."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """3 for an end that was reached, 2 for one that was not, 1 for what passes the blame on.

        To that comes a part of 1 that grows with its abnormality.
        """
        review = Review.of(case)
        return review.scores(_score(review, self._trail(review)))

    def rank(self, case: Case) -> RootCause:
        """The ends that were reached; what passes the blame on is no hypothesis."""
        review = Review.of(case)
        trail = self._trail(review)
        chances, _ = probabilities(np.where(trail.end & trail.reached, review.ailing, 0.0))

        def own(entity: int) -> Sequence[Evidence]:
            return _said(review, trail, entity)

        return review.conclude(
            _score(review, trail),
            method="traversal",
            limit=self._config.hypotheses,
            own=own,
            beside=(
                EvidenceKind.DEVIATION,
                EvidenceKind.INTERNAL_SIGNAL,
                EvidenceKind.DEPENDENTS_ABNORMAL,
            ),
            chances=chances,
        )

    def _trail(self, review: Review) -> _Trail:
        ailing = review.ailing
        ill = ailing >= np.log1p(self._config.abnormal - 2.0)
        callees = review.callees()
        onward = [
            [one for one in below if ill[one] and ailing[one] >= self._config.passes * ailing[at]]
            if ill[at]
            else []
            for at, below in enumerate(callees)
        ]
        ring = components(onward)
        end = ill.copy()
        for at, below in enumerate(onward):
            if any(ring[one] != ring[at] for one in below):
                # One way out of a ring is a way out for everybody in it.
                end[ring == ring[at]] = False
        reached = _reached(review, ill, callees)
        return _Trail(ill=ill, end=end, reached=reached, callees=callees, onward=onward)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Trail:
    """All `[entity]`."""

    ill: BoolArray
    end: BoolArray
    """Abnormal, and calls nothing as abnormal but who is in a ring with it."""
    reached: BoolArray
    callees: list[list[int]]
    onward: list[list[int]]
    """Callees to which the trail leads on."""


def _reached(review: Review, ill: BoolArray, callees: list[list[int]]) -> BoolArray:
    """Abnormal entities that the walk comes to."""
    case, place = review.case, review.place
    alarmed = None if case.target is None else place.get(case.target[0])
    if alarmed is None or case.graph is None or not callees[alarmed]:
        return ill.copy()  # nobody says where to begin, or the graph does not lead on from there
    seen = np.zeros(len(ill), np.bool_)
    seen[alarmed], waiting = True, [alarmed]
    while waiting:
        for one in callees[waiting.pop()]:
            if ill[one] and not seen[one]:
                seen[one] = True
                waiting.append(one)
    return seen & ill


def _score(review: Review, trail: _Trail) -> Float64Array:
    tier = np.where(trail.ill, 1.0, 0.0)
    tier[trail.end] = 2.0
    tier[trail.end & trail.reached] = 3.0
    score: Float64Array = tier + review.ailing / (1.0 + review.ailing)
    return score


def _said(review: Review, trail: _Trail, entity: int) -> Sequence[Evidence]:
    name, below = review.entities[entity], trail.callees[entity]
    with_it = [review.entities[one] for one in trail.onward[entity]]
    if with_it:
        text = f"the trail of abnormal calls ends in a ring of it and {_names(with_it)}"
    elif below:
        called = _names([review.entities[one] for one in below])
        text = f"it is abnormal, and nothing that it calls is nearly so: {called}"
    else:
        text = "it is abnormal, and calls nothing that is known"
    return [review.say(name, EvidenceKind.DEPENDENCIES_NORMAL, text, 1.0 if below else 0.5)]


def _names(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


PLUGIN = Plugin(Config, TraversalRanker)
