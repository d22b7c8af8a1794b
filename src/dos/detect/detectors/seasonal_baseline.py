"""Seasonal baseline: distance from the same time of other days, on a slow offset of its own.

Level and spread of each five minutes of the day, as in Hochenbaum, Vallis & Kejariwal,
*Automatic anomaly detection in the cloud via statistical learning* (arXiv 1704.07706, 2017), but
causal: exponentially weighted over days. A series without a day does not alarm by it.

How odd the newest sample is becomes a rarity by the series' own past (`dos.detect.aspects`): a
deviation of 6 is one sample in 100,000. One of the families that `committee` looks at together.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> rng = np.random.default_rng(2)
    >>> values = 100 + 30 * np.sin(np.arange(6000) / 1440 * 2 * np.pi) + rng.normal(0, 1, 6000)
    >>> values[5000:5060] -= 25.0
    >>> z = deviations("seasonal_baseline", values)
    >>> bool(abs(z[3000:5000]).max() < 7.0), bool(z[5006] < -8.0)
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


class Season(Aspects):
    """See the module's text."""

    def __init__(self, config: Config) -> None:
        del config
        super().__init__("seasonal_baseline", "1", ("season",))


PLUGIN = Plugin(Config, Season)
