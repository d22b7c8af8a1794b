"""River's streaming detectors, score and then learn, as its documentation shows.

`GaussianScorer` is how far in the tails of a normal distribution fitted so far a point lies;
`HalfSpaceTrees` (Tan, Ting & Liu, *Fast Anomaly Detection for Streaming Data*, IJCAI 2011) wants
features from 0 to 1, hence the scaler in front of it. Neither has a threshold: the alarms here are
at 3 sigma, and at the 0.999 quantile of the scores so far (River's `QuantileFilter`).

River is no dependency of DOS: `pip install river`.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from dos.evaluate.series.scorer import Scored
from dos.kit.errors import PermanentError
from dos.model.telemetry import Float64Array

_THREE_SIGMA = 0.9973
_QUANTILE = 0.999
_LEARNED = 250
"""Points before Half-Space Trees have seen their first window and may judge."""


class RiverGaussian:
    """`anomaly.GaussianScorer` with its default parameters.

    Args:
        step_s: Of no meaning here.
    """

    def __init__(self, step_s: float) -> None:
        del step_s
        self._model: Any = _module("river.anomaly").GaussianScorer()

    def fit(self, prefix: Float64Array) -> None:
        """Nothing beyond what scoring in order does."""

    def score(self, values: Float64Array) -> Scored:
        """Probability that a point of the distribution is nearer to its middle."""
        model, score = self._model, np.zeros(len(values))
        for place, value in enumerate(values.tolist()):
            score[place] = model.score_one(None, value)
            model.learn_one(None, value)
        score = np.nan_to_num(score, nan=0.0)
        return Scored(score=score, alarm=score > _THREE_SIGMA)


class RiverTrees:
    """`MinMaxScaler | anomaly.HalfSpaceTrees`, default parameters, seed 42.

    Args:
        step_s: Of no meaning here.
    """

    def __init__(self, step_s: float) -> None:
        del step_s
        anomaly, preprocessing = _module("river.anomaly"), _module("river.preprocessing")
        self._model: Any = preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=42)
        self._quantile: Any = _module("river.stats").Quantile(_QUANTILE)

    def fit(self, prefix: Float64Array) -> None:
        """Nothing beyond what scoring in order does."""

    def score(self, values: Float64Array) -> Scored:
        """Mass of the half-spaces that the point is in: the less, the higher the score."""
        score, alarm = np.zeros(len(values)), np.zeros(len(values), np.bool_)
        for place, value in enumerate(values.tolist()):
            features = {"x": value}
            score[place] = self._model.score_one(features)
            self._model.learn_one(features)
            limit = self._quantile.get()
            alarm[place] = place >= _LEARNED and limit is not None and score[place] > limit
            if place >= _LEARNED:
                self._quantile.update(float(score[place]))
        return Scored(score=score, alarm=alarm)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        msg = "River is not installed."
        remedy = "Install it into this environment: pip install river."
        raise PermanentError(msg, remedy=remedy) from error
