"""k-means over windows: the newest window is unlike all usual patterns.

Online k-means (MacQueen, 1967) of windows of 24 samples, means removed, 32 centres; as Netdata
looks at lagged differences, but learned sample by sample.

How odd the newest sample is becomes a rarity by the series' own past (`dos.detect.aspects`): a
deviation of 6 is one sample in 100,000. One of the families that `committee` looks at together.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.random.default_rng(1).normal(100.0, 2.0, 900)
    >>> values[700:706] += 15.0
    >>> z = deviations("kmeans", values)
    >>> bool(abs(z[:700]).max() < 4.0), bool(z[703] > 4.5)
    (True, True)

State: 16 KB a series.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from dos.detect.committee import Aspects
from dos.kit.plugins import Plugin


class Config(BaseModel):
    """It has no parameters: all is relative to the series' own past."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Pattern(Aspects):
    """See the module's text."""

    def __init__(self, config: Config) -> None:
        del config
        super().__init__("kmeans", "1", ("pattern",))


PLUGIN = Plugin(Config, Pattern)
