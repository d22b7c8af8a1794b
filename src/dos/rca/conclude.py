"""From scores to a conclusion: few hypotheses, whose probabilities sum to one with `unknown`.

Not calibrated yet: the numbers order hypotheses and grow with the evidence, but 0.7 does not mean
right in seven cases of ten until they are fitted on recorded incidents.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.rootcause import Evidence, Hypothesis, RootCause
from dos.model.telemetry import Float64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case

TEMPERATURE = 0.6
"""Difference in score that makes a hypothesis e times as probable."""
WEAK = 2.5
"""Score at which a lone hypothesis is as probable as `unknown`."""


def probabilities(scores: Float64Array) -> tuple[Float64Array, float]:
    """Softmax over the scores and a fixed alternative `WEAK`, "none of these".

    Args:
        scores: `[entity]`, 0 for an entity that shows nothing.

    Returns:
        `[entity]` probabilities and that of the alternative; together they sum to 1. Entities that
        show nothing get 0.
    """
    shows = scores > 0
    logits = np.append(np.where(shows, scores, -np.inf), WEAK) / TEMPERATURE
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    return weights[:-1], float(weights[-1])


def conclude(
    case: Case,
    scores: EntityScores,
    *,
    limit: int,
    method: str,
    onset: int,
    evidence: Callable[[EntityId], tuple[Evidence, ...]],
    metric: Callable[[EntityId], str | None],
    chances: Float64Array | None = None,
) -> RootCause:
    """The best `limit` entities as hypotheses; what goes to all others is part of the unknown.

    Args:
        case: The case that was ranked.
        scores: Score of every entity, 0 for one that shows nothing.
        limit: Most hypotheses.
        method: Name of the ranker.
        onset: When the trouble began, ms.
        evidence: Evidence for and against an entity.
        metric: The metric that shows an entity's trouble best.
        chances: `[entity]` probabilities, in the order of the scores, for a ranker whose scores
            are none that `probabilities` understands. They sum to 1 at most.
    """
    if chances is None:
        chances, _ = probabilities(scores.score)
    chance = dict(zip(scores.entities, chances.tolist(), strict=True))
    shown = [(entity, score) for entity, score in scores.ordered() if chance[entity] > 0][:limit]
    ranked = tuple(
        Hypothesis(
            entity=entity,
            metric=metric(entity),
            probability=chance[entity],
            score=score,
            evidence=evidence(entity),
        )
        for entity, score in shown
    )
    listed = sum(hypothesis.probability for hypothesis in ranked)
    return RootCause(
        ranked=ranked,
        unknown=max(0.0, 1.0 - listed),
        others=max(0.0, float(chances.sum()) - listed),
        method=method,
        at=case.end,
        onset=Millis(onset),
    )
