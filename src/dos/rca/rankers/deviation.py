"""Deviation ranker: the entity with the series furthest from its normal. A baseline to beat.

What is known as N-sigma in the literature, with the robust scale and the searched onset of
`dos.rca.measure`; it looks at no graph and gives no reasons but the deviation itself.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.kit.plugins import Plugin
from dos.model.ids import EntityId
from dos.model.rootcause import Evidence, EvidenceKind, RootCause, Stance
from dos.model.telemetry import Float64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.conclude import conclude
from dos.rca.evidence import movement
from dos.rca.measure import Measured, measure
from dos.rca.suspicion import series_strength, trouble_onset


class Config(BaseModel):
    """Keys of `type: deviation`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(default=6, ge=1, le=20, description="Most hypotheses to give.")


class DeviationRanker:
    """Ranks entities by their greatest deviation."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """Every entity that has series: log1p of its greatest absolute robust z-score."""
        return _scores(case, measure(case))[0]

    def rank(self, case: Case) -> RootCause:
        """The best hypotheses, each with its greatest deviation as evidence."""
        measured = measure(case)
        scores, best = _scores(case, measured)

        def evidence(entity: EntityId) -> tuple[Evidence, ...]:
            series = best[entity]
            return (
                Evidence(
                    stance=Stance.FOR,
                    kind=EvidenceKind.DEVIATION,
                    text=movement(case, measured, series),
                    weight=float(np.log1p(abs(measured.deviation[series]))),
                    entity=entity,
                    metric=case.series[series].metric,
                    start=case.start,
                    end=case.end,
                ),
            )

        return conclude(
            case,
            scores,
            limit=self._config.hypotheses,
            method="deviation",
            onset=trouble_onset(measured, series_strength(measured, case.series), case.start),
            evidence=evidence,
            metric=lambda entity: case.series[best[entity]].metric,
        )


def _scores(case: Case, measured: Measured) -> tuple[EntityScores, dict[EntityId, int]]:
    size: Float64Array = np.log1p(np.abs(measured.deviation))
    best: dict[EntityId, int] = {}
    for series, spec in enumerate(case.series):
        if spec.entity not in best or size[series] > size[best[spec.entity]]:
            best[spec.entity] = series
    entities = tuple(best)
    return EntityScores(
        entities=entities, score=np.array([size[best[entity]] for entity in entities], np.float64)
    ), best


PLUGIN = Plugin(Config, DeviationRanker)
