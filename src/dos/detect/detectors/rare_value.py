"""Rare values: hardly ever seen before, the same for unusually long, or beyond all values seen.

A histogram of values over the range seen; made for states, switches and counts.

How odd the newest sample is becomes a rarity by the series' own past (`dos.detect.aspects`): a
deviation of 6 is one sample in 100,000. One of the families that `committee` looks at together.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.random.default_rng(4).choice([0.0, 1.0, 3.0], 2500, p=[0.6, 0.3, 0.1])
    >>> values[2000:2010] = 2.0
    >>> z = deviations("rare_value", values)
    >>> bool(abs(z[800:2000]).max() < 8.0), bool(z[2003] > 10.0)
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


class Values(Aspects):
    """See the module's text."""

    def __init__(self, config: Config) -> None:
        del config
        super().__init__("rare_value", "1", ("values",))


PLUGIN = Plugin(Config, Values)
