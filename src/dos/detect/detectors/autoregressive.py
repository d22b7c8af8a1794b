"""Autoregression of the seasonal residual: samples that those before them do not foretell.

Recursive least squares with forgetting (Haykin, *Adaptive Filter Theory*, 4th ed., 2002, table
9.1), errors clipped; one error, and errors of the last few samples together.

How odd the newest sample is becomes a rarity by the series' own past (`dos.detect.aspects`): a
deviation of 6 is one sample in 100,000. One of the families that `committee` looks at together.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> rng = np.random.default_rng(2)
    >>> values = 100 + 30 * np.sin(np.arange(6000) / 1440 * 2 * np.pi) + rng.normal(0, 1, 6000)
    >>> values[5000:5060] -= 25.0
    >>> z = deviations("autoregressive", values)
    >>> bool(abs(z[3000:5000]).max() < 4.5), bool(z[5006] < -5.0)
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


class Foretold(Aspects):
    """See the module's text."""

    def __init__(self, config: Config) -> None:
        del config
        super().__init__("autoregressive", "1", ("foretold",))


PLUGIN = Plugin(Config, Foretold)
