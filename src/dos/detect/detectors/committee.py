"""All statistics of `dos.detect.aspects` together: a small network says what they amount to.

Thirty-two statistics (levels, time of day, forecast, patterns, discords, rare values) look at each
sample, each says how rare that is for this series, and a network with one hidden layer turns these
rarities, as they are and as they lately were, into log-odds (`dos.detect.aspects.vote`); the lesser
of the last two samples' counts, so that one odd sample alone says nothing yet. The network was
trained on series into which anomalies were put (`dos train vote`); it knows nothing of units, names
or sizes. A deviation of 6 is what 7 of 10,000 healthy samples of such series reach.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> rng = np.random.default_rng(2)
    >>> values = 100 + 30 * np.sin(np.arange(6000) / 1440 * 2 * np.pi) + rng.normal(0, 1, 6000)
    >>> values[5000:5060] -= 25.0
    >>> z = deviations("committee", values)
    >>> bool(abs(z[3000:5000]).max() < 4.0), bool(z[5006] < -6.0)
    (True, True)

State: 25 KB a series.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dos.detect.aspects.state import FAMILIES
from dos.detect.committee import Aspects, Model, load_model
from dos.kit.plugins import Plugin
from dos.ml.card import find


class Config(BaseModel):
    """Parameters of the committee."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "vote"
    """Name of a trained vote that comes with DOS, or a folder that `dos train vote` wrote."""


class Committee(Aspects):
    """See the module's text."""

    thorough: Literal[True] = True

    def __init__(self, config: Config) -> None:
        super().__init__("committee", "2", tuple(FAMILIES), _vote(config.model))


@cache
def _vote(model: str) -> Model:
    return load_model(find(model))


PLUGIN = Plugin(Config, Committee)
