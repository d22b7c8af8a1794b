"""Personalised random walk on the abnormal part of the graph.

A walker looks for the cause: from an entity to what it calls, by how abnormal that is; back to
callers with `back` of that weight, so that it does not get lost in a dead end; and it stays where
nothing it could go to is as abnormal. With `restart` it begins anew, at an entity by its
abnormality. The score is how much of its time it spends at each (Kim et al., *Root cause detection
in a service-oriented architecture*, SIGMETRICS 2013, "MonitorRank": forward, backward and self
edges; Meng et al., *Localizing failure root causes in a microservice through causality inference*,
IWQoS 2020, "MicroCause"). Abnormality is the logarithm of robust sigmas, and stands for the
correlation with the front end's metric that the papers take. Traffic
does not count: who is asked for less is not ill for that.

    >>> from dos.testing.rankers import ranked, story
    >>> case = story(
    ...     ("payment", "cpu", 2.5, 0),
    ...     ("orders", "latency_p95", 3.0, 1),
    ...     ("frontend", "latency_p95", 3.0, 2),
    ... )
    >>> ranked("random_walk", case)[:2]
    ['payment', 'orders']

Fails: without edges it is no more than the deviations; what many callers have in common gains by
that alone; a cause that shows less than its callers is passed through.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.kit.plugins import Plugin
from dos.model.rootcause import Evidence, EvidenceKind, RootCause
from dos.model.telemetry import Float64Array, Int64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.review import Review

_ROUNDS = 500
_SETTLED = 1e-10
"""Change of a round, over all entities, at which the walk is at rest."""


class Config(BaseModel):
    """Keys of `type: random_walk`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(default=6, ge=1, le=20, description="Most hypotheses to give.")
    restart: float = Field(
        default=0.15, gt=0, le=1, description="Probability of beginning anew with each step."
    )
    back: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Weight of a step back to a caller, against 1 for one to what is called.",
    )


class RandomWalkRanker:
    """Ranks entities by where a walker that looks for the cause spends its time."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """Share of the walker's time; they sum to 1, or are all 0 where nothing is abnormal."""
        review = Review.of(case)
        return review.scores(self._walk(review))

    def rank(self, case: Case) -> RootCause:
        """Where the walker spends most time, with what it found there."""
        review = Review.of(case)
        stay = self._walk(review)
        total = review.ailing.sum()

        def own(entity: int) -> Sequence[Evidence]:
            alone = review.ailing[entity] / total
            text = (
                f"a walk from symptoms to what is called spends {stay[entity]:.0%} of its time "
                f"here; by its own abnormality alone it would be {alone:.0%}"
            )
            gain = float(np.log(stay[entity] / alone)) if alone > 0 else 0.0
            kind = (
                EvidenceKind.DEPENDENTS_ABNORMAL if gain >= 0 else EvidenceKind.DEPENDENCY_ABNORMAL
            )
            return [review.say(review.entities[entity], kind, text, gain)]

        return review.conclude(
            stay,
            method="random_walk",
            limit=self._config.hypotheses,
            own=own,
            beside=(
                EvidenceKind.DEVIATION,
                EvidenceKind.INTERNAL_SIGNAL,
                EvidenceKind.DEPENDENTS_ABNORMAL,
            ),
            chances=stay * review.sure(),
        )

    def _walk(self, review: Review) -> Float64Array:
        """`[entity]` share of time, by repeated steps; O(rounds x edges)."""
        ill, total = review.ailing, review.ailing.sum()
        if total <= 0:
            return np.zeros(len(ill))
        source, sink, weight = _steps(review, self._config.back)
        leaving = np.bincount(source, weights=weight, minlength=len(ill))
        chance = weight / np.where(leaving > 0, leaving, 1.0)[source]
        home: Float64Array = ill / total
        stay, restart = home, self._config.restart
        for _ in range(_ROUNDS):
            moved = np.bincount(sink, weights=stay[source] * chance, minlength=len(ill))
            after = restart * home + (1 - restart) * moved
            settled = float(np.abs(after - stay).sum()) < _SETTLED
            stay = after
            if settled:
                break
        share: Float64Array = stay / stay.sum()
        return share


def _steps(review: Review, back: float) -> tuple[Int64Array, Int64Array, Float64Array]:
    """From, to and weight of every step the walker may take, from abnormal to abnormal."""
    ill = review.ailing
    steps: list[tuple[int, int, float]] = []
    for caller, callees in enumerate(review.callees()):
        below = max((float(ill[one]) for one in callees), default=0.0)
        steps.append((caller, caller, max(float(ill[caller]) - below, 0.0)))
        for callee in callees:
            steps.append((caller, callee, float(ill[callee])))
            steps.append((callee, caller, back * float(ill[caller])))
    # Somebody whom nothing leads on from stays: no time is lost.
    stuck = np.bincount(
        [one for one, _, _ in steps], weights=[weight for *_, weight in steps], minlength=len(ill)
    )
    steps += [(int(one), int(one), 1.0) for one in np.flatnonzero(stuck <= 0)]
    source, sink, weight = (np.array(column) for column in zip(*steps, strict=True))
    return source.astype(np.int64), sink.astype(np.int64), weight.astype(np.float64)


PLUGIN = Plugin(Config, RandomWalkRanker)
