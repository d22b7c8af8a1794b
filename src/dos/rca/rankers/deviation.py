"""Deviation: the entity with the series furthest from its normal. A baseline to beat.

It looks at no graph and gives no reasons but the deviation itself. How far is said by one of three
methods, each with the onset that `dos.rca.measure` searches and the scale that it moderates:

* `robust_z`: mean robust z-score over the abnormal stretch ("N-sigma", made robust).
* `bayesian_change_point`: log Bayes factor of a change of level against none (Smith, Biometrika
  62, 1975; `dos.rca.shift`). Long shifts count more than short ones, noise with a memory less.
* `extreme_value`: how rare so large a deviation is by the tail of the series' own past (Siffer et
  al., KDD 2017; `dos.rca.shift`). What is spiky in health has to go further.

The last two are put on the scale of sigmas, at which a normal sample has the same evidence.

    >>> from dos.testing.rankers import ranked, story
    >>> case = story(("payment", "cpu", 3.0, 0), ("orders", "latency_p95", 1.5, 0))
    >>> ranked("deviation", case)[:2]
    ['payment', 'orders']
    >>> ranked("deviation", case, method="bayesian_change_point")[0]
    'payment'

Fails: the victim often strays further than the cause; what a metric can do depends on what it
measures; delays that are short beside the noise do not show.
"""

from __future__ import annotations

from typing import Literal

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
from dos.rca.shift import as_sigmas, change_evidence, tail_evidence
from dos.rca.suspicion import series_strength, trouble_onset


class Config(BaseModel):
    """Keys of `type: deviation`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(default=6, ge=1, le=20, description="Most hypotheses to give.")
    method: Literal["robust_z", "bayesian_change_point", "extreme_value"] = Field(
        default="robust_z", description="How it is said how far a series is from its normal."
    )


class DeviationRanker:
    """Ranks entities by their greatest deviation."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """Every entity that has series: log1p of its greatest deviation in sigmas."""
        measured = measure(case)
        return _scores(case, self._sigmas(case, measured))[0]

    def rank(self, case: Case) -> RootCause:
        """The best hypotheses, each with its greatest deviation as evidence."""
        measured = measure(case)
        sigmas = self._sigmas(case, measured)
        scores, best = _scores(case, sigmas)

        def evidence(entity: EntityId) -> tuple[Evidence, ...]:
            series = best[entity]
            return (
                Evidence(
                    stance=Stance.FOR,
                    kind=EvidenceKind.DEVIATION,
                    text=movement(case, measured, series) + self._meaning(float(sigmas[series])),
                    weight=float(np.log1p(sigmas[series])),
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

    def _sigmas(self, case: Case, measured: Measured) -> Float64Array:
        """`[series]` how far each is from its normal, as the method says."""
        if self._config.method == "bayesian_change_point":
            return as_sigmas(change_evidence(case, measured))
        if self._config.method == "extreme_value":
            return as_sigmas(tail_evidence(case, measured))
        return np.abs(measured.deviation)

    def _meaning(self, sigmas: float) -> str:
        """What the method says of it, where that is more than the deviation."""
        evidence = sigmas**2 / 2
        if self._config.method == "bayesian_change_point":
            return f"; log Bayes factor {evidence:.3g} for a change"
        if self._config.method == "extreme_value":
            share = f"1 in {np.exp(evidence):.3g}" if evidence < 30 else "fewer than 1 in 10¹³"
            return f"; {share} healthy samples are as far off"
        return ""


def _scores(case: Case, sigmas: Float64Array) -> tuple[EntityScores, dict[EntityId, int]]:
    size: Float64Array = np.log1p(sigmas)
    best: dict[EntityId, int] = {}
    for series, spec in enumerate(case.series):
        if spec.entity not in best or size[series] > size[best[spec.entity]]:
            best[spec.entity] = series
    entities = tuple(best)
    return EntityScores(
        entities=entities, score=np.array([size[best[entity]] for entity in entities], np.float64)
    ), best


PLUGIN = Plugin(Config, DeviationRanker)
