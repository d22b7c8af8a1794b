"""Statistical ranker: robust deviations, explained away along the call graph.

Works on any metrics, without training and, less well, without a graph. See `dos.rca.measure`
for what is measured of each series and `dos.rca.suspicion` for the reasoning over the graph.

    >>> from dos.testing.rankers import ranked, story
    >>> case = story(
    ...     ("payment", "cpu", 2.5, 0),
    ...     ("payment", "latency_p95", 5.0, 0),
    ...     ("orders", "latency_p95", 9.0, 1),
    ... )
    >>> ranked("statistical", case)[0]
    'payment'

Fails: where the cause itself shows little and its callers much; where a callee is slowed by who
calls it too often (pressure from above looks like a cause below).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from dos.kit.plugins import Plugin
from dos.model.rootcause import RootCause
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.conclude import conclude
from dos.rca.evidence import Witness
from dos.rca.measure import measure
from dos.rca.suspicion import Weights, suspect


class Config(BaseModel):
    """Keys of `type: statistical`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(
        default=6, ge=1, le=20, description="Most hypotheses to give, with evidence."
    )
    weights: Weights = Weights()


class StatisticalRanker:
    """Ranks entities by how abnormal they are by themselves."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """Every entity that has series."""
        found = suspect(case, measure(case), self._config.weights)
        return EntityScores(entities=found.entities, score=found.score)

    def rank(self, case: Case) -> RootCause:
        """The best hypotheses, with evidence for and against."""
        measured = measure(case)
        found = suspect(case, measured, self._config.weights)
        witness = Witness(case, measured, found, self._config.weights)
        return conclude(
            case,
            EntityScores(entities=found.entities, score=found.score),
            limit=self._config.hypotheses,
            method="statistical",
            onset=found.onset,
            evidence=witness.on,
            metric=witness.metric,
        )


PLUGIN = Plugin(Config, StatisticalRanker)
