"""Robust EWMA: distance from levels of several half-lives, shifts, movement and stillness.

Gelper, Fried & Croux, *Robust forecasting with exponential and Holt-Winters smoothing*, J.
Forecasting 29, 2010, eq. 6-8, for levels and spread.

How odd the newest sample is becomes a rarity by the series' own past (`dos.detect.aspects`): a
deviation of 6 is one sample in 100,000. One of the families that `committee` looks at together.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.random.default_rng(1).normal(100.0, 2.0, 900)
    >>> values[700:706] += 15.0
    >>> z = deviations("ewma_mad", values)
    >>> bool(abs(z[:700]).max() < 5.5), bool(z[703] > 6.0)
    (True, True)

State: 13 KB a series.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from dos.detect.committee import Aspects
from dos.kit.plugins import Plugin


class Config(BaseModel):
    """It has no parameters: all is relative to the series' own past."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Level(Aspects):
    """See the module's text."""

    def __init__(self, config: Config) -> None:
        del config
        super().__init__("ewma_mad", "1", ("level",))


PLUGIN = Plugin(Config, Level)
