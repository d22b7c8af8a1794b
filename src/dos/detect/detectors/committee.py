"""All statistics of `dos.detect.aspects` together: a small network says what they amount to.

Thirty-two statistics (levels, time of day, forecast, patterns, discords, rare values) look at each
sample, each says how rare that is for this series, and a network with one hidden layer turns these
rarities, as they are and as they lately were, into log-odds (`dos.detect.aspects.vote`). It was
trained on series into which anomalies were put (`dos.evaluate.training`); it knows nothing of
units, names or sizes. A deviation of 6 is what one healthy sample in 10,000 of such series reaches.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> rng = np.random.default_rng(2)
    >>> values = 100 + 30 * np.sin(np.arange(6000) / 1440 * 2 * np.pi) + rng.normal(0, 1, 6000)
    >>> values[5000:5060] -= 25.0
    >>> z = deviations("committee", values)
    >>> bool(abs(z[3000:5000]).max() < 4.0), bool(z[5006] < -6.0)
    (True, True)

State: 30 KB a series.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from dos.detect.aspects.state import FAMILIES
from dos.detect.committee import Aspects, Model, load_model
from dos.kit.plugins import Plugin

_WEIGHTS = Path(__file__).parent.parent / "aspects" / "vote.npz"


class Config(BaseModel):
    """Parameters of the committee."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Path | None = None
    """Another trained vote than the one that comes along."""


class Committee(Aspects):
    """See the module's text."""

    def __init__(self, config: Config) -> None:
        model = _shipped() if config.weights is None else load_model(config.weights)
        super().__init__("committee", "1", tuple(FAMILIES), model)


@cache
def _shipped() -> Model:
    return load_model(_WEIGHTS)


PLUGIN = Plugin(Config, Committee)
