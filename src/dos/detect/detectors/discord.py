"""Matrix-profile discord on a budget: a window unlike any stretch of a bounded past.

Left matrix profile (Yeh et al., *Matrix Profile I*, ICDM 2016; Lu et al., *Matrix Profile XXIV*,
KDD 2022): windows of 24 samples over the last 480, windows of 64 over the last 3,968 by means of
four.

How odd the newest sample is becomes a rarity by the series' own past (`dos.detect.aspects`): a
deviation of 6 is one sample in 100,000. One of the families that `committee` looks at together.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.random.default_rng(1).normal(100.0, 2.0, 900)
    >>> values[700:706] += 15.0
    >>> z = deviations("discord", values)
    >>> bool(abs(z[:700]).max() < 4.0), bool(z[703] > 5.0)
    (True, True)

State: 20 KB a series.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from dos.detect.committee import Aspects
from dos.kit.plugins import Plugin


class Config(BaseModel):
    """It has no parameters: all is relative to the series' own past."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Discord(Aspects):
    """See the module's text."""

    def __init__(self, config: Config) -> None:
        del config
        super().__init__("discord", "1", ("discord",))


PLUGIN = Plugin(Config, Discord)
