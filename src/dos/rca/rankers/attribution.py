"""Attribution: what is left of an entity's trouble when that of its callees is taken away.

A caller waits for its callees and fails with them. How much of their change arrives at it is
estimated from history, and what that does not explain is its own (`dos.rca.attribution`; Li et
al., *Causal inference-based root cause analysis for online service systems with intervention
recognition*, KDD 2022; the counterfactual is "had its callees stayed as they were").
The score is the logarithm of the robust sigmas that remain. Resources, time in own code and
metrics of no known role are nobody else's and count whole.

    >>> from dos.testing.rankers import ranked, story
    >>> slow = ("latency_p95", 5.0)
    >>> case = story(("payment", *slow, 0), ("orders", *slow, 0), ("frontend", *slow, 0))
    >>> ranked("attribution", case)[0]
    'payment'

Fails: latencies of callees that are called side by side, or a varying number of times, do not add
up; percentiles add up only roughly; where callees are not measured all is the caller's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.kit.plugins import Plugin
from dos.model.rootcause import Evidence, EvidenceKind, RootCause
from dos.model.telemetry import Float64Array
from dos.rca.attribution import Unexplained, unexplained
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.measure import DRIFT
from dos.rca.review import Review, greatest

_MOSTLY = 0.5
"""Share of a change from which it is called an entity's own."""


class Config(BaseModel):
    """Keys of `type: attribution`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(default=6, ge=1, le=20, description="Most hypotheses to give.")
    prior: float = Field(
        default=5.0,
        gt=0,
        description="Weight of the assumption that the change of a callee arrives whole, against "
        "history: in health the noise of callers and callees has little in common, and yet "
        "callers wait.",
    )


class AttributionRanker:
    """Ranks entities by what their callees do not explain."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """Every entity that has series: log1p of the robust sigmas that are its own."""
        review = Review.of(case)
        return review.scores(_score(review, _unexplained(review, self._config.prior)))

    def rank(self, case: Case) -> RootCause:
        """Those with most trouble of their own, with how much of it that is."""
        review = Review.of(case)
        left = _unexplained(review, self._config.prior)

        def own(entity: int) -> Sequence[Evidence]:
            return _said(review, left, entity)

        return review.conclude(
            _score(review, left),
            method="attribution",
            limit=self._config.hypotheses,
            own=own,
            beside=(EvidenceKind.DEVIATION, EvidenceKind.INTERNAL_SIGNAL),
        )


def _unexplained(review: Review, prior: float) -> Unexplained:
    return unexplained(review.case, review.measured, review.found.strength, prior)


def _score(review: Review, left: Unexplained) -> Float64Array:
    """`[entity]`; never more than the symptom itself, which is less where it was short."""
    symptom = np.array(
        [
            spec.role.is_golden and ("scope", "self") not in spec.labels
            for spec in review.case.series
        ],
        np.bool_,
    )
    count = len(review.entities)
    inner = greatest(np.where(symptom, 0.0, review.weighed), review.owner, count)
    whole = greatest(np.where(symptom, review.weighed, 0.0), review.owner, count)
    sigmas = np.maximum(np.maximum(left.latency, 0.0), np.abs(left.failures))
    outer = np.minimum(np.log1p(np.maximum(sigmas - DRIFT, 0.0)), whole)
    return np.maximum(inner, outer)


def _said(review: Review, left: Unexplained, entity: int) -> Sequence[Evidence]:
    name, graph = review.entities[entity], review.case.graph
    called = graph.callees(name) if graph is not None else ()
    found = []
    for what, sigmas, share in (
        ("latency", left.latency[entity], left.latency_share[entity]),
        ("failures", left.failures[entity], left.failures_share[entity]),
    ):
        if not sigmas or not called:
            continue
        mine = share >= _MOSTLY
        text = (
            f"what it calls does not explain {share:.0%} of the change of its {what} "
            f"({abs(sigmas):.3g} sigmas)"
            if mine
            else f"{1 - share:.0%} of the change of its {what} is explained by what it calls"
        )
        kind = EvidenceKind.DEPENDENCIES_NORMAL if mine else EvidenceKind.DEPENDENCY_ABNORMAL
        size = float(np.log1p(abs(sigmas)))
        found.append(review.say(name, kind, text, size if mine else share - 1.0))
    return found


PLUGIN = Plugin(Config, AttributionRanker)
